"""Bad input: one clear line, the right exit code, and nothing left behind. No engine is needed to be told so."""

import json
import os

import pytest

from tests.docker.project import agent, git, make_project, script


def refused(folder, *args, **more):
    """The one line on stderr of a command that is refused as a usage error before it did anything."""
    done = agent(folder, *args, **more)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert not (folder / "home").exists()
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def fix_refused(folder, *args, issue="issue.md", model=None, **more):
    model = model or script(folder, [[]])
    return refused(folder, "fix", "--repo", "repo", "--issue", issue, "--model", model, *args, **more)


@pytest.fixture
def folder(tmp_path):
    make_project(tmp_path)
    return tmp_path


def test_faults_of_the_command_line_are_named_with_their_mend(folder):
    (folder / "empty.md").write_text(" \n")
    (folder / "big.md").write_text("x" * 2_000_000)
    assert "No such file" in fix_refused(folder, issue="none.md")
    assert "is empty" in fix_refused(folder, issue="empty.md")
    assert "longer than" in fix_refused(folder, issue="big.md")
    assert "save the text" in fix_refused(folder, issue="123")
    assert "save the text" in fix_refused(folder, issue="https://github.com/a/b/issues/1")
    assert "nowhere" in fix_refused(folder, "--base", "nowhere")
    assert "-rf" in fix_refused(folder, "--base=-rf")
    assert "attempts must be a number above 0" in fix_refused(folder, "--attempts", "0")
    assert "{junit}" in fix_refused(folder, "--test", "make check")
    assert "--output" in fix_refused(folder, "--output", "no/such/folder/x.diff")
    (folder / "fifo.diff").symlink_to("fifo")
    os.mkfifo(folder / "fifo")
    assert "not a regular file" in fix_refused(folder, "--output", "fifo.diff")
    assert "is empty" in fix_refused(folder, "--fail-to-pass", "")
    assert "above 0" in fix_refused(folder, "--minutes", "inf")
    assert "beside branch main" in fix_refused(folder, "--branch", "main/x")
    assert "not a branch name" in fix_refused(folder, "--branch", "a..b")
    assert "exists already" in fix_refused(folder, "--branch", "main")
    assert "known are" in fix_refused(folder, model="antropic/claude")
    assert "ANTHROPIC_API_KEY" in fix_refused(folder, model="anthropic/claude-sonnet-5")
    assert "script" in fix_refused(folder, model="scripted/none.jsonl")
    assert "not allowed with" in fix_refused(folder, "--json", "--stream-json")


def test_a_test_patch_that_does_not_apply_is_told_at_once(folder):
    (folder / "tests.diff").write_text("--- a/no.py\n+++ b/no.py\n@@ -1 +1 @@\n-a\n+b\n")
    assert "--test-patch" in fix_refused(folder, "--test-patch", "tests.diff")
    (folder / "fix.diff").write_text("")
    gate = refused(folder, "gate", "--repo", "repo", "--patch", "fix.diff", "--test-patch", "tests.diff")
    assert "--test-patch" in gate


def test_a_folder_that_is_no_repository_is_named(folder):
    (folder / "plain").mkdir()
    line = refused(folder, "fix", "--repo", "plain", "--issue", "issue.md", "--model", script(folder, [[]]))
    assert "plain" in line
    assert "repository" in line


def test_a_fault_in_agent_toml_of_the_base_is_named_and_the_work_tree_s_one_is_not_read(folder):
    repo = folder / "repo"
    (repo / "agent.toml").write_text("[budget]\nturnz = 1\n")
    git(repo, "add", "agent.toml")
    git(repo, "commit", "-q", "-m", "settings")
    assert "did you mean turns" in fix_refused(folder)
    (repo / "agent.toml").write_text("[budget]\nturns = 1\n")
    assert "did you mean turns" in fix_refused(folder)


def test_an_unknown_or_ambiguous_run_is_said(folder):
    done = agent(folder, "show", "nothing")
    assert (done.returncode, done.stdout) == (2, "")
    assert "agent runs" in done.stderr
    assert agent(folder, "runs").stdout == ""


def test_without_an_engine_the_exit_code_says_environment_and_the_result_says_so_too(folder):
    done = agent(
        folder,
        *["fix", "--repo", "repo", "--issue", "issue.md", "--model", script(folder, [[]]), "--json"],
        DOCKER_HOST="unix:///no/such/socket",
    )
    assert done.returncode == 3
    assert json.loads(done.stdout)["status"] == "environment"
    doctor = agent(folder, "doctor", DOCKER_HOST="unix:///no/such/socket")
    assert doctor.returncode == 3
    assert "DOCKER_HOST" in doctor.stdout
