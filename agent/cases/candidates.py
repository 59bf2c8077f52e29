"""Commits that may be a fix with its test: they change the product and tests, and their message says something."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from agent.gate.paths import Paths
from agent.gate.policy import changes
from agent.git import GITLINK, Commit, Entry, Repository
from agent.types import issue_title

LEAST_WORDS = 3
"""Of a message; "v1.2.3" is no issue."""
_TRAILER = re.compile(r"^[A-Z][\w-]+(?:-[Bb]y|-[Ii]d|-on): .*$|^\(cherry picked from .*\)$|^git-svn-id: .*$")


@dataclass(frozen=True, slots=True)
class Candidate:
    commit: str
    parent: str
    issue: str
    """The commit's message as an issue: its subject as the heading."""
    tests: Mapping[str, Entry | None]
    """Test files and test configuration that it changes, as they are after it."""
    product: Mapping[str, Entry | None]
    """What else it changes that can mend anything: neither documentation nor CI files."""


def candidates(repository: Repository, commits: Iterator[Commit]) -> Iterator[Candidate]:
    """Those of the commits that have one parent, change tests and product, and say what for."""
    for commit in commits:
        issue = issue_of(commit.message)
        if len(commit.parents) == 1 and issue:
            found = between(repository, commit.parents[0], commit.id, issue)
            if found is not None:
                yield found


def between(
    repository: Repository, parent: str, commit: str, issue: str, known: Collection[str] = ()
) -> Candidate | None:
    """What makes of one commit another, if that is both tests and product; `known` are test files, by whatever name."""
    before, after = (repository.files(repository.tree_of(one)) for one in (parent, commit))
    paths = Paths({*before, *after})
    changed = changes(before, after)
    kinds = {path: paths.kind(path) for path in changed if not _is_submodule(path, before, after)}
    kinds |= {path: "test" for path in known if path in kinds}
    tests = {path: changed[path] for path, kind in kinds.items() if kind in ("test", "config")}
    product = {path: changed[path] for path, kind in kinds.items() if kind == "product"}
    if product and any(entry and (path in known or paths.is_module(path)) for path, entry in tests.items()):
        return Candidate(commit, parent, issue, tests, product)
    return None


def _is_submodule(path: str, *trees: Mapping[str, Entry]) -> bool:
    return any(path in tree and tree[path][0] == GITLINK for tree in trees)


def issue_of(message: str) -> str:
    """A message without its trailers; empty where it says too little."""
    lines = [line for line in message.splitlines() if not _TRAILER.match(line.strip())]
    text = "\n".join(lines).strip().replace("\0", "\ufffd")
    if len(re.findall(r"[^\W\d_]{2,}", text)) < LEAST_WORDS:
        return ""
    title = issue_title(text)
    rest = text.partition("\n")[2].strip()
    return f"# {title}\n\n{rest}".rstrip() + "\n"
