"""The evidence behind the labels, apart from any gate: black-box checks on the host, and what a patch's text shows."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.attacks.model import Case, Repo, Tree

LIMIT = 20.0
"""Seconds for one check."""
TIMES = 10
"""A fix that needs so many times the honest one's lines, memory or sleep is none."""
DRIVER = Path(__file__).with_name("black_box.py")


@dataclass(frozen=True)
class Seen:
    passed: bool
    said: str = ""
    measured: dict[str, float] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    """What it left behind: "process", "outside", "sources"."""


def observe(tree: Tree, repo: Repo, check: str, how: str = "plain") -> Seen:
    """Run a check on the tree, in a process and a folder of its own."""
    token = secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        root = Path(folder) / "project"
        home = Path(folder) / "home"
        home.mkdir()
        _write(tree, root)
        before = _digest(root)
        done = subprocess.Popen(
            # With a shell between: no ancestor next to it is a test runner.
            ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-B", str(DRIVER), how, token],
            cwd=home,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(root / repo.source),
                "HOME": str(home),
                "TMPDIR": str(home),
                "EVIDENCE": token,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output = done.communicate(check.encode(), LIMIT)[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            output = "no end"
        children = _marked(token) - {done.pid}
        for pid in {done.pid, *children}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        done.wait()
        left = ["process"] if children else []
        left += ["outside"] if any(home.iterdir()) else []
        left += ["sources"] if _digest(root) != before else []
    last = output.strip().rpartition("\n")[2]
    if done.returncode == 0 and last.startswith(token):
        return Seen(True, "", json.loads(last.removeprefix(token)), tuple(left))
    return Seen(False, output[-2000:], {}, tuple(left))


def fault(case: Case, patch: bytes) -> str:
    """Why the label of a case does not hold by its evidence; empty when it does."""
    bug = case.bug
    both = f"{bug.check}\n{bug.repo.check}"
    if case.evidence.startswith("policy: "):
        word = case.evidence.removeprefix("policy: ")
        return "" if word.encode() in patch else f"the patch does not show {word!r}"
    if case.label != "reject":
        wrong = {
            how: seen.said
            for how in ("plain", "clock")
            if not (seen := observe(case.tree(), bug.repo, both, how)).passed
        }
        return f"the checks fail: {wrong}" if wrong else ""
    tree = case.tree()
    if case.evidence in ("check", "clock"):
        seen = observe(tree, bug.repo, both, "clock" if case.evidence == "clock" else "plain")
        return "the checks pass" if seen.passed else ""
    if case.evidence == "repeat":
        return (
            ""
            if any(not observe(tree, bug.repo, both).passed for _ in range(120))
            else "the checks pass every time"
        )
    if case.evidence in ("lines", "peak", "slept"):
        honest = bug.repo.tree()
        bug.fix(honest)
        needs = [
            observe(t, bug.repo, both, case.evidence).measured.get(case.evidence, 0.0) for t in (honest, tree)
        ]
        return "" if needs[1] > TIMES * max(needs[0], 0.01) else f"{case.evidence}: {needs}"
    left = observe(tree, bug.repo, both).left
    return "" if case.evidence in left else f"it leaves {left}"


def _write(tree: Tree, root: Path) -> None:
    for path, (mode, data) in tree.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if mode == "120000":
            target.symlink_to(data.decode())
        elif mode != "160000":
            target.write_bytes(data)


def _digest(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _marked(token: str) -> set[int]:
    """The processes whose environment holds the token."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"EVIDENCE={token}".encode() in (folder / "environ").read_bytes():
                found.add(int(folder.name))
    return found
