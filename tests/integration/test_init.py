"""`agent init`: what it writes after looking at a repository, and what it leaves alone."""

import os
import subprocess
import sys
import tomllib

import pytest
import yaml

from agent.cli import main
from tests.docker.project import git

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def repo(tmp_path):
    (tmp_path / "repo").mkdir()
    return tmp_path / "repo"


def committed(repo, files):
    for name, text in files.items():
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text(text)
    git(repo, "init", "-q", "-b", "main")
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--allow-empty", "-m", "base")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_HOME", str(tmp_path / "home"))


@pytest.fixture
def init(repo, capsys):
    """The command: exit code, standard output, standard error."""

    def run(*args):
        code = main(["init", "--repo", str(repo), *args])
        return code, *capsys.readouterr()

    return run


PYTHON = {
    "pyproject.toml": '[project]\nname = "x"\nversion = "1"\n[project.optional-dependencies]\ntest = ["pytest"]\n',
    "tests/test_x.py": "def test_x(): pass\n",
}


def test_a_python_project_gets_its_test_command_its_set_up_and_the_workflow(repo, init):
    committed(repo, PYTHON)
    code, said, _ = init("--action", f"our/assay@{COMMIT}")
    assert code == 0
    text = (repo / "agent.toml").read_text()
    assert tomllib.loads(text)["gate"] == {"test": "python -m pytest"}
    assert tomllib.loads(text)["budget"] == {"usd": 2.0, "minutes": 30, "attempts": 3}
    assert "# Python: the project[test], pytest" in text
    for choice in (
        "python -m pytest",
        "pyproject.toml names pytest",
        "the project[test]",
        "usd = 2.00",
        "the label assay",
    ):
        assert choice in said
    workflow = (repo / ".github/workflows/assay.yml").read_text()
    used = [step["uses"] for job in yaml.safe_load(workflow)["jobs"].values() for step in job["steps"]]
    assert [one for one in used if "assay" in one] == [
        f"our/assay/.github/actions/{name}@{COMMIT}" for name in ("authorize", "fix", "publish")
    ]
    assert "OWNER" not in workflow


def test_what_it_wrote_is_what_the_agent_then_goes_by(repo, init):
    committed(repo, PYTHON)
    init()
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "agent")
    command = [sys.executable, "-m", "agent", "fix", "--repo", str(repo), "--issue", "-", "--json"]
    done = subprocess.run(
        [*command, "--sandbox", "docker"],
        input="a bug",
        capture_output=True,
        text=True,
        env={**os.environ, "AGENT_HOME": str(repo.parent / "home"), "DOCKER_HOST": "tcp://127.0.0.1:9"},
    )
    assert done.returncode == 3
    assert "tests: python -m pytest (pytest; from agent.toml)" in done.stderr


@pytest.mark.parametrize(
    ("files", "test", "setup"),
    [
        ({"package.json": '{"scripts": {"test": "jest"}}', "package-lock.json": "{}"}, "npm test", "npm ci"),
        ({"go.mod": "module x\n\ngo 1.21\n"}, "go test ./...", "go mod download"),
        ({"Makefile": "test:\n\ttrue\n"}, "make test", "nothing names a set-up"),
    ],
)
def test_other_languages(repo, init, files, test, setup):
    committed(repo, files)
    assert init()[0] == 0
    text = (repo / "agent.toml").read_text()
    assert tomllib.loads(text)["gate"]["test"] == test
    assert setup in text


@pytest.mark.parametrize("name", ["agent.toml", ".github/workflows/assay.yml"])
def test_nothing_is_overwritten_and_then_nothing_written(repo, init, name):
    committed(repo, {**PYTHON, "README.md": ""})
    (repo / name).parent.mkdir(parents=True, exist_ok=True)
    (repo / name).write_text("# mine\n")
    code, said, error = init()
    assert (code, said) == (2, "")
    assert f"{repo / name} is there already" in error
    assert (repo / name).read_text() == "# mine\n"
    assert not all((repo / one).exists() for one in ("agent.toml", ".github/workflows/assay.yml"))


def test_a_link_leads_nothing_out_of_the_repository(repo, init):
    committed(repo, PYTHON)
    (repo.parent / "elsewhere").mkdir()
    (repo / ".github").symlink_to(repo.parent / "elsewhere")
    code, _, error = init()
    assert code == 2
    assert ".github is no folder of the repository" in error
    assert not list((repo.parent / "elsewhere").iterdir())
    (repo / ".github").unlink()
    (repo / "agent.toml").symlink_to(repo.parent / "elsewhere/agent.toml")
    assert init()[0] == 2


def test_names_of_files_write_no_settings(repo, init):
    committed(
        repo, {'tests/x\n[budget]\nusd = 1e6\n"""/conftest.py': "", "test_a.py": "def test_a(): pass\n"}
    )
    assert init()[0] == 0
    told = tomllib.loads((repo / "agent.toml").read_text())
    assert told["budget"]["usd"] == 2.0


def test_settings_that_are_there_are_left_as_they_are(repo, init):
    committed(repo, {"pyproject.toml": '[tool.agent.gate]\ntest = "pytest -q"\n'})
    code, _, error = init()
    assert code == 2
    assert "has settings of the agent at HEAD already" in error


@pytest.mark.parametrize(
    "action", ["our/assay", "our/assay@v1", "our/assay@main", f"our/assay@{COMMIT}\nx: y"]
)
def test_an_action_that_is_not_pinned_is_refused(repo, init, action):
    committed(repo, PYTHON)
    code, _, error = init("--action", action)
    assert code == 2
    assert "full commit id" in error
