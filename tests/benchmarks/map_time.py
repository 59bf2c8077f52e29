"""How long the map of a repository takes, from its first file to its text.

python -m tests.benchmarks.map_time REPOSITORY ISSUE.md
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import anyio

from agent.facts import base_of
from agent.git import Repository
from agent.orientation.files import Sources
from agent.orientation.orient import MAP_TOKENS
from agent.orientation.process import RepositoryMap
from agent.orientation.ranking import Question
from agent.orientation.symbols import LANGUAGES


async def timed(root: str, issue: str) -> None:
    with Repository(root) as repository:
        tree = repository.tree_of(repository.resolve("HEAD"))
        sizes = [len(data) for _, data in Sources(repository, tree).read(frozenset(LANGUAGES))]
        made = RepositoryMap(repository, tree, lambda: base_of(repository, tree).is_product)
        began = time.monotonic()
        made.begin()
        try:
            text = await made.ask(Question(issue), MAP_TOKENS, 600)
        finally:
            made.close()
    seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(
        f"{len(sizes)} files, {sum(sizes) / 1e6:.1f} MB: {seconds:.1f} s, {cpu:.1f} s of CPU beside the run's process"
    )
    print(f"the map has {len(text.encode())} bytes")


if __name__ == "__main__":
    anyio.run(timed, sys.argv[1], Path(sys.argv[2]).read_text("utf-8"))
