"""The ways to Anthropic's Messages API: its own by HTTP, and those of clouds by its SDK, which knows their logins."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from agent.models.faults import ErrorAnswer

if TYPE_CHECKING:
    import httpx2

Platform = Literal["anthropic", "vertex", "bedrock"]
VERSION = "2026-10-21"


class Client(Protocol):
    """A way to the API of one platform. Its errors are judged by AnthropicApi."""

    @property
    def host(self) -> str: ...

    @property
    def secrets(self) -> Sequence[object]:
        """What must not be told."""

    def events(
        self, request: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[AsyncIterator[Mapping[str, Any]]]:
        """Send a request and read the events of its answer. Raises ErrorAnswer, or what its transport raises."""

    async def close(self) -> None: ...


class Direct:
    """Anthropic's own: keys and the URL are in the variables that its SDK has them in."""

    def __init__(self, timeout: httpx2.Timeout) -> None:
        from agent.models import sse

        found = (os.environ.get(name) or None for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"))
        self.secrets = [next((key for key in found if key), None)]
        headers = {
            "authorization": f"Bearer {self.secrets[0]}",
            "anthropic-version": VERSION,
            "user-agent": "assay",
        }
        more = (line.partition(":") for line in os.environ.get("ANTHROPIC_CUSTOM_HEADERS", "").split("\n"))
        headers |= {name.strip().lower(): value.strip() for name, colon, value in more if colon}
        url = os.environ.get("ANTHROPIC_BASE_URL") or "https://api.anthropic.com"
        self._client = sse.Client(url, headers, timeout)
        self.host = self._client.url.host
        self.close = self._client.close

    @asynccontextmanager
    async def events(self, request: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
        async with self._client.events("v1/messages", {**request, "stream": True}) as events:
            yield (json.loads(data) async for name, data in events if name and name != "ping")


class Cloud:
    """Vertex AI or Bedrock by Anthropic's SDK, which knows their logins."""

    def __init__(self, platform: Platform, timeout: httpx2.Timeout) -> None:
        import anthropic

        made = anthropic.AsyncAnthropicVertex if platform == "vertex" else anthropic.AsyncAnthropicBedrock
        self._client: Any = made(max_retries=0, timeout=timeout)
        self.close = self._client.close

    @property
    def host(self) -> str:
        return str(self._client.base_url.host)

    @property
    def secrets(self) -> Sequence[object]:
        names = ("api_key", "auth_token", "access_token", "aws_secret_key", "aws_session_token")
        found = [getattr(self._client, name, None) for name in names]
        # the last is Vertex AI's, of this hour
        return [*found, getattr(getattr(self._client, "credentials", None), "token", None)]

    @asynccontextmanager
    async def events(self, request: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
        import anthropic

        try:
            async with await self._client.messages.create(**request, stream=True) as stream:
                yield (event.to_dict(warnings=False) async for event in stream)
        except anthropic.APIStatusError as error:
            body = error.body if isinstance(error.body, str) else json.dumps(error.body)
            raise ErrorAnswer(error.status_code, error.response.headers, body) from error
