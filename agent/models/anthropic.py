"""Claude models over Anthropic's Messages API, always streamed."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from agent.errors import ModelError, UsageError
from agent.models.anthropic_wire import STOPS, Answer, BrokenAnswer, build_request, merged
from agent.types import Message, Reply, ToolCall, ToolSpec, Usage

if TYPE_CHECKING:
    from anthropic import APIStatusError, AsyncAnthropic, AsyncStream
    from anthropic.types import RawMessageStreamEvent
    from tenacity import RetryCallState

CONNECT_SECONDS = 15.0
READ_SECONDS = 180.0
"""Between two pieces of an answer; the API pings far more often."""
REQUEST_SECONDS = 1200.0
"""For one whole answer, so that pings alone can't keep a request alive for ever."""

TRIES = 8
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
RETRY_SECONDS = 900.0
"""No retry starts later than this after the first try, whatever the provider asks for."""

MAX_PAUSES = 8

_TRANSIENT_STATUS = (408, 409, 429)
_PERMANENT_TYPES = (
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
)
_MENDS = {
    401: "check ANTHROPIC_API_KEY",
    402: "check the account's billing",
    403: "the key may not use this model",
    404: "check the model's name and ANTHROPIC_BASE_URL",
    413: "the conversation is too large for one request",
}


class _Transient(Exception):
    """A fault that another try may not meet. `wait` is what the provider asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class AnthropicModel:
    """One attempt's conversation with a Claude model. Key and base URL come from the SDK's own variables.

    Transient faults are retried here and nowhere else; `on_retry(try, reason, wait_seconds)` hears of each.
    Only answers that arrived whole count in Usage.
    """

    repeats_itself = False

    def __init__(
        self,
        name: str,
        thinking: str | None = None,
        on_retry: Callable[[int, str, float], None] | None = None,
    ) -> None:
        self.spec = f"anthropic/{name}"
        self.on_retry = on_retry
        self._name = name
        self._thinking = thinking
        self._client: AsyncAnthropic | None = None

    async def warm(self) -> None:
        """Import the SDK (over a second) and open the client, in a thread. `reply` does it if nobody did."""
        if self._client is None:
            self._client = await anyio.to_thread.run_sync(_client)

    async def reply(self, system: str, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Reply:
        """Answer the conversation. Raises ModelError when the provider failed for good."""
        request = build_request(self._name, self._thinking, system, messages, tools)
        await self.warm()
        content: list[dict[str, Any]] = []
        usage = Usage()
        for _ in range(MAX_PAUSES):
            answer = await self._retried(request)
            content += answer.content
            usage += answer.usage
            if answer.stop_reason != "pause_turn":
                return self._as_reply(content, usage, answer)
            # A paused turn is handed back as it is, and the model goes on with it.
            request["messages"] = merged(
                [*request["messages"], {"role": "assistant", "content": answer.content}]
            )
        raise ModelError(f"{self.spec}: paused its turn {MAX_PAUSES} times in a row")

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _as_reply(self, content: list[dict[str, Any]], usage: Usage, answer: Answer) -> Reply:
        text = "\n".join(block["text"] for block in content if block["type"] == "text")
        stop = STOPS.get(answer.stop_reason, "end")
        if stop == "refusal":
            # What was begun before a refusal is void; it must not come back as a conversation.
            return Reply("\n".join(filter(None, (text, answer.explanation))), (), usage, None, "refusal")
        calls = tuple(
            ToolCall(block["id"], block["name"], block["input"])
            for block in content
            if block["type"] == "tool_use"
        )
        if stop != "length":
            stop = "tool_use" if calls else "end"
        # The whole content, not only the thinking: its order is part of what must come back unchanged.
        data = {"anthropic": {"model": self._name, "content": content}}
        return Reply(text, calls, usage, None, stop, data)  # type: ignore[arg-type]

    async def _retried(self, request: Mapping[str, Any]) -> Answer:
        from tenacity import (
            AsyncRetrying,
            retry_if_exception_type,
            stop_after_attempt,
            stop_before_delay,
            wait_random_exponential,
        )

        backoff = wait_random_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS)

        def wait(state: RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            asked = fault.wait if isinstance(fault, _Transient) else None
            return asked if asked is not None else backoff(state)

        def note(state: RetryCallState) -> None:
            fault = state.outcome.exception() if state.outcome else None
            if self.on_retry is not None:
                self.on_retry(state.attempt_number, str(fault), state.upcoming_sleep)

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Transient),
            wait=wait,
            stop=stop_after_attempt(TRIES) | stop_before_delay(RETRY_SECONDS),
            before_sleep=note,
            sleep=anyio.sleep,
            reraise=True,
        )
        try:
            return await retrying(self._once, request)
        except _Transient as fault:
            tries = retrying.statistics["attempt_number"]
            asked = f" and asks to wait {fault.wait:.0f} s" if fault.wait else ""
            raise ModelError(f"{self.spec}: {fault}{asked}; gave up at try {tries}") from fault

    async def _once(self, request: Mapping[str, Any]) -> Answer:
        """One request. Raises _Transient or ModelError; cancelling closes the connection."""
        import anthropic
        import httpx2

        assert self._client is not None
        try:
            with anyio.fail_after(REQUEST_SECONDS):
                async with await self._client.messages.create(**request, stream=True) as stream:
                    return await _read(stream)
        except anthropic.APIStatusError as error:
            raise self._judged(error) from error
        except (anthropic.AnthropicError, httpx2.RequestError) as error:
            raise self._unreachable(error) from error
        except TimeoutError as error:
            raise _Transient(f"no whole answer in {REQUEST_SECONDS:.0f} s") from error

    def _judged(self, error: APIStatusError) -> _Transient | ModelError:
        """A refused request, or (status 200) an answer that broke off with an error event."""
        status, said = error.status_code, self._one_line(error.api_message or error.message)
        kind = f" {self._one_line(error.type)}" if isinstance(error.type, str) else ""
        if status == 200:
            reason = f"{kind.strip() or 'error'} in mid-answer: {said}"
            transient = error.type not in _PERMANENT_TYPES
        else:
            reason = f"HTTP {status}{kind}: {said}"
            advice = error.response.headers.get("x-should-retry")
            transient = (status in _TRANSIENT_STATUS or status >= 500) if advice is None else advice == "true"
        if transient:
            return _Transient(reason, _retry_after(error.response.headers))
        mend = f" ({_MENDS[status]})" if status in _MENDS else ""
        return ModelError(f"{self.spec}: {reason}{mend}")

    def _unreachable(self, error: Exception) -> _Transient | ModelError:
        import httpx2

        host = self._client.base_url.host if self._client else ""
        chain = list(_causes(error))
        reason = f"no answer from {host}: {self._one_line(str(chain[-1]) or type(chain[-1]).__name__)}"
        hopeless = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, ssl.SSLCertVerificationError)
        if any(isinstance(one, hopeless) for one in chain):
            return ModelError(f"{self.spec}: {reason} (check ANTHROPIC_BASE_URL)")
        return _Transient(reason)

    def _one_line(self, said: object) -> str:
        """What the provider said, fit for a message: one line, printable, short, without the key."""
        assert self._client is not None
        text = str(said)  # the SDK hands on whatever JSON value stood there
        for key in (self._client.api_key, self._client.auth_token):
            if key:
                text = text.replace(key, "[key]")
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= 300 else text[:299] + "…"


async def _read(stream: AsyncStream[RawMessageStreamEvent]) -> Answer:
    answer = Answer()
    try:
        async for event in stream:
            answer.add(event.to_dict(warnings=False))
        answer.finish()
    except BrokenAnswer as error:
        raise _Transient(str(error)) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        # Garbage on the wire; the SDK doesn't validate what it streams.
        raise _Transient(f"the answer was not readable ({type(error).__name__})") from error
    return answer


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait, if it says so in one of the three usual ways."""
    value = headers.get("retry-after", "")
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        elif value[:1].isalpha():
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        else:
            seconds = float(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _causes(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _client() -> AsyncAnthropic:
    import anthropic
    import httpx2

    try:
        return anthropic.AsyncAnthropic(
            max_retries=0,
            timeout=anthropic.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        )
    except (ValueError, httpx2.InvalidURL) as error:
        raise UsageError(f"ANTHROPIC_BASE_URL is not a URL: {error}") from error
