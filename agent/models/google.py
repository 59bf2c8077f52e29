"""Gemini models over Google's generateContent API, always streamed: the Gemini API, or Vertex AI."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from agent.errors import UsageError
from agent.models import provider
from agent.models.catalogue import ModelInfo
from agent.models.faults import Fault, kind_of, may_bill, one_line, retry_after, unreachable
from agent.models.google_wire import Reader, build_request
from agent.models.provider import Answer, Try
from agent.types import Message, ToolSpec

if TYPE_CHECKING:
    import httpx2
    from google.genai import Client
    from google.genai.errors import APIError

    from agent.models.google_cache import Caches

_KEY = {
    False: "check GEMINI_API_KEY or GOOGLE_API_KEY",
    True: "log in with `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
}
_URL = {False: "GOOGLE_GEMINI_BASE_URL", True: "GOOGLE_VERTEX_BASE_URL"}
_PLACE = {False: _URL[False], True: "GOOGLE_CLOUD_LOCATION"}
_PERMISSION = {
    False: f"the key may not use this model; {_KEY[False]}",
    True: "the account may not use this model in GOOGLE_CLOUD_PROJECT",
}
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_DRY = re.compile(r"per_?day|credits are depleted|\blimit: 0\b", re.IGNORECASE)
"""In a 429, what no wait of minutes mends, whatever its retryDelay says: a quota of the day, an empty account, a
model that the plan leaves out."""


class GoogleApi:
    """generateContent for one model. Keys, project and base URLs come from the SDK's own variables; `vertex` means
    application default credentials; `lasting`: what comes before the conversation is cached for later runs too."""

    def __init__(
        self,
        info: ModelInfo,
        thinking: str | int | None,
        *,
        vertex: bool = False,
        caches: Caches | None = None,
        lasting: bool = False,
    ) -> None:
        self._info = info
        self._thinking = thinking
        self._vertex = vertex
        self._caches = caches
        self._lasting = lasting
        self._connection: Connection | None = None

    def open(self) -> None:
        self._connection = Connection(self._vertex)

    def request(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        schema: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        platform = "vertex" if on_vertex(self._vertex) else "gemini"
        return build_request(self._info, self._thinking, system, messages, tools, schema, platform)

    def output_limit(self, request: Mapping[str, Any]) -> int | None:
        limit: int = request["config"]["max_output_tokens"]
        return limit

    def limit_output(self, request: Mapping[str, Any], tokens: int) -> dict[str, Any]:
        return {**request, "config": {**request["config"], "max_output_tokens": tokens}}

    def billed_besides(self, request: Mapping[str, Any]) -> tuple[int, Decimal]:
        return (
            self._caches.worst(self._info, request, lasting=self._lasting)
            if self._caches
            else (0, Decimal(0))
        )

    async def answer(self, request: Mapping[str, Any], seen: Try) -> Answer:
        from google.genai.errors import APIError

        assert self._connection is not None
        if self._caches is None:
            return await self._stream(request, seen)
        caches, lasting = self._caches, self._lasting
        async with caches.use(self._connection, self._info, request, seen, lasting=lasting) as cached:
            try:
                return await self._stream(cached.request, seen)
            except APIError as error:
                if not cached.gone(error):
                    raise
        return await self._stream(request, seen)

    async def _stream(self, request: Mapping[str, Any], seen: Try) -> Answer:
        from google.genai import types

        assert self._connection is not None
        reader = Reader(seen, "vertex" if self._connection.vertex else "gemini")
        contents: Any = [types.Content.model_validate(one) for one in request["contents"]]
        config = types.GenerateContentConfig.model_validate(request["config"])
        models = self._connection.client.aio.models
        try:
            stream: Any = await models.generate_content_stream(
                model=request["model"], contents=contents, config=config
            )
            async with aclosing(stream):
                async for chunk in stream:
                    reader.add(chunk)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            # Garbage on the wire, or a page in place of an answer.
            raise Fault("broken", f"the answer was not readable ({type(error).__name__})") from error
        return reader.finish()

    def judge(self, error: Exception) -> Fault | None:
        import httpx2
        from google.auth import exceptions
        from google.genai.errors import APIError

        secrets = self._connection.secrets() if self._connection else []
        host = self._connection.host if self._connection else ""
        if isinstance(error, APIError):
            return self._refused(error, secrets)
        if isinstance(error, exceptions.TransportError) or getattr(error, "retryable", False):
            reason = f"no access token from Google: {one_line(error, secrets)}"
            return Fault("connection", reason, billed=False)
        if isinstance(error, exceptions.GoogleAuthError):
            said = one_line(error, secrets)
            reason = f"no access token from Google: {said} ({_KEY[True]})"
            return Fault("authentication", reason, billed=False)
        if isinstance(error, httpx2.RequestError | httpx2.InvalidURL):
            return unreachable(error, host, f"check {_URL[self._cloud]}", secrets)
        return None

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    @property
    def _cloud(self) -> bool:
        return self._connection.vertex if self._connection else self._vertex

    def _refused(self, error: APIError, secrets: Sequence[str | None]) -> Fault:
        """A refused request, or an answer that broke off with an error object."""
        details = _details(error)
        said = one_line(error.message or error.details, secrets)
        word = one_line(error.status, secrets) if isinstance(error.status, str) else ""
        code = error.code if isinstance(error.code, int) else 500
        kind = kind_of(code)
        revoked = any(one.get("reason") == "API_KEY_INVALID" for one in details)
        if code == 429 and _DRY.search(f"{error.message} {details}"):
            kind = "quota"
        elif code == 400 and "exceeds the maximum number of tokens" in said:
            kind = "overflow"
        elif code == 400 and "payload size exceeds" in said:
            kind = "too_large"
        elif code == 400 and (revoked or "API key not valid" in said):
            kind = "authentication"
        elif code == 499:
            kind = "server"  # cancelled, and not by this side
        mend = {
            "quota": "check the plan, its limits and its billing",
            "authentication": _KEY[self._cloud],
            "permission": _PERMISSION[self._cloud],
            "not_found": f"check the model's name and {_PLACE[self._cloud]}",
            "too_large": "the conversation is too large for one request",
        }.get(kind)
        headers = getattr(error.response, "headers", None) or {}
        if getattr(error.response, "status_code", code) == 200:
            reason = f"{word or code} in mid-answer: {said}{f' ({mend})' if mend else ''}"
        else:
            reason = f"HTTP {code}{f' {word}' if word else ''}: {said}{f' ({mend})' if mend else ''}"
        billed = may_bill(getattr(error.response, "status_code", code))
        return Fault(kind, reason, _delay(details) or retry_after(headers), billed=billed)


class Connection:
    """The SDK's client, and the HTTP client under it. Raises UsageError for a variable that can't work."""

    def __init__(self, vertex: bool) -> None:
        import google.auth
        import httpx2
        from google import genai
        from google.auth.exceptions import GoogleAuthError
        from google.genai import types

        asked = vertex
        self.vertex = vertex = on_vertex(asked)
        self._credentials: Any = None
        variable = _URL[vertex]
        url = os.environ.get(variable) or None
        self.host = "Google"
        project = os.environ.get("GOOGLE_CLOUD_PROJECT") or None
        keys = bool(os.environ.get("GOOGLE_API_KEY") or os.environ.get("GEMINI_API_KEY"))
        place: dict[str, Any] = {}
        try:
            if url is not None:
                self.host = httpx2.URL(url).host or one_line(url)
            if vertex and (asked or project or not keys):
                self._credentials, found = google.auth.default(scopes=[_SCOPE])
                project = project or found
                if not project:
                    raise UsageError("vertex/ models need a project: set GOOGLE_CLOUD_PROJECT")
                place = {"project": project, "location": os.environ.get("GOOGLE_CLOUD_LOCATION") or "global"}
            # With a client of ours the SDK never uses aiohttp, and its times are those of every other provider.
            # (HttpOptions.timeout would be told to the server too, as a limit for the whole answer.)
            self._http = httpx2.AsyncClient(event_hooks={"request": [_limit_waits]})
            retries = types.HttpRetryOptions(attempts=1)
            options = types.HttpOptions(base_url=url, retry_options=retries, httpx_async_client=self._http)
            self.client: Client = genai.Client(
                enterprise=vertex, credentials=self._credentials, http_options=options, **place
            )
        except httpx2.InvalidURL as error:
            raise UsageError(f"{variable} is not a URL: {one_line(error, self.secrets())}") from error
        except GoogleAuthError as error:
            raise UsageError(f"{one_line(error, self.secrets())} ({_KEY[True]})") from error
        except (ValueError, ImportError, OSError) as error:
            said = one_line(error, self.secrets())
            raise UsageError(f"{variable} or another variable can't work: {said}") from error

    def secrets(self) -> list[str | None]:
        names = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
        return [*(os.environ.get(name) for name in names), getattr(self._credentials, "token", None)]

    async def close(self) -> None:
        await self.client.aio.aclose()
        await self._http.aclose()
        self.client.close()


def on_vertex(asked: bool) -> bool:
    """Whether requests go to Vertex AI: asked for, or by the SDK's own variables."""
    names = ("GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_USE_VERTEXAI")
    return asked or any(os.environ.get(name, "").lower() in ("1", "true") for name in names)


async def _limit_waits(request: httpx2.Request) -> None:
    import httpx2

    waits = httpx2.Timeout(provider.READ_SECONDS, connect=provider.CONNECT_SECONDS)
    request.extensions = {**request.extensions, "timeout": waits.as_dict()}


def _details(error: APIError) -> list[Mapping[str, Any]]:
    """The machine-readable part of an error, if it has one."""
    body = error.details
    inner = body.get("error", body) if isinstance(body, dict) else {}
    details = inner.get("details") if isinstance(inner, dict) else None
    return [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []


def _delay(details: Sequence[Mapping[str, Any]]) -> float | None:
    """The wait that google.rpc.RetryInfo asks for, in seconds."""
    for one in details:
        found = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)s", str(one.get("retryDelay", "")))
        if found and math.isfinite(float(found[1])) and float(found[1]) > 0:
            return float(found[1])
    return None
