"""GitHub on loopback: a repository with issues, comments, pull requests and real git objects, behind its REST and
GraphQL APIs.

    with GitHub(folder, source) as github:
        github.state.issue(1, "Title", "Text")
        …                       # github.environ holds the variables for a client
    github.calls                # what was asked for, in order

Requests and answers are held against GitHub's own descriptions of its APIs; leaving the block raises AssertionError
with everything that does not agree. `github.faults[k]` spoils call number k (from 0), one of FAULTS.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from graphql import build_schema, graphql_sync

from tests.loopback.github_rest import HANDLERS
from tests.loopback.github_rules import Operation, answer_faults, operation, request_faults
from tests.loopback.github_state import Refuse, State, User, stamp

TOKEN = "ghs_loopbackloopbackloopbackloopback0123"
SCHEMA = build_schema((Path(__file__).parent / "github_schema.graphql").read_text())

FAULTS = ("500", "502 after effect", "lost before", "lost after effect", "429", "403 secondary")
DOWN = "down"
"""From this call on nothing is answered."""


class GitHub:
    def __init__(self, folder: Path, source: Path, **state: Any) -> None:
        self.state = State(folder, source, **state)
        self.state.users[TOKEN] = User("assay-fixer[bot]", "Bot")
        self.calls: list[str] = []
        self.bodies: list[Any] = []
        self.faults: dict[int, str] = {}
        self.violations: list[str] = []
        self.remaining = 5000
        """Of the primary rate limit."""
        self.resets_at = math.inf
        self.skew = 0.0
        """Seconds by which this GitHub's clock is ahead of ours."""
        self.prefix = ""
        """`/api/v3` for an enterprise server."""
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.api = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._http.server_address[1]}"

    @property
    def api_url(self) -> str:
        return f"http://{self.host}{self.prefix}"

    @property
    def environ(self) -> dict[str, str]:
        return {"GITHUB_API_URL": self.api_url, "GITHUB_TOKEN": TOKEN, "NO_PROXY": "127.0.0.1,localhost"}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        if self.violations:
            raise AssertionError("against GitHub's description:\n" + "\n".join(self.violations)) from error

    def wrote(self) -> list[str]:
        """The calls that were not mere reads."""
        return [call for call in self.calls if not call.startswith("GET ") and "graphql" not in call]

    def clock(self) -> float:
        return time.time() + self.skew

    # ---- one request

    def answer(
        self, method: str, target: str, headers: Any, raw: bytes
    ) -> tuple[int, dict[str, str], bytes] | None:
        """Status, headers and body; None for a connection that is cut."""
        with self._lock:
            fault = self._fault(len(self.calls))
            parts = urlsplit(target)
            path = parts.path.removeprefix(self.prefix)
            op = operation(method, path)
            self.calls.append(op.name if op else f"{method} {path}")
            if fault == "500":
                return self._json(500, {"message": "Server Error"})
            if fault in ("lost before", DOWN):
                return None
            if fault == "429":
                return self._json(429, {"message": "Too many requests"}, **{"retry-after": "0"})
            if fault == "403 secondary":
                return self._json(403, {"message": "You have exceeded a secondary rate limit."})
            answer = self._answer(op, method, path, parts.query, headers, raw)
            if fault == "502 after effect":
                return 502, {"content-type": "text/html"}, b"<html>Bad Gateway</html>"
            return None if fault == "lost after effect" else answer

    def _fault(self, number: int) -> str | None:
        down = [at for at, kind in self.faults.items() if kind == DOWN]
        return DOWN if down and number >= min(down) else self.faults.get(number)

    def _answer(
        self, op: Operation | None, method: str, path: str, query: str, headers: Any, raw: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        body = json.loads(raw) if raw else None
        self.bodies.append(body)
        try:
            if path.startswith("/_logs/"):
                return self._log(path, headers)
            user = self._user(headers)
            if method == "POST" and path.rstrip("/") in ("/graphql", "/api/graphql"):
                return self._json(200, self._graphql(user, body))
            if op is None:
                self.violations.append(f"no such operation: {method} {path}")
                raise Refuse(404, "Not Found")
            for fault in request_faults(op, query, body):
                self.violations.append(f"{op.name}: {fault}")
            status, data, more = self._handle(op, user, parse_qs(query), body)
        except Refuse as refused:
            status, data, more = refused.status, refused.body, refused.headers
        if op is not None:
            for fault in answer_faults(op, status, data):
                self.violations.append(f"our own answer to {op.name}: {status}: {fault}")
        return self._json(status, data, **more)

    def _user(self, headers: Any) -> User | None:
        if not headers.get("user-agent"):
            raise Refuse(
                403,
                "Request forbidden by administrative rules: no User-Agent",
            )
        if self.remaining <= 0:
            if self.clock() < self.resets_at:
                raise Refuse(403, "API rate limit exceeded for installation ID 1.")
            self.remaining = 5000
        self.remaining -= 1
        given = headers.get("authorization")
        if given is None:
            return None
        user = self.state.users.get(given.removeprefix("Bearer "))
        if not given.startswith("Bearer ") or user is None:
            raise Refuse(401, "Bad credentials")
        return user

    def _handle(
        self, op: Operation, user: User | None, query: dict[str, list[str]], body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        asked = f"{op.values['owner']}/{op.values['repo']}".lower()
        if asked != self.state.slug.lower() or (self.state.private and not (user and user.reads)):
            raise Refuse(404, "Not Found")
        if op.method != "GET":
            part = (
                "contents"
                if "/git/" in op.template
                else "pull_requests"
                if "/pulls" in op.template
                else "issues"
            )
            if user is None:
                raise Refuse(401, "Requires authentication")
            if part not in user.writes:
                raise Refuse(403, "Resource not accessible by integration")
        more: dict[str, str] = {}
        status, data = HANDLERS[op.name](self, op.values, query, body, user)
        if isinstance(data, list):
            data, more = self._page(op, query, data)
        if status == 302:
            more, data = {"location": data}, {}
        return status, data, more

    def _page(
        self, op: Operation, query: dict[str, list[str]], items: list[Any]
    ) -> tuple[list[Any], dict[str, str]]:
        size = int(query.get("per_page", ["30"])[0])
        page = int(query.get("page", ["1"])[0])
        kept = items[(page - 1) * size : page * size]
        if page * size >= len(items):
            return kept, {}
        path = op.template.format(**op.values)
        again = {**{key: values[0] for key, values in query.items()}, "page": str(page + 1)}
        words = "&".join(f"{key}={value}" for key, value in again.items())
        return kept, {
            "link": f'<{self.api_url}{path}?{words}>; rel="next", <{self.api_url}{path}?page=9>; rel="last"'
        }

    def _json(self, status: int, data: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
        reset = self.resets_at if math.isfinite(self.resets_at) else self.clock() + 3600
        told = {
            "content-type": "application/json; charset=utf-8",
            "x-ratelimit-limit": "5000",
            "x-ratelimit-remaining": str(max(self.remaining, 0)),
            "x-ratelimit-reset": str(int(reset)),
            **headers,
        }
        return status, told, json.dumps(data).encode()

    def _log(self, path: str, headers: Any) -> tuple[int, dict[str, str], bytes]:
        if headers.get("authorization"):
            self.violations.append("the token went to where logs are stored")
        job = self.state.jobs[int(path.rpartition("/")[2])]
        return 200, {"content-type": "text/plain"}, job.log.encode()

    def _graphql(self, user: User | None, body: Any) -> dict[str, Any]:
        if user is None:
            raise Refuse(401, "This endpoint requires you to be authenticated.")
        result = graphql_sync(
            SCHEMA, body["query"], _Root(self.state, user), variable_values=body.get("variables")
        )
        if result.errors and result.data is None:
            self.violations += [f"graphql: {error.message}" for error in result.errors]
        told: dict[str, Any] = {"data": result.data}
        if result.errors:
            told["errors"] = [
                {"type": "NOT_FOUND", "message": error.message, "path": error.path} for error in result.errors
            ]
        return told


# ---- GraphQL


class _Root:
    def __init__(self, state: State, user: User) -> None:
        self._state, self._user = state, user

    def repository(self, info: Any, owner: str, name: str, followRenames: bool = True) -> Any:
        state = self._state
        if f"{owner}/{name}".lower() != state.slug.lower():
            raise LookupError(f"Could not resolve to a Repository with the name '{owner}/{name}'.")
        return {"id": "R_1", "issue": lambda info, number: self._issue(number)}

    def _issue(self, number: int) -> Any:
        issue = self._state.issues.get(number)
        if issue is None:
            raise LookupError(f"Could not resolve to an Issue with the number of {number}.")

        def timeline(info: Any, first: int, since: str, itemTypes: list[str], **more: Any) -> Any:
            after = datetime.fromisoformat(since)
            nodes = [
                {
                    "__typename": "RenamedTitleEvent",
                    "createdAt": stamp(at),
                    "previousTitle": old,
                    "currentTitle": new,
                }
                for at, old, new in issue.renames
                if at >= after
            ]
            return {"nodes": nodes[:first], "totalCount": len(nodes)}

        edited = stamp(issue.edited) if issue.edited else None
        return {"id": f"I_{number}", "lastEditedAt": edited, "timelineItems": timeline}

    def nodes(self, info: Any, ids: list[str]) -> list[Any]:
        known = {said.node: said for said in self._state.comments.values()}
        return [
            {
                "__typename": "IssueComment",
                "id": node,
                "databaseId": known[node].number,
                "viewerDidAuthor": known[node].user == self._user.login,
            }
            if node in known
            else None
            for node in ids
        ]


# ---- HTTP


class _Http(ThreadingHTTPServer):
    api: GitHub
    daemon_threads = True

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # without the orderly shutdown, which would turn a reset into an end


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece
    server: _Http

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.api.clock() if timestamp is None else timestamp)

    def _any(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"] or 0))
        answer = self.server.api.answer(self.command, self.path, self.headers, raw)
        if answer is None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        status, headers, data = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _any
