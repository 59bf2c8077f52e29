"""Instances of the SWE-bench family as task lines: SWE-bench (Lite, Verified, …), SWE-bench Pro and Multi-SWE-bench.

What an instance's graders know (tests, their ids, the fix, hints from after the issue) is kept from the run: tests go
under `case.hidden_tests`, where `agent eval` takes them from, the rest nowhere. The fields are those of the data sets'
own cards. The environment is made from the repository, as for any task; the sets' own images have it in another folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HIDDEN = "hidden_tests"
_PRO = ("requirements", "interface")
"""What SWE-bench Pro tells an agent beside the issue."""


def is_instance(data: Mapping[str, Any]) -> bool:
    return "problem_statement" in data or ("resolved_issues" in data and "org" in data)


def task_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """A task line's object; what is missing in the instance, or not of its kind, is so in that too."""
    if "problem_statement" in data:
        name, base, issue = data.get("repo"), data.get("base_commit"), data["problem_statement"]
        more = [f"## {part.capitalize()}\n\n{data[part]}" for part in _PRO if data.get(part)]
        issue = "\n\n".join([issue, *more]) if isinstance(issue, str) else issue
        given = data.get("instance_id")
    else:
        name, base = f"{data['org']}/{data.get('repo')}", _of(data.get("base"), "sha")
        resolved = data["resolved_issues"]
        issues = resolved if isinstance(resolved, list) else []
        issue = "\n\n".join(
            f"# {_of(one, 'title') or ''}\n\n{_of(one, 'body') or ''}".strip() for one in issues
        )
        given = data.get("instance_id") or f"{data['org']}__{data.get('repo')}-{data.get('number')}"
    task = {
        "id": given,
        "repo": f"https://github.com/{name}" if isinstance(name, str) and name.count("/") == 1 else name,
        "base": base,
        "issue": issue,
    }
    tests = data.get("test_patch")
    if isinstance(tests, str) and tests.strip():
        task["case"] = {HIDDEN: tests}
    return task


def _of(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None
