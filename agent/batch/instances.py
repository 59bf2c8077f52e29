"""Instances of the SWE-bench family as task lines: SWE-bench (Lite, Verified, …), SWE-bench Pro and Multi-SWE-bench.

What an instance's graders know (tests, their ids, the fix, hints from after the issue) is kept from the run: tests go
under `case.hidden_tests`, where `agent eval` takes them from, the rest nowhere. The fields are those of the data sets'
own cards; a `test` beside them is the test command, as in any task line. The environment is made from the repository,
as for any task, unless the sets' own images are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HIDDEN = "hidden_tests"
INSTANCE = "instance"
"""Under which a task's `case` holds what its benchmark's graders know it by, where that is not its id alone."""
PRO, MULTI = "SWE-bench Pro", "Multi-SWE-bench"
_TOLD = ("requirements", "interface")
"""What SWE-bench Pro tells an agent beside the issue."""


def is_instance(data: Mapping[str, Any]) -> bool:
    return "problem_statement" in data or ("resolved_issues" in data and "org" in data)


def task_of(data: Mapping[str, Any], *, images: bool = False) -> dict[str, Any]:
    """A task line's object; what is missing in the instance, or not of its kind, is so in that too. With `images` it
    has the image that its set made for it, by its own word or else by the set's naming; "" where neither tells."""
    case: dict[str, Any] = {}
    if "problem_statement" in data:
        name, base, issue = data.get("repo"), data.get("base_commit"), data["problem_statement"]
        more = [f"## {part.capitalize()}\n\n{data[part]}" for part in _TOLD if data.get(part)]
        issue = "\n\n".join([issue, *more]) if isinstance(issue, str) else issue
        given = data.get("instance_id")
        if "dockerhub_tag" in data:
            case[INSTANCE] = {"set": PRO}
    else:
        name, base = f"{data['org']}/{data.get('repo')}", _of(data.get("base"), "sha")
        resolved = data["resolved_issues"]
        issues = resolved if isinstance(resolved, list) else []
        issue = "\n\n".join(
            f"# {_of(one, 'title') or ''}\n\n{_of(one, 'body') or ''}".strip() for one in issues
        )
        given = data.get("instance_id") or f"{data['org']}__{data.get('repo')}-{data.get('number')}"
        case[INSTANCE] = {"set": MULTI, **{key: data.get(key) for key in ("org", "repo", "number")}}
    task = {
        "id": given,
        "repo": f"https://github.com/{name}" if isinstance(name, str) and name.count("/") == 1 else name,
        "base": base,
        "issue": issue,
        "test": data.get("test"),
        "image": _image(data, given) if images else None,
    }
    tests = data.get("test_patch")
    if isinstance(tests, str) and tests.strip():
        case[HIDDEN] = tests
    return {**task, "case": case} if case else task


def _image(data: Mapping[str, Any], given: Any) -> Any:
    """The image's name. Where the set's own data name one, as SWE-bench's of 2026 do, it is theirs to know."""
    if data.get("image") is not None:
        return data["image"]
    if "dockerhub_tag" in data:
        return f"jefzda/sweap-images:{data['dockerhub_tag']}" if data["dockerhub_tag"] else ""
    if "problem_statement" not in data:
        return f"mswebench/{data['org']}_m_{data.get('repo')}".lower() + f":pr-{data.get('number')}"
    # A registry takes no double underscore, and no capitals.
    return f"swebench/sweb.eval.x86_64.{given}:latest".replace("__", "_1776_").lower()


def _of(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None
