"""OpenAI's models over the Responses API, and other servers' over Chat Completions, always streamed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from agent.errors import UsageError
from agent.models import chat_wire, provider, responses_wire
from agent.models.catalogue import ModelInfo
from agent.models.faults import Fault, causes, kind_of, may_bill, one_line, retry_after, unreachable
from agent.models.provider import Answer, Try
from agent.types import Message, ToolSpec

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

OPENAI = "https://api.openai.com/v1"
NO_KEY = "no-key"
"""What a server that wants no key gets; the SDK insists on one."""
_LIMITS = ("max_output_tokens", "max_completion_tokens", "max_tokens")
"""What the output limit is called in a request: one of these, where it has one."""


class OpenAIApi:
    """One model of OpenAI or of a compatible server. Key, base URL, organisation and project come from the SDK's own
    variables."""

    def __init__(self, info: ModelInfo, thinking: str | int | None) -> None:
        self._info = info
        self._thinking = thinking
        self._client: AsyncOpenAI | None = None
        self._url = os.environ.get("OPENAI_BASE_URL") or OPENAI
        self._official = _official(self._url)

    def open(self) -> None:
        import httpx2
        import openai

        key = os.environ.get("OPENAI_API_KEY", "")
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise UsageError(
                "OPENAI_API_KEY holds a space, a line break or another character that no key has"
            )
        if not key and self._official:
            raise UsageError("openai/ models need a key: set OPENAI_API_KEY")
        timeout = openai.Timeout(provider.READ_SECONDS, connect=provider.CONNECT_SECONDS)
        try:
            self._client = openai.AsyncOpenAI(
                api_key=key or NO_KEY, base_url=self._url, max_retries=0, timeout=timeout
            )
        except (ValueError, httpx2.InvalidURL) as error:
            raise UsageError(f"OPENAI_BASE_URL is not a URL: {one_line(error, [key])}") from error
        except openai.OpenAIError as error:
            raise UsageError(f"a variable of OpenAI's SDK can't work: {one_line(error, [key])}") from error

    def request(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        schema: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        given = (self._info, self._thinking, system, messages, tools, schema)
        if self._info.api == "responses":
            return responses_wire.build_request(*given)
        return chat_wire.build_request(*given, official=self._official)

    def output_limit(self, request: Mapping[str, Any]) -> int | None:
        return next((request[name] for name in _LIMITS if name in request), None)

    def limit_output(self, request: Mapping[str, Any], tokens: int) -> dict[str, Any]:
        return {**request, **{name: tokens for name in _LIMITS if name in request}}

    def billed_besides(self, request: Mapping[str, Any]) -> tuple[int, Decimal]:
        return 0, Decimal(0)

    async def answer(self, request: Mapping[str, Any], seen: Try) -> Answer:
        assert self._client is not None
        reader: responses_wire.Reader | chat_wire.Reader
        if self._info.api == "responses":
            reader = responses_wire.Reader(seen)
            opened: Any = await self._client.responses.create(**request, stream=True)
        else:
            reader = chat_wire.Reader(seen)
            opened = await self._client.chat.completions.create(**request, stream=True)
        async with opened as stream:
            if "text/html" in stream.response.headers.get("content-type", ""):
                raise Fault("bad_request", f"a web page came instead of an answer ({self._mend_url()})")
            try:
                async for event in stream:
                    reader.add(event.to_dict(warnings=False))
                return reader.finish()
            except Fault as fault:
                raise Fault(fault.kind, one_line(fault, self._secrets())) from fault
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                # Garbage on the wire; the SDK doesn't validate what it streams.
                raise Fault("broken", f"the answer was not readable ({type(error).__name__})") from error

    def judge(self, error: Exception) -> Fault | None:
        import httpx2
        import openai

        if isinstance(error, openai.APIStatusError):
            return self._refused(error)
        if isinstance(error, openai.APIError) and not isinstance(error, openai.APIConnectionError):
            body = error.body if isinstance(error.body, Mapping) else {"message": error.body}
            return responses_wire.mid_answer({"message": error.message, **body}, self._secrets())
        if isinstance(error, openai.OpenAIError | httpx2.RequestError):
            host = self._host()
            running = f"is the server running at {host}?"
            fault = unreachable(error, host, f"check OPENAI_BASE_URL; {running}", self._secrets())
            if not self._official and any(isinstance(one, httpx2.ConnectError) for one in causes(error)):
                text = f"{fault}; {running}" if running not in str(fault) else str(fault)
                return Fault(fault.kind, text, billed=fault.billed)
            return fault
        return None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _refused(self, error: APIStatusError) -> Fault:
        """A request that was refused with an HTTP status."""
        status, headers = error.status_code, error.response.headers
        words = [word for word in (error.code, error.type) if isinstance(word, str) and not word.isdigit()]
        said = _said(error.body, error.response.text)
        kind = responses_wire.error_kind(words, said) or kind_of(status)
        if kind == "rate_limit" and headers.get("x-should-retry") == "false":
            kind = "quota"
        mend = {
            "quota": "check the account's billing",
            "authentication": "check OPENAI_API_KEY",
            "permission": "the key may not use this model",
            "not_found": self._mend_url(),
            "too_large": "the conversation is too large for one request",
        }.get(kind)
        word = one_line(words[0], self._secrets()) if words else ""
        text = one_line(said, self._secrets())
        reason = f"HTTP {status}{f' {word}' if word else ''}: {text}{f' ({mend})' if mend else ''}"
        wait = _wait(headers, said) if status in (429, 503) else None
        return Fault(kind, reason, wait, billed=may_bill(status))

    def _mend_url(self) -> str:
        if self._official:
            return "check the model's name and OPENAI_BASE_URL"
        version = "" if re.search("/v[0-9]", self._url) else ", which usually ends in /v1"
        return f"check the model's name (with Ollama: `ollama pull {self._info.name}`) and OPENAI_BASE_URL{version}"

    def _host(self) -> str:
        url = self._client.base_url if self._client else None
        if url is None or not url.host:
            return one_line(self._url)
        return f"{url.host}:{url.port}" if url.port else url.host

    def _secrets(self) -> list[str | None]:
        return [self._client.api_key] if self._client and self._client.api_key != NO_KEY else []


def _official(url: str) -> bool:
    """Whether OpenAI itself (or Azure for it) serves this URL."""
    host = re.sub("^[a-z]+://", "", url.lower()).partition("/")[0].rpartition("@")[2].partition(":")[0]
    return host.endswith((".openai.com", ".openai.azure.com"))


def _said(body: object, text: str) -> str:
    """What an error's body says; servers shape it in several ways, and proxies send pages."""
    if not isinstance(body, Mapping):
        return str(body) if isinstance(body, str) and "<" not in body else _plain(text)
    said = next((str(body[key]) for key in ("message", "detail", "error") if body.get(key)), text)
    metadata = body.get("metadata")  # OpenRouter's: what the provider behind it said
    behind = metadata.get("raw") if isinstance(metadata, Mapping) else None
    return f"{said}: {behind}" if behind else said


def _plain(page: str) -> str:
    """A page's text."""
    page = re.sub(r"(?is)<(script|style).*?</\1>", " ", page)
    return re.sub(r"<[^>]*>", " ", page).strip() or "no reason given"


def _wait(headers: Mapping[str, str], said: str) -> float | None:
    """Seconds until another try may do: as the headers ask, as the message says, or until the limit that is used up
    is full again."""
    if (asked := retry_after(headers)) is not None:
        return asked
    if told := re.search(r"try again in ([0-9hms.]+)", said, re.IGNORECASE):
        return _seconds(told[1].rstrip("."))
    used_up = [one for one in ("requests", "tokens") if headers.get(f"x-ratelimit-remaining-{one}") == "0"]
    resets = [_seconds(headers.get(f"x-ratelimit-reset-{one}", "")) for one in used_up]
    return max((one for one in resets if one is not None), default=None)


def _seconds(text: str) -> float | None:
    """A duration as OpenAI writes it: 1s, 6m0s, 17ms, 1h2m3s."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:([\d.]+)s)?(?:([\d.]+)ms)?", text)
    if not found or not text:
        return None
    try:
        hours, minutes, seconds, millis = (float(one or 0) for one in found.groups())
    except ValueError:
        return None
    return (hours * 3600 + minutes * 60 + seconds + millis / 1000) or None
