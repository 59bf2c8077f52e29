"""Git repositories of a folder by http, to fetch from: git's plain protocol, which is files alone."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def git_server(root: Path) -> Iterator[tuple[str, list[str]]]:
    """The server's address, and the Authorization header of each request that had one."""
    seen: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if sent := self.headers.get("authorization"):
                seen.append(sent)
            path = self.path.partition("?")[0]
            if path.endswith("/info/refs"):
                repository = root / path.removesuffix("/info/refs").lstrip("/")
                subprocess.run(["git", "-C", str(repository), "update-server-info"], check=True)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            """Tests are silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
