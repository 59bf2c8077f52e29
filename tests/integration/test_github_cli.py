"""`agent publish`, and what `agent fix` says of GitHub before it begins: lines and exit codes."""

import json

import pytest

from tests.docker.project import BUGGY, FIXED_LINE, agent, git, make_project, script
from tests.loopback.github_server import TOKEN, GitHub
from tests.loopback.github_state import User
from tests.loopback.run_folder import patch_of, run_folder

FIXED = BUGGY.replace(*FIXED_LINE)


@pytest.fixture
def github(tmp_path):
    repo = make_project(tmp_path)
    git(repo, "remote", "add", "origin", "https://github.com/octo/calc.git")
    with GitHub(tmp_path, repo) as github:
        github.state.issue(7, "clamp() is wrong", "It gives 1.")
        base, patch = patch_of(repo, {"calc.py": FIXED})
        run_folder(tmp_path / "good", base, patch)
        run_folder(tmp_path / "bad", base, patch, status="rejected")
        yield github


def published(folder, name, environ, *args):
    line = ["publish", str(folder / name), "--repository", "octo/calc", "--issue", "7", *args]
    done = agent(folder, *line, **environ)
    assert "Traceback" not in done.stderr
    return done


def test_publish_tells_where_the_verdict_stands(tmp_path, github):
    done = published(tmp_path, "good", github.environ, "--json")
    (pull,) = github.state.pulls.values()
    assert (done.returncode, done.stderr) == (0, "")
    url = f"https://github.invalid/octo/calc/pull/{pull.number}"
    told = {"verdict": "accepted", "pr_url": url, "branch": "assay/issue-7", "comment_url": None}
    assert json.loads(done.stdout) == told
    plain = published(tmp_path, "good", github.environ)
    assert plain.stdout == f"verdict: accepted\npr_url: {url}\nbranch: assay/issue-7\n"
    bad = published(tmp_path, "bad", github.environ, "--json")
    assert (bad.returncode, json.loads(bad.stdout)["verdict"]) == (1, "rejected")
    assert json.loads(bad.stdout)["comment_url"].startswith("https://github.invalid/octo/calc/issues/7#")


def test_publish_refuses_and_says_why(tmp_path, github):
    (tmp_path / "good/patch.diff").write_text("--- a/calc.py\n+++ b/calc.py\n")
    done = published(tmp_path, "good", github.environ, "--json")
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (1, "refused")
    assert done.stderr == "agent: not published: patch.diff is not the patch that proof.json is of\n"
    assert github.wrote() == []


def test_faults_of_the_command_line_and_of_permission(tmp_path, github):
    environ = github.environ
    assert published(tmp_path, "nowhere", environ).returncode == 2
    tokenless = {key: value for key, value in environ.items() if key != "GITHUB_TOKEN"}
    none = published(tmp_path, "good", tokenless)
    assert (none.returncode, "set GITHUB_TOKEN" in none.stderr) == (2, True)
    done = agent(tmp_path, "publish", "good", "--repository", "octo", "--issue", "7", **environ)
    assert (done.returncode, "OWNER/NAME" in done.stderr) == (2, True)
    github.state.users["reader-token"] = User("reader", writes=frozenset())
    for token in ("reader-token", "nobodys-token"):
        refused = published(tmp_path, "good", environ | {"GITHUB_TOKEN": token}, "--json")
        assert (refused.returncode, refused.stdout) == (3, "")
        (line,) = refused.stderr.splitlines()
        assert "token" in line and token not in line


def test_a_run_whose_pull_request_can_not_be_made_does_not_begin(tmp_path, github):
    repo = tmp_path / "repo"
    line = ["fix", "--repo", "repo", "--issue", "7", "--pr", "--model", script(tmp_path, [[]])]
    git(repo, "commit", "-qm", "not pushed", "--allow-empty")
    done = agent(tmp_path, *line, **github.environ)
    assert (done.returncode, "is not in octo/calc" in done.stderr) == (2, True)
    missing = agent(tmp_path, *line[:4], "8", *line[5:], **github.environ)
    assert (missing.returncode, "no issue 8 in octo/calc" in missing.stderr) == (2, True)
    assert not (tmp_path / "home").exists()


def test_a_verdict_is_not_lost_when_github_is(tmp_path, github):
    # The environment can't be set up here, which is a verdict too; then GitHub refuses the comment.
    github.state.users[TOKEN] = User("assay-fixer[bot]", writes=frozenset())
    line = ["fix", "--repo", "repo", "--issue", "7", "--pr", "--model", script(tmp_path, [[]]), "--json"]
    done = agent(
        tmp_path, *line, "--image", "no-such-image:1", **github.environ, DOCKER_HOST="unix:///nowhere.sock"
    )
    result = json.loads(done.stdout)
    assert (done.returncode, result["status"]) == (3, "environment")
    (folder,) = (tmp_path / "home" / "runs").iterdir()
    assert json.loads((folder / "result.json").read_text()) == result
    assert "not published: GitHub refused" in done.stderr and f"agent publish {folder}" in done.stderr
    github.state.users[TOKEN] = User("assay-fixer[bot]")
    again = agent(
        tmp_path, "publish", str(folder), "--repository", "octo/calc", "--issue", "7", **github.environ
    )
    assert again.returncode == 1, again.stderr
    (said,) = github.state.comments.values()
    assert "the repository's tests could not be run" in said.body
