"""What commands take from the outside, each fault one UsageError that names its mend."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agent.errors import UsageError
from sandboxes.types import DRIVERS

if TYPE_CHECKING:
    from agent.budget import Budget, LedgerLike, Limit
    from agent.config import Settings
    from agent.event_log import EventLog
    from agent.git import Repository
    from sandboxes.proxy import Host

T = TypeVar("T")

MAX_ISSUE = 1024 * 1024
"""Bytes of an issue's text that are taken; the longest on GitHub is 65,536 characters."""
MAX_MANIFEST = 1024 * 1024
"""Bytes of a repository's file that is read to find its test command."""
MAX_FILE = 64 * 1024 * 1024
"""Bytes of any other file that a flag names."""


def add_sandbox_flags(p: argparse.ArgumentParser) -> None:
    """What makes the sandboxes."""
    p.add_argument(
        "--sandbox",
        choices=DRIVERS,
        help="what makes the sandboxes: a Docker engine, bubblewrap (no engine and no images: the machine's own "
        "programs), or the first of them that works (default: auto)",
    )
    p.add_argument(
        "--runtime", metavar="NAME", help="the OCI runtime of a Docker engine's sandboxes, such as runsc"
    )
    p.add_argument(
        "--allow-host",
        action="append",
        type=allowed_host,
        metavar="HOST",
        help="a host that sandboxes may reach, by a proxy: a name, *.NAME or an address, :PORT if it is not 80 or 443; "
        "may be repeated (default: none)",
    )


def allowed_host(text: str) -> Host:
    """The host of --allow-host, for argparse."""
    from sandboxes.proxy import Host

    try:
        return Host.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def with_sandbox_flags(settings: Settings, args: argparse.Namespace) -> Settings:
    """`settings` with what the flags say of sandboxes; the hosts that the repository asks for in vain are told."""
    from dataclasses import replace

    from sandboxes.proxy import Host

    hosts = tuple(dict.fromkeys(args.allow_host or ()))
    missing = [name for name in settings.network if Host.parse(name) not in hosts]
    if missing:
        flags = " ".join(f"--allow-host {name}" for name in missing)
        print(f"agent: the repository asks for network, which only you can allow: {flags}", file=sys.stderr)
    given = {"driver": args.sandbox, "runtime": args.runtime, "hosts": hosts}
    return replace(settings, **{k: v for k, v in given.items() if v is not None})


def read_file(path: str, flag: str, limit: int = MAX_FILE) -> bytes:
    """The bytes of a file that a flag names."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{flag} {path}: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > limit:
        raise UsageError(f"{flag} {path}: longer than {limit} bytes; pass the part that matters")
    return data


def read_issue(source: str) -> str:
    """The issue's text from a file, or from standard input for "-"."""
    if source == "-":
        data = sys.stdin.buffer.read(MAX_ISSUE + 1) if sys.stdin is not None else b""
        if len(data) > MAX_ISSUE:
            raise UsageError(
                f"--issue -: longer than {MAX_ISSUE} bytes; pass the part that describes the bug"
            )
    else:
        data = read_file(source, "--issue", MAX_ISSUE)
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\0", "\ufffd")
    if not text.strip():
        raise UsageError(f"--issue {source}: the text is empty; describe the bug in it")
    return text


def read_test_patch(path: str, repository: Repository, base: str) -> bytes:
    """The hidden tests that a flag names, known to apply."""
    from agent.git import PatchError

    data = read_file(path, "--test-patch")
    try:
        repository.apply(repository.tree_of(base), data)
    except PatchError as error:
        raise UsageError(f"--test-patch {path} does not apply to the base commit: {error}") from error
    return data


def test_ids(given: list[str]) -> tuple[str, ...]:
    """The ids of --fail-to-pass, each once."""
    if not all(given):
        raise UsageError("--fail-to-pass: the test id is empty; write one such as tests/test_x.py::test_y")
    return tuple(dict.fromkeys(given))


def dollars(text: str) -> Decimal:
    """A flag's amount of dollars. Raises ValueError for what is no number."""
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"no amount of dollars: {text!r}") from error


def with_servers(settings: Settings, path: str | None) -> Settings:
    """`settings` with the MCP servers of the file that a flag names, in place of the repository's of these names."""
    from dataclasses import replace

    from agent.servers.config import from_json

    if path is None:
        return settings
    text = read_file(path, "--mcp-config", MAX_MANIFEST).decode("utf-8", "replace")
    own = from_json(text, f"--mcp-config {path}")
    names = {server.name.casefold() for server in own}
    others = (server for server in settings.servers if server.name.casefold() not in names)
    return replace(settings, servers=(*own, *others))


def with_test_command(settings: Settings, repository: Repository, base: str) -> tuple[Settings, str]:
    """`settings` with a test command: the one that was given, else the one that the base commit speaks for.

    And a line to print before the baseline: which it is, what runs the tests by it, and why.
    """
    from dataclasses import replace

    from agent.detect import detect
    from agent.git import EXECUTABLE, REGULAR
    from agent.git_blobs import BlobTooLarge
    from agent.text import printable
    from tools.suite import EXIT_CODE, NotASuite, runner_of

    files = repository.files(repository.tree_of(base))

    def read(name: str) -> str:
        try:
            return repository.blob(files[name][1], MAX_MANIFEST).decode("utf-8", "replace")
        except BlobTooLarge:
            return ""

    given = bool(settings.test_from)
    if not given:
        found = detect([name for name, entry in files.items() if entry[0] in (REGULAR, EXECUTABLE)], read)
        settings = replace(settings, test=found.command, test_from=f"detected: {found.why}")
    try:
        runner = runner_of(settings.test, read)
    except NotASuite as error:
        if given:
            raise UsageError(f"{settings.test_from}: {error}") from error
        # what nobody asked for is no usage error: the script runs as it is
        whole, why = (
            f"sh -c {shlex.quote(settings.test)}",
            f"{settings.test_from}, which can't be taken apart",
        )
        settings, runner = replace(settings, test=whole, test_from=why), EXIT_CODE
    if runner == EXIT_CODE:
        runner = "judged by its exit code alone, as one test: weaker than a runner that names its tests"
    said = f"tests: {settings.test} ({runner}; {settings.test_from})"
    return settings, printable(" ".join(said.split()))


def add_image_flags(parser: argparse.ArgumentParser) -> None:
    """--image and --dockerfile, of which one may be given."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--image", metavar="IMAGE", help="the image to work in (default: set up from the repository)"
    )
    which.add_argument(
        "--dockerfile",
        metavar="PATH",
        help="build the image from this Dockerfile of the base commit; empty: use neither a Dockerfile nor the "
        "devcontainer.json of the repository",
    )


def with_image(settings: Settings, image: str | None, dockerfile: str | None) -> Settings:
    """`settings` with what the flags say of the image."""
    from dataclasses import replace

    if image is not None:
        return replace(settings, image=image)
    if dockerfile is not None:
        return replace(settings, image=None, dockerfile=dockerfile)
    return settings


def check_dockerfile(settings: Settings, repository: Repository, base: str) -> None:
    """Raises UsageError when the base commit has no such Dockerfile."""
    path = settings.dockerfile
    if path and not settings.image and path not in repository.files(repository.tree_of(base)):
        raise UsageError(
            f"the base commit has no Dockerfile {path}; name one with --dockerfile, by its path there"
        )


def check_output(path: str, flag: str = "--output") -> Path:
    """Where a flag's file goes: a file, or a new one in a folder that takes it; a symlink stands for its target."""
    if not path:
        raise UsageError(f"{flag}: the file's name is empty")
    output = Path(path).resolve()
    if output.exists() and not output.is_file():
        raise UsageError(f"{flag} {path}: not a regular file; name a file to write")
    if not output.parent.is_dir() or not os.access(output.parent, os.W_OK):
        raise UsageError(f"{flag} {path}: its folder is not there or can't be written")
    return output


def made_of(folder: Path, make: Callable[[Any], T], what: Any) -> T:
    """What `make` makes of a run's log, or a part of it. Raises UsageError where its fields are of other types."""
    try:
        return make(what)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UsageError(f"{folder / 'events.jsonl'}: not a log of this agent: {error!r}") from error


def new_run_id() -> str:
    """Sorts by time, and names what a run leaves in the sandbox engine."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def new_run() -> tuple[str, Path]:
    """A new run id and its folder, readable by this user alone."""
    from agent.config import home

    run_id = new_run_id()
    folder = home() / "runs" / run_id
    try:
        folder.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise UsageError(
            f"{folder}: {error.strerror}; set AGENT_HOME to a folder that can be written"
        ) from error
    return run_id, folder


@contextmanager
def open_budget(
    settings: Settings,
    run_id: str,
    log: EventLog,
    batch: tuple[str, Limit] | None = None,
    open_ledger: Callable[[], LedgerLike] | None = None,
) -> Iterator[Budget | None]:
    """The budget of a run, which tells its changes to `log`; None where no model is paid. `batch` is the id and the
    limit of the batch that it is a part of; `open_ledger` for another ledger than this user's on this machine."""
    from agent.budget import Budget, Change, Ledger, Limit
    from agent.config import home, per_day
    from agent.events import BudgetChanged, Note
    from agent.models.registry import paid

    def told(change: Change) -> None:
        usd = None if change.amount.nano_usd is None else change.amount.usd
        accounts = {kind: account.told() for kind, account in change.accounts.items()}
        log.append(BudgetChanged(change.what, usd, change.amount.tokens, accounts, change.held_to))
        if change.beyond:
            text = (
                "the provider counted more for a request than it could have: longer than its limit, or more tokens "
                "than it had bytes; it counts in full"
            )
            log.append(Note(text, "warning"))

    if not any(map(paid, settings.models)):
        yield None
        return
    with open_ledger() if open_ledger else Ledger(home() / "ledger.sqlite") as ledger:
        limit = Limit(settings.usd, settings.tokens)
        yield Budget(ledger, run_id, limit, per_day(), batch, told)
