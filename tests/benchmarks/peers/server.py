"""A model server in a process of its own, which answers at once by a script and logs when.

    python -m tests.benchmarks.peers.server LOG HOST SCRIPT

SCRIPT is JSON: `turns` calls of `tool` with `echo N` as its `argument` (and what is in `more` besides), then the call
`end`, again and again. It speaks Anthropic's Messages API, streamed or whole, as the client asks. Its first line on
stdout is its port. Each request becomes a line of LOG: when its last byte had come, when the last byte of its answer
was sent (both on CLOCK_MONOTONIC, which all processes share), and the bytes of its body.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

from tests.loopback.anthropic_server import AnthropicDialect
from tests.loopback.server import Answer


class Script:
    """What is answered to which request."""

    def __init__(self, text: str) -> None:
        self._told = json.loads(text)
        self._dialect = AnthropicDialect()

    def answer(self, number: int, body: dict[str, Any]) -> tuple[str, bytes]:
        """The content type and body of the answer to request `number`, from 1."""
        told = self._told
        call = (told["tool"], {**told["more"], told["argument"]: f"echo {number}"})
        if number > told["turns"]:
            call = (told["end"]["name"], told["end"]["arguments"])
        answer = Answer("Now this.", [call])
        content = self._dialect.content(answer, number)
        if body.get("stream"):
            return self._dialect.content_type(), b"".join(self._dialect.frames(answer, content, body, set()))
        whole = {
            "id": f"msg_{number}", "type": "message", "role": "assistant", "model": body["model"],
            "content": content, "stop_reason": "tool_use", "stop_sequence": None,
            "usage": {"input_tokens": 100, "output_tokens": 20},
        }  # fmt: skip
        return "application/json", json.dumps(whole).encode()


class Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, script: Script, log: IO[bytes]) -> None:
        super().__init__((host, 0), Handler)
        self.script, self.log, self.count, self.lock = script, log, 0, threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Http

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        arrived, server = time.monotonic(), self.server
        if not self.path.split("?")[0].endswith("/v1/messages"):
            self.send_error(404)
            return
        with server.lock:
            server.count += 1
            number = server.count
        kind, data = server.script.answer(number, json.loads(raw))
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.send_header("request-id", f"req_{number}")
        self.end_headers()
        self.wfile.write(data)
        told = {"arrived": arrived, "answered": time.monotonic(), "bytes": len(raw)}
        with server.lock:
            server.log.write(json.dumps(told).encode() + b"\n")


def main() -> None:
    log, host, script = sys.argv[1:]
    with Path(log).open("wb", buffering=0) as file:
        server = Http(host, Script(script), file)
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
