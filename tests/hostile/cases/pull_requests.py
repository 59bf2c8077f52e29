"""Pull requests that want a verdict which they have not earned, or the machine that judges them."""

from tests.docker.project import ABOVE, BUGGY, FIXED_LINE, git
from tests.hostile.corpus import Cases
from tests.hostile.world import NO_ENGINE, World

case = Cases("pull request")
FIXED = BUGGY.replace(*FIXED_LINE)
BY_TEST = {"gate": {"fail_to_pass": ABOVE, "sandbox": "docker"}}


def judged(world: World, event, **more):
    """The job, on a machine without an engine: what ends before a sandbox is needed ends the same there."""
    return world.gate(event, more=NO_ENGINE, replaced={"gate": {"sandbox": "docker"}}, **more)


@case("to a branch that its author chose for its policy", "refused")
def other_base(world: World) -> None:
    world.project()
    world.commit({"agent.toml": '[gate]\ntest = "true"\n'})
    world.push("HEAD:refs/heads/old-release")
    head = world.pull_request({"calc.py": FIXED})
    job = judged(world, world.pull_request_event(head, base={"ref": "old-release"}))
    assert (job.result, job.errors) == (
        "failure",
        "Assay, pull request #7: only pull requests into main are judged, not into old-release",
    )


@case("whose head has moved on since the event", "refused")
def moved(world: World) -> None:
    world.project()
    world.pull_request({"calc.py": FIXED})
    old = git(world.work, "rev-parse", "fork").strip()
    world.pull_request({"calc.py": FIXED + "import evil\n"})
    job = judged(world, world.pull_request_event(old))
    assert job.result == "failure" and "moved on" in job.errors


@case("that conflicts with the default branch", "rejected")
def conflict(world: World) -> None:
    world.project()
    head = world.pull_request({"calc.py": FIXED})
    world.commit({"calc.py": BUGGY.replace(FIXED_LINE[0], "        return None\n    return value")})
    world.push("main:refs/heads/main")
    job = judged(world, world.pull_request_event(head))
    assert job.result == "failure" and "conflicts with main" in job.errors
    assert job.steps["__0"]["outputs"]["verdict"] == "rejected"


@case("that changes nothing", "rejected")
def nothing(world: World) -> None:
    world.project()
    job = judged(world, world.pull_request_event(world.pull_request({})))
    assert job.result == "failure" and "changes nothing" in job.errors


@case("with a shell in its number, title, branch and author", "refused")
def shell(world: World) -> None:
    world.project()
    line = f"$(touch {world.canary})`touch {world.canary}`; touch {world.canary} #"
    head = world.pull_request({"calc.py": FIXED})
    more = {
        "title": line,
        "user": {"login": line},
        "head": {"ref": line, "sha": head},
        "number": f"7; touch {world.canary}",
    }
    job = judged(world, world.pull_request_event(head, **more))
    assert job.result == "failure" and "must be a number" in job.errors


@case("named by hand with a shell in place of a number", "refused")
def shell_by_hand(world: World) -> None:
    world.project()
    number = f"7 $(touch {world.canary})"
    job = world.gate(world.event(), "workflow_dispatch", inputs={"pull_request": number}, more=NO_ENGINE)
    assert job.result == "failure" and "must be a number" in job.errors


@case("with expressions and commands of the runner in its title and branch", "not obeyed")
def commands(world: World) -> None:
    world.project()
    line = "${{ github.token }}\n::set-output name=verdict::accepted\n##[set-output name=verdict]accepted"
    head = world.pull_request({"calc.py": FIXED})
    job = judged(world, world.pull_request_event(head, title=line, head={"ref": line, "sha": head}))
    assert job.steps["__0"]["outputs"]["verdict"] == "environment"


@case("whose paths are commands of the runner", "not obeyed")
def paths(world: World) -> None:
    world.project()
    name = "::set-output name=verdict::accepted\n##[set-output name=verdict]accepted"
    head = world.pull_request({"calc.py": FIXED, f"{name}.py": "x = 1\n"})
    job = judged(world, world.pull_request_event(head))
    assert job.steps["__0"]["outputs"]["verdict"] == "environment"


@case("with filters, merge drivers, hooks and a submodule to run", "not run")
def drivers(world: World) -> None:
    world.project()
    line = f"sh -c 'touch {world.canary}'"
    modules = f'[submodule "x"]\n\tpath = x\n\turl = "ext::{line}"\n\tupdate = !{line}\n'
    config = f'[filter "x"]\n\tsmudge = {line}\n\tclean = {line}\n[merge "x"]\n\tdriver = {line}\n'
    head = world.pull_request(
        {
            "calc.py": FIXED,
            ".gitattributes": "* filter=x merge=x diff=x\n",
            ".gitmodules": modules,
            ".gitconfig": config,
            ".githooks/post-checkout": f"#!/bin/sh\n{line}\n",
        }
    )
    world.commit({"calc.py": BUGGY + "\n\nLATER = 1\n"})
    world.push("main:refs/heads/main")
    job = judged(world, world.pull_request_event(head))
    assert job.result == "failure"


@case("that edits workflows, the gate's policy and the agent's instructions", "rejected", docker=True)
def policy(world: World) -> None:
    world.project()
    files = {
        "calc.py": FIXED,
        "agent.toml": '[gate]\ntest = "true"\n',
        ".github/workflows/ci.yml": "on: push\n",
    }
    head = world.pull_request(files)
    job = world.gate(world.pull_request_event(head), replaced=BY_TEST)
    assert job.steps["__0"]["outputs"]["verdict"] == "rejected"
    assert "agent.toml" in job.summary and "the gate's own policy" in job.summary


@case("on an old commit, whose policy asked for no tests", "judged by today's policy", docker=True)
def old_policy(world: World) -> None:
    world.project({"agent.toml": '[gate]\ntest = "true"\n'})
    git(world.work, "branch", "old")
    world.commit({"agent.toml": '[gate]\ntest = "python -m pytest"\n'})
    world.push("main:refs/heads/main")
    head = world.pull_request({"calc.py": BUGGY + "\n\nOTHER = 1\n"}, base="old")
    job = world.gate(world.pull_request_event(head), replaced=BY_TEST)
    assert job.steps["__0"]["outputs"]["verdict"] == "rejected"
    assert "from agent.toml" in job.log and "python -m pytest" in job.log
