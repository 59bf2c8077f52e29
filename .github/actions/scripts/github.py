"""GitHub's REST API, to read, by the standard library alone: the first job installs nothing."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

TRIES, MOST_PAGES, MOST_BYTES, LONGEST_WAIT = 4, 50, 32 * 1024 * 1024, 60.0


class Refused(Exception):
    """GitHub did not answer, or said no; the text is one line."""


class GitHub:
    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url.rstrip("/"), token

    def get(self, path: str) -> dict[str, Any]:
        """One object. Raises Refused."""
        told, _ = self._ask(f"{self._url}{path}")
        if not isinstance(told, dict):
            raise Refused(f"{path}: the answer is no object")
        return told

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """The objects of a list, page by page. Raises Refused, also for a list that has no end."""
        url = f"{self._url}{path}"
        for _ in range(MOST_PAGES):
            told, following = self._ask(url)
            if not isinstance(told, list):
                raise Refused(f"{path}: the answer is no list")
            yield from (one for one in told if isinstance(one, dict))
            if not following:
                return
            if urlsplit(following)[:2] != urlsplit(self._url)[:2]:
                raise Refused(f"{path}: the next page is elsewhere")
            url = following
        raise Refused(f"{path}: more than {MOST_PAGES} pages")

    def _ask(self, url: str) -> tuple[Any, str]:
        """The answer's body, and where its next page is."""
        path, reason = urlsplit(url).path, ""
        for number in range(TRIES):
            request = urllib.request.Request(url, headers=self._headers())  # noqa: S310 (the API's own address)
            try:
                with _OPENER.open(request, timeout=30) as answer:
                    told = json.loads(answer.read(MOST_BYTES))
                    link = re.search(r'<([^>]+)>;\s*rel="next"', answer.headers.get("link", ""))
                    return told, link[1] if link else ""
            except urllib.error.HTTPError as error:
                reason = f"{path}: status {error.code}"
                wait = _wait(error, number)
                error.close()
                if wait is None or wait > LONGEST_WAIT:
                    break
            except (OSError, ValueError, http.client.HTTPException) as error:
                reason, wait = f"{path}: {type(error).__name__}", 2.0**number
            if number < TRIES - 1:
                time.sleep(wait)
        raise Refused(reason)

    def _headers(self) -> dict[str, str]:
        known = {
            "Accept": "application/vnd.github+json",
            "User-Agent": "assay",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        return known | ({"Authorization": f"Bearer {self._token}"} if self._token else {})


def _wait(error: urllib.error.HTTPError, number: int) -> float | None:
    """Seconds to wait before the next try; None where another one is of no use."""
    after = error.headers.get("retry-after", "")
    if error.code == 429 or (
        error.code == 403 and (after or error.headers.get("x-ratelimit-remaining") == "0")
    ):
        if after.isdigit():
            return float(after)
        reset = error.headers.get("x-ratelimit-reset", "")
        return max(0.0, float(reset) - time.time()) if reset.isdigit() else 2.0**number
    return 2.0**number if error.code >= 500 else None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token goes to no other address: a moved repository is an error here."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)
