"""What a step of the actions has of its job, and what it tells it. Standard library only: one job installs nothing.

Values come in by the environment and go out by files, never through a shell or an expression.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

USAGE, ENVIRONMENT = 2, 3
"""Exit codes, as the agent's."""

MAX_EVENT = 32 * 1024 * 1024
MAX_SUMMARY = 512 * 1024
"""Bytes; GitHub drops a summary of more than 1 MiB."""
_OURS = re.compile(
    r"(ACTIONS|ASSAY|INPUT|RUNNER)_.*|GITHUB_(ENV|OUTPUT|PATH|STATE|STEP_SUMMARY|ACTION.*)|STATE_.*"
)
"""Variables that the agent has no use for: files by which a step speaks to its job, tokens of the runner's services."""


def fail(text: str, code: int = ENVIRONMENT) -> NoReturn:
    """End the step with one clear line."""
    error(text)
    sys.exit(code)


def error(text: str) -> None:
    print(f"::error::{_data(printable(text))}", flush=True)


def notice(text: str) -> None:
    print(f"::notice::{_data(printable(text))}", flush=True)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def printable(text: str) -> str:
    """`text` without what moves the cursor, hides, or reads as something else than it is."""
    unsafe = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in unsafe else "\N{REPLACEMENT CHARACTER}"
        for c in text
    )


def given(name: str) -> str:
    """An input of the action, without blanks around it; "" where it was left out."""
    return os.environ.get(f"ASSAY_{name}", "").strip()


def number_of(text: str, what: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,9}", text):
        fail(f"{what} must be a number such as 123, not {text[:40]!r}", USAGE)
    return int(text)


def repository() -> str:
    """OWNER/NAME that the workflow runs in."""
    name = os.environ.get("GITHUB_REPOSITORY", "")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.A):
        fail(f"GITHUB_REPOSITORY is {name[:80]!r}, not OWNER/NAME: run this in a workflow of GitHub Actions")
    return name


def server() -> str:
    """Where GitHub is: github.com, or the address of an enterprise server."""
    return (os.environ.get("GITHUB_SERVER_URL") or "https://github.com").rstrip("/")


def event() -> Mapping[str, Any]:
    """The payload of the event that the workflow runs for."""
    path = Path(os.environ.get("GITHUB_EVENT_PATH") or "/dev/null")
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(MAX_EVENT) or b"{}")
    except (OSError, ValueError, RecursionError) as fault:
        fail(f"GITHUB_EVENT_PATH can't be read: {type(fault).__name__}")
    return told if isinstance(told, dict) else {}


def inside(value: Any, *keys: str) -> Any:
    """What stands in nested objects under `keys`; None where something is missing or no object."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def set_output(name: str, value: str) -> None:
    """An output of the step, whatever is in its value."""
    mark = f"end-{secrets.token_hex(16)}"
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.write(f"{name}<<{mark}\n{value}\n{mark}\n")


def summary(text: str) -> None:
    """Markdown for the page of the workflow's run."""
    with Path(os.environ["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as file:
        file.write(f"{text[:MAX_SUMMARY]}\n")


def fenced(text: str) -> str:
    """`text` as Markdown in which nothing of it is obeyed: no link, mention, image or HTML."""
    text = printable(text)
    longest = max((len(run) for run in re.findall(r"~+", text)), default=0)
    fence = "~" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


@contextmanager
def no_commands() -> Iterator[None]:
    """While it lasts the runner takes no line of the log for a command: what is printed may be anyone's words."""
    token = secrets.token_hex(32)
    print(f"::stop-commands::{token}", flush=True)
    try:
        yield
    finally:
        print(f"::{token}::", flush=True)


def environment(token: str = "") -> dict[str, str]:
    """What the agent sees: the job's variables, but for those by which a step speaks to the runner; empty ones (a
    secret that is not set) are not there. `token` is GitHub's."""
    kept = {name: value for name, value in os.environ.items() if value and not _OURS.fullmatch(name)}
    for name in ("GITHUB_TOKEN", "GH_TOKEN"):
        kept.pop(name, None)
    return kept | ({"GITHUB_TOKEN": token} if token else {})


def run_agent(*arguments: str, token: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run the agent that install.sh put there. Its stdout is kept; what else it prints goes to the log."""
    with no_commands():
        return subprocess.run(
            [str(Path(os.environ["RUNNER_TEMP"]) / "assay-venv/bin/agent"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # The log's own stream, so that the end of no_commands comes after all of it.
            stderr=sys.stdout,
            env=environment(token),
            cwd=os.environ["RUNNER_TEMP"],
            check=False,
        )


def json_object(data: bytes) -> dict[str, Any]:
    """The object that a text holds; an empty one where it holds none."""
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


RUN_FILES = re.compile(
    r"result\.json|patch\.diff|proof\.json|smaller\.diff|setup\.toml|events\.jsonl|report\.(?:md|html)|gate/[1-9][0-9]{0,3}\.(?:json|diff)"
)
"""What belongs to a run's folder, by its path there."""
MAX_FILE = 64 * 1024 * 1024
MOST_TOLD = 20


def copy_run(source: Path, target: Path) -> None:
    """Copy a run's files to the new folder `target`: known names and regular files alone, no link is followed.

    What is left out is told in the log.
    """
    left: list[str] = []
    for folder in ("", "gate"):
        (target / folder).mkdir(mode=0o700)
        here = source / folder
        if here.is_symlink() or not here.is_dir():
            continue
        for path in sorted(here.iterdir()):
            name = str(path.relative_to(source))
            if name != "gate" and (why := _copied(path, target / name, name)):
                left.append(f"left out: {name[:200]!r}: {why}")
    with no_commands():
        print(printable("\n".join(left[:MOST_TOLD])), flush=True)


def _copied(path: Path, target: Path, name: str) -> str:
    if not RUN_FILES.fullmatch(name):
        return "no file of a run"
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return "a link, or it can't be read"
    with os.fdopen(file, "rb") as opened:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode):
            return "no regular file"
        if about.st_size > MAX_FILE:
            return f"longer than {MAX_FILE} bytes"
        with target.open("xb") as made:
            shutil.copyfileobj(opened, made)
    return ""
