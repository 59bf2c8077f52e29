"""Running git on the host: with an environment of our own, within a time, and its complaints fit for a terminal."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

from agent.errors import EnvironmentFault

TIMEOUT = 300.0
"""Seconds that one git command may take. A patch made to be slow is refused, it does not hang a run."""


def environment(home: Path) -> dict[str, str]:
    """All that git sees of the environment; no GIT_* variable of the caller gets through. `home` is ours."""
    who = {"NAME": "Assay", "EMAIL": "assay@localhost"}
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",  # unlike protocol.allow, no configuration overrides it
        **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()},
    }


def call(
    command: list[str], data: bytes, cwd: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[bytes]:
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            cwd=cwd,
            env=environment,
            start_new_session=True,  # Ctrl-C on a terminal is ours to obey, in good order
        )
    except OSError as error:
        raise not_run(error, cwd) from None
    with process:
        try:
            out, err = process.communicate(data, timeout=TIMEOUT)
        except BaseException as error:
            # It must write nothing any more where we are about to clean up.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise EnvironmentFault(f"git took longer than {TIMEOUT:.0f} s: {' '.join(command[:6])}") from None
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def not_run(error: OSError, cwd: Path) -> EnvironmentFault:
    """Why git could not be started: it, or the folder that it was to run in, is not there."""
    if not cwd.is_dir():
        return EnvironmentFault(f"{printable(str(cwd))} is gone: it was removed while it was in use")
    if isinstance(error, FileNotFoundError):
        return EnvironmentFault("git is not installed: install git 2.32 or newer")
    return EnvironmentFault(f"git cannot be run in {printable(str(cwd))}: {error.strerror or error}")


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def without_flags(reason: str) -> str:
    """A reason without git's advice to use flags, which nobody can give here."""
    return re.sub(r"""\s*\([^()]*["'`\s]--?[a-z][^()]*\)""", "", reason)


def reason(stderr: bytes) -> str:
    """Git's complaint on one line without its `error:` prefixes, fit for a terminal."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    cleaned = [printable(line.removeprefix("error: ").removeprefix("fatal: ")) for line in lines]
    return "; ".join(cleaned[:5])[:1000] or "git gave no reason"


def c_quoted(path: str) -> bytes:
    """A path as git's alternates file takes it, whatever bytes it holds."""
    raw = path.encode("utf-8", "surrogateescape")
    return (
        b'"'
        + b"".join(bytes([c]) if 32 <= c < 127 and c not in b'"\\' else b"\\%03o" % c for c in raw)
        + b'"'
    )
