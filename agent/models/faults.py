"""Why a request to a provider gave no answer, and whether another try may."""

from __future__ import annotations

import json
import math
import ssl
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Literal

Kind = Literal[
    "rate_limit",
    "quota",
    "overloaded",
    "server",
    "timeout",
    "connection",
    "broken",
    "bad_request",
    "authentication",
    "permission",
    "not_found",
    "too_large",
    "overflow",
    "filtered",
]

TRANSIENT: frozenset[Kind] = frozenset(
    {"rate_limit", "overloaded", "server", "timeout", "connection", "broken"}
)
"""Faults that another try may not meet. `overflow` and `filtered` become replies; the rest end the attempt."""

PROVIDER_DOWN: frozenset[Kind] = frozenset(
    {"overloaded", "server", "timeout", "connection", "authentication"}
)
"""Of faults that stay, those that the provider's other models would meet too: it is down, or refuses the key. A limit
of rate or quota may be one model's own, and a 403 is mostly one model that the key may not use."""

_BY_STATUS: Mapping[int, Kind] = {
    400: "bad_request",
    401: "authentication",
    402: "quota",
    403: "permission",
    404: "not_found",
    408: "timeout",
    409: "server",
    413: "too_large",
    422: "bad_request",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}


class Fault(Exception):
    """One try that failed. Its text is one printable line; `wait` is what the provider asked for, in seconds;
    `billed` says whether it may be billed all the same."""

    def __init__(self, kind: Kind, reason: str, wait: float | None = None, *, billed: bool = True) -> None:
        super().__init__(reason)
        self.kind = kind
        self.wait = wait
        self.billed = billed


class ErrorAnswer(Exception):
    """An answer that is an error: by its HTTP status, or (status 200) an error event in its midst."""

    def __init__(self, status: int, headers: Mapping[str, str], body: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers
        try:
            self.body: Any = json.loads(body)
        except (ValueError, RecursionError):
            self.body = body.strip()

    def said(self, name: str) -> Any:
        """What the body says under `error`; None where it does not."""
        error = self.body.get("error") if isinstance(self.body, dict) else None
        return error.get(name) if isinstance(error, dict) else None

    @property
    def message(self) -> str:
        """The provider's words, or all of the body."""
        if said := self.said("message"):
            return str(said)
        code = f"Error code: {self.status}"
        return self.body or code if isinstance(self.body, str) else f"{code} - {self.body}"


def kind_of(status: int) -> Kind:
    """What an HTTP status other than 200 says."""
    return _BY_STATUS.get(status, "server" if status >= 500 else "bad_request")


def may_bill(status: int) -> bool:
    """Whether a request that got this HTTP status may be billed. Refusals and failures are not, but one that ran into
    a time limit, or that something in between lost, may have been answered behind it."""
    return status < 400 or status in (408, 499) or (status > 500 and status not in (503, 529))


def one_line(said: object, secrets: Sequence[str | None] = ()) -> str:
    """What a provider said, fit for a message: one line, printable, short, without the key."""
    text = str(said)  # SDKs hand on whatever JSON value stood there
    for secret in secrets:
        if (
            secret and len(secret) >= 8
        ):  # a shorter one is made up, for a server that wants any, and stands in words
            text = text.replace(secret, "[key]")
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= 300 else text[:299] + "…"


def unreachable(error: Exception, host: str, mend: str, secrets: Sequence[str | None] = ()) -> Fault:
    """No answer came at all, or it broke off: a fault of the connection, or for good of the address."""
    import httpx2

    chain = causes(error)
    root = chain[-1]
    reason = f"no answer from {host}: {one_line(str(root) or type(root).__name__, secrets)}"
    hopeless = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, ssl.SSLCertVerificationError)
    if any(isinstance(one, hopeless) for one in chain):
        return Fault("bad_request", f"{reason} ({mend})", billed=False)
    late = any(isinstance(one, httpx2.TimeoutException) for one in chain)
    unsent = any(isinstance(one, httpx2.ConnectError | httpx2.ConnectTimeout) for one in chain)
    return Fault("timeout" if late else "connection", reason, billed=not unsent)


def causes(error: BaseException | None) -> list[BaseException]:
    """An exception and what it came of, the root last."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait, if it says so in one of the three usual ways."""
    value = headers.get("retry-after", "")
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        elif value[:1].isalpha():
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        else:
            seconds = float(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None
