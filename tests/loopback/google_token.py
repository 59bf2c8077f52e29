"""Google's application default credentials on loopback: a service account whose token endpoint is here.

    with google_token() as environ:     # {"GOOGLE_APPLICATION_CREDENTIALS": path}

The access token is `tests.loopback.server.KEY`. (A user's own credentials would not do: google-auth overrides the
token endpoint in their file.)
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.loopback.server import KEY


@contextmanager
def google_token(*, refuses: bool = False) -> Iterator[dict[str, str]]:
    """Variables that lead a client to the token; with `refuses`, to an endpoint that gives none."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["content-length"]))
            good = b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer" in sent and not refuses
            given: dict[str, object] = {"error": "invalid_grant", "error_description": "Account not found"}
            if good:
                given = {"access_token": KEY, "token_type": "Bearer", "expires_in": 3600}
            data = json.dumps(given).encode()
            self.send_response(200 if good else 400)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "account.json")
            account = {
                "type": "service_account",
                "project_id": "a-project",
                "private_key_id": "k1",
                "private_key": _private_key(),
                "client_email": "assay@a-project.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": f"http://127.0.0.1:{server.server_address[1]}/token",
                "universe_domain": "googleapis.com",
            }
            path.write_text(json.dumps(account))
            yield {
                "GOOGLE_APPLICATION_CREDENTIALS": str(path),
                "NO_PROXY": "127.0.0.1",
                "NO_GCE_CHECK": "true",
            }
    finally:
        server.shutdown()
        server.server_close()


@cache
def _private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
