"""What commands make of what they find in a repository."""

import json

import pytest

from agent.cli.inputs import with_test_command
from agent.config import Settings
from agent.errors import UsageError
from agent.git import Repository
from tests.docker.project import git

TWICE = {"scripts": {"test": "node --test a && node --test b"}}


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "package.json").write_text(json.dumps(TWICE))
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "base")
    with Repository(tmp_path) as opened:
        yield opened


def test_a_script_that_runs_tests_twice_is_judged_as_a_whole_unless_it_was_asked_for(repository):
    base = repository.resolve("HEAD")
    settings, said = with_test_command(Settings(), repository, base)
    assert settings.test == "sh -c 'npm test'"
    assert "by its exit code alone" in said and "which can't be taken apart" in said
    with pytest.raises(UsageError, match=r"--test: .*runs tests more than once; name one run"):
        with_test_command(Settings(test="npm test", test_from="--test"), repository, base)
