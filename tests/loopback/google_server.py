"""generateContent and cachedContents on loopback: the Gemini API, and Vertex AI."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.loopback.google_rules import cache_faults, faults, implicit, signature, tokens
from tests.loopback.server import KEY, Answer, Fault, Server, pieces, sse

__all__ = ["KEY", "Answer", "Fault", "GoogleDialect", "GoogleServer", "GoogleVertexDialect", "detailed"]

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def detailed(status: int, message: str, *details: Mapping[str, Any]) -> Fault:
    """A refusal with machine-readable details (google.rpc.RetryInfo and the like)."""
    error = {"code": status, "message": message, "status": _STATUS[status], "details": list(details)}
    return Fault(status, page=json.dumps({"error": error}))


class GoogleDialect:
    """The Gemini API. An answer's `stop` is a finish reason, or `prompt:REASON` for a prompt that was blocked."""

    def __init__(
        self,
        *,
        ids: bool = True,
        window: int = 1_048_576,
        implicit_min: int = 1024,
        cache_min: int = 4096,
        caches: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        self._ids = ids
        self._window = window
        self._implicit_min = implicit_min
        self._cache_min = cache_min
        self.caches = {} if caches is None else caches
        """By name; `held` is what was put in."""
        self.calls: list[str] = []
        """Methods of the requests about caches, in their order."""
        self.failing: dict[str, int] = {}
        """Methods that fail, with their status."""
        self.unanswered = 0
        """Requests that were refused because their cache has gone."""

    def environ(self, base_url: str) -> dict[str, str]:
        return {"GOOGLE_GEMINI_BASE_URL": base_url, "GEMINI_API_KEY": KEY}

    def prefix(self) -> str:
        return "/v1/"

    def publisher(self) -> str:
        return ""

    def refused(self, method: str, path: str, headers: Mapping[str, str]) -> Fault | None:
        where = re.escape(self.prefix())
        known = f"{where}{self.publisher()}models/[^/:]+:streamGenerateContent\\?alt=sse"
        known += f"|{where}cachedContents(/[^/?]+)?(\\?.*)?"
        if not re.fullmatch(known, path):
            return Fault(404, message=f"Not found: {path}")
        return self.unknown_key(headers)

    def unknown_key(self, headers: Mapping[str, str]) -> Fault | None:
        if headers["x-goog-api-key"] == KEY:
            return None
        reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
        return detailed(400, "API key not valid. Please pass a valid API key.", reason)

    def body(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "model": path.rpartition("/")[2].partition(":")[0]}

    def faults(self, body: Mapping[str, Any], issued: Sequence[Any]) -> list[str]:
        held = self.caches.get(body.get("cachedContent", ""), {})
        found = faults(body, issued, self._window)
        if held and held["model"].rpartition("/")[2] != body["model"]:
            found.append("Model used by GenerateContent request and CachedContent has to be the same.")
        return found

    def content(self, answer: Answer, number: int) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        if answer.thinking:
            parts.append({"text": answer.thinking, "thought": True})
        if answer.text:
            parts.append({"text": answer.text})
        for place, (name, given) in enumerate(answer.tool_calls):
            call: dict[str, Any] = {"name": name, "args": _object(given)}
            if self._ids:
                call["id"] = f"call{number}{place}"
            parts.append({"functionCall": call, **(_signed(number) if place == 0 else {})})
        if not answer.tool_calls:
            parts.append({"text": "", **_signed(number)})  # where a stream has it
        return parts

    def frames(self, answer: Answer, content: Any, body: Mapping[str, Any], cache: set[str]) -> list[bytes]:
        held = self.caches.get(body.get("cachedContent", ""))
        read = implicit(body, cache, self._implicit_min)
        prompt = tokens(body)
        if held is not None:
            read = tokens(held["held"])
            prompt += read
        usage = {"promptTokenCount": prompt, **({"cachedContentTokenCount": read} if read else {})}
        return [sse("", json.dumps(event, ensure_ascii=False)) for event in _events(answer, content, usage)]

    def carried(self, body: Mapping[str, Any]) -> bool:
        return any(signature(part) for content in body["contents"] for part in content["parts"])

    def content_type(self) -> str:
        return "text/event-stream"

    def error(self, fault: Fault) -> bytes:
        code = fault.status if fault.status != 200 else 503
        status = fault.kind or _STATUS.get(code, "UNKNOWN")
        error: dict[str, Any] = {"code": code, "message": fault.message, "status": status}
        return json.dumps({"error": error}).encode()

    def broken(self, fault: Fault) -> bytes:
        return sse("", self.error(fault).decode())

    def garbage(self) -> bytes:
        return sse("", '{"candidates": [{"content": <')

    def ping(self) -> bytes:
        return sse("", json.dumps({"usageMetadata": {"promptTokenCount": 1}}))

    # --- caches

    def other(
        self, method: str, path: str, headers: Mapping[str, str], body: dict[str, Any]
    ) -> tuple[int, bytes] | None:
        """Requests about caches, and those with a cache that has gone."""
        if ":streamGenerateContent" in path:
            name = body.get("cachedContent")
            if name is None or self._alive(name):
                return None
            self.unanswered += 1
            return 403, self.error(Fault(403, message="CachedContent not found (or permission denied)"))
        self.calls.append(method)
        if method in self.failing:
            status = self.failing[method]
            return status, self.error(Fault(status, message="Not today"))
        name = urllib.parse.urlsplit(path).path.removeprefix(self.prefix())
        name = self.resource(name)
        if name.endswith("cachedContents"):
            return self._create(name, body) if method == "POST" else self._list(path)
        if not self._alive(name):
            return 403, self.error(Fault(403, message="CachedContent not found (or permission denied)"))
        if method == "DELETE":
            del self.caches[name]
            return 200, b"{}"
        if method == "PATCH":
            if body.keys() != {"ttl"}:
                return 400, self.error(Fault(400, message="only the expiration can be changed"))
            self.caches[name]["expireTime"] = _after(body["ttl"])
        return 200, _shown(self.caches[name])

    def resource(self, path: str) -> str:
        return path

    def _alive(self, name: str) -> bool:
        end = self.caches.get(name, {}).get("expireTime", "")
        return bool(end) and datetime.fromisoformat(end) > datetime.now(UTC)

    def _create(self, collection: str, body: dict[str, Any]) -> tuple[int, bytes]:
        found = cache_faults(body, self._cache_min)
        if found:
            return 400, self.error(Fault(400, message="; ".join(found)))
        name = f"{collection}/made{len(self.calls)}x{len(self.caches)}"
        self.caches[name] = {
            "name": name,
            "model": body["model"],
            "displayName": body.get("displayName", ""),
            "expireTime": _after(body["ttl"]),
            "usageMetadata": {"totalTokenCount": tokens(body)},
            "held": {key: body[key] for key in ("tools", "systemInstruction") if key in body},
        }
        return 200, _shown(self.caches[name])

    def _list(self, path: str) -> tuple[int, bytes]:
        """One cache a page, so that a client must ask on."""
        alive = [cache for name, cache in sorted(self.caches.items()) if self._alive(name)]
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
        place = int(query.get("pageToken", ["0"])[0])
        page: dict[str, Any] = {
            "cachedContents": [json.loads(_shown(one)) for one in alive[place : place + 1]]
        }
        if place + 1 < len(alive):
            page["nextPageToken"] = str(place + 1)
        return 200, json.dumps(page).encode()


class GoogleVertexDialect(GoogleDialect):
    """Vertex AI; the token is what the loopback token server gave (see google_token.py)."""

    def environ(self, base_url: str) -> dict[str, str]:
        return {
            "GOOGLE_VERTEX_BASE_URL": base_url,
            "GOOGLE_CLOUD_PROJECT": "a-project",
            "GOOGLE_CLOUD_LOCATION": "europe-west1",
        }

    def prefix(self) -> str:
        return "/v1beta1/projects/a-project/locations/europe-west1/"

    def publisher(self) -> str:
        return "publishers/google/"

    def resource(self, path: str) -> str:
        return self.prefix().removeprefix("/v1beta1/") + path

    def unknown_key(self, headers: Mapping[str, str]) -> Fault | None:
        return None if headers["authorization"] == f"Bearer {KEY}" else Fault(401, message="invalid token")


class GoogleServer(Server):
    def __init__(self, replies: Sequence[Answer | Fault], dialect: GoogleDialect | None = None) -> None:
        self.google = dialect or GoogleDialect()
        super().__init__(self.google, replies)


def _signed(number: int) -> dict[str, str]:
    """A signature with the two letters that base64's alphabets differ in."""
    return {"thoughtSignature": base64.b64encode(b"\xfb\xef\xff" + f"thought {number}".encode()).decode()}


def _after(ttl: str) -> str:
    end = datetime.now(UTC) + timedelta(seconds=float(ttl.removesuffix("s")))
    return end.isoformat()


def _shown(cache: Mapping[str, Any]) -> bytes:
    return json.dumps({key: value for key, value in cache.items() if key != "held"}).encode()


def _events(
    answer: Answer, content: Sequence[Mapping[str, Any]], usage: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    shown = {"modelVersion": "loopback", "responseId": "r1", **answer.extra}
    thoughts = len(answer.thinking) // 4
    spoken = len(json.dumps(content)) // 4 + 1
    total = {**usage, "candidatesTokenCount": spoken, "thoughtsTokenCount": thoughts, **answer.usage}
    begun = {key: value for key, value in total.items() if key != "candidatesTokenCount"}
    if answer.stop.startswith("prompt:"):
        feedback = {"blockReason": answer.stop.partition(":")[2]}
        if answer.explanation:
            feedback["blockReasonMessage"] = answer.explanation
        yield {**shown, "promptFeedback": feedback, "usageMetadata": {**usage, **answer.usage}}
        return
    last: dict[str, Any] = {"index": 0, "finishReason": answer.stop or "STOP"}
    if any("functionCall" in part and part["functionCall"]["args"] is None for part in content):
        content, last["finishReason"] = [], "MALFORMED_FUNCTION_CALL"
    for part in content:
        for piece in _cut(part):
            candidate = {"index": 0, "content": {"role": "model", "parts": [piece]}}
            yield {**shown, "candidates": [{**candidate, **answer.extra}], "usageMetadata": begun}
    if answer.explanation:
        last["finishMessage"] = answer.explanation
    yield {**shown, "candidates": [last], "usageMetadata": total}


def _object(given: Mapping[str, Any] | str) -> Mapping[str, Any] | None:
    """A call's arguments: the API reads them itself, and gives none that it can't read."""
    try:
        value = json.loads(given, parse_constant=_no_number) if isinstance(given, str) else given
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _no_number(word: str) -> None:
    raise ValueError(word)


def _cut(part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "text" not in part or not part["text"]:
        yield part
        return
    for piece in pieces(part["text"]):
        yield {**part, "text": piece}
