"""What a GitHub on loopback knows: a repository with real git objects, issues, comments, pull requests, CI jobs."""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.loopback.github_rules import example

BORN = datetime(2026, 3, 1, 8, 0, 0, tzinfo=UTC)


class Refuse(Exception):
    """An answer other than success."""

    def __init__(
        self, status: int, message: str, errors: list[dict[str, str]] | None = None, **headers: str
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers
        self.body: dict[str, Any] = {"message": message, "documentation_url": "https://docs.github.com/rest"}
        if errors is not None:
            self.body["errors"] = errors


@dataclass(frozen=True)
class User:
    """Who a token belongs to, and what it may do here."""

    login: str
    kind: str = "User"
    reads: bool = True
    writes: frozenset[str] = frozenset({"contents", "pull_requests", "issues"})


@dataclass
class Said:
    """An issue's comment."""

    number: int
    issue: int
    user: str
    body: str
    created: datetime
    updated: datetime
    association: str = "NONE"

    @property
    def node(self) -> str:
        return f"IC_{self.number}"


@dataclass
class Issue:
    number: int
    title: str
    body: str
    user: str = "reporter"
    created: datetime = BORN
    edited: datetime | None = None
    renames: list[tuple[datetime, str, str]] = field(default_factory=list)
    """When, from, to."""
    labels: list[str] = field(default_factory=list)
    events: list[tuple[datetime, str, str, str]] = field(default_factory=list)
    """When, labeled or unlabeled, which label, by whom."""
    is_pull: bool = False
    state: str = "open"


@dataclass
class Pull:
    number: int
    title: str
    body: str
    head: str
    base: str
    user: str
    draft: bool
    state: str = "open"
    owner: str = ""
    """Of the head's repository; empty for this one."""


@dataclass
class Job:
    number: int
    name: str
    steps: list[dict[str, Any]]
    log: str
    conclusion: str = "failure"


def stamp(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class State:
    """The repository OWNER/NAME, whose git objects are in a bare repository made from `source`."""

    def __init__(self, folder: Path, source: Path, slug: str = "octo/calc", branch: str = "main") -> None:
        self.slug, self.default = slug, branch
        self.git_dir = folder / "github.git"
        clone = ["git", "clone", "-q", "--bare", str(source), str(self.git_dir)]
        subprocess.run(clone, check=True, capture_output=True)
        self.private = False
        self.now = BORN + timedelta(days=1)
        self.users: dict[str, User] = {}
        self.roles: dict[str, str] = {}
        """Login -> admin, write, read or none."""
        self.issues: dict[int, Issue] = {}
        self.comments: dict[int, Said] = {}
        self.pulls: dict[int, Pull] = {}
        self.jobs: dict[int, Job] = {}
        self.numbers = itertools.count(1001)
        # What is named by its content stays as it is.
        self._kinds: dict[str, str] = {}
        self._apart: dict[tuple[str, str], tuple[int, int]] = {}
        self._blobs: dict[bytes, str] = {}
        self._trees: dict[str, list[dict[str, Any]]] = {}
        self._made: dict[str, str] = {}
        self._commits: dict[str, dict[str, Any]] = {}

    # ---- what tests put there

    def issue(self, number: int, title: str, body: str, **more: Any) -> Issue:
        self.issues[number] = Issue(number, title, body, **more)
        return self.issues[number]

    def comment(self, issue: int, user: str, body: str, at: datetime | None = None, **more: Any) -> Said:
        number = next(self.numbers)
        at = at or self.now
        said = Said(number, issue, user, body, at, more.pop("updated", at), **more)
        self.comments[number] = said
        return said

    def labelled(
        self, number: int, label: str, by: str, at: datetime | None = None, *, off: bool = False
    ) -> None:
        """Put a label on an issue, or take it `off`."""
        issue = self.issues[number]
        issue.events.append((at or self.now, "unlabeled" if off else "labeled", label, by))
        issue.labels = [name for name in issue.labels if name != label] + ([] if off else [label])

    # ---- git

    def git(self, *args: str, data: bytes = b"", index: str | None = None) -> bytes:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.git_dir),
            "GIT_DIR": str(self.git_dir),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        if index is not None:
            environment["GIT_INDEX_FILE"] = index
        done = subprocess.run(["git", *args], input=data, capture_output=True, env=environment, check=False)
        if done.returncode:
            raise LookupError(done.stderr.decode())
        return done.stdout

    def ref(self, name: str) -> str | None:
        try:
            return self.git("rev-parse", "--verify", "--quiet", f"refs/{name}").decode().strip()
        except LookupError:
            return None

    def set_ref(self, name: str, sha: str) -> None:
        self.git("update-ref", f"refs/{name}", sha)

    def kind(self, sha: str) -> str | None:
        if len(sha) != 40:
            return None
        if sha not in self._kinds:
            try:
                self._kinds[sha] = self.git("cat-file", "-t", sha).decode().strip()
            except LookupError:
                return None
        return self._kinds[sha]

    def apart(self, one: str, other: str) -> tuple[int, int]:
        """How many commits each of two has that the other has not."""
        if (one, other) not in self._apart:
            counted = self.git("rev-list", "--left-right", "--count", f"{one}...{other}").split()
            self._apart[one, other] = int(counted[0]), int(counted[1])
        return self._apart[one, other]

    def blob(self, sha: str) -> dict[str, Any]:
        data = self.git("cat-file", "blob", sha)
        text = base64.encodebytes(data).decode()
        return {**example("blob"), "sha": sha, "size": len(data), "content": text, "encoding": "base64"}

    def make_blob(self, data: bytes) -> str:
        if data not in self._blobs:
            self._blobs[data] = self.git("hash-object", "-w", "--stdin", data=data).decode().strip()
        return self._blobs[data]

    def tree(self, sha: str) -> dict[str, Any]:
        if sha not in self._trees:
            entries = self._trees.setdefault(sha, [])
            for record in self.git("ls-tree", "-z", sha).split(b"\0"):
                if record:
                    meta, _, name = record.partition(b"\t")
                    mode, kind, child = meta.decode().split()
                    entries.append({"path": name.decode(), "mode": mode, "type": kind, "sha": child})
        return {"sha": sha, "url": "https://github.invalid/", "tree": self._trees[sha], "truncated": False}

    def make_tree(self, base: str | None, entries: list[dict[str, Any]]) -> str:
        key = json.dumps([base, entries])
        if key not in self._made:
            self._made[key] = self._make_tree(base, entries)
        return self._made[key]

    def _make_tree(self, base: str | None, entries: list[dict[str, Any]]) -> str:
        index = str(self.git_dir / f"index-{next(self.numbers)}")
        self.git("read-tree", *([base] if base else ["--empty"]), index=index)
        lines = []
        for entry in entries:
            gone = entry["sha"] is None
            lines.append(
                f"{0 if gone else entry['mode']} {'0' * 40 if gone else entry['sha']}\t{entry['path']}"
            )
        self.git("update-index", "-z", "--index-info", data="\0".join([*lines, ""]).encode(), index=index)
        made = self.git("write-tree", index=index).decode().strip()
        Path(index).unlink()
        return made

    def commit(self, sha: str) -> dict[str, Any]:
        if sha not in self._commits:
            self._commits[sha] = self._commit(sha)
        return self._commits[sha]

    def _commit(self, sha: str) -> dict[str, Any]:
        form = "%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B"
        tree, parents, *who, message = self.git("show", "-s", f"--format={form}", sha).decode().split("\0")
        author, committer = ({"name": n, "email": e, "date": d} for n, e, d in (who[:3], who[3:]))
        url = "https://github.invalid/"
        return {
            **example("git-commit"),
            "sha": sha,
            "author": author,
            "committer": committer,
            "message": message.rstrip("\n"),
            "tree": {"sha": tree, "url": url},
            "parents": [{"sha": parent, "url": url, "html_url": url} for parent in parents.split()],
        }

    def make_commit(self, body: dict[str, Any], user: User) -> str:
        default = {"name": user.login, "email": f"{user.login}@users.noreply.github.com"}
        author = {**default, **body.get("author", {})}
        committer = {**author, **body.get("committer", {})} if "author" in body else default
        lines = [f"tree {body['tree']}", *(f"parent {parent}" for parent in body.get("parents", []))]
        for role, who in (("author", author), ("committer", committer)):
            # GitHub's clock moves on: the same commit made twice is two commits.
            self.now += timedelta(seconds=1)
            lines.append(f"{role} {who['name']} <{who['email']}> {int(self.now.timestamp())} +0000")
        text = "\n".join([*lines, "", body["message"]]).encode()
        return self.git("hash-object", "-w", "-t", "commit", "--stdin", data=text).decode().strip()

    def is_ancestor(self, old: str, new: str) -> bool:
        try:
            self.git("merge-base", "--is-ancestor", old, new)
        except LookupError:
            return False
        return True

    # ---- as the API tells it

    def user(self, login: str) -> dict[str, Any]:
        kind = next((u.kind for u in self.users.values() if u.login == login), "User")
        return {**example("simple-user"), "login": login, "type": "Bot" if login.endswith("[bot]") else kind}

    def repository(self) -> dict[str, Any]:
        owner, _, name = self.slug.partition("/")
        told = {"name": name, "full_name": self.slug, "private": self.private, "default_branch": self.default}
        return {
            **example("full-repository"),
            **told,
            "owner": self.user(owner),
            "license": None,
            "mirror_url": None,
        }

    def issue_data(self, issue: Issue) -> dict[str, Any]:
        told = {
            **example("issue"),
            "number": issue.number,
            "title": issue.title,
            "body": issue.body,
            "user": self.user(issue.user),
            "state": issue.state,
            "labels": [self.label(name) for name in issue.labels],
            "comments": sum(said.issue == issue.number for said in self.comments.values()),
            "created_at": stamp(issue.created),
            "updated_at": stamp(self.now),
            "author_association": "NONE",
            "html_url": f"https://github.invalid/{self.slug}/issues/{issue.number}",
        }
        if issue.is_pull:
            urls = ("diff_url", "html_url", "patch_url", "url")
            told["pull_request"] = dict.fromkeys(urls, "https://github.invalid/")
        return told

    def label(self, name: str) -> dict[str, Any]:
        return {**example("label"), "name": name, "color": "ededed"}

    def event_data(self, event: tuple[datetime, str, str, str]) -> dict[str, Any]:
        at, kind, label, by = event
        return {
            **example("labeled-issue-event"),
            "event": kind,
            "actor": self.user(by),
            "created_at": stamp(at),
            "label": {"name": label, "color": "ededed"},
            "performed_via_github_app": None,
        }

    def comment_data(self, said: Said) -> dict[str, Any]:
        return {
            **example("issue-comment"),
            "id": said.number,
            "node_id": said.node,
            "body": said.body,
            "user": self.user(said.user),
            "created_at": stamp(said.created),
            "updated_at": stamp(said.updated),
            "author_association": said.association,
            "html_url": f"https://github.invalid/{self.slug}/issues/{said.issue}#issuecomment-{said.number}",
        }

    def pull_data(self, pull: Pull, schema: str) -> dict[str, Any]:
        told = example(schema)

        def side(ref: str, slug: str) -> dict[str, Any]:
            owner, _, name = slug.partition("/")
            repository = {**example("repository"), "name": name, "full_name": slug, "owner": self.user(owner)}
            sha = self.ref(f"heads/{ref}") or "0" * 40
            return {
                "label": f"{owner}:{ref}",
                "ref": ref,
                "sha": sha,
                "user": self.user(owner),
                "repo": repository,
            }

        there = f"{pull.owner}/{self.slug.partition('/')[2]}" if pull.owner else self.slug
        return {
            **told,
            "number": pull.number,
            "title": pull.title,
            "body": pull.body,
            "state": pull.state,
            "draft": pull.draft,
            "user": self.user(pull.user),
            "head": side(pull.head, there),
            "base": side(pull.base, self.slug),
            "author_association": "NONE",
            "html_url": f"https://github.invalid/{self.slug}/pull/{pull.number}",
        }

    def job_data(self, job: Job) -> dict[str, Any]:
        told = {"id": job.number, "name": job.name, "status": "completed", "conclusion": job.conclusion}
        return {**example("job"), **told, "steps": job.steps}
