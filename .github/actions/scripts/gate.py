"""Judge a pull request, whoever wrote it, by `agent gate`: the job's result is the verdict, and nothing is written.

Judged is what a merge would bring to the default branch as it stands: tests, agent.toml and all that the gate goes by
are that branch's, so an old merge base brings back no older policy. Git plumbing alone: nothing of the head is checked
out.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import job
from report import verdict_of, verdict_report

SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def main() -> int:
    event = job.event()
    number = job.number_of(
        job.given("PULL_REQUEST") or str(job.inside(event, "pull_request", "number")), "pull_request"
    )
    title, base = f"Assay, pull request #{number}", _default_branch(event)
    into = job.inside(event, "pull_request", "base", "ref")
    if into not in (None, base):
        return _end(title, "usage", f"only pull requests into {base} are judged, not into {into}", job.USAGE)
    with tempfile.TemporaryDirectory(prefix="assay-", dir=os.environ["RUNNER_TEMP"]) as folder:
        git = Git(Path(folder) / "repo")
        git.fetch(f"+refs/heads/{base}:refs/heads/base", f"+refs/pull/{number}/head:refs/heads/head")
        wanted = job.inside(event, "pull_request", "head", "sha")
        if wanted is not None and wanted != git.commit("head"):
            return _end(
                title,
                "environment",
                "the pull request has moved on: its newer commit has a run of its own",
                3,
            )
        merged = git.merged()
        if merged is None:
            return _end(title, "rejected", f"it conflicts with {base}: rebase it", 1)
        patch = Path(folder) / "patch.diff"
        patch.write_bytes(git.diff(merged))
        if not patch.stat().st_size:
            return _end(title, "rejected", f"it changes nothing of {base}", 1)
        return _judged(title, git, patch)


def _default_branch(event: Any) -> str:
    base = job.inside(event, "repository", "default_branch")
    if not isinstance(base, str) or not base:
        job.fail("the event does not name the default branch", job.USAGE)
    return base


def _judged(title: str, git: Git, patch: Path) -> int:
    flags = [f"--repo={git.path}", f"--base={git.commit('base')}", f"--patch={patch}"]
    for name, flag in (("TEST_COMMAND", "--test"), ("SANDBOX", "--sandbox")):
        if value := job.given(name):
            flags.append(f"{flag}={value}")
    flags += [
        f"--fail-to-pass={line.strip()}" for line in job.given("FAIL_TO_PASS").splitlines() if line.strip()
    ]
    done = job.run_agent("gate", "--json", *flags)
    verdict = job.json_object(done.stdout)
    if not verdict:
        return _end(title, "environment", "no verdict: see the log", done.returncode or job.ENVIRONMENT)
    status = verdict_of(verdict)
    code = done.returncode
    if code == 0 and status != "accepted":
        code = job.ENVIRONMENT
    job.set_output("verdict", status)
    job.summary(verdict_report(verdict | {"status": status}, title))
    if code:
        job.error(f"{title}: {status}")
    return code


def _end(title: str, status: str, why: str, code: int) -> int:
    job.set_output("verdict", status)
    job.summary(verdict_report({"status": status, "error": why}, title))
    job.error(f"{title}: {why}")
    return code


class Git:
    """A bare repository of our own, with the two commits and their history."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run("init", "--quiet", "--bare", "--template=", str(path), at=path.parent)

    def fetch(self, *refs: str) -> None:
        options = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-gc")
        self._run(
            "fetch", *options, "--", f"{job.server()}/{job.repository()}", *refs, token=job.given("TOKEN")
        )

    def commit(self, name: str) -> str:
        return self._run("rev-parse", "--verify", f"refs/heads/{name}^{{commit}}").decode().strip()

    def merged(self) -> str | None:
        """The tree that a merge would make; None where it conflicts."""
        done = self._call("merge-tree", "--write-tree", "--no-messages", "refs/heads/base", "refs/heads/head")
        tree = done.stdout.decode("utf-8", "replace").partition("\n")[0]
        if done.returncode not in (0, 1) or not SHA.fullmatch(tree):
            job.fail(f"git merge-tree: {_last(done.stderr)}")
        return tree if done.returncode == 0 else None

    def diff(self, tree: str) -> bytes:
        options = ("-r", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv")
        return self._run("diff-tree", *options, "refs/heads/base", tree)

    def _run(self, *command: str, at: Path | None = None, token: str = "") -> bytes:
        done = self._call(*command, at=at, token=token)
        if done.returncode:
            job.fail(f"git {command[0]}: {_last(done.stderr)}")
        return done.stdout

    def _call(
        self, *command: str, at: Path | None = None, token: str = ""
    ) -> subprocess.CompletedProcess[bytes]:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.path.parent),
            "LC_ALL": "C",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_REPLACE_OBJECTS": "1",
        }
        for name in ("SSL_CERT_FILE", "GIT_SSL_CAINFO", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
            if value := os.environ.get(name):
                environment[name] = value
        if token:  # by the environment: arguments can be seen by all of the machine
            basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
            environment |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": f"http.{job.server()}/.extraheader",
                "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {basic}",
            }
        line = ["git", "-c", "core.attributesFile=/dev/null", *command]
        return subprocess.run(line, cwd=at or self.path, env=environment, capture_output=True, check=False)


def _last(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else "it failed"


if __name__ == "__main__":
    sys.exit(main())
