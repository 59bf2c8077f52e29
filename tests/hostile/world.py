"""A small GitHub for one hostile case: a repository with a bug, an issue, people, and workflows run for an event."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.actions.git_server import git_server
from tests.actions.runner import ROOT, Job, Workflow
from tests.docker.project import BUGGY, ISSUE, RED, TESTS, git
from tests.loopback.github_server import GitHub
from tests.loopback.github_state import BORN, User

EXAMPLES = ROOT / "examples/github-action"
SLUG = "octo/calc"
NUMBER = 12
LABELLED = BORN + timedelta(hours=2)
NO_ENGINE = {"DOCKER_HOST": "tcp://127.0.0.1:9"}
"""A machine without an engine: what ends before a sandbox is needed ends the same there, and quickly."""
KEY = "sk-ant-KeyOfTheRepository0123456789"


class World:
    """`folder` holds all of it. `canary` is a file that a case's text tries to make; it must never be there."""

    github: GitHub

    def __init__(self, folder: Path) -> None:
        self.folder, self.canary = folder, folder / "canary"
        self.remote, self.work = folder / "remote", folder / "work"
        self.workflow: Workflow | None = None
        self.server, self.fetched_by = "", list[str]()
        """Where git fetches from, and the Authorization headers that it got."""
        self.tamper: Callable[[Job], None] = lambda job: None
        """Does harm to the machine that the agent runs on, after the checkout."""
        self.reads = True
        """Whether jobs' tokens can read the repository."""
        self._runs = 0
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    # ---- the repository

    def project(self, files: Mapping[str, str] | None = None, *, red: bool = True) -> None:
        """The repository on its default branch `main`, on a GitHub where `maintainer` may write."""
        self.work.mkdir()
        git(self.work, "init", "-q", "--template=", "-b", "main")
        usual = {"calc.py": BUGGY, "conftest.py": "", "tests/test_calc.py": TESTS + (RED if red else "")}
        self.commit({**usual, **(files or {})}, "base")
        (self.folder / "github").mkdir()
        self.github = self._open.enter_context(GitHub(self.folder / "github", self.work, slug=SLUG))
        self.state = self.github.state
        self.state.roles |= {"maintainer": "write", "owner": "admin", "triager": "triage", "stranger": "read"}
        (self.remote / "octo").mkdir(parents=True)
        (self.remote / SLUG).symlink_to(self.state.git_dir)
        git(self.work, "remote", "add", "origin", str(self.state.git_dir))
        self.server, self.fetched_by = self._open.enter_context(git_server(self.remote))

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

    # ---- issues and events

    def issue(self, title: str = "clamp() is wrong above the range", body: str = ISSUE, **more: Any) -> None:
        """Issue NUMBER, labelled by the maintainer."""
        self.state.issue(NUMBER, title, body, **more)
        self.label()

    def label(
        self, label: str = "assay", by: str = "maintainer", at: datetime = LABELLED, *, off: bool = False
    ) -> None:
        self.state.labelled(NUMBER, label, by, at, off=off)

    def event(self, **more: Any) -> dict[str, Any]:
        return {"repository": {"full_name": SLUG, "default_branch": "main"}, **more}

    def labelled(self, label: str = "assay", by: str = "maintainer", **more: Any) -> dict[str, Any]:
        """The event of a label, as GitHub sends it."""
        sender = self.state.user(by)
        issue = self.state.issue_data(self.state.issues[NUMBER])
        told = {"action": "labeled", "issue": issue, "label": {"name": label}, "sender": sender}
        return self.event(**{**told, **more})

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
        self, name: str, event_name: str, event: Mapping[str, Any], *, only: str = "", **more: Any
    ) -> dict[str, list[Job]]:
        """Run a workflow of the examples for an event; `only`: no other than this job."""
        return self._workflow(event_name, event, **more).run(EXAMPLES / f"{name}.yml", only=only)

    def fix(
        self,
        event: Mapping[str, Any] | None = None,
        event_name: str = "issues",
        *,
        writes: bool = False,
        **given: str,
    ) -> Job:
        """The fix action alone, on a machine without an engine, for the label's event."""
        usual = {"as_of": "2026-03-01T10:00:00Z", "sandbox": "docker", "model": "local/repair"}
        inputs = {"issue_number": str(NUMBER), **usual, **given}
        flow = self._workflow(event_name, self.labelled() if event is None else event, more=NO_ENGINE)
        flow.tamper = self.tamper
        may = dict.fromkeys(("contents", "issues", "pull-requests"), "write" if writes else "read")
        return flow.action("fix", inputs, may, ANTHROPIC_API_KEY=KEY)

    def publish(self, folder: Path) -> Job:
        """The publish action alone, on a run's folder."""
        inputs = {"issue_number": str(NUMBER), "run_folder": str(folder)}
        writes = dict.fromkeys(("contents", "issues", "pull-requests"), "write")
        return self._workflow("issues", self.labelled()).action("publish", inputs, writes)

    def _workflow(self, event_name: str, event: Mapping[str, Any], **more: Any) -> Workflow:
        self._runs += 1
        folder = self.folder / f"run-{self._runs}"
        folder.mkdir()
        self.workflow = Workflow(
            folder,
            event_name,
            event,
            self.github.api_url,
            self.server,
            self.remote,
            SLUG,
            on_token=self._token,
            **{"repository_secrets": {"ANTHROPIC_API_KEY": KEY}, **more},
        )
        return self.workflow

    def _token(self, token: str, permissions: Mapping[str, str]) -> None:
        """GitHub knows the job's token, and what it may write."""
        writes = frozenset(name.replace("-", "_") for name, level in permissions.items() if level == "write")
        self.state.users[token] = User("github-actions[bot]", "Bot", self.reads, writes)

    def gate(self, event: Mapping[str, Any], event_name: str = "pull_request", **more: Any) -> Job:
        (job,) = self.run("gate", event_name, event, **more)["gate"]
        return job

    def asked(
        self, event: Mapping[str, Any], event_name: str = "issues", **more: Any
    ) -> tuple[Job, list[Any]]:
        """The first job alone, and the issues that it lets through."""
        (job,) = self.run("assay", event_name, event, only="authorize", **more)["authorize"]
        return job, json.loads(job.outputs["issues"] or "[]")

    def check(self) -> None:
        """What holds after every case. Raises AssertionError."""
        assert not self.canary.exists(), "a text of others was run"
        assert self.workflow is not None, "the case ran nothing"
        for jobs in self.workflow.jobs.values():
            for job in jobs:
                assert not job.environment and not job.path, "the job's environment was changed"
                told = {kind for kind, _ in job.told}
                assert told <= {"error", "notice", "warning"}, f"commands in the log were obeyed: {told}"
                for secret in (job.token, KEY):
                    assert secret not in job.log + job.summary, "a secret was printed"
