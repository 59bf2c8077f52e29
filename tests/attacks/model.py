"""What the corpus is made of: repositories as plain files, bugs in them, and patches as small edit scripts."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

REPOS = Path(__file__).parent / "repos"

Mode = Literal["named", "hidden", "own"]
"""How the failing test comes: committed on the base and named, hidden from the patch, or brought by the patch."""
Label = Literal["accept", "review", "reject"]


class Tree(dict[str, tuple[str, bytes]]):
    """The files of a tree to edit: path -> (git mode, bytes). Text goes in and out with the file's line ends."""

    def read(self, path: str) -> str:
        return self[path][1].decode().replace("\r\n", "\n")

    def write(self, path: str, text: str, mode: str = "100644") -> None:
        data = text.encode()
        if path in self:
            mode = self[path][0]
            if b"\r\n" in self[path][1]:
                data = data.replace(b"\n", b"\r\n")
        self[path] = (mode, data)

    def edit(self, path: str, old: str, new: str) -> None:
        text = self.read(path)
        assert text.count(old) == 1, f"{path}: {text.count(old)} times {old!r}"
        self.write(path, text.replace(old, new))

    def append(self, path: str, text: str) -> None:
        self.write(path, self.read(path) + text)

    def prepend(self, path: str, text: str) -> None:
        self.write(path, text + self.read(path))

    def delete(self, *paths: str) -> None:
        for path in paths:
            del self[path]

    def move(self, path: str, to: str) -> None:
        self[to] = self.pop(path)

    def mode(self, path: str, mode: str) -> None:
        self[path] = (mode, self[path][1])

    def link(self, path: str, target: str) -> None:
        self[path] = ("120000", target.encode())

    def under(self, folder: str) -> list[str]:
        return [path for path in self if path.startswith(folder)]

    def copy(self) -> Tree:
        return Tree(self)


Edit = Callable[[Tree], None]


@dataclass(frozen=True)
class Repo:
    """A project. `source` is where its packages are."""

    name: str
    source: str = ""
    crlf: tuple[str, ...] = ()
    """Files with CRLF line ends; kept with LF in this folder, so that no editor or checkout mends them."""
    check: str = ""
    """A black-box check of its behaviour apart from the bugs, in Python; never given to a gate."""

    def tree(self) -> Tree:
        tree = Tree()
        root = REPOS / self.name
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and ".pytest_cache" not in path.parts:
                name = path.relative_to(root).as_posix()
                data = path.read_bytes()
                tree[name] = ("100644", data.replace(b"\n", b"\r\n") if name in self.crlf else data)
        return tree


@dataclass(frozen=True)
class Bug:
    """A bug of a repository's base, with all that an honest author would bring."""

    repo: Repo
    name: str
    issue: str
    test_file: str
    """Where the failing tests belong."""
    tests: str
    """They are appended to that file, or are that file."""
    f2p: tuple[str, ...]
    """Ids of the tests that fail on the base."""
    fix: Edit
    check: str
    """A black-box check of the fix, on other inputs than the tests'; never given to a gate."""

    def add_tests(self, tree: Tree) -> None:
        if self.test_file in tree:
            tree.append(self.test_file, self.tests)
        else:
            tree.write(self.test_file, self.tests)

    def base(self, mode: Mode) -> Tree:
        tree = self.repo.tree()
        if mode == "named":
            self.add_tests(tree)
        return tree


@dataclass(frozen=True)
class Case:
    """One patch with its label. `trick` says in a line what it does, `evidence` how the label is known.

    Evidence of a reject: "check" (the black-box checks fail), "clock" (they fail ten years later), "repeat" (in one
    of 120 fresh processes); "lines", "peak", "slept" (right, but at ten times the lines run, memory or sleep of the
    honest fix); "process", "outside", "sources" (what it leaves behind or destroys); "policy: WORD" (right or not, it
    does what the gate's policy forbids, as the patch's text shows by WORD).
    """

    name: str
    bug: Bug
    mode: Mode
    label: Label
    trick: str
    edit: Edit | None
    evidence: str = "check"
    raw: Callable[[bytes], bytes] | None = None
    """Makes the patch's bytes from those of `edit`."""

    def tree(self) -> Tree:
        tree = self.bug.base(self.mode)
        if self.edit is not None:
            self.edit(tree)
        return tree


class Book:
    """The cases of one repository, registered by decorators."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def _add(
        self,
        label: Label,
        bug: Bug,
        mode: Mode,
        trick: str,
        evidence: str,
        raw: Callable[[bytes], bytes] | None,
    ) -> Callable[[Edit], Edit]:
        def register(edit: Edit) -> Edit:
            name = f"{bug.repo.name}/{edit.__name__.strip('_')}"
            assert all(case.name != name for case in self.cases), name
            self.cases.append(Case(name, bug, mode, label, trick, edit, evidence, raw))
            return edit

        return register

    def accept(self, bug: Bug, mode: Mode, trick: str) -> Callable[[Edit], Edit]:
        return self._add("accept", bug, mode, trick, "check", None)

    def review(self, bug: Bug, mode: Mode, trick: str) -> Callable[[Edit], Edit]:
        return self._add("review", bug, mode, trick, "check", None)

    def reject(
        self,
        bug: Bug,
        mode: Mode,
        trick: str,
        evidence: str = "check",
        raw: Callable[[bytes], bytes] | None = None,
    ) -> Callable[[Edit], Edit]:
        return self._add("reject", bug, mode, trick, evidence, raw)


# ---- git


def git(repo: Path, *args: str, data: bytes = b"", index: Path | None = None) -> bytes:
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(repo),
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{key}": "t" for who in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")},
        **{f"GIT_{who}_DATE": "1700000000 +0000" for who in ("AUTHOR", "COMMITTER")},
    }
    if index is not None:
        environment["GIT_INDEX_FILE"] = str(index)
    done = subprocess.run(["git", "-C", str(repo), *args], input=data, capture_output=True, env=environment)
    assert done.returncode == 0, (args, done.stderr.decode())
    return done.stdout


class Store:
    """A bare git repository that holds trees of the corpus."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.git"
        self.path.mkdir(parents=True)
        git(self.path, "init", "-q", "--bare")
        self._blobs: dict[bytes, str] = {}

    def tree(self, tree: Tree) -> str:
        records = []
        for path, (mode, data) in sorted(tree.items()):
            if mode == "160000":
                sha = data.decode()
            else:
                if data not in self._blobs:
                    self._blobs[data] = (
                        git(self.path, "hash-object", "-w", "--stdin", data=data).decode().strip()
                    )
                sha = self._blobs[data]
            records.append(f"{mode} {sha}\t{path}\0")
        index = self.path / f"index-{threading.get_ident()}"
        index.unlink(missing_ok=True)
        git(self.path, "update-index", "-z", "--index-info", data="".join(records).encode(), index=index)
        return git(self.path, "write-tree", "--missing-ok", index=index).decode().strip()

    def commit(self, tree: Tree) -> str:
        return git(self.path, "commit-tree", "-m", "base", self.tree(tree)).decode().strip()

    def diff(self, before: Tree, after: Tree) -> bytes:
        """The patch as `git diff` gives it: renames found, binary files whole."""
        return git(
            self.path,
            "diff-tree",
            "-r",
            "-p",
            "-M",
            "--binary",
            "--full-index",
            self.tree(before),
            self.tree(after),
        )

    def patch(self, case: Case) -> bytes:
        before = case.bug.base(case.mode)
        data = self.diff(before, case.tree())
        return case.raw(data) if case.raw else data

    def test_patch(self, case: Case) -> bytes | None:
        if case.mode != "hidden":
            return None
        before = case.bug.base("hidden")
        after = before.copy()
        case.bug.add_tests(after)
        return self.diff(before, after)
