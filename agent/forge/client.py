"""GitHub's API over HTTP: one place for retries, rate limits and pages, and for what a refusal means to the user.

    ForgeError              3   GitHub is out of reach, or refused
    ├── Missing                 404 or 410: not there, or not to be seen with this token
    ├── Invalid                 422: the request can't be carried out as things are
    └── Uncertain               nobody can tell whether a request that makes something took effect

A request that may be repeated without harm (a read, an update, a git object, which is named by its content) is. One
that makes something new is not, once it may have taken effect: `once` looks first, and looks again after that.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from agent.errors import EnvironmentFault
from agent.text import printable

if TYPE_CHECKING:
    import ssl

    import httpx2
    from tenacity import RetryCallState

    from agent.forge.remote import Api

T = TypeVar("T")

TRIES = 6
LONGEST_BACKOFF = 30.0
SECONDARY_WAIT = 60.0
"""Seconds where a secondary limit names none: "at least one minute" (docs.github.com, REST API, rate limits)."""
MAX_WAIT = 600.0
"""Seconds that one client waits in all. A primary limit may last an hour: that is told, not sat out."""
SECONDS = 30.0
"""Until a connection stands, and between two pieces of an answer."""
PER_PAGE = 100
MAX_MESSAGE = 300
VERSION = "2022-11-28"


class ForgeError(EnvironmentFault):
    """GitHub could not be reached, or refused; the text says what was asked for, and what may help."""


class Missing(ForgeError):
    pass


class Invalid(ForgeError):
    pass


class Uncertain(ForgeError):
    pass


class _Again(Exception):
    """A fault that may pass. `wait`: seconds that GitHub asks for; `harmless`: the request had no effect for sure."""

    def __init__(self, text: str, *, wait: float | None = None, harmless: bool = False) -> None:
        super().__init__(text)
        self.wait, self.harmless = wait, harmless


class Client:
    """One user of GitHub's API. A context manager. `sleep` waits, `told` hears of each wait in a line for a person."""

    def __init__(
        self,
        api: Api,
        *,
        told: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx2

        self.api = api
        self._told, self._sleep = told, sleep
        self._waited = 0.0
        headers = {
            "accept": "application/vnd.github+json",
            "x-github-api-version": VERSION,
            "user-agent": "assay",
        }
        if api.token is not None:
            headers["authorization"] = f"Bearer {api.token}"
        self._http = httpx2.Client(headers=headers, timeout=httpx2.Timeout(SECONDS), verify=_certificates())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    # ---- requests

    def get(self, path: str, **params: str | int) -> Any:
        return self._json(self._send("GET", self._url(path), params=params))

    def pages(self, path: str, most: int, **params: str | int) -> Iterator[Any]:
        """The items of a list, page after page, at most `most` of them."""
        url, asked = self._url(path), {**params, "per_page": PER_PAGE}
        given = 0
        while url and given < most:
            response = self._send("GET", url, params=asked)
            for item in self._list(response):
                if given < most:
                    given += 1
                    yield item
            url, asked = response.links.get("next", {}).get("url", ""), {}
            if url and not url.startswith(f"{self.api.url}/"):
                raise ForgeError(f"GitHub's next page is not of {self.api.url}: {printable(url)[:200]}")

    def post(self, path: str, body: Mapping[str, Any], *, repeatable: bool = False) -> Any:
        """Make something. Raises Uncertain when it may be made, and `repeatable` does not say that this is no harm."""
        return self._json(self._send("POST", self._url(path), body=body, repeatable=repeatable))

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._json(self._send("PATCH", self._url(path), body=body))

    def query(self, text: str, **variables: Any) -> Any:
        """The `data` of a GraphQL query, which only reads."""
        if self.api.token is None:
            raise ForgeError(
                "GitHub's GraphQL API asks for a token: set GITHUB_TOKEN, or log in with `gh auth login`"
            )
        body = {"query": text, "variables": variables}

        def asked() -> Any:
            answer = self._json(self._once("POST", self.api.graphql_url, body, {}))
            if errors := answer.get("errors"):
                said = "; ".join(str(one.get("message", one)) for one in errors[:3])
                if any(one.get("type") == "RATE_LIMITED" for one in errors):
                    raise _Again(f"GitHub's rate limit: {_cut(said)}", wait=SECONDARY_WAIT, harmless=True)
                kind = Missing if all(one.get("type") == "NOT_FOUND" for one in errors) else ForgeError
                raise kind(f"GitHub refused a GraphQL query: {_cut(said)}")
            return answer["data"]

        return self._retried(asked, repeatable=True)

    def text(self, path: str, most: int) -> str:
        """A text of at most `most` bytes that the API leads to (a log), wherever that lies: the token stays here."""
        return self._retried(lambda: self._text(path, most), repeatable=True)

    def once(self, look: Callable[[], T | None], make: Callable[[], T]) -> T:
        """What `look` finds, else what `make` makes, also when an answer was lost: never made twice."""
        for number in range(TRIES):
            if (found := look()) is not None:
                return found
            try:
                return make()
            except Invalid as invalid:
                # "already exists": another was faster, or an earlier try of ours was
                if (found := look()) is not None:
                    return found
                raise invalid
            except Uncertain as uncertain:
                if number + 1 == TRIES:
                    raise
                self._wait(2.0**number, f"{uncertain}: looking whether it took effect")
        raise AssertionError("not reached")

    # ---- one request, and again

    def _send(
        self,
        method: str,
        url: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str | int] | None = None,
        repeatable: bool = True,
    ) -> httpx2.Response:
        return self._retried(lambda: self._once(method, url, body, params or {}), repeatable=repeatable)

    def _retried(self, ask: Callable[[], T], *, repeatable: bool) -> T:
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

        backoff = wait_random_exponential(multiplier=1.0, max=LONGEST_BACKOFF)

        def wait(state: RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome else None
            asked = fault.wait if isinstance(fault, _Again) else None
            return backoff(state) if asked is None else asked

        def note(state: RetryCallState) -> None:
            fault = state.outcome.exception() if state.outcome else None
            self._allow(state.upcoming_sleep, str(fault))

        retrying = Retrying(
            retry=retry_if_exception(lambda e: isinstance(e, _Again) and (repeatable or e.harmless)),
            wait=wait,
            stop=stop_after_attempt(TRIES),
            before_sleep=note,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(ask)
        except _Again as fault:
            if repeatable or fault.harmless:
                raise ForgeError(f"{fault} ({TRIES} times): try again later") from fault
            raise Uncertain(str(fault)) from fault

    def _once(
        self, method: str, url: str, body: Mapping[str, Any] | None, params: Mapping[str, str | int]
    ) -> httpx2.Response:
        import httpx2

        what = f"{method} {url.removeprefix(self.api.url)}"
        try:
            # A moved repository answers a read with where it is now; anything else must name it rightly.
            response = self._http.request(
                method, url, json=body, params=dict(params) or None, follow_redirects=method == "GET"
            )
        except httpx2.HTTPError as error:
            raise self._lost(what, error) from error
        if response.is_success:
            return response
        raise self._refused(what, response)

    def _text(self, path: str, most: int) -> str:
        import httpx2

        what, data = f"GET {path}", bytearray()
        try:
            with self._http.stream("GET", self._url(path), follow_redirects=True) as response:
                if not response.is_success:
                    response.read()
                    raise self._refused(what, response)
                for piece in response.iter_bytes():
                    data += piece[: most - len(data)]
                    if len(data) >= most:
                        break
        except httpx2.HTTPError as error:
            raise self._lost(what, error) from error
        return bytes(data).decode("utf-8", "replace")

    def _lost(self, what: str, error: httpx2.HTTPError) -> Exception:
        import httpx2

        text = (
            f"GitHub can't be reached at {self.api.url} ({what}): {_cut(str(error)) or type(error).__name__}"
        )
        if isinstance(error, httpx2.TransportError):
            return _Again(text, harmless=isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout))
        return ForgeError(text)

    def _refused(self, what: str, response: httpx2.Response) -> Exception:
        """What an answer other than success means."""
        status = response.status_code
        try:
            told = response.json()
            said = str(told.get("message") or "")
            details = [
                str(e.get("message") or e.get("code"))
                for e in told.get("errors") or []
                if isinstance(e, dict)
            ]
            said = "; ".join([said, *details])
        except (ValueError, AttributeError):
            said = response.reason_phrase
        text = f"GitHub refused {what} ({status}): {_cut(said)}"
        if (limit := _limit(response, said)) is not None:
            kind, wait = limit
            return _Again(f"GitHub's {kind} ({what}): {_cut(said)}", wait=wait, harmless=True)
        if status >= 500 or status == 408:
            return _Again(f"GitHub failed at {what} ({status}): {_cut(said)}")
        if status == 401:
            return ForgeError(f"{text}: the token is not valid; set GITHUB_TOKEN anew, or `gh auth login`")
        if status == 403:
            return ForgeError(f"{text}: the token may not do that{_sso(response)}")
        if status in (404, 410):
            who = (
                "it is not there, or this token"
                if self.api.token
                else "it is not there, or, without a token, one"
            )
            return Missing(f"{text}: {who} can't see it")
        return (Invalid if status in (409, 422) else ForgeError)(text)

    # ---- waiting

    def _wait(self, seconds: float, why: str) -> None:
        self._allow(seconds, why)
        self._sleep(seconds)

    def _allow(self, seconds: float, why: str) -> None:
        """Note a wait. Raises ForgeError when all waits together would be too long."""
        if self._waited + seconds > MAX_WAIT:
            until = time.strftime("%H:%M:%S UTC", time.gmtime(time.time() + seconds))
            raise ForgeError(f"{why}: it asks to wait {seconds:.0f} s, until {until}; try again then")
        self._waited += seconds
        if seconds >= 5:
            self._told(f"{why}: waiting {seconds:.0f} s")

    # ---- answers

    def _url(self, path: str) -> str:
        return f"{self.api.url}{path}"

    def _json(self, response: httpx2.Response) -> Any:
        try:
            return response.json()
        except ValueError:
            raise ForgeError(
                f"{self.api.url} answered with no JSON: is that GitHub's API (GITHUB_API_URL)?"
            ) from None

    def _list(self, response: httpx2.Response) -> list[Any]:
        items = self._json(response)
        if not isinstance(items, list):
            raise ForgeError(f"{self.api.url} answered with no list: is that GitHub's API (GITHUB_API_URL)?")
        return items


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes longer than many a request."""
    import httpx2

    return httpx2.create_ssl_context()


def _limit(response: httpx2.Response, said: str) -> tuple[str, float] | None:
    """Which rate limit an answer tells of, and the seconds to wait; None for any other refusal."""
    if response.status_code not in (403, 429):
        return None
    headers = response.headers
    after = headers.get("retry-after", "")
    if after.isascii() and after.isdigit():
        return "secondary rate limit", float(after)
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdigit():
        return "rate limit", max(float(reset) - _now(response), 0.0) + 1.0
    if (
        response.status_code == 429
        or "secondary rate limit" in said.lower()
        or "abuse detection" in said.lower()
    ):
        return "secondary rate limit", SECONDARY_WAIT
    return None


def _now(response: httpx2.Response) -> float:
    """The time on GitHub's clock, by which its limits end."""
    try:
        return parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return time.time()


def _sso(response: httpx2.Response) -> str:
    asked = response.headers.get("x-github-sso", "")
    return (
        "; it must be authorised for the organisation's single sign-on"
        if asked.startswith("required")
        else ""
    )


def _cut(text: str) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"
