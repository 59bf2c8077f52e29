"""MCP Atlas's tool server: many MCP servers in a container of its own, behind two requests that are not MCP.

What it sends is data: bounded, and never more than text before a model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import anyio

from agent.errors import EnvironmentFault
from agent.redaction import redact
from agent.servers.client import MAX_LISTING
from agent.servers.tools import Listed, under_own_names
from agent.text import printable
from agent.types import ToolCall, ToolResult, ToolSpec
from agent.wire import failed, shown

if TYPE_CHECKING:
    import httpx2

LISTING, CALL = 180.0, 60.0
"""Seconds for its list of tools and for one call, as MCP Atlas's own harness gives them."""
MAX_BYTES = 8 * 1024 * 1024
"""Of one answer."""
EMPTY = "success"
"""What its harness tells a model of a call that returned nothing."""


class _NoAnswer(Exception):
    """The exchange came to nothing, though the server is there; the text says why."""


class ToolServer:
    """The server at a URL, over a client that whoever made it closes. `secrets` are cut out of all that it sends."""

    def __init__(self, url: str, client: httpx2.AsyncClient, secrets: Sequence[str]) -> None:
        self._url = url.rstrip("/")
        self._client = client
        self._secrets = secrets

    async def tools(self) -> tuple[dict[str, ToolSpec], dict[str, str]]:
        """Its tools by name, and those that can't be offered, with the reason. Raises EnvironmentFault."""
        try:
            status, body = await self._post("list-tools", b"", LISTING)
            value = redact(json.loads(body), self._secrets)
            if status != 200 or not isinstance(value, list):
                raise _NoAnswer(f"HTTP {status}, no list of tools")
            listed = [
                Listed(str(one["name"]), str(one.get("description") or ""), one.get("inputSchema") or {})
                for one in value[:MAX_LISTING]
            ]
        except (_NoAnswer, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            mend = "is it MCP Atlas's container (`docker run -p 1984:1984 ghcr.io/scaleapi/mcp-atlas`)?"
            raise EnvironmentFault(f"{self._url}/list-tools: {_one_line(error)}; {mend}") from error
        return under_own_names(listed)

    async def call(self, call: ToolCall) -> ToolResult:
        """Run one call, never twice. What the tool or the server says against it is an error result; raises
        EnvironmentFault when no server is there any more."""
        try:
            body = {"tool_name": call.name, "tool_args": dict(call.arguments)}
            sent = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
            status, answer = await self._post("call-tool", sent, CALL)
            value = redact(json.loads(answer), self._secrets)
            if status != 200:
                return failed(call, _detail(value) or f"{call.name}: HTTP {status}")
            if not isinstance(value, list):
                raise _NoAnswer("it is no list of contents")
            texts = [printable(str(block["text"])) for block in value if block["type"] == "text"]
        except _NoAnswer as error:
            return failed(call, f"{call.name}: no answer: {_one_line(error)}; it may have been done")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return failed(call, f"{call.name}: no usable call or answer: {_one_line(error)}")
        text = shown(texts, len(value) - len(texts))
        return ToolResult(call.id, call.name, text if text.strip() else EMPTY)

    async def _post(self, what: str, body: bytes, seconds: float) -> tuple[int, bytes]:
        """Status and bytes of the answer. Raises _NoAnswer, and EnvironmentFault where there is no server."""
        import httpx2

        url = f"{self._url}/{what}"
        answer = bytearray()
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        try:
            with anyio.fail_after(seconds):
                async with self._client.stream("POST", url, content=body, headers=headers) as response:
                    async for chunk in response.aiter_bytes():
                        answer += chunk
                        if len(answer) > MAX_BYTES:
                            raise _NoAnswer(f"it was longer than {MAX_BYTES:,} bytes")
                    return response.status_code, bytes(answer)
        except TimeoutError:
            raise _NoAnswer(f"none within {seconds:.0f} s") from None
        except (httpx2.ConnectError, httpx2.InvalidURL) as error:
            text = f"{url}: {_one_line(error)}; name the address of MCP Atlas's tool server"
            raise EnvironmentFault(text) from error
        except httpx2.RequestError as error:
            raise _NoAnswer(f"the connection broke: {_one_line(error) or type(error).__name__}") from error


def _detail(value: Any) -> str:
    """What FastAPI says of a refusal."""
    detail = value.get("detail") if isinstance(value, dict) else None
    return printable(detail if isinstance(detail, str) else json.dumps(detail)) if detail else ""


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error)[:500].split()))
