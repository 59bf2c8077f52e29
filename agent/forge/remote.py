"""Which repository on which host is meant, by what API it is spoken to, and with whose token."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from agent.errors import UsageError

if TYPE_CHECKING:
    from agent.git import Repository

GITHUB = "github.com"
TENANTS = ".ghe.com"
"""Hosts of enterprises that GitHub itself runs, with the API of github.com."""
GH_SECONDS = 20.0
"""For `gh auth token`, which may ask a keyring."""

_OWNER = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})"  # of 1 to 39 characters; a managed user's has an underscore
_NAME = r"[A-Za-z0-9._-]{1,100}"
_REPOSITORY = re.compile(rf"({_OWNER}(?:_[A-Za-z0-9]{{1,38}})?)/({_NAME})")
_SCP = re.compile(r"(?:[^@/:\s]+@)?([A-Za-z0-9.-]+):(?!//)/?(\S+)")
_ISSUE_PATH = re.compile(r"/([^/]+/[^/]+)/(issues|pull)/([0-9]{1,18})/?")


@dataclass(frozen=True, slots=True)
class Place:
    """A repository on a GitHub host."""

    host: str
    owner: str
    name: str

    @property
    def slug(self) -> str:
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, slots=True)
class IssueRef:
    """An issue as the user named it."""

    place: Place
    number: int


@dataclass(frozen=True, slots=True)
class Api:
    """Where a host's API is, and the token for it (None: asked without one, which public repositories allow)."""

    url: str
    graphql_url: str
    token: str | None


def is_github_issue(source: str) -> bool:
    """Whether --issue names one on GitHub: by its number or its URL. A file named by digits is `./123`."""
    return (source.isascii() and source.isdigit()) or source.startswith(("http://", "https://"))


def parse_slug(text: str, host: str, what: str) -> Place:
    """`OWNER/NAME` on a host. Raises UsageError that names `what` it was."""
    found = _REPOSITORY.fullmatch(text)
    if found is None or found[2] in (".", ".."):
        raise UsageError(f"{what} {_shown(text)}: no repository; write it as OWNER/NAME")
    return Place(host, found[1], found[2])


def place_of_remote(url: str) -> Place | None:
    """The repository that a git remote's URL names; None where it is none of a GitHub host (a local path, say)."""
    if "://" in url:
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            # of a web address the port belongs to the host's name; ssh's says nothing of the API
            if parts.port and parts.scheme in ("http", "https"):
                host = f"{host}:{parts.port}"
        except ValueError:
            return None
        path = parts.path if parts.scheme in ("http", "https", "ssh", "git", "git+ssh") else ""
    else:
        found = _SCP.fullmatch(url)
        if found is None:
            return None
        host, path = found[1], found[2]
    found = _REPOSITORY.fullmatch(unquote(path).strip("/").removesuffix(".git"))
    if not host or found is None:
        return None
    return Place(_host(host), found[1], found[2])


def origin_place(repository: Repository) -> Place:
    """The repository of the remote `origin`. Raises UsageError where there is none."""
    url = repository.remote_url("origin")
    if url is None:
        raise UsageError(
            f"{repository.path} has no remote named origin: name the issue by its URL, "
            "https://HOST/OWNER/REPO/issues/NUMBER"
        )
    place = place_of_remote(url)
    if place is None:
        raise UsageError(
            f"the remote origin of {repository.path} names no repository on GitHub: name the issue by its URL, "
            "https://HOST/OWNER/REPO/issues/NUMBER"
        )
    return place


def issue_ref(source: str, repository: Repository) -> IssueRef:
    """The issue that --issue names. Raises UsageError for what is none."""
    if "://" not in source:
        if len(source) > 18 or not int(source):
            raise UsageError(f"--issue {_shown(source)}: no number of an issue")
        return IssueRef(origin_place(repository), int(source))
    try:
        parts = urlsplit(source)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UsageError(f"--issue {_shown(source)}: not a URL: {error}") from error
    found = _ISSUE_PATH.fullmatch(parts.path)
    if parts.scheme not in ("http", "https") or not host or found is None:
        raise UsageError(
            f"--issue {_shown(source)}: not the URL of an issue; write https://HOST/OWNER/REPO/issues/NUMBER"
        )
    if found[2] == "pull":
        raise UsageError(
            f"--issue {_shown(source)}: a pull request, not an issue; name the issue that it is for"
        )
    place = parse_slug(found[1], _host(f"{host}:{port}" if port else host), "--issue")
    return IssueRef(place, int(found[3]))


def open_api(host: str, environ: Mapping[str, str], gh: Callable[[str], str | None] | None = None) -> Api:
    """The API of a host, by GITHUB_API_URL where it is set, and a token for it: GITHUB_TOKEN, GH_TOKEN, else what
    `gh auth token` says (`gh`). Raises UsageError for a URL that can't be right."""
    given = environ.get("GITHUB_API_URL", "").strip().rstrip("/")
    ours = host == GITHUB or host.endswith(TENANTS)
    url = given or (f"https://api.{host}" if ours else f"https://{host}/api/v3")
    try:
        parts = urlsplit(url)
        api_host = parts.hostname or ""
        web = f"{api_host}:{parts.port}" if parts.port else api_host
    except ValueError as error:
        raise UsageError(f"GITHUB_API_URL {_shown(url)}: not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not api_host or parts.username or parts.query:
        raise UsageError(f"GITHUB_API_URL {_shown(url)}: not the URL of an API, such as https://HOST/api/v3")
    if parts.scheme == "http" and not _is_loopback(api_host):
        raise UsageError(
            f"GITHUB_API_URL {_shown(url)}: a token would be sent in clear text; use an https:// URL"
        )
    tenant = web.startswith("api.") and web.endswith((f".{GITHUB}", TENANTS))
    belongs = web.removeprefix("api.") if tenant else web if parts.path == "/api/v3" else None
    if belongs is not None and belongs != host:
        raise UsageError(
            f"GITHUB_API_URL is the API of {belongs}, but the repository is on {_shown(host)}: unset it, or set it to "
            f"that host's"
        )
    enterprise = not given and not ours
    # The names that GitHub's own `gh` takes: a token for github.com must not go to another host.
    names = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN") if enterprise else ("GITHUB_TOKEN", "GH_TOKEN")
    token = next((value for name in names if (value := environ.get(name, "").strip())), None)
    if token is None:
        token = (gh or _gh_token)(host)
    if token is not None and not re.fullmatch(r"[!-~]{1,1000}", token):
        raise UsageError(f"{' or '.join(names)}: not a token: it holds characters that no token has")
    # of an enterprise server: /api/v3 and /api/graphql
    root = url.removesuffix("/v3") if parts.path.endswith("/api/v3") else url
    return Api(url, f"{root}/graphql", token)


def _gh_token(host: str) -> str | None:
    """What GitHub's own client is logged in with; None where it is not there, or not logged in."""
    try:
        done = subprocess.run(
            ["gh", "auth", "token", "--hostname", host],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=GH_SECONDS,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _host(host: str) -> str:
    host = host.lower().rstrip(".")
    return GITHUB if host in ("ssh.github.com", "www.github.com", "api.github.com") else host


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(text: str) -> str:
    """A user's word for one line of a message, without what it may hold of a password."""
    text = re.sub(r"//[^/@\s]*@", "//", text)
    return text if len(text) <= 120 else text[:119] + "…"
