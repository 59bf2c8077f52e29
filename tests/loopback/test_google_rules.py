"""The loopback APIs must refuse what the real ones refuse, or tests over them prove nothing."""

from __future__ import annotations

import copy
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.loopback.google_rules import SKIP, TOP_KEYS, cache_faults, faults, implicit
from tests.loopback.google_server import KEY, Answer, GoogleDialect, GoogleServer

SIGNED = {"functionCall": {"id": "c1", "name": "shell", "args": {}}, "thoughtSignature": "++//YQ=="}
SECOND = {"functionCall": {"id": "c2", "name": "diff", "args": {}}}
ISSUED = [[{"text": "Hm.", "thought": True}, {"text": "Yes."}, SIGNED, SECOND]]
GOOD: dict[str, Any] = {
    "model": "gemini-3.6-flash",
    "systemInstruction": {"parts": [{"text": "Mend."}]},
    "tools": [{"functionDeclarations": [{"name": "shell", "parametersJsonSchema": {"type": "object"}}]}],
    "generationConfig": {"maxOutputTokens": 100, "thinkingConfig": {"thinkingLevel": "LOW"}},
    "contents": [
        {"role": "user", "parts": [{"text": "Go."}]},
        # The SDK writes the other alphabet of base64.
        {"role": "model", "parts": [*ISSUED[0][:2], {**SIGNED, "thoughtSignature": "--__YQ=="}, SECOND]},
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "c1", "name": "shell", "response": {"output": "ok"}}},
                {"functionResponse": {"id": "c2", "name": "diff", "response": {"error": "no"}}},
            ],
        },
    ],
}


def parts(body: dict[str, Any], number: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body["contents"][number]["parts"]
    return found


def config(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["generationConfig"]
    return found


def test_a_good_request_has_no_faults() -> None:
    assert faults(GOOD, ISSUED) == []


def test_a_later_text_ends_the_demand_for_signatures() -> None:
    body = copy.deepcopy(GOOD)
    parts(body, 1)[2].pop("thoughtSignature")
    assert any("missing a thought_signature" in fault for fault in faults(body))
    parts(body, 2).append({"text": "And now?"})
    assert faults(body) == []


BAD: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown field": (lambda b: b.update(topK=1), "Unknown name"),
    "unknown field of a part": (lambda b: parts(b, 0)[0].update(data=1), "Content"),
    "unknown field of the configuration": (lambda b: config(b).update(toolConfig={}), "GenerationConfig"),
    "unknown field of a tool": (lambda b: b["tools"][0].update(strict=True), "Tool"),
    "unknown thinking level": (lambda b: config(b)["thinkingConfig"].update(thinkingLevel="MAX"), "level"),
    "level and budget": (lambda b: config(b)["thinkingConfig"].update(thinkingBudget=1), "only one"),
    "no contents": (lambda b: b["contents"].clear(), "not specified"),
    "no user first": (lambda b: b["contents"].pop(0), "the user first"),
    "two users": (lambda b: b["contents"].pop(1), "alternate"),
    "model last": (lambda b: b["contents"].pop(2), "ends with a user"),
    "empty content": (lambda b: parts(b, 0).clear(), "must not be empty"),
    "empty text": (lambda b: parts(b, 0)[0].update(text=""), "oneof"),
    "empty part": (lambda b: parts(b, 0).append({}), "oneof"),
    "part with two data": (lambda b: parts(b, 1)[3].update(text="x"), "oneof"),
    "call without answer": (lambda b: parts(b, 2).pop(), "number of function response parts"),
    "answer without call": (lambda b: parts(b, 1).pop(), "number of function response parts"),
    "answers in another order": (lambda b: parts(b, 2).reverse(), "asked for"),
    "answer with another name": (lambda b: parts(b, 2)[0]["functionResponse"].update(name="x"), "asked for"),
    "answer without the id": (lambda b: parts(b, 2)[0]["functionResponse"].pop("id"), "asked for"),
    "answer of no kind": (
        lambda b: parts(b, 2)[0]["functionResponse"].update(response={}),
        "output or error",
    ),
    "id twice": (lambda b: parts(b, 1)[3]["functionCall"].update(id="c1"), "duplicate"),
    "signature left out": (lambda b: parts(b, 1)[2].pop("thoughtSignature"), "Corrupted"),
    "signature changed": (lambda b: parts(b, 1)[2].update(thoughtSignature="YQ=="), "not valid"),
    "signature replaced": (lambda b: parts(b, 1)[2].update(thoughtSignature=SKIP), "Corrupted"),
    "signature on another part": (
        lambda b: parts(b, 1)[3].update(thoughtSignature=parts(b, 1)[2].pop("thoughtSignature")),
        "Corrupted",
    ),
    "signed part changed": (lambda b: parts(b, 1)[2]["functionCall"].update(args={"a": 1}), "Corrupted"),
    "signature of the user": (lambda b: parts(b, 0)[0].update(thoughtSignature=SKIP), "user turn"),
    "schema and tools": (lambda b: config(b).update(responseMimeType="application/json"), "unsupported"),
    "schema of plain text": (lambda b: config(b).update(responseJsonSchema={}), "response_mime_type"),
    "cache and system prompt": (lambda b: b.update(cachedContent="cachedContents/1"), "can not be used"),
    "tool twice": (
        lambda b: b["tools"][0]["functionDeclarations"].append(b["tools"][0]["functionDeclarations"][0]),
        "Duplicate",
    ),
    "tool with a space": (lambda b: b["tools"][0]["functionDeclarations"][0].update(name="a b"), "name"),
    "tool with a list": (
        lambda b: b["tools"][0]["functionDeclarations"][0].update(parametersJsonSchema={"type": "array"}),
        "OBJECT",
    ),
}


@pytest.mark.filterwarnings("ignore:MAX is not a valid ThinkingLevel")
@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_refused(name: str) -> None:
    change, says = BAD[name]
    body = copy.deepcopy(GOOD)
    change(body)
    assert any(says in fault for fault in faults(body, ISSUED)), faults(body, ISSUED)


def test_what_is_larger_than_the_window_is_refused() -> None:
    assert "exceeds the maximum number of tokens" in faults(GOOD, ISSUED, window=50)[0]


def test_the_known_fields_are_those_of_the_sdk() -> None:
    """All that the SDK writes into a request, but what only Vertex AI or other endpoints take."""
    from google.genai import models

    source = Path(str(models.__file__)).read_text()
    begin = source.index("def _GenerateContentConfig_to_mldev(")
    body = source[begin : source.index("\ndef ", begin + 1)]
    written = set(re.findall(r"parent_object,\s*\['(\w+)'", body))
    assert written - TOP_KEYS <= {"labels", "serviceTier", "store", "continuationToken"}
    assert TOP_KEYS - written == {"contents", "generationConfig", "model"}


def test_a_cache_is_refused_that_the_api_would_not_make() -> None:
    good = {"model": "models/m", "ttl": "600s", "displayName": "x", "systemInstruction": {"parts": []}}
    assert cache_faults(good, 3) == []
    assert "too small" in cache_faults(good, 4096)[0]
    assert "Unknown name" in cache_faults({**good, "generationConfig": {}}, 1)[0]
    assert "ttl" in cache_faults({**good, "ttl": "600"}, 1)[0]


def test_the_implicit_cache_reads_only_what_came_before() -> None:
    cache: set[str] = set()
    longer = copy.deepcopy(GOOD)
    longer["contents"] += [
        {"role": "model", "parts": [{"text": "Done."}]},
        {"role": "user", "parts": [{"text": "Thanks."}]},
    ]
    other = {**copy.deepcopy(longer), "systemInstruction": {"parts": [{"text": "Break."}]}}
    assert implicit(GOOD, cache, 10) == 0
    assert implicit(longer, cache, 10) > 100
    assert implicit(longer, cache, 10_000) == 0
    assert implicit(other, cache, 10) == 0


def post(server: GoogleServer, path: str, body: Any, method: str = "POST") -> Any:
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"{server.base_url}/v1/{path}", data, method=method)
    request.add_header("x-goog-api-key", KEY)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as response:
        return json.loads(response.read() or b"null")


GENERATE = "models/gemini-3.6-flash:streamGenerateContent?alt=sse"


def test_a_violation_fails_the_test_that_caused_it() -> None:
    with (
        pytest.raises(AssertionError, match="not specified"),
        GoogleServer([Answer("Hi.")]) as server,
        pytest.raises(urllib.error.HTTPError, match="400"),
    ):
        post(server, GENERATE, {})


def test_caches_are_made_listed_by_pages_extended_and_deleted() -> None:
    held = {"model": "models/m", "ttl": "600s", "systemInstruction": {"parts": [{"text": "Mend."}]}}
    with GoogleServer([], GoogleDialect(cache_min=5)) as server:
        first, second = post(server, "cachedContents", held), post(server, "cachedContents", held)
        page = post(server, "cachedContents", None, "GET")
        token = page["nextPageToken"]
        rest = post(server, f"cachedContents?pageSize=100&pageToken={token}", None, "GET")
        assert [one["name"] for one in page["cachedContents"] + rest["cachedContents"]] == [
            first["name"],
            second["name"],
        ]
        assert "held" not in first and "systemInstruction" not in first
        later = post(server, first["name"], {"ttl": "3600s"}, "PATCH")
        assert later["expireTime"] > first["expireTime"]
        with pytest.raises(urllib.error.HTTPError, match="400"):
            post(server, first["name"], {"displayName": "y"}, "PATCH")
        post(server, first["name"], None, "DELETE")
        for method in ("GET", "PATCH", "DELETE"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                post(server, first["name"], {"ttl": "1s"}, method)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            post(server, GENERATE, {"cachedContent": first["name"], "contents": GOOD["contents"][:1]})
    assert server.google.unanswered == 1 and server.requests == []


def test_a_cache_belongs_to_one_model() -> None:
    held = {"model": "models/another", "ttl": "600s", "systemInstruction": {"parts": [{"text": "Mend."}]}}
    with (
        pytest.raises(AssertionError, match="has to be the same"),
        GoogleServer([Answer("Hi.")], GoogleDialect(cache_min=5)) as server,
    ):
        name = post(server, "cachedContents", held)["name"]
        with pytest.raises(urllib.error.HTTPError, match="400"):
            post(server, GENERATE, {"cachedContent": name, "contents": GOOD["contents"][:1]})
