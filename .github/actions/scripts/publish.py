"""Publish a run that another job made: a draft pull request for an accepted patch, else a comment.

This job has a token that writes and has run no model. It takes the run's folder for what anyone may have written.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import job
from report import cost_of, run_report, status_of

URL = re.compile(r"https?://[\w.:/#?=&%~+-]{1,500}", re.A)
BRANCH = re.compile(r"[\w./-]{1,200}", re.A)


def main() -> int:
    issue = job.number_of(job.given("ISSUE_NUMBER"), "issue_number")
    given = Path(job.given("RUN_FOLDER") or "/nowhere")
    if given.is_symlink() or not given.is_dir():
        job.fail("run_folder is no folder: the run left nothing to publish, see the job before this one")
    folder = Path(tempfile.mkdtemp(prefix="assay-", dir=os.environ["RUNNER_TEMP"])) / "run"
    job.copy_run(given, folder)
    result = _read(folder / "result.json")
    if not result:
        job.fail("the run's folder has no result.json that can be read: nothing is published")
    flags = (f"--repository={job.repository()}", f"--issue={issue}", "--json")
    done = job.run_agent("publish", str(folder), *flags, token=job.given("TOKEN"))
    return _told(issue, result, job.json_object(done.stdout), done.returncode, folder)


def _told(issue: int, result: dict[str, Any], published: dict[str, Any], code: int, folder: Path) -> int:
    urls = {name: _matching(URL, published.get(name)) for name in ("pr_url", "comment_url")}
    if code == 0 and not urls["pr_url"]:
        code = job.ENVIRONMENT
    for name, value in urls.items():
        job.set_output(name, value)
    job.set_output("branch", _matching(BRANCH, published.get("branch")))
    job.set_output("verdict", status_of(published | {"status": published.get("verdict")}))
    job.set_output("cost_usd", cost_of(result))
    report = run_report(result, f"Assay, issue #{issue}")
    (folder / "report.md").write_text(report, "utf-8")
    job.set_output("report_path", str(folder / "report.md"))
    links = [f"Draft pull request: {urls['pr_url']}"] if urls["pr_url"] else []
    links += [f"Comment: {urls['comment_url']}"] if urls["comment_url"] else []
    job.summary("\n\n".join([*links, report]))
    if code:
        job.error(f"issue #{issue}: no pull request (exit code {code})")
    return code


def _read(path: Path) -> dict[str, Any]:
    try:
        return job.json_object(path.read_bytes())
    except OSError:
        return {}


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


if __name__ == "__main__":
    sys.exit(main())
