"""A small GitHub for one hostile case: a repository with a bug, an issue, people, and workflows run for an event."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.actions.git_server import git_server
from tests.actions.runner import ROOT, Job, Workflow
from tests.docker.project import BUGGY, RED, TESTS, git

EXAMPLES = ROOT / "examples/github-action"
SLUG = "octo/calc"


class World:
    """`folder` holds all of it. `canary` is a file that a case's text tries to make; it must never be there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.canary = folder, folder / "canary"
        self.remote = folder / "remote"
        self.work = folder / "work"
        self.workflow: Workflow | None = None
        self.fetched_by: list[str] = []
        """The Authorization headers that git sent."""
        self._runs = 0

    # ---- the repository

    def project(self, files: Mapping[str, str] | None = None, *, red: bool = True) -> None:
        """The repository on its default branch `main`."""
        bare = self.remote / SLUG
        bare.mkdir(parents=True)
        self.work.mkdir()
        git(bare, "init", "-q", "--bare", "-b", "main")
        git(self.work, "init", "-q", "-b", "main")
        git(self.work, "remote", "add", "origin", str(bare))
        usual = {"calc.py": BUGGY, "conftest.py": "", "tests/test_calc.py": TESTS + (RED if red else "")}
        self.commit({**usual, **(files or {})}, "base")
        self.push("main:refs/heads/main")

    def commit(self, files: Mapping[str, str | None], message: str = "change") -> str:
        """Commit files (None: remove one) upon what is checked out."""
        for name, text in files.items():
            path = self.work / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "--allow-empty", "-m", message)
        return git(self.work, "rev-parse", "HEAD").strip()

    def push(self, ref: str) -> None:
        git(self.work, "push", "-q", "--force", "origin", ref)

    def pull_request(self, files: Mapping[str, str | None], number: int = 7, base: str = "main") -> str:
        """A pull request from a fork, based on a commit of main; its head."""
        git(self.work, "checkout", "-q", "-B", "fork", base)
        head = self.commit(files)
        self.push(f"HEAD:refs/pull/{number}/head")
        git(self.work, "checkout", "-q", "main")
        return head

    # ---- events

    def event(self, **more: Any) -> dict[str, Any]:
        return {"repository": {"full_name": SLUG, "default_branch": "main"}, **more}

    def pull_request_event(self, sha: str, number: int = 7, **more: Any) -> dict[str, Any]:
        pull = {
            "number": number,
            "title": "A fix",
            "base": {"ref": "main"},
            "head": {"ref": "fix", "sha": sha},
        }
        return self.event(action="synchronize", pull_request={**pull, **more})

    # ---- runs

    def run(
        self,
        name: str,
        event_name: str,
        event: Mapping[str, Any],
        api: str = "http://127.0.0.1:9",
        **more: Any,
    ) -> dict[str, list[Job]]:
        """Run a workflow of the examples for an event."""
        self._runs += 1
        folder = self.folder / f"run-{self._runs}"
        folder.mkdir()
        with git_server(self.remote) as (server, self.fetched_by):
            self.workflow = Workflow(folder, event_name, event, api, server, self.remote, SLUG, **more)
            return self.workflow.run(EXAMPLES / f"{name}.yml")

    def gate(self, event: Mapping[str, Any], event_name: str = "pull_request", **more: Any) -> Job:
        (job,) = self.run("gate", event_name, event, **more)["gate"]
        return job

    def check(self) -> None:
        """What holds after every case. Raises AssertionError."""
        assert not self.canary.exists(), "a text of others was run"
        assert self.workflow is not None, "the case ran nothing"
        for jobs in self.workflow.jobs.values():
            for job in jobs:
                assert not job.environment and not job.path, "the job's environment was changed"
                told = {kind for kind, _ in job.told}
                assert told <= {"error", "notice", "warning"}, f"commands in the log were obeyed: {told}"
                assert job.token not in job.log + job.summary, "the token was printed"
