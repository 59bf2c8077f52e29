"""MCP over lines of JSON-RPC, for a server that has tools and nothing else.

Two eras: up to 2025-11-25 a client says `initialize` first; from 2026-07-28 on there is no session, every request
carries its version in `_meta`, and `server/discover` tells what the server can.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tools.tool import Result

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
INFO = {"name": "assay-tools", "version": "1"}

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
UNSUPPORTED_VERSION = -32022

Message = dict[str, Any]


def encoded(message: Mapping[str, Any]) -> bytes:
    """One line of the wire."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def failure(request_id: Any, code: int, message: str, data: Any = None) -> Message:
    error: Message = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": request_id, "error": error}


def success(request_id: Any, result: Message, *, modern: bool) -> Message:
    if modern:
        result = {"resultType": "complete", "_meta": {"io.modelcontextprotocol/serverInfo": INFO}, **result}
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def tool_result(result: Result) -> Message:
    content: Message = {"content": [{"type": "text", "text": result.text}], "isError": result.is_error}
    if result.data is not None:
        content["structuredContent"] = result.data
    return content


def is_modern(params: Mapping[str, Any]) -> bool:
    """Whether a request speaks the era without sessions. Raises ValueError with the version when it is unknown."""
    meta = params.get("_meta")
    version = meta.get("io.modelcontextprotocol/protocolVersion") if isinstance(meta, dict) else None
    if version not in (None, MODERN, *LEGACY):
        raise ValueError(str(version))
    return version == MODERN


def answer(method: str, params: Mapping[str, Any], tools: list[Message], *, modern: bool) -> Message | None:
    """The result of any request but `tools/call`; None for a method that this server does not have."""
    cache = {"ttlMs": 0, "cacheScope": "private"} if modern else {}
    if method == "tools/list":
        return {"tools": tools, **cache}
    if method == "ping":
        return {}
    if method == "initialize" and not modern:
        wanted = params.get("protocolVersion")
        version = wanted if wanted in LEGACY else LEGACY[0]
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": INFO}
    if method == "server/discover" and modern:
        return {"supportedVersions": [MODERN], "capabilities": {"tools": {}}, **cache}
    return None
