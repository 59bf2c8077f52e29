"""The operations of GitHub's REST API on what the GitHub on loopback knows: each gives a status and its data."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.loopback.github_rules import example
from tests.loopback.github_state import Pull, Refuse, User, stamp

if TYPE_CHECKING:
    from tests.loopback.github_server import GitHub

_R = "/repos/{owner}/{repo}"

Handler = Callable[["GitHub", Any, dict[str, list[str]], Any, "User | None"], tuple[int, Any]]


def _issue(api: GitHub, values: Any) -> Any:
    issue = api.state.issues.get(int(values["issue_number"]))
    if issue is None:
        raise Refuse(404, "Not Found")
    return issue


def _get_comments(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    number = _issue(api, values).number
    since = query.get("since", [""])[0]
    said = [
        one
        for one in api.state.comments.values()
        if one.issue == number and not (since and stamp(one.updated) < since)
    ]
    return 200, [api.state.comment_data(one) for one in sorted(said, key=lambda one: one.number)]


def _get_events(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    return 200, [api.state.event_data(event) for event in _issue(api, values).events]


def _get_issues(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    state, label = query.get("state", ["open"])[0], query.get("labels", [""])[0]
    found = [
        issue
        for issue in api.state.issues.values()
        if state in ("all", issue.state)
        and (not label or label.casefold() in map(str.casefold, issue.labels))
    ]
    return 200, [api.state.issue_data(issue) for issue in sorted(found, key=lambda issue: -issue.number)]


def _post_comment(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    issue = _issue(api, values)
    _check_length(body["body"])
    return 201, api.state.comment_data(api.state.comment(issue.number, user.login, body["body"]))


def _patch_comment(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    said = api.state.comments.get(int(values["comment_id"]))
    if said is None:
        raise Refuse(404, "Not Found")
    _check_length(body["body"])
    said.body, said.updated = body["body"], api.state.now
    return 200, api.state.comment_data(said)


def _get_ref(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    sha = api.state.ref(values["ref"])
    if sha is None:
        raise Refuse(404, "Not Found")
    return 200, _ref(f"refs/{values['ref']}", sha)


def _ref(name: str, sha: str) -> dict[str, Any]:
    return {
        **example("git-ref"),
        "ref": name,
        "object": {"type": "commit", "sha": sha, "url": "https://github.invalid/"},
    }


def _post_ref(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    name = body["ref"].removeprefix("refs/")
    if api.state.kind(body["sha"]) != "commit":
        raise Refuse(422, "Object does not exist")
    if api.state.ref(name) is not None:
        raise Refuse(422, "Reference already exists")
    api.state.set_ref(name, body["sha"])
    return 201, _ref(body["ref"], body["sha"])


def _patch_ref(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    old = api.state.ref(values["ref"])
    if old is None:
        raise Refuse(422, "Reference does not exist")
    if api.state.kind(body["sha"]) != "commit":
        raise Refuse(422, "Object does not exist")
    if not body.get("force") and not api.state.is_ancestor(old, body["sha"]):
        raise Refuse(422, "Update is not a fast forward")
    api.state.set_ref(values["ref"], body["sha"])
    return 200, _ref(f"refs/{values['ref']}", body["sha"])


def _get_blob(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    if api.state.kind(values["file_sha"]) != "blob":
        raise Refuse(404, "Not Found")
    return 200, api.state.blob(values["file_sha"])


def _post_blob(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    encoded = body.get("encoding", "utf-8") == "base64"
    data = base64.b64decode(body["content"], validate=True) if encoded else body["content"].encode()
    return 201, {"sha": api.state.make_blob(data), "url": "https://github.invalid/"}


def _get_tree(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    if api.state.kind(values["tree_sha"]) != "tree":
        raise Refuse(404, "Not Found")
    return 200, api.state.tree(values["tree_sha"])


def _post_tree(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    base = body.get("base_tree")
    if base is not None and api.state.kind(base) != "tree":
        raise Refuse(422, "base_tree is not a valid tree oid")
    for entry in body["tree"]:
        if entry["sha"] is not None and api.state.kind(entry["sha"]) != "blob":
            raise Refuse(422, f"tree.sha {entry['sha']} is not a valid blob")
    return 201, api.state.tree(api.state.make_tree(base, body["tree"]))


def _get_commit(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    if api.state.kind(values["commit_sha"]) != "commit":
        raise Refuse(404, "Not Found")
    return 200, api.state.commit(values["commit_sha"])


def _post_commit(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    if api.state.kind(body["tree"]) != "tree":
        raise Refuse(422, "Tree SHA does not exist")
    if any(api.state.kind(parent) != "commit" for parent in body.get("parents", [])):
        raise Refuse(422, "Parent SHA does not exist or is not a commit object")
    return 201, api.state.commit(api.state.make_commit(body, user))


def _compare(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    base, _, head = values["basehead"].partition("...")
    shas = [
        name if api.state.kind(name) == "commit" else api.state.ref(f"heads/{name}") for name in (base, head)
    ]
    if None in shas:
        raise Refuse(404, "Not Found")
    behind, ahead = api.state.apart(*shas)
    status = {(False, False): "identical", (False, True): "ahead", (True, False): "behind"}.get(
        (behind > 0, ahead > 0), "diverged"
    )
    told = {"status": status, "ahead_by": ahead, "behind_by": behind, "total_commits": ahead}
    return 200, {**example("commit-comparison"), **told}


def _get_pulls(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    state, head = query.get("state", ["open"])[0], query.get("head", [""])[0]
    owner, colon, ref = head.partition(":")
    here = api.state.slug.partition("/")[0]
    found = [
        pull
        for pull in api.state.pulls.values()
        if state in ("all", pull.state)
        # A filter without an owner is passed over.
        and (not colon or (pull.head == ref and (pull.owner or here) == owner))
    ]
    return 200, [api.state.pull_data(pull, "pull-request-simple") for pull in reversed(found)]


def _post_pull(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    head, base = api.state.ref(f"heads/{body['head']}"), api.state.ref(f"heads/{body['base']}")
    if head is None or base is None:
        raise Refuse(
            422, "Validation Failed", [{"resource": "PullRequest", "field": "head", "code": "invalid"}]
        )
    if api.state.is_ancestor(head, base):
        raise Refuse(422, "Validation Failed", [{"resource": "PullRequest", "message": "No commits between"}])
    wanted = (body["head"], body["base"], "open", "")
    there = [p for p in api.state.pulls.values() if (p.head, p.base, p.state, p.owner) == wanted]
    if there:
        owner = api.state.slug.partition("/")[0]
        message = f"A pull request already exists for {owner}:{body['head']}."
        raise Refuse(
            422, "Validation Failed", [{"resource": "PullRequest", "code": "custom", "message": message}]
        )
    _check_length(body["body"])
    number = next(api.state.numbers)
    draft = body.get("draft", False)
    pull = Pull(number, body["title"], body["body"], body["head"], body["base"], user.login, draft)
    api.state.pulls[number] = pull
    return 201, api.state.pull_data(pull, "pull-request")


def _patch_pull(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    pull = api.state.pulls.get(int(values["pull_number"]))
    if pull is None:
        raise Refuse(404, "Not Found")
    _check_length(body.get("body", ""))
    pull.title, pull.body = body.get("title", pull.title), body.get("body", pull.body)
    pull.state = body.get("state", pull.state)
    return 200, api.state.pull_data(pull, "pull-request")


def _check_length(text: str) -> None:
    if len(text) > 65536:
        raise Refuse(
            422, "Validation Failed", [{"message": "body is too long (maximum is 65536 characters)"}]
        )


def _get_job(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    job = api.state.jobs.get(int(values["job_id"]))
    if job is None:
        raise Refuse(404, "Not Found")
    return 200, api.state.job_data(job)


def _get_logs(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    _get_job(api, values, query, body, user)
    if user is None:
        raise Refuse(403, "Must have admin rights to Repository.")
    # another origin, as the store of logs is
    return 302, f"http://localhost:{api._http.server_address[1]}/_logs/{values['job_id']}"


def _permission(api: GitHub, values: Any, query: Any, body: Any, user: Any) -> tuple[int, Any]:
    role = api.state.roles.get(values["username"], "read" if not api.state.private else "none")
    return 200, {
        **example("repository-collaborator-permission"),
        "permission": {"maintain": "write", "triage": "read"}.get(role, role),
        "role_name": role,
        "user": {**example("nullable-collaborator"), "login": values["username"], "role_name": role}
        if example("nullable-collaborator")
        else None,
    }


HANDLERS: dict[str, Handler] = {
    f"GET {_R}": lambda api, values, query, body, user: (200, api.state.repository()),
    f"GET {_R}/issues/{{issue_number}}": lambda api, values, query, body, user: (
        200,
        api.state.issue_data(_issue(api, values)),
    ),
    f"GET {_R}/issues/{{issue_number}}/labels": lambda api, values, query, body, user: (
        200,
        [api.state.label(name) for name in _issue(api, values).labels],
    ),
    f"GET {_R}/issues": _get_issues,
    f"GET {_R}/issues/{{issue_number}}/events": _get_events,
    f"GET {_R}/issues/{{issue_number}}/comments": _get_comments,
    f"POST {_R}/issues/{{issue_number}}/comments": _post_comment,
    f"PATCH {_R}/issues/comments/{{comment_id}}": _patch_comment,
    f"GET {_R}/git/ref/{{ref}}": _get_ref,
    f"POST {_R}/git/refs": _post_ref,
    f"PATCH {_R}/git/refs/{{ref}}": _patch_ref,
    f"GET {_R}/git/blobs/{{file_sha}}": _get_blob,
    f"POST {_R}/git/blobs": _post_blob,
    f"GET {_R}/git/trees/{{tree_sha}}": _get_tree,
    f"POST {_R}/git/trees": _post_tree,
    f"GET {_R}/git/commits/{{commit_sha}}": _get_commit,
    f"POST {_R}/git/commits": _post_commit,
    f"GET {_R}/compare/{{basehead}}": _compare,
    f"GET {_R}/pulls": _get_pulls,
    f"POST {_R}/pulls": _post_pull,
    f"PATCH {_R}/pulls/{{pull_number}}": _patch_pull,
    f"GET {_R}/actions/jobs/{{job_id}}": _get_job,
    f"GET {_R}/actions/jobs/{{job_id}}/logs": _get_logs,
    f"GET {_R}/collaborators/{{username}}/permission": _permission,
}
