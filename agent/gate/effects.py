"""What a run of the suite leaves behind and uses, beside its outcomes, and what of that a person must look at.

A patch may turn every test green and yet leave a process behind, write to the home, delete its own sources or take
many times the memory. A run on the base shows what is the suite's own habit. The numbers are the container's, as its
control group counts them, so nothing of them passes through the tests' process.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING

import anyio

from agent.git import GITLINK, Repository
from agent.text import printable
from sandboxes.errors import EngineUnavailable, SandboxDied, SandboxError

if TYPE_CHECKING:
    from sandboxes.driver import Sandbox

HOME = "/home/agent"
PLACES = (HOME, "/run", "/dev/shm", "/tmp")  # noqa: S108 (in the sandbox)
"""What a run can write to, besides the workspace."""
SECONDS = 20.0
MAX_SAID = 64 * 1024 * 1024

MORE = 3.0
MORE_MB = 100.0
MORE_CPU_SECONDS = 5.0
"""More than so many times what the base took, and so much besides, is no noise: page cache, a busy machine."""
SLOWER = 5.0
SLOWER_SECONDS = 0.004
"""A test is slower when it takes so many times what it took, and seconds besides. Reports give milliseconds."""
SLOWER_TESTS = 3
SLOWER_TOGETHER = 0.05
"""So many tests, and so many seconds more in all, before it is told: one test may be the first to import something."""
LISTED = 10
LONGEST = 300
"""Characters of a path or a command line that is told."""

_OWN = re.compile(
    r"(\.cache|\.hypothesis|\.pytest_cache|\.mypy_cache|\.ruff_cache|\.coverage[^/]*|\.matplotlib|\.config/matplotlib|"
    r"\.ipython|\.python_history|\.nv|matplotlib-[^/]*|pytest-of-[^/]*|pymp-[^/]*|psm_[^/]*|sem\.[^/]*|"
    r"tmp[a-z0-9_]{8}[^/]*|__pycache__|\.command-[0-9a-f]{16})/"
)
"""What test tools, and Python itself, leave in temporary folders and the home."""
_SHARED = re.compile(r"(\.config|\.local/(share|state)|\.local)/")
"""Folders of a home in which each program has its own."""
_RANDOM = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,}|(?<=[-_.])[a-z0-9_]{8}(?=$|[/.])|tmp[a-z0-9_]{8}|\d+")


@dataclass(frozen=True)
class Effects:
    """What one run of the whole suite left and used."""

    processes: tuple[str, ...] = ()
    """Command lines of what still ran a second after the suite's command had ended."""
    written: tuple[str, ...] = ()
    """Paths outside the workspace."""
    changed: tuple[str, ...] = ()
    """Files of the tree with other content than it, or none."""
    peak_mb: float | None = None
    """Of the container, with its files in memory."""
    cpu_seconds: float | None = None
    """Of the container."""
    wall_seconds: float = 0.0
    """Of the suite's command."""

    def both(self, other: Effects) -> Effects:
        """What another run of the same shows as well, under the same names: no chance, and no random name."""
        homely = set(map(_kind_of_path, other.written))
        return replace(
            self,
            processes=tuple(_known(self.processes, other.processes)[0]),
            written=tuple(
                path
                for path in self.written
                if path in other.written or (path.startswith(HOME) and _kind_of_path(path) in homely)
            ),
            changed=tuple(path for path in self.changed if path in other.changed),
            peak_mb=_least(self.peak_mb, other.peak_mb),
            cpu_seconds=_least(self.cpu_seconds, other.cpu_seconds),
            wall_seconds=min(self.wall_seconds, other.wall_seconds),
        )

    def of_base_tests(self, theirs: Effects) -> Effects:
        """With the numbers and the temporary files of a run without the new tests.

        Those may honestly need more, and leave a file there; a process, or a file in the home, is nobody's to leave.
        """
        return replace(
            self,
            written=tuple(p for p in self.written if p.startswith(HOME) or p in theirs.written),
            peak_mb=theirs.peak_mb,
            cpu_seconds=theirs.cpu_seconds,
        )


async def look(
    sandbox: Sandbox, repository: Repository, tree: str, *, laid: int, report: str, seconds: float
) -> Effects | None:
    """What the suite's run left; `laid` is the sandbox's clock when the tree was put. None if that cannot be seen.

    It can't be when processes fill the sandbox. Raises SandboxDied and EngineUnavailable.
    """
    entries = {path: entry for path, entry in repository.files(tree).items() if entry[0] != GITLINK}
    job = {
        "since": laid,
        "root": "/workspace",
        "files": list(entries),
        "places": PLACES,
        "algorithm": "sha1" if len(tree) == 40 else "sha256",
    }
    program = files("agent.gate.in_sandbox").joinpath("left_behind.py").read_text("utf-8")
    said: bytes | None = None
    with anyio.move_on_after(SECONDS):
        try:
            said, code, _ = await sandbox.program(
                program, [], io.BytesIO(json.dumps(job).encode()), MAX_SAID, keeper=True
            )
        except (SandboxDied, EngineUnavailable):
            raise
        except SandboxError:
            return None  # no process left to look with
    if said is None or code != 0:
        return None
    found = json.loads(said)
    return Effects(
        tuple(found["processes"]),
        tuple(
            path for path in found["written"] if not f"{path}/".startswith((f"{report}/", f"{report}.cache/"))
        ),
        tuple(path for path, now in found["touched"].items() if now != entries[path][1]),
        None if found["peak"] is None else found["peak"] / (1 << 20),
        None if found["cpu"] is None else found["cpu"] / 1e6,
        seconds,
    )


def left(base: Effects, after: Effects, *, secret: bool = False) -> list[str]:
    """What a run left that the base's run did not leave.

    With `secret` the findings are only counted: the names may come from hidden tests.
    """
    known = set(map(_kind_of_path, base.written))
    written = [path for path in after.written if _kind_of_path(path) not in known and not _is_own(path)]
    found = {
        "processes that still run after the suite": _known(after.processes, base.processes)[1],
        "files that are written outside the workspace": written,
        "files of the project that the suite's run deletes or changes": [
            path for path in after.changed if path not in base.changed
        ],
    }
    return [_told(what, things, secret) for what, things in found.items() if things]


def costs(base: Effects, after: Effects) -> list[str]:
    """What a run took far more of than the base's run did."""
    found = []
    if _is_more(base.peak_mb, after.peak_mb, MORE_MB):
        found.append(f"the suite needs {after.peak_mb:.0f} MB with the fix, {base.peak_mb:.0f} MB without it")
    if _is_more(base.cpu_seconds, after.cpu_seconds, MORE_CPU_SECONDS):
        found.append(
            f"the suite takes {after.cpu_seconds:.1f} s of CPU time with the fix, "
            f"{base.cpu_seconds:.1f} s without it"
        )
    return found


def _is_more(base: float | None, after: float | None, margin: float) -> bool:
    return base is not None and after is not None and after > max(MORE * base, base + margin)


def suspicious(base: Effects, after: Effects, *, secret: bool = False) -> list[str]:
    """What a person must look at: what the run after the fix left or took, and the base's run did not."""
    return left(base, after, secret=secret) + costs(base, after)


def slower(base: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """The tests that take many times the seconds they took; none unless it is several, and adds up."""
    found = [
        test
        for test, seconds in after.items()
        if test in base and seconds >= SLOWER * base[test] and seconds >= base[test] + SLOWER_SECONDS
    ]
    if len(found) < SLOWER_TESTS or sum(after[test] - base[test] for test in found) < SLOWER_TOGETHER:
        return []
    return found


def _told(what: str, things: Sequence[str], secret: bool) -> str:
    if secret:
        return f"{what}, but not on the base: {len(things)}"
    more = [f"and {len(things) - LISTED} more"] if len(things) > LISTED else []
    names = [printable(thing[:LONGEST]).replace("\n", "\\n") for thing in things[:LISTED]]
    return "\n".join([f"{what}, but not on the base:", *names, *more])


def _known(processes: Iterable[str], others: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those of the processes that the others have too, each as often as they do, and the rest; random words aside."""
    left = Counter(_RANDOM.sub("#", words) for words in others)
    known: list[str] = []
    rest: list[str] = []
    for words in processes:
        kind = _RANDOM.sub("#", words)
        (known if left[kind] > 0 else rest).append(words)
        left[kind] -= 1
    return known, rest


def _inside(path: str) -> tuple[str, str]:
    """The place that a path is in, and the rest of it."""
    place = next(place for place in PLACES if path == place or path.startswith(place + "/"))
    return place, path[len(place) + 1 :]


def _kind_of_path(path: str) -> str:
    """The program's own file or folder in a place, apart from what is random in its name."""
    place, inside = _inside(path)
    shared = _SHARED.match(inside) if place == HOME else None
    depth = shared.group().count("/") + 1 if shared else 1
    return f"{place}/{_RANDOM.sub('#', '/'.join(inside.split('/')[:depth]))}"


def _is_own(path: str) -> bool:
    _, inside = _inside(path)
    return _OWN.match(inside + "/") is not None


def _least(one: float | None, other: float | None) -> float | None:
    return min((number for number in (one, other) if number is not None), default=None)
