"""MCP Atlas's tool server on loopback, as its `agent-environment` answers: FastAPI's two requests, tools in it.

with AtlasServer(folder) as server:
    …                       # server.url; server.calls holds the bodies that came in
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self


def _tool(name: str, description: str, **properties: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": list(properties),
    }
    return {"name": name, "description": description, "inputSchema": schema, "outputSchema": None}


TOOLS = [
    _tool("filesystem_read_text_file", "Read a file below /data.", path="string"),
    _tool("filesystem_list_directory", "List a folder below /data.", path="string"),
    _tool("calculator_calculate", "Add numbers.", numbers="array"),
    _tool("images_draw", "Draw.", what="string"),
    _tool("odd_flood", "Say much."),
    _tool("odd_drop", "Hang up."),
    _tool("odd_drip", "Say a byte now and then."),
    _tool("odd_object", "Say what is no list."),
    _tool("a" * 70, "Its name is too long for a provider."),
]


class AtlasServer:
    """Serves what is in `folder` as /data."""

    def __init__(self, folder: Path) -> None:
        calls: list[dict[str, Any]] = []
        self.calls = calls

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, value = 404, {"detail": "Not Found"}
                if self.path == "/list-tools":
                    status, value = 200, TOOLS
                elif self.path == "/call-tool":
                    asked = json.loads(body)
                    calls.append(asked)
                    if asked["tool_name"] == "odd_drop":
                        self.close_connection = True
                        return
                    if asked["tool_name"] == "odd_drip":
                        self._drip()
                        return
                    status, value = _called(folder, asked)
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _drip(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                with contextlib.suppress(OSError):
                    for _ in range(1000):
                        self.wfile.write(b" ")
                        self.wfile.flush()
                        time.sleep(0.05)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _called(folder: Path, asked: dict[str, Any]) -> tuple[int, Any]:
    name, args = asked["tool_name"], asked["tool_args"]
    try:
        if name == "images_draw":
            return 200, [{"type": "image", "data": "aGk=", "mimeType": "image/png"}]
        if name == "odd_object":
            return 200, {"text": "no list"}
        if name == "odd_flood":
            return 200, [{"type": "text", "text": "x" * (9 << 20)}]
        if name == "calculator_calculate":
            return 200, [{"type": "text", "text": str(sum(args["numbers"]))}]
        path = folder / args["path"].removeprefix("/data").lstrip("/")
        if name == "filesystem_list_directory":
            return 200, [{"type": "text", "text": "\n".join(sorted(one.name for one in path.iterdir()))}]
        return 200, [{"type": "text", "text": path.read_text()}]
    except (OSError, KeyError, TypeError) as error:
        return 500, {"detail": f"Failed to call tool '{name}': {error}"}
