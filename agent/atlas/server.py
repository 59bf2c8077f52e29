"""MCP Atlas's tool server: many MCP servers in a container of its own, behind two requests that are not MCP.

What it sends is data: bounded, and never more than text before a model.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agent.errors import EnvironmentFault
from agent.servers.tools import MAX_LOOKED_AT, Listed, under_own_names
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


class _TooMuch(Exception):
    pass


class ToolServer:
    """The server at a URL, over a client that whoever made it closes."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._url = url.rstrip("/")
        self._client = client

    async def tools(self) -> tuple[dict[str, ToolSpec], dict[str, str]]:
        """Its tools by name, and those that can't be offered, with the reason. Raises EnvironmentFault."""
        status, body = await self._post("list-tools", None, LISTING)
        mend = "is MCP Atlas's container up (`docker run -p 1984:1984 ghcr.io/scaleapi/mcp-atlas`)?"
        try:
            value = json.loads(body)
            if status != 200 or not isinstance(value, list):
                raise ValueError("no list")
            listed = [
                Listed(str(one["name"]), str(one.get("description") or ""), one.get("inputSchema") or {})
                for one in value[: 100 * MAX_LOOKED_AT]
            ]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise EnvironmentFault(
                f"{self._url}/list-tools: no list of tools (HTTP {status}); {mend}"
            ) from error
        return under_own_names(listed)

    async def call(self, call: ToolCall) -> ToolResult:
        """Run one call. What the tool or the server says against it is an error result; raises EnvironmentFault when
        the server is gone."""
        import httpx2

        body = {"tool_name": call.name, "tool_args": dict(call.arguments)}
        try:
            status, answer = await self._post("call-tool", body, CALL)
        except httpx2.TimeoutException:
            return failed(call, f"{call.name} did not answer within {CALL:.0f} s")
        except _TooMuch:
            return failed(call, f"{call.name} answered with more than {MAX_BYTES:,} bytes; ask for less")
        try:
            value = json.loads(answer)
            if status != 200:
                return failed(call, _detail(value) or f"{call.name}: HTTP {status}")
            texts = [printable(str(block["text"])) for block in value if block["type"] == "text"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return failed(call, f"{call.name}: no usable answer (HTTP {status})")
        text = shown(texts, len(value) - len(texts))
        return ToolResult(call.id, call.name, text if text.strip() else EMPTY)

    async def _post(self, what: str, body: Any, seconds: float) -> tuple[int, bytes]:
        """Status and bytes of the answer. Raises _TooMuch, TimeoutException once it was reached, EnvironmentFault."""
        import httpx2

        url = f"{self._url}/{what}"
        answer = bytearray()
        try:
            async with self._client.stream("POST", url, json=body, timeout=seconds) as response:
                async for chunk in response.aiter_bytes():
                    answer += chunk
                    if len(answer) > MAX_BYTES:
                        raise _TooMuch
                return response.status_code, bytes(answer)
        except httpx2.ConnectTimeout as error:
            raise EnvironmentFault(
                f"{url}: no server answers there; name the tool server's address"
            ) from error
        except httpx2.TimeoutException:
            if what == "call-tool":
                raise
            raise EnvironmentFault(f"{url}: no answer within {seconds:.0f} s") from None
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise EnvironmentFault(f"{url}: {error}; name the address of MCP Atlas's tool server") from error


def _detail(value: Any) -> str:
    """What FastAPI says of a refusal."""
    detail = value.get("detail") if isinstance(value, dict) else None
    return printable(detail if isinstance(detail, str) else json.dumps(detail)) if detail else ""
