"""Settings: what a file may say, and one clear line for what it may not."""

import pytest

from agent.config import Settings, from_pyproject, from_toml
from agent.errors import UsageError


def test_a_file_changes_what_it_names_and_nothing_else():
    settings = from_toml('[sandbox]\nmemory = "2g"\nsetup = ["make"]\n[budget]\nturns = 7\n', "agent.toml")
    assert settings == Settings(memory_mb=2048, setup=("make",), turns=7)


def test_pyproject_has_the_same_keys_and_a_broken_one_is_not_ours_to_judge():
    assert from_pyproject("[tool.agent.gate]\ntest = 'python -m pytest -q'\n").test == "python -m pytest -q"
    assert from_pyproject("[tool.other]\nx = 1\n") == Settings()
    assert from_pyproject("not toml at all [") == Settings()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[budget]\nturnz = 3\n", "did you mean turns"),
        ("[budgets]\nturns = 3\n", "did you mean budget"),
        ("[budget]\nusd = 3\n", "unknown key budget.usd"),
        ("[budget]\nturns = 'many'\n", "wrong type"),
        ("[budget]\nturns = true\n", "wrong type"),
        ("[budget]\nminutes = inf\n", "above 0"),
        ("[sandbox]\ncpus = nan\n", "above 0"),
        ("[budget]\nturns = 0\n", "above 0"),
        ("[sandbox]\nmemory = '4 GB'\n", "such as"),
        ("[sandbox]\nsetup = [1]\n", "list of strings"),
        ("turns = 3\n", "unknown section"),
        ("[gate]\ntest = 'make check'\n", "junit"),
        ("= nonsense", "not valid TOML"),
    ],
)
def test_a_fault_is_named_with_its_place(text, says):
    with pytest.raises(UsageError, match=says) as caught:
        from_toml(text, "agent.toml")
    assert str(caught.value).startswith("agent.toml")
    assert "\n" not in str(caught.value)
