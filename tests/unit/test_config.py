"""Settings: what a file may say, and one clear line for what it may not."""

from decimal import Decimal

import pytest

from agent.budget import Limit
from agent.config import Settings, from_pyproject, from_toml, per_day
from agent.errors import UsageError


def test_a_file_changes_what_it_names_and_nothing_else():
    settings = from_toml('[sandbox]\nmemory = "2g"\nsetup = ["make"]\n[budget]\nturns = 7\n', "agent.toml")
    assert settings == Settings(memory_mb=2048, setup=("make",), turns=7)
    assert from_toml('[models]\ncontext = "repo"\n', "agent.toml").context == "repo"


def test_the_repository_s_own_images_can_be_named_and_set_aside():
    assert from_toml("[sandbox]\ndockerfile = 'a/Dockerfile'\n", "agent.toml").dockerfile == "a/Dockerfile"
    for off in ("false", "''"):
        assert from_toml(f"[sandbox]\ndockerfile = {off}\n", "agent.toml").dockerfile == ""
    assert Settings().dockerfile is None


def test_pyproject_has_the_same_keys_and_a_broken_one_is_not_ours_to_judge():
    assert from_pyproject("[tool.agent.gate]\ntest = 'python -m pytest -q'\n").test == "python -m pytest -q"
    assert from_pyproject("[tool.other]\nx = 1\n") == Settings()
    assert from_pyproject("not toml at all [") == Settings()
    assert from_pyproject(f"a = {'[' * 50_000}") == Settings()
    assert from_pyproject("tool = 3\n") == Settings()
    with pytest.raises(UsageError, match="agent must be a table, not 3"):
        from_pyproject("[tool]\nagent = 3\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[budget]\nturnz = 3\n", "did you mean turns"),
        ('[models]\ncontext = "all"\n', "context must be map or repo, not 'all'"),
        ("[budgets]\nturns = 3\n", "did you mean budget"),
        ("[budget]\nusd = 0\n", "usd must be dollars above 0"),
        ("[budget]\nusd = nan\n", "usd must be dollars above 0"),
        ("[budget]\nusd = inf\n", "at most 1,000,000"),
        (f"[budget]\nusd = 0x{'f' * 5000}\n", "at most 1,000,000"),
        ("[budget]\nusd = '3'\n", "wrong type"),
        ("[budget]\ntokens = 0.5\n", "wrong type"),
        ("[budget]\ntokens = -1\n", "tokens must be a number above 0"),
        ("[budget]\nusd_per_day = 3\n", "unknown key budget.usd_per_day"),
        ("[budget]\nturns = 'many'\n", "wrong type"),
        ("[budget]\nturns = true\n", "wrong type"),
        ("[budget]\nminutes = inf\n", "above 0"),
        ("[budget]\nminutes = 1e300\n", "at most 10080"),
        ("[sandbox]\ncpus = nan\n", "sandbox.cpus must be from 0.1 to 1024"),
        ("[sandbox]\ncpus = 0.0001\n", "from 0.1 to 1024, not 0.0001"),
        ("[sandbox]\ncpus = 1e308\n", "from 0.1 to 1024"),
        ("[sandbox]\nmemory = '1m'\n", 'sandbox.memory must be from "64m" to "1024g", not 1m'),
        ("[sandbox]\nmemory = '99999999999999999999g'\n", 'from "64m" to "1024g"'),
        (f"[sandbox]\nmemory = 0x{'f' * 5000}\n", 'from "64m" to "1024g"'),
        ("[sandbox]\nmemory = '²g'\n", "such as"),
        (f"[sandbox]\nmemory = '{'9' * 5000}g'\n", "such as"),
        ("[gate]\ntimeout = 1e300\n", "gate.timeout must be from 1 to 604800 seconds"),
        ("[sandbox]\nimage = ''\n", "name of an image"),
        ("[sandbox]\ndockerfile = true\n", "sandbox.dockerfile has the wrong type"),
        ("[sandbox]\ndockerfile = '../Dockerfile'\n", "dockerfile must be a path in the repository"),
        ("[sandbox]\ndockerfile = '/Dockerfile'\n", "dockerfile must be a path in the repository"),
        ("[sandbox]\ndockerfile = 'a/../b'\n", "dockerfile must be a path in the repository"),
        ("sandbox = 1\n", "sandbox must be a table"),
        (f"a = {'[' * 50_000}", "not valid TOML"),
        (f"a = {'9' * 5000}", "not valid TOML"),
        ("[budget]\nturns = 0\n", "above 0"),
        ("[models]\nbest_of = 0\n", "models.best_of must be from 1 to 16"),
        ("[models]\nbest_of = 99\n", "models.best_of must be from 1 to 16"),
        ("[models]\nbestof = 2\n", "did you mean best_of"),
        ("[sandbox]\nmemory = '4 GB'\n", "such as"),
        ("[sandbox]\nsetup = [1]\n", "list of strings"),
        ("turns = 3\n", "unknown section"),
        ("[github]\nauthor = 'Fix Bot'\n", 'as "Name <mail@host>"'),
        ("[github]\nauthor = 'a\\nb <x@y>'\n".replace("'", '"'), "github.author"),
        ("[gate]\ntest = ' '\n", "empty"),
        ("[gate]\nchecks = 'ruff check'\n", "wrong type"),
        ("[gate]\nchecks = [1]\n", "list of strings"),
        ("[gate]\nchecks = ['mypy', ' ']\n", "gate.checks has an empty command"),
        ("= nonsense", "not valid TOML"),
    ],
)
def test_a_fault_is_named_with_its_place(text, says):
    with pytest.raises(UsageError, match=says) as caught:
        from_toml(text, "agent.toml")
    assert str(caught.value).startswith("agent.toml")
    assert "\n" not in str(caught.value)


def test_dollars_are_what_was_written():
    assert from_toml("[budget]\nusd = 0.1\ntokens = 5000\n", "agent.toml").usd == Decimal("0.1")
    assert from_toml("[budget]\nusd = 3\n", "agent.toml").usd == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("usd_per_day = 0\n", "usd_per_day must be dollars above 0"),
        ("usd_per_day = true\n", "usd_per_day has the wrong type"),
        ("usd_a_day = 1\n", "did you mean usd_per_day"),
        ("tokens_per_day = 1.5\n", "wrong type"),
        ("[budget]\nusd_per_day = 1\n", "unknown key budget"),
        ("nonsense", "can't be read"),
    ],
)
def test_the_user_s_limit_for_a_day_is_its_own_file_and_its_faults_are_named(
    text, says, tmp_path, monkeypatch
):
    monkeypatch.setenv("AGENT_HOME", str(tmp_path))
    assert per_day() == Limit()
    (tmp_path / "budget.toml").write_text("usd_per_day = 2.50\ntokens_per_day = 1_000_000\n")
    assert per_day() == Limit(Decimal("2.5"), 1_000_000)
    (tmp_path / "budget.toml").write_text(text)
    with pytest.raises(UsageError, match=says) as caught:
        per_day()
    assert str(caught.value).startswith(str(tmp_path / "budget.toml"))
    assert "\n" not in str(caught.value)
