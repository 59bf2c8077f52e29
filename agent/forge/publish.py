"""A run's verdict on GitHub: a branch and a draft pull request for an accepted patch, one comment for any other end.

All of it may be done again, after any fault at any call: what is there already is looked for first (the branch by its
name, the pull request by its branch, the comment by its marker), and only what is missing is made.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agent.config import AUTHOR, Settings
from agent.errors import Refused
from agent.forge import body
from agent.forge.body import Words
from agent.forge.client import Client, ForgeError, Missing
from agent.forge.folder import Accepted, RunFolder, read_run
from agent.forge.remote import Place
from agent.forge.tree import changed, commit_tree

MAX_COMMENTS = 5000
"""Of an issue, among which ours is looked for."""
MAX_PULLS = 100

_OURS = """
query($ids: [ID!]!) {
  nodes(ids: $ids) { ... on IssueComment { id viewerDidAuthor } }
}
"""


@dataclass(frozen=True, slots=True)
class Published:
    """Where a run's verdict stands now. `verdict` is the run's status."""

    verdict: str
    pr_url: str | None = None
    branch: str | None = None
    comment_url: str | None = None

    def told(self) -> dict[str, str | None]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Publication:
    """Where a run is to be published, and by whom."""

    client: Client
    place: Place
    words: Words

    def __call__(self, folder: Path) -> Published:
        return publish(self.client, folder, self.place, self.words)

    def again(self, folder: Path) -> str:
        """The command that does the same from the run's folder."""
        line = ["agent", "publish", str(folder), "--repository", self.place.slug]
        return shlex.join(
            [*line, *(["--issue", str(self.words.issue)] if self.words.issue is not None else [])]
        )


def publish(client: Client, folder: Path, place: Place, words: Words) -> Published:
    """Publish a run from its folder alone: a draft pull request when it was accepted, else a comment on the issue.

    Raises UsageError for a folder that is none of a run, Refused for what must not be published, ForgeError when
    GitHub is out of reach or refuses.
    """
    run = read_run(folder)
    _same_issue(run, words)
    if run.accepted is None:
        publisher = _Publisher(client, place.slug, "", run, words)
        return Published(run.status, comment_url=publisher.comment())
    slug, default = check_base(client, place.slug, run.accepted.proof.base)
    return _Publisher(client, slug, default, run, words).pull(run.accepted)


def check_base(client: Client, slug: str, base: str) -> tuple[str, str]:
    """The repository's name as it is now, and its default branch, in whose history `base` is known to be.

    Raises Refused where it is not: a pull request would bring other commits than the fix.
    """
    told = client.get(f"/repos/{slug}")
    slug, default = str(told["full_name"]), str(told["default_branch"])
    path = f"/repos/{slug}/compare/{base}...{quote(default, safe='/')}"
    try:
        status = client.get(path, per_page=1)["status"]
    except Missing:
        raise Refused(
            f"the base commit {base} is not in {slug}: begin with a commit of its branch {default} (--base)"
        ) from None
    if status not in ("ahead", "identical"):
        raise Refused(
            f"the base commit {base} is not in the history of {slug}'s branch {default}: begin with one of its "
            "commits (--base)"
        )
    return slug, default


def branch_name(run_id: str, issue: int | None) -> str:
    """By the rule: one branch an issue, so that a later run of it updates the same pull request."""
    return f"assay/issue-{issue}" if issue is not None else f"assay/{run_id}"


def _same_issue(run: RunFolder, words: Words) -> None:
    named = re.fullmatch(r"(?:https?://\S+/issues/)?([0-9]{1,18})(?:[/?#]\S*)?", run.result["issue"])
    if named and words.issue is not None and int(named[1]) != words.issue:
        raise Refused(f"the run was for issue {int(named[1])}, not for issue {words.issue}")


@dataclass
class _Publisher:
    client: Client
    slug: str
    default: str
    """The default branch."""
    run: RunFolder
    words: Words

    # ---- an accepted patch

    def pull(self, accepted: Accepted) -> Published:
        base = accepted.proof.base
        change = changed(self.client, self.slug, base, accepted.patch, self.words.secrets)
        branch = branch_name(self.run.run_id, self.words.issue)
        tree = commit_tree(self.client, self.slug, change)
        message = body.commit_message(self.run, accepted, self.words)
        self._branch(branch, base, tree, message, change.settings)
        text = body.pull_body(self.run, accepted, change.lines, self.words)
        url = self._pull_request(branch, text)
        return Published("accepted", url, branch, self._solved(url))

    def _branch(self, branch: str, base: str, tree: str, message: str, settings: Settings) -> None:
        """Have the branch at a commit of `tree` upon `base`. Raises Refused when a person has worked on it."""
        head = self._head(branch)
        if head is not None:
            told = self.client.get(f"/repos/{self.slug}/git/commits/{head}")
            if f"\n{body.TRAILER}: " not in told["message"]:
                raise Refused(
                    f"the last commit of branch {branch}, {head[:12]}, is not Assay's: merge, rename or "
                    "delete the branch first"
                )
            parents = [parent["sha"] for parent in told["parents"]]
            if (told["tree"]["sha"], parents, told["message"].strip()) == (tree, [base], message.strip()):
                return
        commit = self._commit(base, tree, message, settings)
        if head is not None:
            self.client.patch(f"/repos/{self.slug}/git/refs/heads/{branch}", {"sha": commit, "force": True})
            return

        def make() -> str:
            wanted = {"ref": f"refs/heads/{branch}", "sha": commit}
            return str(self.client.post(f"/repos/{self.slug}/git/refs", wanted)["object"]["sha"])

        if self.client.once(lambda: self._head(branch), make) != commit:
            raise ForgeError(f"branch {branch} was made by somebody else at the same time: publish again")

    def _head(self, branch: str) -> str | None:
        try:
            ref = self.client.get(f"/repos/{self.slug}/git/ref/heads/{branch}")
        except Missing:
            return None
        return str(ref["object"]["sha"])

    def _commit(self, base: str, tree: str, message: str, settings: Settings) -> str:
        wanted: dict[str, Any] = {"message": message, "tree": tree, "parents": [base]}
        if settings.author is not None and (author := AUTHOR.fullmatch(settings.author)):
            wanted["author"] = {"name": author[1].strip(), "email": author[2]}
        commit = self.client.post(f"/repos/{self.slug}/git/commits", wanted, repeatable=True)
        return str(commit["sha"])

    def _pull_request(self, branch: str, text: str) -> str:
        """The URL of the branch's open pull request, which says `text`."""

        def make() -> Mapping[str, Any]:
            title = body.title(self.run, self.words)
            wanted = {"title": title, "head": branch, "base": self.default, "body": text, "draft": True}
            made: Mapping[str, Any] = self.client.post(f"/repos/{self.slug}/pulls", wanted)
            return made

        pull = self.client.once(lambda: self._open_pull(branch), make)
        # A text without our marker was written by a person.
        if (pull["body"] or "").startswith(body.PULL_MARKER) and pull["body"] != text:
            self.client.patch(f"/repos/{self.slug}/pulls/{pull['number']}", {"body": text})
        return str(pull["html_url"])

    def _open_pull(self, branch: str) -> Mapping[str, Any] | None:
        owner = self.slug.partition("/")[0]
        listed = self.client.pages(
            f"/repos/{self.slug}/pulls", MAX_PULLS, head=f"{owner}:{branch}", state="open"
        )
        for pull in listed:
            head = pull["head"]
            # GitHub passes over a filter that it can't read, and lists all.
            if (
                head["ref"] == branch
                and (head["repo"] or {}).get("full_name", "").lower() == self.slug.lower()
            ):
                found: Mapping[str, Any] = pull
                return found
        return None

    # ---- comments

    def comment(self) -> str | None:
        """Have one comment of ours on the issue that tells how the run ended; its URL. None without an issue."""
        issue = self.words.issue
        if issue is None:
            return None
        text = body.failure_comment(self.run, self.words)
        path = f"/repos/{self.slug}/issues/{issue}/comments"

        def make() -> Mapping[str, Any]:
            made: Mapping[str, Any] = self.client.post(path, {"body": text})
            return made

        return self._says(self.client.once(lambda: self._own_comment(issue), make), text)

    def _solved(self, url: str) -> str | None:
        """Let a comment on an earlier failure point to the pull request; its URL."""
        issue = self.words.issue
        if issue is None or (there := self._own_comment(issue)) is None:
            return None
        return self._says(there, body.solved_comment(issue, self.run, url))

    def _says(self, comment: Mapping[str, Any], text: str) -> str:
        if comment["body"] != text:
            self.client.patch(f"/repos/{self.slug}/issues/comments/{comment['id']}", {"body": text})
        return str(comment["html_url"])

    def _own_comment(self, issue: int) -> Mapping[str, Any] | None:
        """Our comment on the issue. Anybody may write its marker, so GitHub is asked whose it is."""
        marker = body.comment_marker(issue)
        listed = self.client.pages(f"/repos/{self.slug}/issues/{issue}/comments", MAX_COMMENTS)
        marked = [comment for comment in listed if (comment["body"] or "").startswith(marker)]
        if not marked:
            return None
        answer = self.client.query(_OURS, ids=[comment["node_id"] for comment in marked[:100]])
        ours = {node["id"] for node in answer["nodes"] if node and node.get("viewerDidAuthor")}
        return next((comment for comment in marked if comment["node_id"] in ours), None)
