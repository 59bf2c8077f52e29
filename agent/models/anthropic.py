"""Claude models over Anthropic's Messages API, always streamed: direct, on Vertex AI, or on Bedrock."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from agent.errors import UsageError
from agent.models import provider
from agent.models.anthropic_client import Client, Cloud, Direct, Platform
from agent.models.anthropic_wire import Reader, build_request, limit_output, on_the_wire
from agent.models.catalogue import ANY_TIER, ModelInfo
from agent.models.faults import (
    ErrorAnswer,
    Fault,
    Kind,
    kind_of,
    may_bill,
    one_line,
    retry_after,
    unreachable,
)
from agent.models.provider import Answer, Try
from agent.types import Message, ToolSpec

_KINDS: Mapping[str, Kind] = {
    "invalid_request_error": "bad_request",
    "authentication_error": "authentication",
    "billing_error": "quota",
    "permission_error": "permission",
    "not_found_error": "not_found",
    "request_too_large": "too_large",
    "rate_limit_error": "rate_limit",
    "timeout_error": "timeout",
    "overloaded_error": "overloaded",
}
"""The API's own error types; any other in mid-answer is the server's."""

_KEYS: Mapping[Platform, str] = {
    "anthropic": "check ANTHROPIC_API_KEY",
    "vertex": "log in with `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
    "bedrock": "check AWS_BEARER_TOKEN_BEDROCK or the AWS credentials",
}
_URLS: Mapping[Platform, str] = {
    "anthropic": "ANTHROPIC_BASE_URL",
    "vertex": "ANTHROPIC_VERTEX_BASE_URL",
    "bedrock": "ANTHROPIC_BEDROCK_BASE_URL",
}


class AnthropicApi:
    """The Messages API for one model. Keys and base URLs come from the SDK's own variables; `lasting`: what comes
    before the conversation is cached for an hour, for later runs too."""

    def __init__(
        self,
        info: ModelInfo,
        thinking: str | int | None,
        platform: Platform = "anthropic",
        *,
        lasting: bool = False,
    ) -> None:
        self._info = info
        self._thinking = thinking
        self._platform = platform
        self._lasting = lasting
        self._client: Client | None = None
        self._known = on_the_wire(info)

    def open(self) -> None:
        import httpx2

        timeout = httpx2.Timeout(provider.READ_SECONDS, connect=provider.CONNECT_SECONDS)
        direct = self._platform == "anthropic"
        try:
            self._client = Direct(timeout) if direct else Cloud(self._platform, timeout)
        except httpx2.InvalidURL as error:
            raise UsageError(f"{_URLS[self._platform]} is not a URL: {error}") from error
        except Exception as error:
            if not isinstance(error, ValueError | ImportError) and not _of_sdk(error):
                raise
            what = "is not a URL" if direct else "or another variable can't work"
            raise UsageError(f"{_URLS[self._platform]} {what}: {one_line(error)}") from error

    def request(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        schema: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        return build_request(
            self._info,
            self._thinking,
            system,
            messages,
            tools,
            schema,
            lasting=self._lasting,
            known=self._known,
        )

    def output_limit(self, request: Mapping[str, Any]) -> int | None:
        limit: int = request["max_tokens"]
        return limit

    def limit_output(self, request: Mapping[str, Any], tokens: int) -> dict[str, Any]:
        return limit_output(request, tokens)

    def billed_besides(self, request: Mapping[str, Any]) -> tuple[int, Decimal]:
        if not self._lasting:
            return 0, Decimal(0)
        written = len(json.dumps([request.get("tools"), request.get("system")], ensure_ascii=False).encode())
        more = [self._info.hour_surcharge(written, total) for total in (0, ANY_TIER)]
        return 0, max((one for one in more if one is not None), default=Decimal(0))

    async def answer(self, request: Mapping[str, Any], seen: Try) -> Answer:
        assert self._client is not None
        reader = Reader(seen)
        async with self._client.events(request) as events:
            try:
                async for event in events:
                    reader.add(event)
                return reader.finish()
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                # Garbage on the wire, which nobody has validated.
                raise _unreadable(error) from error
            finally:
                if self._lasting:
                    usage = seen.usage
                    total = usage.input + usage.cache_read + usage.cache_write
                    seen.extra_usd += self._info.hour_surcharge(reader.hour_written, total) or 0

    def judge(self, error: Exception) -> Fault | None:
        import httpx2

        if isinstance(error, ErrorAnswer):
            return self._refused(error)
        if isinstance(error, httpx2.RequestError) or _of_sdk(error):
            host = self._client.host if self._client else ""
            return unreachable(error, host, f"check {_URLS[self._platform]}", self._secrets())
        if type(error).__module__ == "botocore.eventstream":
            return _unreadable(error)
        return None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _refused(self, error: ErrorAnswer) -> Fault:
        """A refused request, or (status 200) an answer that broke off with an error event."""
        status, said, kind = error.status, one_line(error.message, self._secrets()), error.said("type")
        word = one_line(kind, self._secrets()) if isinstance(kind, str) else ""
        if status == 200:
            kind = _KINDS.get(word, "server")
            return Fault(kind, f"{word or 'error'} in mid-answer: {said}")
        kind = kind_of(status)
        advice = error.headers.get("x-should-retry")
        if kind == "rate_limit" and advice == "false":
            kind = "quota"
        elif kind == "bad_request" and "prompt is too long" in said:
            kind = "overflow"
        mend = {
            "quota": "check the account's billing",
            "authentication": _KEYS[self._platform],
            "permission": "the key may not use this model",
            "not_found": f"check the model's name and {_URLS[self._platform]}",
            "too_large": "the conversation is too large for one request",
        }.get(kind)
        reason = f"HTTP {status}{f' {word}' if word else ''}: {said}{f' ({mend})' if mend else ''}"
        return Fault(kind, reason, retry_after(error.headers), billed=may_bill(status))

    def _secrets(self) -> list[str | None]:
        return [one for one in (self._client.secrets if self._client else ()) if isinstance(one, str)]


def _of_sdk(error: Exception) -> bool:
    """Whether an error is one of Anthropic's SDK, which may not be imported."""
    sdk = sys.modules.get("anthropic")
    return sdk is not None and isinstance(error, sdk.AnthropicError)


def _unreadable(error: Exception) -> Fault:
    return Fault("broken", f"the answer was not readable ({type(error).__name__})")
