"""Which lines of the product failing tests run, and which of these no or few passing tests run.

The field calls it spectrum-based fault localisation. It is a fact for whoever looks for the cause, not a verdict: the
fault is often on such a line, or where a line above it should have turned away.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from agent.errors import AgentError
from agent.gate.paths import Paths, python_files
from agent.git import EXECUTABLE, REGULAR
from agent.laying import lay_tree
from agent.models.repair import laboratory, localise
from agent.models.repair.reports import BadReport, Observation
from agent.scratch import scratch
from agent.text import printable

if TYPE_CHECKING:
    from agent.gate import Runner
    from agent.git import Entry, Repository
    from sandboxes.driver import Sandbox

SECONDS = 60.0
"""For the tests under observation; collecting them comes on top, up to STARTUP."""
STARTUP = 120.0
MAX_OUT = 16 * 1024 * 1024
"""Bytes of a result as the sandbox leaves it, packed."""
MAX_SUSPECTS = 500
MAX_FILES = 10
MAX_RANGES = 20
"""Of lines, in one file."""
MAX_RANKED = 12
MAX_TEXT = 100
"""Characters shown of a source line."""
FOLDER = "/tmp/spectrum"  # noqa: S108 (in the sandbox)
SETTINGS = ("pyproject.toml", "setup.cfg", "pytest.ini", ".pytest.ini", "tox.ini", "pytest.toml")


@dataclass(frozen=True, slots=True)
class Suspect:
    """A line of the product that failing tests run."""

    path: str
    line: int
    text: str
    """The line itself, as it is in the tree."""
    failing: int
    """How many failing tests run it."""
    passing: int
    """How many passing tests run it."""
    score: float
    """From 0 to 1: Ochiai's coefficient, raised near the failure's traceback and by words of the issue."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What was seen."""

    suspects: Sequence[Suspect] = ()
    """The most suspicious first."""
    failing: int = 0
    """Failing tests that were observed."""
    passing: int = 0
    """Passing tests that were observed; the nearest ones where time did not allow for all."""
    reason: str = ""
    """Why there are no suspects; empty when there are some."""


async def spectrum(
    runner: Runner,
    tree: str,
    failing: Sequence[str],
    *,
    passing: Sequence[str] = (),
    issue: str = "",
    seconds: float = SECONDS,
) -> Spectrum:
    """Observe the tests `failing` and the `passing` ones (all others where none are named) on `tree`, in a sandbox of
    its own.

    `tree` is a tree id of the runner's repository: the base with the files of the failing tests. An id may also be that
    of a file, of a class, or of a test without its parameters. `seconds` bounds the tests under observation, of which
    those near the failing ones come first. Where nothing can be observed, the reason says so; nothing is raised but
    cancellation.
    """
    if not laboratory.runs_pytest(runner.test_command):
        return Spectrum(reason=f"only pytest's tests can be observed, not those of `{runner.test_command}`")
    if not failing:
        return Spectrum(reason="no test fails")
    try:
        product = await anyio.to_thread.run_sync(_product, runner.repository, tree)
        if not product:
            return Spectrum(reason="the product has no Python code")
        seen = await _observe(runner, tree, failing, passing, sorted(product), seconds)
    except (AgentError, laboratory.LabError, BadReport, OSError) as error:
        return Spectrum(reason=f"the tests could not be observed: {error}")
    red = [entry for entry in seen.failing.values() if not entry.ok]
    if not red and not seen.hanging:
        gone = not seen.failing
        return Spectrum(reason="the tests were not found" if gone else "the tests pass when they run alone")
    # What the sandbox tells is the tested code's word: of its paths and lines only those count that the tree has.
    sources = {path: _text(runner.repository, product[path]) for path in seen.lines if path in product}
    ranked = localise.rank(
        {path: seen.lines[path] for path in sources},
        len(red) + len(seen.hanging),
        [entry.frames for entry in red],
        issue,
        sources,
    )
    suspects = tuple(_suspects(seen, ranked, sources))
    if not suspects:
        return Spectrum(reason="the failing tests run no line of the product in their own process")
    green = len(seen.passed) + len(seen.failing) - len(red)
    return Spectrum(suspects, len(red) + len(seen.hanging), green)


def told(found: Spectrum) -> str:
    """The facts for a reader, in less than 30 lines; empty where there are none."""
    if not found.suspects:
        return ""
    only = [suspect for suspect in found.suspects if not suspect.passing]
    tests = "the failing test" if found.failing == 1 else f"the {found.failing} failing tests"
    lines = []
    if not found.passing:
        lines.append(f"No passing test could be observed beside {tests}.")
    elif only:
        lines.append(f"Lines that only {tests} ran, and none of {found.passing} passing tests:")
        places = _by_file(only)
        lines += [f"- {place}" for place in places[:MAX_FILES]]
        if len(places) > MAX_FILES:
            lines.append(f"- and in {len(places) - MAX_FILES} more files")
    else:
        lines.append(f"Passing tests ran every line that {tests} ran.")
    most = found.suspects[:MAX_RANKED]
    lines.append(f"The {len(most)} most suspicious lines of those that {tests} ran:")
    for suspect in most:
        text = printable(suspect.text.strip())
        cut = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"
        by = f"{suspect.failing} of {found.failing} failing, " if found.failing > 1 else ""
        ran = f"{by}{suspect.passing} of {found.passing} passing"
        lines.append(f"- {_shown(suspect.path)}:{suspect.line} ({ran}): {cut}")
    return "\n".join(lines)


async def _observe(
    runner: Runner,
    tree: str,
    failing: Sequence[str],
    passing: Sequence[str],
    product: Sequence[str],
    seconds: float,
) -> Observation:
    """Raises EnvironmentFault, LabError, BadReport."""
    known = localise.near_first(passing, failing)
    job = {
        "mode": "observe",
        "wanted": list(failing),
        "known": known or None,
        "seconds": seconds,
        "product": list(product),
    }
    files = {**laboratory.scripts(), "job": laboratory.packed(job)}
    command = laboratory.command(runner.test_command, FOLDER)
    with scratch() as host:
        scripts = Path(host, "scripts.tar")
        _write_tar(files, scripts)
        async with (
            runner.lane("observing which lines the failing tests run"),
            runner.driver.sandbox(runner.environment, run_id=runner.run_id, limits=runner.limits) as sandbox,
        ):
            await lay_tree(sandbox, runner.repository, tree)
            await sandbox.put_tree(scripts, FOLDER)
            done = await sandbox.run(command, timeout=seconds + STARTUP)
            if done.timed_out:
                raise laboratory.LabError(f"they did not end in {seconds + STARTUP:.0f} s")
            try:
                return Observation.read(laboratory.unpacked(await sandbox.read(f"{FOLDER}/out", MAX_OUT)))
            except FileNotFoundError:
                raise laboratory.LabError(await _said(sandbox)) from None
            except ValueError as error:  # BadReport is one, too
                raise laboratory.LabError(str(error)) from error


async def _said(sandbox: Sandbox) -> str:
    """Why pytest did not start, in its own words."""
    try:
        log = await sandbox.read(f"{FOLDER}/log", MAX_OUT)
    except (FileNotFoundError, ValueError):
        log = b""
    words = " ".join(log.decode("utf-8", "replace").split())
    return f"pytest did not run them: {printable(words[-300:]) or 'it said nothing'}"


def _product(repository: Repository, tree: str) -> dict[str, Entry]:
    """The Python files of the product."""
    files = repository.files(tree)
    settings = {name: repository.blob(files[name][1]) for name in SETTINGS if name in files}
    paths = Paths(files, python_files(settings))
    return {
        path: entry
        for path, entry in files.items()
        if path.endswith(".py") and entry[0] in (REGULAR, EXECUTABLE) and paths.kind(path) == "product"
    }


def _text(repository: Repository, entry: Entry) -> str:
    return repository.blob(entry[1]).decode("utf-8", "replace")


def _suspects(seen: Observation, ranked: localise.Places, sources: Mapping[str, str]) -> Iterator[Suspect]:
    counts = {
        (path, line): (failing, passing) for path in sources for line, failing, passing in seen.lines[path]
    }
    lines = {path: text.split("\n") for path, text in sources.items()}
    for path, line, score in ranked.top(MAX_SUSPECTS):
        if line <= len(lines[path]):
            yield Suspect(path, line, lines[path][line - 1], *counts[path, line], score)


def _by_file(suspects: Iterable[Suspect]) -> list[str]:
    """ "src/a.py:3-5, 9" for each file, that of the most suspicious line first."""
    found: dict[str, set[int]] = {}
    for suspect in suspects:
        found.setdefault(suspect.path, set()).add(suspect.line)
    return [f"{_shown(path)}:{_ranges(sorted(lines))}" for path, lines in found.items()]


def _ranges(lines: Sequence[int]) -> str:
    parts: list[list[int]] = []
    for line in lines:
        if parts and parts[-1][1] == line - 1:
            parts[-1][1] = line
        else:
            parts.append([line, line])
    shown = ", ".join(
        str(first) if first == last else f"{first}-{last}" for first, last in parts[:MAX_RANGES]
    )
    left = sum(last - first + 1 for first, last in parts[MAX_RANGES:])
    return f"{shown} and {left} more" if left else shown


def _shown(path: str) -> str:
    return printable(path).replace("\n", "\\n")


def _write_tar(files: Mapping[str, str], dest: Path) -> None:
    with tarfile.open(dest, "w") as tar:
        for name, text in files.items():
            data = text.encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
