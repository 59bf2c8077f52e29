"""Repositories by URL: fetched once into a cache of bare clones, $AGENT_HOME/repositories.

Nothing of what is fetched runs or is checked out: no hooks, no filters, no submodules. The user's own git configuration
counts here, unlike in agent.git: it has the proxies, certificates and credential helpers that fetching needs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.batch.tasks import PROTOCOLS, url_fault
from agent.errors import EnvironmentFault, UsageError
from agent.text import printable

FETCH_SECONDS = 1800.0
_USERS = ("GIT_CONFIG_GLOBAL", "GIT_SSL_", "GIT_SSH", "GIT_ASKPASS", "GIT_HTTP_", "GIT_PROXY")
"""Variables of git's that tell how servers are reached; the others could point it elsewhere."""
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def cloned(url: str, base: str, cache: Path, *, since: float = 0.0) -> Path:
    """The folder of a bare clone that has `base`. It is fetched once; anew where it is older than `since` (seconds
    since the epoch) and `base` is not the id of a commit that is there.

    Raises UsageError for a URL that can't be used, EnvironmentFault when it can't be fetched.
    """
    if fault := url_fault(url):
        raise UsageError(fault)
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{_name(url)}.git"
    with _locked(folder.with_suffix(".lock")):
        if not (folder / "HEAD").exists():
            _git(["init", "--quiet", "--bare", "--template=", str(folder)], cache)
        marker = folder / "assay-fetched"
        fresh = marker.exists() and marker.stat().st_mtime >= since
        if not fresh and not _has(folder, base):
            _fetch(folder, url, "+refs/heads/*:refs/heads/*", "--prune")
            _point_head(folder, url)
            marker.touch()
        if _COMMIT.fullmatch(base) and not _has(folder, base):
            _fetch(folder, url, base)  # of a pull request, or of a branch that was thrown away
    return folder


def _name(url: str) -> str:
    """Readable, and one for each URL."""
    last = re.sub(r"[^\w.-]", "", url.rstrip("/").removesuffix(".git").rpartition("/")[2])[:60]
    return f"{last}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def _has(folder: Path, base: str) -> bool:
    """Whether `base` is the id of a commit that is there; what a branch is may have changed."""
    return (
        bool(_COMMIT.fullmatch(base))
        and not _run(["cat-file", "-e", f"{base}^{{commit}}"], folder).returncode
    )


def _fetch(folder: Path, url: str, *what: str) -> None:
    options = [one for one in what if one.startswith("--")]
    refs = [one for one in what if not one.startswith("--")]
    _git(
        ["fetch", "--quiet", "--no-recurse-submodules", "--no-write-fetch-head", *options, "--", url, *refs],
        folder,
    )


def _point_head(folder: Path, url: str) -> None:
    """HEAD to the branch that the server's HEAD names."""
    told = _git(["ls-remote", "--symref", "--", url, "HEAD"], folder)
    match = re.search(r"^ref: (refs/heads/\S+)\tHEAD$", told, re.M)
    if match:
        _git(["symbolic-ref", "HEAD", match[1]], folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _git(command: list[str], folder: Path) -> str:
    done = _run(command, folder)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = printable("; ".join(line.removeprefix("fatal: ") for line in lines[:3]))[:500]
        raise EnvironmentFault(f"git {command[0]} failed: {said or 'no reason was given'}")
    return done.stdout


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    safe = ["core.hooksPath=/dev/null", "core.fsmonitor=false", "protocol.ext.allow=never", "gc.auto=0"]
    line = ["git", *(word for one in safe for word in ("-c", one)), *command]
    kept = {
        name: v for name, v in os.environ.items() if not name.startswith("GIT_") or name.startswith(_USERS)
    }
    environment = {**kept, "GIT_ALLOW_PROTOCOL": PROTOCOLS, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        return subprocess.run(
            line,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=FETCH_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentFault(f"git {command[0]} took longer than {FETCH_SECONDS:.0f} s") from None
    except OSError as error:
        raise EnvironmentFault(f"git can't be run: {error.strerror}; install git 2.32 or newer") from error
