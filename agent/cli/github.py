"""What commands need of GitHub: a client by the environment, an issue's text, a place to publish, words for it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.cli.inputs import read_issue
from agent.errors import Refused, UsageError
from agent.text import printable

if TYPE_CHECKING:
    from agent.forge.body import Words
    from agent.forge.client import Client
    from agent.forge.publish import Publication
    from agent.forge.remote import Place
    from agent.git import Repository


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


@dataclass(frozen=True, slots=True)
class GitHub:
    """Where a run's issue is, or where its pull request goes. `issue` is None for one whose text is in a file."""

    place: Place
    issue: int | None
    client: Client


@contextmanager
def open_github(
    source: str, as_of: str | None, writes: bool, repository: Repository
) -> Iterator[GitHub | None]:
    """GitHub, where the issue that --issue names is there, or the run is published there (`writes`); else None."""
    from agent.forge.remote import is_github_issue, issue_ref, origin_place

    there = is_github_issue(source)
    if as_of is not None and not there:
        raise UsageError("--as-of: only an issue on GitHub has a past; name one by its number or URL")
    if not there and not writes:
        yield None
        return
    ref = issue_ref(source, repository) if there else None
    place = ref.place if ref else origin_place(repository)
    with open_client(place.host, writes=writes) as client:
        yield GitHub(place, ref.number if ref else None, client)


def issue_text(source: str, as_of: str | None, github: GitHub | None) -> tuple[str, Sequence[str]]:
    """The text of the issue that --issue names, and what a person should know of how it came about."""
    from agent.forge.issue import parse_time, read_issue_of, without_hidden
    from agent.forge.remote import IssueRef

    if github is None or github.issue is None:
        return without_hidden(read_issue(source))
    then = parse_time(as_of) if as_of is not None else None
    found = read_issue_of(github.client, IssueRef(github.place, github.issue), then)
    return found.text, found.notices


def publication(github: GitHub, base: str) -> Publication:
    """Where a run is published; its base is known to be one that a pull request can be made on."""
    from agent.forge.publish import Publication, check_base

    try:
        check_base(github.client, github.place.slug, base)
    except Refused as refused:
        raise UsageError(f"--pr: {refused}") from refused
    return Publication(github.client, github.place, words(github.client, github.issue))


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
