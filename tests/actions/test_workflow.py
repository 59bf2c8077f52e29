"""The whole way through the workflow of the examples, as a runner takes it: a label in, a draft pull request out."""

import pytest

from tests.docker.project import ABOVE, git
from tests.hostile.world import KEY, NO_ENGINE, NUMBER, World

NOSY = """

def test_what_is_here_to_be_read():
    import os
    for name, value in sorted(os.environ.items()):
        print(name, value)
    for root in ("/proc/1/environ", "/proc/self/environ"):
        try:
            print(open(root, "rb").read())
        except OSError as error:
            print(error)
"""
"""A test of the repository that prints all that it can reach of the environment."""


@pytest.fixture
def world(tmp_path):
    with World(tmp_path) as made:
        yield made


def kept(world):
    """Everything that the runs left: artifacts, logs, summaries, what was published."""
    files = [path.read_bytes() for path in world.folder.glob("run-*/**/*") if path.is_file()]
    said = [one.body for one in world.state.comments.values()] + [
        one.body for one in world.state.pulls.values()
    ]
    return b"\n".join([*files, *(text.encode() for text in said)])


@pytest.mark.docker
def test_a_labelled_issue_becomes_a_draft_pull_request_with_proof(world):
    world.project()
    world.commit({"tests/test_nosy.py": NOSY})
    world.push("main:refs/heads/main")
    world.issue()
    # The embedded model: it is named, since a key is there to be looked for.
    fix = {"fail_to_pass": ABOVE, "sandbox": "docker", "model": "local/repair"}
    jobs = world.run("assay", "issues", world.labelled(), replaced={"fix": fix})
    (asked,), (fixed,), (published,) = jobs["authorize"], jobs["fix"], jobs["publish"]
    assert [job.result for job in (asked, fixed, published)] == ["success"] * 3, published.log + fixed.log
    outputs = fixed.steps["fix"]["outputs"]
    assert (outputs["verdict"], outputs["cost_usd"]) == ("accepted", "0.000000")
    assert outputs["report_path"].startswith(outputs["run_folder"])
    assert "accepted" in fixed.summary and "✓ red" in fixed.summary

    (pull,) = world.state.pulls.values()
    assert pull.draft and pull.base == "main" and pull.head == f"assay/issue-{NUMBER}"
    assert ABOVE in pull.body
    told = published.steps["__1"]["outputs"]
    assert (told["verdict"], told["branch"]) == ("accepted", pull.head)
    assert told["pr_url"].endswith(f"/pull/{pull.number}")
    assert told["pr_url"] in published.summary
    changed = git(world.state.git_dir, "diff", "--name-only", "main", pull.head).split()
    assert changed == ["calc.py"]
    assert "return high" in git(world.state.git_dir, "show", f"{pull.head}:calc.py")

    # No token and no key is in anything that is kept, and none came into a sandbox.
    everything = kept(world)
    for secret in (KEY, asked.token, fixed.token, published.token, "eyJRuntimeTokenOfTheRunner0"):
        assert secret.encode() not in everything
    world.check()


def test_a_run_that_ends_without_a_patch_is_told_once_on_the_issue(world):
    world.project()
    world.issue()
    for _ in range(2):
        jobs = world.run(
            "assay", "issues", world.labelled(), more=NO_ENGINE, replaced={"fix": {"sandbox": "docker"}}
        )
        (fixed,), (published,) = jobs["fix"], jobs["publish"]
        assert (fixed.result, published.result) == ("failure", "failure")
        assert fixed.steps["fix"]["outputs"]["verdict"] == "environment"
        assert "environment" in fixed.errors
    assert not world.state.pulls
    (comment,) = world.state.comments.values()
    assert comment.issue == NUMBER
    assert published.steps["__1"]["outputs"]["comment_url"].endswith(f"issuecomment-{comment.number}")
    world.check()
