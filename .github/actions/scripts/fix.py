"""Run `agent fix` on an issue: outputs, a step summary, and the run's folder for the job that publishes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import job
from report import cost_of, run_report, status_of

EVENTS = ("issues", "issue_comment", "workflow_dispatch", "repository_dispatch", "schedule")
"""Events for which a workflow runs on the default branch, not on what a pull request brings."""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)")


def main() -> int:
    issue = job.number_of(job.given("ISSUE_NUMBER"), "issue_number")
    where = f"{job.server()}/{job.repository()}/issues/{issue}"
    flags = [*_flags(), f"--repo={os.environ['GITHUB_WORKSPACE']}", f"--base={_base()}"]
    done = job.run_agent("fix", "--json", f"--issue={where}", *flags, token=job.given("TOKEN"))
    return _told(issue, job.json_object(done.stdout), done.returncode)


def _flags() -> list[str]:
    """The action's inputs as flags, each one argument: nothing in them can be another flag."""
    flags = []
    for name, flag in (
        ("THINKING", "--thinking"),
        ("BUDGET_USD", "--budget"),
        ("ATTEMPTS", "--attempts"),
        ("TEST_COMMAND", "--test"),
        ("SANDBOX", "--sandbox"),
    ):
        if value := job.given(name):
            flags.append(f"{flag}={value}")
    for name, flag in (("MODEL", "--model"), ("FAIL_TO_PASS", "--fail-to-pass")):
        flags += [f"{flag}={line.strip()}" for line in job.given(name).splitlines() if line.strip()]
    if as_of := job.given("AS_OF"):
        if not TIME.fullmatch(as_of):
            job.fail(f"as_of must be a time such as 2026-11-30T08:00:00Z, not {as_of[:40]!r}", job.USAGE)
        flags.append(f"--as-of={as_of}")
    wanted = job.given("PULL_REQUEST") or "false"
    if wanted not in ("true", "false"):
        job.fail(f"pull_request must be true or false, not {wanted[:40]!r}", job.USAGE)
    return flags + (["--pr"] if wanted == "true" else [])


def _base() -> str:
    """The head of the default branch, as the checkout fetched it. Neither the event's text nor a pull request's author
    chooses whose agent.toml, tests and instructions the agent goes by."""
    name = os.environ.get("GITHUB_EVENT_NAME", "")
    if name not in EVENTS:
        job.fail(f"the fix action runs for {', '.join(EVENTS)}, not for {name[:40]!r}", job.USAGE)
    branch = job.given("DEFAULT_BRANCH") or job.inside(job.event(), "repository", "default_branch")
    if not isinstance(branch, str) or not branch:
        job.fail("the event does not name the default branch: give the input default_branch", job.USAGE)
    ref = f"refs/remotes/origin/{branch}"
    git = ["git", "-c", "safe.directory=*", "-C", os.environ["GITHUB_WORKSPACE"]]
    asked = [*git, "show-ref", "--verify", "--hash", "--", ref]  # the ref of just that name
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    if not re.fullmatch(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", found):
        job.fail(
            f"{branch} is not checked out: use actions/checkout with the ref of the default branch before",
            job.USAGE,
        )
    return found


def _told(issue: int, result: dict[str, Any], code: int) -> int:
    """Outputs, report and folder; the exit code, which is 0 for an accepted patch alone."""
    status = status_of(result) if result else "usage" if code == job.USAGE else "environment"
    if code == 0 and status != "accepted":
        code = job.ENVIRONMENT
    report = run_report(
        result or {"status": status, "error": "no run began: see the log"}, f"Assay, issue #{issue}"
    )
    job.summary(report)
    job.set_output("verdict", status)
    job.set_output("cost_usd", cost_of(result))
    for name in ("pr_url", "branch"):
        value = result.get(name)
        job.set_output(name, value if isinstance(value, str) and re.fullmatch(r"[!-~]{1,300}", value) else "")
    folder = Path(tempfile.mkdtemp(prefix=f"assay-{issue}-", dir=os.environ["RUNNER_TEMP"])) / "run"
    run_id = str(result.get("run_id", ""))
    if re.fullmatch(r"[\w-]{1,60}", run_id, re.A):
        job.copy_run(_home() / "runs" / run_id, folder)
    else:
        folder.mkdir()
    (folder / "report.md").write_text(report, "utf-8")
    job.set_output("run_folder", str(folder))
    job.set_output("report_path", str(folder / "report.md"))
    if code:
        job.error(f"issue #{issue}: not accepted ({status}, exit code {code})")
    return code


def _home() -> Path:
    """Where the agent keeps its runs."""
    value = os.environ.get("AGENT_HOME")
    return (
        Path(os.environ["RUNNER_TEMP"], Path(value).expanduser())
        if value
        else Path.home() / ".local/state/agent"
    )


if __name__ == "__main__":
    sys.exit(main())
