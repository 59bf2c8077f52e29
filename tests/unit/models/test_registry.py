"""Model specs, and what a user hears who gets one wrong."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest

from agent.budget import Limit
from agent.errors import UsageError
from agent.models.catalogue import standard
from agent.models.registry import (
    KEYS,
    ModelSpec,
    check_prices,
    default_spec,
    open_model,
    parse_spec,
    thrifty_info,
    with_thinking,
)

SECRET = "a-key-of-nobody"


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("anthropic/claude-sonnet-5", ModelSpec("anthropic", "claude-sonnet-5")),
        ("anthropic/claude-opus-5:high", ModelSpec("anthropic", "claude-opus-5", "high")),
        ("openai/org/name", ModelSpec("openai", "org/name")),
        ("local/repair", ModelSpec("local", "repair")),
        ("scripted/a:b.jsonl", ModelSpec("scripted", "a:b.jsonl")),
        ("scripted//tmp/script.jsonl", ModelSpec("scripted", "/tmp/script.jsonl")),
    ],
)
def test_a_spec_is_read(text: str, spec: ModelSpec) -> None:
    assert parse_spec(text) == spec


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("antropic/claude-sonnet-5", "did you mean anthropic?"),
        ("mistral/large", "known are anthropic, bedrock, google, local, openai, scripted, vertex"),
        ("claude-sonnet-5", "write anthropic/claude-sonnet-5"),
        ("repair", "write provider/model"),
        ("", "write provider/model"),
        ("anthropic/", "no model is named"),
        ("anthropic/claude-sonnet-5:huge", "known are off, minimal, low, medium, high, max"),
        ("local/magic", "local/repair"),
        ("local/repair:high", "without a thinking level"),
    ],
)
def test_a_wrong_spec_names_the_fault_and_the_mend(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_spec(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (
        "OPENAI_BASE_URL",
        "GOOGLE_GENAI_USE_VERTEXAI",
        *(name for names in KEYS.values() for name in names),
    ):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_missing_key_names_its_variable(no_keys: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="ANTHROPIC_API_KEY"):
        open_model("anthropic/claude-sonnet-5")


@pytest.mark.parametrize("key", [f"{SECRET}\n", f"{SECRET} ", f"“{SECRET}”"])
def test_a_key_that_no_header_can_hold_is_named_and_not_shown(key: str, no_keys: pytest.MonkeyPatch) -> None:
    no_keys.setenv("ANTHROPIC_API_KEY", key)
    with pytest.raises(UsageError, match="ANTHROPIC_API_KEY") as caught:
        open_model("anthropic/claude-sonnet-5")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "variable"),
    [("google/gemini-3.5-flash", "GEMINI_API_KEY"), ("openai/gpt-5.5", "OPENAI_API_KEY")],
)
def test_each_provider_names_its_own_key(spec: str, variable: str, no_keys: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=f"need a key: set {variable}"):
        open_model(spec)


def test_a_local_server_needs_no_key(no_keys: pytest.MonkeyPatch) -> None:
    no_keys.setenv("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")
    assert open_model("openai/qwen3:32b").spec == "openai/qwen3:32b"
    assert parse_spec("openai/qwen3:32b:high") == ModelSpec("openai", "qwen3:32b", "high")


def test_the_default_follows_the_key() -> None:
    assert default_spec({"GEMINI_API_KEY": SECRET})[0].startswith("google/gemini-")
    assert default_spec({"OPENAI_API_KEY": SECRET})[0].startswith("openai/gpt-")
    assert default_spec({"OPENAI_API_KEY": SECRET, "ANTHROPIC_API_KEY": SECRET})[0].startswith("anthropic/")
    assert default_spec({"ANTHROPIC_API_KEY": SECRET})[0].startswith("anthropic/claude-")
    assert default_spec({"ANTHROPIC_AUTH_TOKEN": SECRET})[0].startswith("anthropic/claude-")
    for environ in ({}, {"ANTHROPIC_API_KEY": ""}):
        spec, reason = default_spec(environ)
        assert spec == "local/repair"
        assert "no key is set" in reason
    assert SECRET not in default_spec({"ANTHROPIC_API_KEY": SECRET})[1]


def test_the_default_is_a_model_that_the_sdk_knows() -> None:
    from anthropic.types import ModelParam

    name = parse_spec(default_spec({"ANTHROPIC_API_KEY": SECRET})[0]).name
    assert name in get_args(get_args(ModelParam)[0])


def test_no_sdk_is_loaded_before_a_model_answers(tmp_path: Path) -> None:
    code = (
        "import sys; from agent.models.registry import KEYS, open_model; open_model('anthropic/claude-sonnet-5');"
        "print([m for m in ('anthropic', 'httpx2', 'tenacity') if m in sys.modules])"
    )
    environ = {"ANTHROPIC_API_KEY": SECRET}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_thinking_level_for_all_leaves_those_that_have_their_own() -> None:
    assert with_thinking("openai/gpt-5.5", "high") == "openai/gpt-5.5:high"
    assert with_thinking("openai/gpt-5.5:low", "high") == "openai/gpt-5.5:low"
    assert with_thinking("local/repair", "high") == "local/repair"
    assert with_thinking("openai/gpt-5.5", None) == "openai/gpt-5.5"
    with pytest.raises(UsageError, match="known are off, minimal"):
        with_thinking("openai/gpt-5.5", "huge")


@pytest.mark.parametrize(
    ("spec", "missing"),
    [
        ("openai/unheard-of", "price"),
        ("openai/unheard-of:high", "price"),
        ("anthropic/claude-unheard-of", "price"),
        ("bedrock/eu.anthropic.claude-unheard-of-v1:0", "price"),
        ("vertex/claude-unheard-of@20270101", "price"),
        ("vertex/gemini-unheard-of", "price"),
        ("google/gemini-unheard-of", "price"),
        ("openai/chat-latest", "longest answer"),
    ],
)
def test_a_budget_that_can_t_be_kept_is_refused_with_lines_that_mend_it(
    spec: str, missing: str, no_keys: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_keys.setenv("AGENT_HOME", str(tmp_path))
    budget = {"the budget": Limit(Decimal(1))}
    for _ in range(5):
        try:
            check_prices(spec, budget)
            break
        except UsageError as error:
            assert str(error).startswith(f"the budget can't be kept: the {missing} of {spec} is not known; ")
            assert str(tmp_path / "models.toml") in str(error) and "\n" not in str(error)
            found = re.search("`(.*)`", str(error))
            assert found is not None
            with (tmp_path / "models.toml").open("a") as file:
                file.write(found[1].replace("…", "4096") + "\n")
            standard.cache_clear()
            missing = "longest answer"  # what is missing then, if anything
    check_prices(spec, budget)
    assert tomllib.loads((tmp_path / "models.toml").read_text())
    standard.cache_clear()


def test_what_can_be_bounded_or_costs_nothing_takes_any_budget(
    no_keys: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_keys.setenv("AGENT_HOME", str(tmp_path))
    (tmp_path / "models.toml").write_text('[models."openai/own"]\nprices = { input = 0, output = 0 }\n')
    dollars, tokens = {"it": Limit(Decimal(1))}, {"it": Limit(tokens=1)}
    for spec in ("local/repair", "scripted/x.jsonl", "anthropic/claude-haiku-4-5", "google/gemini-4-carbon"):
        check_prices(spec, dollars)
        check_prices(spec, tokens)
    check_prices("anthropic/claude-unheard-of", tokens)
    check_prices("openai/own", dollars)  # however long its answers are
    check_prices("openai/unheard-of", {"it": Limit()})
    with pytest.raises(UsageError, match="it can't be kept: the longest answer of openai/own"):
        check_prices("openai/own", tokens)


def test_conversations_are_made_shorter_for_models_that_somebody_pays_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    info = thrifty_info("anthropic/claude-sonnet-5:high")
    assert info is not None and info.name == "claude-sonnet-5"
    assert thrifty_info("local/repair") is None and thrifty_info("scripted/x") is None
    monkeypatch.setenv("ASSAY_TEST_PLAIN", "1")
    assert thrifty_info("anthropic/claude-sonnet-5") is None
