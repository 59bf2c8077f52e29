"""What commands need to speak to GitHub: a client by the environment, and words to write with."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.text import printable

if TYPE_CHECKING:
    from agent.forge.body import Words
    from agent.forge.client import Client


@contextmanager
def open_client(host: str, *, writes: bool) -> Iterator[Client]:
    """A client for the API of a host. Raises UsageError where it `writes` and there is no token."""
    from agent.forge.client import Client
    from agent.forge.remote import open_api

    api = open_api(host, os.environ)
    if writes and api.token is None:
        raise UsageError(
            f"no token for {host}: set GITHUB_TOKEN (or GH_TOKEN) to one that may write contents, pull requests and "
            "issues, or log in with `gh auth login`"
        )

    def told(text: str) -> None:
        print(f"agent: {printable(text)}", file=sys.stderr, flush=True)

    with Client(api, told=told) as client:
        yield client


def words(client: Client, issue: int | None) -> Words:
    """What published texts are written with: this environment's secrets are cut out of them."""
    from agent.forge.body import Words
    from agent.forge.secret_text import secrets_of

    return Words(tuple(secrets_of(os.environ, client.api.token)), issue, _workflow_run(os.environ))


def default_host(environ: Mapping[str, str]) -> str:
    """The host that a bare OWNER/NAME is on: that of GITHUB_SERVER_URL, which Actions set, else github.com."""
    from urllib.parse import urlsplit

    return urlsplit(environ.get("GITHUB_SERVER_URL", "")).netloc.lower() or "github.com"


def _workflow_run(environ: Mapping[str, str]) -> str | None:
    """Where the workflow that this runs in is to be seen, in GitHub Actions."""
    server, run = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_RUN_ID", "")
    link = f"{server}/{environ.get('GITHUB_REPOSITORY', '')}/actions/runs/{run}"
    return link if re.fullmatch(r"https://[\w.:-]+/[\w.-]+/[\w.-]+/actions/runs/\d+", link) else None
