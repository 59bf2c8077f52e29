"""Who asked for a repair, and may they? The cheap first job: it reads GitHub's own word, installs and runs nothing.

Output `issues`: a JSON list of `{"number", "as_of"}`, empty where nothing is to be done. `as_of` is the time of
labelling: what was written later nobody with write access has seen. Fails closed: what can't be read is not allowed.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import job
from github import GitHub, Refused

MAY = ("admin", "write")
"""Permissions, as the API names the classes: maintain counts as write, triage as read, which can label too."""
NAME = re.compile(r"[\w-]{1,60}(?:\[bot\])?", re.A)
MOST_ISSUES = 5
"""Issues of one run that nobody named: a schedule must not spend without a bound."""


class NotAllowed(Exception):
    """Why nothing is done; the text is one line."""


def main() -> int:
    github = GitHub(os.environ.get("GITHUB_API_URL") or "https://api.github.com", job.given("TOKEN"))
    label = job.given("LABEL")
    if not label:
        job.fail("label is empty: name the label that starts a run", job.USAGE)
    try:
        repository = github.get(f"/repos/{job.repository()}")
        issues = list(_asked(github, label))
    except NotAllowed as why:
        return _end([], str(why), 1)
    except Refused as fault:
        return _end([], f"GitHub could not be asked who may start a run: {fault}", job.ENVIRONMENT)
    job.set_output("default_branch", str(job.inside(repository, "default_branch") or ""))
    return _end(issues, "" if issues else f"nothing to do: no issue asks for a run by the label {label!r}", 0)


def _end(issues: list[dict[str, Any]], said: str, code: int) -> int:
    job.set_output("issues", json.dumps(issues))
    if said:
        (job.error if code else job.notice)(said)
        job.summary(f"## Assay\n\n{job.fenced(said)}\n")
    return code


def _asked(github: GitHub, label: str) -> Iterator[dict[str, Any]]:
    """The issues that the event asks for and whoever asked may ask for."""
    event, name = job.event(), os.environ.get("GITHUB_EVENT_NAME", "")
    if name == "issues":
        if event.get("action") != "labeled" or not _same(job.inside(event, "label", "name"), label):
            return
        number = job.number_of(str(job.inside(event, "issue", "number")), "the event's issue")
        yield _labelled(github, number, label, sender=_login(event.get("sender")))
    elif name == "workflow_dispatch" and (wanted := job.given("ISSUE_NUMBER")):
        number = job.number_of(wanted, "issue_number")
        _check_issue(github, number)
        _check_person(github, event.get("sender"))
        yield {"number": number, "as_of": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    elif name in ("workflow_dispatch", "schedule"):
        yield from _waiting(github, label)
    else:
        raise NotAllowed(f"a run starts by a label, by hand or by a schedule, not by {name[:40]!r}")


def _waiting(github: GitHub, label: str) -> Iterator[dict[str, Any]]:
    """Open issues with the label, that someone who may has put there, and that no run has answered since."""
    found = 0
    wanted = f"state=open&per_page=100&labels={quote(label, safe='')}"
    for issue in github.pages(f"/repos/{job.repository()}/issues?{wanted}"):
        if "pull_request" in issue or not isinstance(issue.get("number"), int):
            continue
        try:
            asked = _labelled(github, issue["number"], label)
        except NotAllowed as why:
            job.notice(f"left out: {why}")
            continue
        if not _answered(github, asked):
            yield asked
            found += 1
        if found == MOST_ISSUES:
            return


def _answered(github: GitHub, asked: Mapping[str, Any]) -> bool:
    """Whether a run has commented on the issue, or has a pull request open for it. A new label asks again."""
    name, number = job.repository(), asked["number"]
    head = quote(f"{name.partition('/')[0]}:assay/issue-{number}", safe="")
    if any(True for _ in github.pages(f"/repos/{name}/pulls?state=open&head={head}")):
        return True
    since, marker = quote(str(asked["as_of"]), safe=""), f"<!-- assay comment issue={number} -->"
    comments = github.pages(f"/repos/{name}/issues/{number}/comments?per_page=100&since={since}")
    # Anybody may write the marker; only a bot's, or one of the project's own people, ends the wait.
    ours = ("OWNER", "MEMBER", "COLLABORATOR")
    return any(
        str(one.get("body")).startswith(marker)
        and (_is_bot(one.get("user")) or one.get("author_association") in ours)
        for one in comments
    )


def _labelled(github: GitHub, number: int, label: str, sender: str | None = None) -> dict[str, Any]:
    """The issue with the time at which it got its label, from GitHub's own record. Raises NotAllowed."""
    _check_issue(github, number, label)
    put = None
    for event in github.pages(f"/repos/{job.repository()}/issues/{number}/events?per_page=100"):
        if event.get("event") in ("labeled", "unlabeled") and _same(
            job.inside(event, "label", "name"), label
        ):
            put = event if event["event"] == "labeled" else None
    if put is None:
        raise NotAllowed(f"issue #{number}: nobody is on record as having put the label {label!r}")
    actor = put.get("actor")
    if sender is not None and _login(actor) != sender:
        raise NotAllowed(
            f"issue #{number}: {_login(actor)} has put the label since; the run for that is another one"
        )
    _check_person(github, actor)
    when = str(put.get("created_at"))
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", when):
        raise NotAllowed(f"issue #{number}: the time of labelling can't be read")
    return {"number": number, "as_of": when}


def _check_issue(github: GitHub, number: int, label: str | None = None) -> None:
    """Raises NotAllowed for what is no open issue, or has not the label (any more)."""
    issue = github.get(f"/repos/{job.repository()}/issues/{number}")
    if "pull_request" in issue:
        raise NotAllowed(f"#{number} is a pull request: name an issue")
    if issue.get("state") != "open":
        raise NotAllowed(f"issue #{number} is not open")
    labels = [one.get("name") if isinstance(one, Mapping) else one for one in issue.get("labels") or []]
    if label is not None and not any(_same(one, label) for one in labels):
        raise NotAllowed(f"issue #{number} has no label {label!r} any more")


def _check_person(github: GitHub, actor: Any) -> None:
    """Raises NotAllowed unless `actor` can write to the repository; a bot must be named by the workflow."""
    login = _login(actor)
    if _is_bot(actor):
        allowed = {word.casefold() for word in re.split(r"[\s,]+", job.given("ALLOWED_BOTS")) if word}
        if login.casefold() not in allowed:
            raise NotAllowed(f"{login} is a bot that allowed_bots does not name")
        return
    told = github.get(f"/repos/{job.repository()}/collaborators/{quote(login, safe='')}/permission")
    permission = told.get("permission")
    if permission not in MAY:
        raise NotAllowed(
            f"{login} may not start a run: it takes write access, and theirs is {str(permission)[:20]!r}"
        )


def _login(actor: Any) -> str:
    login = job.inside(actor, "login")
    if not isinstance(login, str) or not NAME.fullmatch(login):
        raise NotAllowed("nobody is named as having asked for a run")
    return login


def _is_bot(actor: Any) -> bool:
    return job.inside(actor, "type") != "User" or str(job.inside(actor, "login")).endswith("[bot]")


def _same(one: Any, other: str) -> bool:
    """Labels are the same whatever their case."""
    return isinstance(one, str) and one.casefold() == other.casefold()


if __name__ == "__main__":
    sys.exit(main())
