"""The patch policy: which parts of a patch are judged, which are set aside, and which refuse it.

Policy is read from the base tree alone. Nothing is checked out: everything works on git trees and blobs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from agent.gate import additive, additive_other, ecosystems, paths, rust_tests
from agent.gate.paths import Paths
from agent.gate.source_text import Language, language, text_of
from agent.git import GITLINK, SYMLINK, Entry, Repository
from agent.git_blobs import BlobTooLarge

EXECUTABLES = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""How files begin that machines run: ELF, Windows, macOS, Java."""
MAX_LOADING = 100
"""Files of the base in which settings of its runners are read."""
MAX_PATCH = 8 * 1024 * 1024
"""Bytes of a patch. A fix is far smaller; what is larger hides something or is generated."""


@dataclass(frozen=True)
class Intake:
    """A patch taken apart, by path. Paths of the hidden tests are in none of these: the gate's version rules there."""

    paths: Paths
    refused: tuple[str, ...] = ()
    """Reasons, one line each, for which the patch is not judged at all."""
    product: tuple[str, ...] = ()
    """Changed files that can mend anything (comment-only changes are not among them)."""
    additive: Mapping[str, Entry] = field(default_factory=dict)
    """New test files, and test files that only gained tests: the patch's own tests."""
    set_aside: Mapping[str, str] = field(default_factory=dict)
    """Changes of tests or test configuration that the base had, with the reason: judged with the base's version."""
    inside: Mapping[str, str] = field(default_factory=dict)
    """Product files (Rust's) in which tests change too, with the reason why that is no addition; "" where it is."""
    lost: tuple[str, ...] = ()
    """Tests of the base that the patch deletes, renames or switches off, one line each."""

    def described(self) -> str:
        """One line a kind, for the evidence."""
        lines = [f"product: {_listed(self.product)}"]
        if self.additive:
            lines.append(f"the patch's own tests: {_listed(self.additive)}")
        if self.set_aside:
            lines.append(f"judged with the base's version: {_listed(self.set_aside)}")
        if self.inside:
            lines.append(f"with tests of their own: {_listed(self.inside)}")
        return "\n".join(lines)


def examine(
    repository: Repository,
    base: str,
    patched: str,
    hidden: Mapping[str, Entry | None] | None = None,
    commands: Sequence[str] = (),
) -> Intake:
    """Take apart the change from tree `base` to tree `patched`. `hidden` are the files that the gate itself brings.

    `commands` are the test command and the extra checks': what they run comes from the base.
    """
    return _Examination(repository, base, patched, hidden or {}, commands).intake()


def changes(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> dict[str, Entry | None]:
    """What turns one tree's files into another's: path -> new entry, or None where the file is gone."""
    return {
        path: after.get(path) for path in sorted({*before, *after}) if before.get(path) != after.get(path)
    }


def _listed(names: Iterable[str], most: int = 10) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


_DIRECTIVE = re.compile(r"//go:\w|//\s*\+build|//export |#cgo\b|//\s*@ts-|@jsx")
"""Comments that compilers heed."""


def _read(source: str, lang: Language = "rust") -> list[str]:
    """A source's lines as a compiler reads them: without comments. Blanks are kept, which may stand in strings."""
    found = []
    lines = source.split("\n")
    for line, plain in zip(lines, text_of(source, lang).plain.split("\n"), strict=True):
        if line == plain or _DIRECTIVE.search(line):
            found.append(line)
        elif plain.strip():
            found.append(plain.rstrip())
    return found


class _Examination:
    def __init__(
        self,
        repository: Repository,
        base: str,
        patched: str,
        hidden: Mapping[str, Entry | None],
        commands: Sequence[str],
    ) -> None:
        self.repository = repository
        self.before, self.after = repository.files(base), repository.files(patched)
        self.hidden = hidden
        roots = ("pyproject.toml", "setup.cfg", "pytest.ini", ".pytest.ini", "tox.ini", "pytest.toml")
        settings = {name: self._text(self.before[name]) for name in roots if name in self.before}
        loading = [path for path in self.before if ecosystems.has_start_up_files(path)][:MAX_LOADING]
        start_up = {
            file
            for path in loading
            for file in ecosystems.start_up_files(path, self._text(self.before[path]), self.before)
        }

        def text(path: str) -> str:
            return self._text(self.before[path]).decode("utf-8", "replace")

        start_up |= paths.programs_of(commands, self.before, text)
        if len(commands) > 1:
            start_up |= {path for path in self.before if paths.CHECKERS.fullmatch(path.rpartition("/")[2])}
        self.paths = Paths(self.before, paths.python_files(settings), start_up)
        self.refused: list[str] = []
        self.product: list[str] = []
        self.docs: list[str] = []
        self.comments: list[str] = []
        self.additive: dict[str, Entry] = {}
        self.set_aside: dict[str, str] = {}
        self.inside: dict[str, str] = {}
        self.lost: list[str] = []
        self._asked: frozenset[str] | None = None

    def intake(self) -> Intake:
        changed = changes(self.before, self.after)
        if not changed:
            self.refused.append("the patch changes nothing")
        for path, entry in changed.items():
            old = self.before.get(path)
            if path not in self.hidden:
                try:
                    self._sort(path, old, entry)
                except BlobTooLarge as large:
                    self.refused.append(f"{path}: it has {large.size} bytes; the limit is {large.limit}")
            elif old and self.hidden[path]:
                # The gate's version is what is judged, but a patch may not take away what that one keeps.
                self._note_lost(path, old, entry, self._tests_in(path, self._text(self.hidden[path])))
        if changed and not self.refused and not self.product:
            if self.comments and not (self.docs or self.additive or self.set_aside or self.lost):
                self.refused.append(
                    f"the patch changes nothing but comments and layout: {', '.join(self.comments)}"
                )
            else:
                self.refused.append(
                    "the patch changes no product code: only tests, documentation or comments"
                )
        return Intake(
            self.paths,
            tuple(self.refused),
            tuple(self.product),
            self.additive,
            self.set_aside,
            self.inside,
            tuple(self.lost),
        )

    def _sort(self, path: str, old: Entry | None, new: Entry | None) -> None:
        if GITLINK in {entry[0] for entry in (old, new) if entry}:
            self.refused.append(f"{path}: a patch may not change a submodule")
        elif reason := paths.refusal(path):
            self.refused.append(f"{path}: {reason}")
        elif new and self._text(new).startswith(EXECUTABLES):
            self.refused.append(f"{path}: it is compiled code, which nobody can read")
        elif new and self._shadows(path):
            self.refused.append(
                f"{path}: it takes the place of a module of the test runner, the product or Python"
            )
        elif new and new[0] == SYMLINK and self._leaves(path):
            self.refused.append(f"{path}: the symbolic link leaves the repository")
        elif paths.is_mixed(path):
            self._mixed(path, old, new)
        else:
            kind = self.paths.kind(path)
            if kind in ("test", "config"):
                self._test(path, old, new)
            elif kind == "docs":
                self.docs.append(path)
            elif self._only_comments(path, old, new):
                self.comments.append(path)
            elif path.endswith(".rs") and self._rust(path, old, new):
                pass
            else:
                self.product.append(path)

    def _rust(self, path: str, old: Entry | None, new: Entry | None) -> bool:
        """Note how the tests in a Rust product file change; whether nothing but them does."""
        before, after = (self._text(entry).decode("utf-8", "replace") for entry in (old, new))
        if old is not None:
            self._note_lost(path, old, new)
        if new is None or rust_tests.own_tests(before) == rust_tests.own_tests(after):
            return False
        reason = additive_other.obstacle(rust_tests.own_tests(before), rust_tests.own_tests(after), "rust")
        rest = (_read(rust_tests.product_of(source)) for source in (before, after))
        if old is None or old[0] != new[0] or len({*map(tuple, rest)}) > 1:
            self.inside[path] = reason or ""
            return False
        if reason:
            self.set_aside[path] = reason
        else:
            self.additive[path] = new
        return True

    def _mixed(self, path: str, old: Entry | None, new: Entry | None) -> None:
        """pyproject.toml and setup.cfg: product, unless the runner's or the agent's part of it changes."""
        try:
            before = paths.runner_settings(path, self._text(old))
        except ValueError:
            before = None  # broken in the base already, so that the patch may well mend it
        try:
            after = paths.runner_settings(path, self._text(new))
        except ValueError as error:
            if before is not None:
                self.refused.append(f"{path}: the patched file cannot be parsed: {error}")
            return
        runner, agent = before or (None, None)
        if agent != after[1] and path == "pyproject.toml":
            self.refused.append(f"{path}: [tool.agent] is the gate's own policy")
        elif before is None or runner != after[0]:
            self.set_aside[path] = "its test settings are changed"
        else:
            self.product.append(path)

    def _test(self, path: str, old: Entry | None, new: Entry | None) -> None:
        name = path.rpartition("/")[2]
        shared = name == "conftest.py" or name == "__init__.py"
        source, target = self._text(old), self._text(new)
        is_python = name.endswith(".py") and not (new and new[0] == SYMLINK)
        if old is not None:
            self._note_lost(path, old, new)
        if new is None:
            if not self.paths.is_module(path):
                self.set_aside[path] = "it is deleted"
        elif old is None and not shared and self.paths.kind(path) == "test":
            self.additive[path] = new
        elif is_python and (shared or old is not None) and (old is None or old[0] == new[0]):
            asked = self._requested() if shared else None
            if reason := additive.obstacle(source, target, everywhere=asked):
                self.set_aside[path] = reason
            else:
                self.additive[path] = new
        elif old is not None and old[0] == new[0] != SYMLINK and (lang := language(path)):
            before, after = (data.decode("utf-8", "surrogateescape") for data in (source, target))
            if reason := additive_other.obstacle(before, after, lang):
                self.set_aside[path] = reason
            else:
                self.additive[path] = new
        else:
            self.set_aside[path] = "it is new test configuration" if old is None else "it is changed"

    def _note_lost(
        self, path: str, old: Entry, new: Entry | None, among: Container[str] | None = None
    ) -> None:
        """Note the tests of a file that the patch takes away; `among` narrows it to tests of these names."""
        lang = language(path)
        source, target = self._text(old), self._text(new)
        in_product = lang == "rust" and bool(self._tests_in(path, source))
        if not self.paths.is_module(path) and not in_product:
            return
        lost: dict[str, str] = {}
        if new is None:
            self.lost.append(f"{path} is deleted or renamed")
        elif lang is not None:
            before, after = (data.decode("utf-8", "replace") for data in (source, target))
            lost = additive_other.taken_away(before, after, lang)
        elif additive.parsed(target) is not None:
            there = additive.find_tests(target)
            gone = [test for test in additive.find_tests(source) if test not in there]
            lost = dict.fromkeys(gone, "is deleted or renamed")
            lost |= dict.fromkeys(additive.newly_skipped(source, target), "gets a skip or xfail mark")
        self.lost += [f"{path}::{test} {how}" for test, how in lost.items() if among is None or test in among]

    def _tests_in(self, path: str, data: bytes) -> Container[str]:
        """The names of the tests that are written in a file."""
        lang = language(path)
        if lang is None:
            return additive.find_tests(data)
        return additive_other.names_of(data.decode("utf-8", "replace"), lang)

    def _requested(self) -> frozenset[str]:
        """The fixtures that any test file of the base may ask for."""
        if self._asked is None:
            names = [
                path
                for path in self.before
                if path.endswith(".py") and self.paths.kind(path) in ("test", "config")
            ]
            self._asked = frozenset().union(
                *(additive.requested(self._text(self.before[path])) for path in names)
            )
        return self._asked

    def _only_comments(self, path: str, old: Entry | None, new: Entry | None) -> bool:
        if old is None or new is None or old[0] != new[0]:
            return False
        before, after = self._text(old), self._text(new)
        lang = language(path)
        if lang is not None:
            texts = [data.decode("utf-8", "surrogateescape") for data in (before, after)]
            return _read(texts[0], lang) == _read(texts[1], lang)
        return path.endswith(".py") and additive.same_code(before, after)

    def _shadows(self, path: str) -> bool:
        """Whether a file is imported instead of the runner's own, or of the product, by what is first on the path."""
        parts = path.split("/")
        if path not in self.before and path.endswith(".py") and self.paths.kind(path) == "test":
            # A test's own folder comes before the product, unless it is a package.
            *above, name = path.removesuffix("/__init__.py").removesuffix(".py").split("/")
            folder = "/".join(above)
            if name in self._modules and f"{folder}/__init__.py" not in self.before:
                return True
        for root in ("", "src/"):
            at = len(root.split("/")) - 1
            if path.startswith(root) and parts[at].removesuffix(".py") in paths.RUNNER_MODULES:
                module = root + parts[at]
                return not any(old == module or old.startswith(module + "/") for old in self.before)
        return False

    @cached_property
    def _modules(self) -> frozenset[str]:
        """The names by which the base's product is imported, and those of the standard library."""
        found = {
            path.removeprefix("src/").split("/")[0].removesuffix(".py")
            for path in self.before
            if path.endswith(".py") and self.paths.kind(path) == "product"
        }
        return frozenset(found) | sys.stdlib_module_names

    def _leaves(self, path: str) -> bool:
        """Whether the link at `path` of the patched tree leads out of it, by whatever links it passes."""
        waiting = path.split("/")
        at: list[str] = []
        for _ in range(200):
            if not waiting:
                return False
            part = waiting.pop(0)
            if part == "..":
                if not at:
                    return True
                at.pop()
            elif part not in ("", "."):
                at.append(part)
                entry = self.after.get("/".join(at))
                if entry and entry[0] == SYMLINK:
                    target = self.repository.blob(entry[1]).decode("utf-8", "surrogateescape")
                    if target.startswith("/"):
                        return True
                    at.pop()
                    waiting = target.split("/") + waiting
        return True  # links in a circle, or far too many

    def _text(self, entry: Entry | None) -> bytes:
        return self.repository.blob(entry[1]) if entry and entry[0] != GITLINK else b""
