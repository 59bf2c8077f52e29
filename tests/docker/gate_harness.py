"""A repository with its environment and baseline, and the gate's judge on patches to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from agent.environment import TOOLS
from agent.gate import Baseline, Runner
from agent.gate.judge import judge
from agent.git import Repository
from agent.types import Verdict
from sandboxes.docker import Docker
from sandboxes.types import Environment
from tests.docker.project import git

Files = dict[str, str | None]


@dataclass
class Gate:
    """A repository with its environment and baseline, and the judge on patches to it."""

    path: Path
    environment: Environment
    baseline: Baseline | None = None
    command: str = "python -m pytest"
    timeout: float = 60

    async def runner(self, repository: Repository, run_id: str = "test-gate") -> Runner:
        docker = await Docker.connect()
        return Runner(
            docker, repository, self.environment, self.command, self.timeout, run_id, lambda line: None
        )

    def judge(
        self,
        files: Files | bytes,
        *,
        named: Sequence[str] = (),
        hidden: Files | bytes | None = None,
        extra: Sequence[str] = (),
    ) -> Verdict:
        """The verdict on a patch, given as the files that it changes or as its bytes."""

        async def run() -> Verdict:
            return await judge(
                await self.runner(repository),
                patch(repository, files),
                base=repository.resolve("HEAD"),
                fail_to_pass=named,
                test_patch=None if hidden is None else patch(repository, hidden),
                baseline=self.baseline,
                extra_checks=extra,
            )

        with Repository(self.path) as repository:
            return anyio.run(run)

    def take_baseline(self, run_id: str = "test-gate") -> Baseline:
        async def run() -> Baseline:
            runner = await self.runner(repository, run_id)
            return await runner.baseline(repository.resolve("HEAD"))

        with Repository(self.path) as repository:
            return anyio.run(run)


def patch(repository: Repository, files: Files | bytes) -> bytes:
    if isinstance(files, bytes):
        return files
    tree = repository.tree_of(repository.resolve("HEAD"))
    put = {
        path: None if text is None else ("100644", repository.add_blob(text.encode()))
        for path, text in files.items()
    }
    return repository.diff(tree, repository.with_files(tree, put))


def project(folder: Path, files: dict[str, str], environment: Environment | None = None) -> Gate:
    """A repository of these files; set up for itself, unless it needs no more than another one's environment."""
    repo = folder / "repo"
    for name, text in files.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(text)
    git(repo, "init", "-q")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "base")
    if environment is not None:
        return Gate(repo, environment)
    with Repository(repo) as repository:
        tar = folder / "base.tar"
        repository.write_tar(repository.tree_of(repository.resolve("HEAD")), tar)

    async def prepare() -> Environment:
        docker = await Docker.connect()
        return await docker.environment(tar, tools_dir=TOOLS, log=lambda line: None)

    return Gate(repo, anyio.run(prepare))


def failed(verdict: Verdict) -> dict[str, str]:
    return {check.name: check.evidence for check in verdict.checks if not check.passed}
