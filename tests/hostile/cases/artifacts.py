"""Run folders that reach the job with the token that writes: forged, swapped, linked, or full of somebody's words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.actions.runner import Job
from tests.docker.project import BUGGY, FIXED_LINE, git
from tests.hostile.corpus import Cases
from tests.hostile.world import NUMBER, World
from tests.loopback.run_folder import patch_of, run_folder

case = Cases("artifact")
FIXED = BUGGY.replace(*FIXED_LINE)
FORGED = f"AKIA{'Q7RT2MNB5KXW3VZY'}"
"""Looks like a key."""


def run(world: World, changes: dict[str, str | None] | None = None, **more: Any) -> Path:
    """The folder of an accepted run whose patch makes these changes."""
    if not (world.folder / "work").exists():
        world.project()
        world.issue()
    base, patch = patch_of(world.work, changes or {"calc.py": FIXED})
    return run_folder(world.folder / "given", base, patch, issue=str(NUMBER), **more)


def edited(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    told = json.loads(path.read_text())
    edit(told)
    path.write_text(json.dumps(told))


def refused(world: World, folder: Path) -> Job:
    """Nothing of the run is published: no branch, no pull request."""
    job = world.publish(folder)
    assert job.result == "failure", job.log
    assert not job.steps["publish"]["outputs"].get("pr_url")
    assert not world.state.pulls
    assert git(world.state.git_dir, "branch", "--format=%(refname)").split() == ["refs/heads/main"]
    return job


@case("an accepted run (a control)", "a draft pull request")
def honest(world: World) -> None:
    job = world.publish(run(world))
    assert job.result == "success", job.log
    (pull,) = world.state.pulls.values()
    outputs = job.steps["publish"]["outputs"]
    assert pull.draft and outputs["verdict"] == "accepted" and outputs["branch"] == f"assay/issue-{NUMBER}"


@case("links out of the folder", "refused")
def links(world: World) -> None:
    folder = run(world)
    secret = world.folder / "secret"
    secret.write_text((folder / "result.json").read_text())
    (folder / "result.json").unlink()
    (folder / "result.json").symlink_to(secret)
    assert "a link" in refused(world, folder).log


@case("the folder itself is a link", "refused")
def linked_folder(world: World) -> None:
    run(world)
    (world.folder / "link").symlink_to(world.folder / "given")
    assert "is no folder" in refused(world, world.folder / "link").errors


@case("a patch, a proof and a verdict that are links", "refused")
def linked_files(world: World) -> None:
    folder = run(world)
    for name in ("patch.diff", "proof.json", "gate/1.json"):
        (folder / name).rename(world.folder / Path(name).name)
        (folder / name).symlink_to(world.folder / Path(name).name)
    assert refused(world, folder).log.count("a link") == 3


@case("a pipe that never ends, and files by other names", "left out")
def pipe(world: World) -> None:
    folder = run(world)
    os.mkfifo(folder / "events.jsonl.x")
    (folder / "setup.toml").unlink(missing_ok=True)
    os.mkfifo(folder / "setup.toml")
    for name in (
        ".git",
        "-rf",
        "::set-output name=verdict::x",
        "gate/::add-path::x",
        "##[set-output name=verdict]x",
    ):
        (folder / name).write_text(f"touch {world.canary}")
    job = world.publish(folder)
    assert job.result == "success", job.log
    assert "no regular file" in job.log and "no file of a run" in job.log


@case("nothing at all, or no result", "refused")
def empty(world: World) -> None:
    run(world)
    (world.folder / "empty").mkdir()
    refused(world, world.folder / "empty")
    (world.folder / "empty/result.json").write_text("[" * 100_000)
    refused(world, world.folder / "empty")
    refused(world, world.folder / "nowhere")


@case("accepted by its own word, without a proof", "refused")
def without_proof(world: World) -> None:
    folder = run(world)
    (folder / "proof.json").unlink()
    refused(world, folder)


@case("another patch than the proven one", "refused")
def swapped(world: World) -> None:
    folder = run(world)
    _, other = patch_of(world.work, {"calc.py": f"import os; os.system('touch {world.canary}')\n"})
    (folder / "patch.diff").write_bytes(other)
    refused(world, folder)


@case("a rejected run that was renamed to accepted", "refused")
def renamed(world: World) -> None:
    run(world)
    base, patch = patch_of(world.work, {"calc.py": FIXED})
    folder = run_folder(world.folder / "rejected", base, patch, status="rejected", issue=str(NUMBER))
    (folder / "patch.diff").write_bytes(patch)
    edited(folder / "result.json", lambda told: told.update(status="accepted"))
    refused(world, folder)


@case("a proof with a check that failed", "refused")
def failed_check(world: World) -> None:
    folder = run(world)
    edited(folder / "proof.json", lambda told: told["checks"][-1].update(passed=False))
    refused(world, folder)


@case("a proof that is no boolean's", "refused")
def truthy(world: World) -> None:
    folder = run(world)
    edited(folder / "proof.json", lambda told: told.update(accepted="false", checks=[]))
    refused(world, folder)


@case("a base that is in no history of the repository", "refused")
def foreign_base(world: World) -> None:
    world.project()
    world.issue()
    git(world.work, "checkout", "-q", "-b", "fork")
    world.commit({"calc.py": BUGGY + "\n\nFORK = 1\n"})
    refused(world, run(world))


@case("a base on a branch that is not the default one", "refused")
def other_base(world: World) -> None:
    world.project()
    world.issue()
    git(world.work, "checkout", "-q", "--orphan", "side")
    world.commit({"calc.py": BUGGY})
    world.push("HEAD:refs/pull/3/head")
    refused(world, run(world))


@case("a patch of workflows and actions", "refused")
def workflows(world: World) -> None:
    refused(world, run(world, {"calc.py": FIXED, ".github/workflows/x.yml": "on: push\n"}))


@case("a patch of the gate's policy", "refused")
def policy(world: World) -> None:
    refused(world, run(world, {"calc.py": FIXED, "agent.toml": '[gate]\ntest = "true"\n'}))


@case("a patch that leaves the repository, or enters .git", "refused")
def traversal(world: World) -> None:
    for number, path in enumerate(("../evil.py", ".git/hooks/post-checkout", ".GIT/config")):
        folder = run(world)
        text = f"diff --git a/{path} b/{path}\nnew file mode 100755\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"
        world.folder.joinpath("given").rename(moved := world.folder / f"given-{number}")
        _reproven(moved, text.encode())
        refused(world, moved)
        assert folder != moved


@case("a patch that makes a link out of the repository", "refused")
def link_in_patch(world: World) -> None:
    folder = run(world)
    text = "diff --git a/x b/x\nnew file mode 120000\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+/etc/passwd\n"
    text += "\\ No newline at end of file\n"
    _reproven(folder, text.encode())
    refused(world, folder)


@case("a patch that brings a key", "refused")
def key(world: World) -> None:
    job = refused(world, run(world, {"calc.py": f'{FIXED}\n\nKEY = "{FORGED}"\n'}))
    assert FORGED not in job.log + job.summary


def _reproven(folder: Path, patch: bytes) -> None:
    """Put another patch into a run with a proof to match: what a job could forge that was taken over as a whole."""
    import base64
    import hashlib

    (folder / "patch.diff").write_bytes(patch)
    (folder / "gate/1.diff").write_bytes(patch)
    edited(
        folder / "proof.json",
        lambda told: told.update(
            patch=base64.b64encode(patch).decode(), patch_sha256=hashlib.sha256(patch).hexdigest()
        ),
    )


@case("a branch and addresses of the run's own choice", "not used")
def chosen(world: World) -> None:
    folder = run(world)
    more = {
        "branch": "main",
        "pr_url": "javascript:alert(1)",
        "repo": "/etc",
        "patch": "/etc/passwd",
    }
    edited(folder / "result.json", lambda told: told.update(more))
    before = git(world.state.git_dir, "rev-parse", "main")
    job = world.publish(folder)
    assert job.result == "success", job.log
    assert git(world.state.git_dir, "rev-parse", "main") == before
    outputs = job.steps["publish"]["outputs"]
    assert (
        outputs["branch"] == f"assay/issue-{NUMBER}" and "javascript" not in outputs["pr_url"] + job.summary
    )


@case("a run for another issue", "refused")
def other_issue(world: World) -> None:
    folder = run(world)
    edited(folder / "result.json", lambda told: told.update(issue="999"))
    refused(world, folder)


@case("a run id and a status of several lines", "refused")
def lines(world: World) -> None:
    folder = run(world)
    edited(
        folder / "result.json",
        lambda told: told.update(run_id="x\nverdict=accepted", status="accepted\n::x::"),
    )
    job = refused(world, folder)
    assert job.steps["publish"]["outputs"]["verdict"] != "accepted"


@case("costs that are no numbers", "refused")
def cost(world: World) -> None:
    for number, text in enumerate(("1e999", '"0; touch x"')):
        folder = run(world)
        raw = (folder / "result.json").read_text().replace('"cost_usd": 0.0', f'"cost_usd": {text}')
        (folder / "result.json").write_text(raw)
        folder.rename(moved := world.folder / f"given-{number}")
        job = world.publish(moved)
        assert job.steps["publish"]["outputs"]["cost_usd"] in ("", "0.000000"), job.steps


@case("a run that needs a person, as one that was accepted", "a comment")
def needs_review(world: World) -> None:
    run(world)
    base, patch = patch_of(world.work, {"calc.py": FIXED})
    folder = run_folder(world.folder / "review", base, patch, status="needs_review", issue=str(NUMBER))
    refused(world, folder)
    (comment,) = world.state.comments.values()
    assert "a person must look" in comment.body
