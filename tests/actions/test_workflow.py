"""The whole way through the workflow of the examples, as a runner takes it: a label in, a draft pull request out."""

import base64
from datetime import timedelta

import pytest

from tests.docker.project import ABOVE, RED, TESTS, git
from tests.hostile.world import KEY, LABELLED, NO_ENGINE, NUMBER, World

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
    world.project({"tests/test_calc.py": TESTS + RED + NOSY})
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

    # Publishing again, from the artifact alone, makes nothing a second time.
    again = world.publish(published.folder / "workspace/run")
    assert again.result == "success", again.log
    assert list(world.state.pulls.values()) == [pull] and not world.state.comments


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


def test_one_job_may_publish_where_its_token_writes(world):
    world.project()
    world.issue()
    job = world.fix(pull_request="true", writes=True)
    assert job.result == "failure"
    (comment,) = world.state.comments.values()
    assert "`environment`" in comment.body


def test_a_request_for_a_run_that_nobody_may_make_ends_in_the_first_job(world):
    world.project()
    world.issue()
    world.label(by="stranger")
    jobs = world.run("assay", "issues", world.labelled(by="stranger"))
    assert [job.result for job in jobs["authorize"]] == ["failure"]
    assert (jobs["fix"], jobs["publish"]) == ([], [])
    assert not world.github.wrote()


def test_another_label_starts_nothing_and_fails_nothing(world):
    world.project()
    world.issue()
    jobs = world.run("assay", "issues", world.labelled(label="bug"))
    assert [job.result for job in jobs["authorize"]] == ["success"]
    assert (jobs["fix"], jobs["publish"]) == ([], [])


def test_a_schedule_asks_once_for_each_label(world):
    world.project()
    world.issue()
    _, first = world.asked({}, "schedule")
    assert [one["number"] for one in first] == [NUMBER]
    # Anybody may write what our comments begin with.
    world.state.comment(
        NUMBER, "stranger", f"<!-- assay comment issue={NUMBER} -->", LABELLED + timedelta(hours=1)
    )
    assert world.asked({}, "schedule")[1] == first
    world.state.comment(
        NUMBER, "github-actions[bot]", f"<!-- assay comment issue={NUMBER} -->", LABELLED + timedelta(hours=1)
    )
    assert world.asked({}, "schedule")[1] == []
    world.label(at=LABELLED + timedelta(hours=2))
    assert [one["as_of"] for one in world.asked({}, "schedule")[1]] == ["2026-03-01T12:00:00Z"]


def test_a_private_repository_is_fetched_for_the_gate_with_the_job_s_token(world):
    world.project()
    head = world.pull_request({"calc.py": "x = 1\n"})
    job = world.gate(world.pull_request_event(head), more=NO_ENGINE, replaced={"gate": {"sandbox": "docker"}})
    assert job.result == "failure"
    wanted = base64.b64encode(f"x-access-token:{job.token}".encode()).decode()
    assert world.fetched_by and set(world.fetched_by) == {f"basic {wanted}"}


def test_faults_that_pass_keep_nobody_from_a_run(world):
    world.project()
    world.issue()
    world.github.faults |= {0: "429", 2: "lost before", 4: "500"}
    job, issues = world.asked(world.labelled())
    assert job.result == "success", job.log
    assert [one["number"] for one in issues] == [NUMBER]
    assert len(world.github.calls) == 7  # repository, issue, events and permission, three of them twice
