"""Models as data: what is there, what it costs, and a user's own file over it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import UsageError
from agent.models.catalogue import LEVELS, load
from agent.models.registry import model_info, open_model, parse_spec, warning
from agent.types import Usage

STANDARD = load()
FLASH = "google/gemini-3.5-flash"


@pytest.mark.parametrize(
    ("spec", "title"),
    [
        (FLASH, "Gemini 3.5 Flash"),
        ("google/gemini-3.1-pro", "Gemini 3.1 Pro"),
        ("anthropic/claude-3.5-sonnet", "Claude 3.5 Sonnet"),
        ("anthropic/claude-3-5-sonnet", "Claude 3.5 Sonnet"),
        ("anthropic/claude-haiku-4.5", "Claude Haiku 4.5"),
        ("anthropic/claude-opus-4-7", "Claude Opus 4.7"),
        ("openai/gpt-5.5-instant", "GPT-5.5 Instant"),
        ("openai/gpt-5.5", "GPT-5.5"),
        ("vertex/claude-haiku-4-5@20251001", "Claude Haiku 4.5"),
        ("vertex/gemini-3.5-flash", "Gemini 3.5 Flash"),
        ("bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0", "Claude Haiku 4.5"),
        ("bedrock/anthropic.claude-opus-4-7", "Claude Opus 4.7"),
    ],
)
def test_a_model_works_by_name(spec: str, title: str) -> None:
    info = model_info(parse_spec(spec))
    assert info.title.startswith(title)
    assert info.prices.input and info.prices.output
    assert warning(spec) is None


def test_every_model_is_whole() -> None:
    for key, info in STANDARD.models.items():
        assert key == f"{info.provider}/{info.name}" and info.title
        assert (info.prices.input is None) == (info.prices.output is None), key
        if info.prices.cache_read is not None and info.prices.input is not None:
            assert info.prices.cache_read <= info.prices.input, key
        for _, prices in info.tiers:
            assert prices.input is not None and prices.output is not None, key
        for level, word in info.thinking.items():
            assert level in LEVELS
            if isinstance(word, int) and info.max_output:
                assert 1024 <= word < info.max_output, key


def test_published_figures_are_those_of_their_source() -> None:
    figures = STANDARD.models[FLASH].figures
    assert (figures["terminal_bench_2_1"], figures["mcp_right_first_time"]) == (
        Decimal("76.2"),
        Decimal("83.6"),
    )
    assert figures["source"] and figures["date"]


def test_cached_tokens_cost_at_each_read() -> None:
    info = STANDARD.models[FLASH]
    assert info.cost(Usage(1, cache_read=500_000)) == Decimal("0.075")
    ten = [Usage(1, input=500_000)] + [Usage(1, cache_read=500_000)] * 9
    assert sum(info.cost(usage) or 0 for usage in ten) == Decimal("0.75") + 9 * Decimal("0.075")


def test_a_long_context_costs_its_own_price_for_the_whole_request() -> None:
    info = STANDARD.find("google", "gemini-3.1-pro")
    [(above, dearer)] = info.tiers
    assert info.cost(Usage(1, input=above)) == above * info.prices.input / 1_000_000  # type: ignore[operator]
    more = info.cost(Usage(1, input=1, cache_read=above))
    assert more == (dearer.input + above * dearer.cache_read) / 1_000_000  # type: ignore[operator]


def test_an_unknown_price_is_unknown_and_not_zero(tmp_path: Path) -> None:
    overlay = tmp_path / "models.toml"
    overlay.write_text('[models."openai/mine"]\nprices = { input = 1, output = 2 }\n')
    info = load(overlay).models["openai/mine"]
    assert info.cost(Usage(1, input=1_000_000, output=500_000)) == 2
    assert info.cost(Usage(1, input=1, cache_read=1)) is None


def test_a_price_holds_until_its_day(tmp_path: Path) -> None:
    overlay = tmp_path / "models.toml"
    overlay.write_text(
        '[models."openai/mine"]\nprices = { input = 1, output = 2 }\n'
        "price_changes = [{ from = 2027-01-01, input = 3, output = 4 }]\n"
    )
    assert load(overlay, date(2026, 12, 31)).models["openai/mine"].prices.input == 1
    assert load(overlay, date(2027, 1, 1)).models["openai/mine"].prices.input == 3


def test_the_users_file_lies_over_the_packages(tmp_path: Path) -> None:
    overlay = tmp_path / "models.toml"
    overlay.write_text(
        '[models."google/gemini-3.1-pro-preview"]\nprices = { input = 9, output = 10, cache_read = 1 }\n'
        '[models."openai/qwen"]\napi = "chat"\naliases = ["q"]\nwindow = 32_000\n'
    )
    mine = load(overlay)
    changed = mine.models["google/gemini-3.1-pro-preview"]
    assert (changed.prices.input, changed.tiers) == (9, ())  # the old tiers went with the old prices
    assert changed.title == STANDARD.models["google/gemini-3.1-pro-preview"].title
    assert (mine.find("openai", "q").name, mine.find("openai", "q").api) == ("qwen", "chat")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[models", "not valid TOML"),
        ("[model.x]\n", "nothing else"),
        ('[models."x/y"]\n', "anthropic/NAME"),
        ('[models."openai/y"]\nwindows = 3\n', "did you mean 'window'?"),
        ('[models."openai/y"]\nwindow = "big"\n', "window has the wrong type"),
        ('[models."openai/y"]\napi = "soap"\n', "api must be one of"),
        ('[models."openai/y"]\nprices = { inputs = 1 }\n', "unknown price 'inputs'"),
        ('[models."openai/y"]\nprices = { input = "free" }\n', "USD per million tokens"),
        ('[models."openai/y"]\nprices = { input = -1 }\n', "USD per million tokens"),
        ('[models."openai/y"]\nthinking = { huge = "x" }\n', "thinking maps"),
    ],
)
def test_a_fault_in_the_users_file_names_file_and_mend(text: str, says: str, tmp_path: Path) -> None:
    overlay = tmp_path / "models.toml"
    overlay.write_text(text)
    with pytest.raises(UsageError) as caught:
        load(overlay)
    assert str(overlay) in str(caught.value) and says in str(caught.value)


def test_an_unsupported_thinking_level_names_the_supported_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "some-key")
    with pytest.raises(
        UsageError, match=r"gemini-3.5-flash: no thinking level 'max'; its levels are minimal, low,"
    ):
        open_model(f"{FLASH}:max")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "some-key")
    with pytest.raises(UsageError, match="has no thinking levels"):
        open_model("anthropic/claude-3.5-sonnet:high")


def test_a_name_that_nobody_knows_is_warned_of_with_the_nearest() -> None:
    said = warning("google/gemini-3.5-flas")
    assert said is not None and "cost is unknown" in said and "did you mean gemini-3.5-flash?" in said
    assert warning("local/repair") is None


@given(
    st.sampled_from(sorted(STANDARD.models)),
    st.tuples(*[st.integers(0, 400_000)] * 4),
    st.integers(0, 50_000),
    st.integers(0, 50_000),
)
def test_no_request_costs_more_than_its_worst_case(
    key: str, counts: tuple[int, int, int, int], more_input: int, more_output: int
) -> None:
    info = STANDARD.models[key]
    usage = Usage(1, *counts)
    cost = info.cost(usage)
    inputs = usage.input + usage.cache_read + usage.cache_write
    worst = info.worst_cost(inputs + more_input, usage.output + more_output)
    if worst is None:
        assert info.prices.input is None or info.prices.output is None
    elif cost is not None:
        assert cost <= worst


def test_the_worst_case_is_the_dearest_price_that_may_apply() -> None:
    claude = STANDARD.models["anthropic/claude-haiku-5-5"]
    [(above, dearer)] = claude.tiers
    million = Decimal(1_000_000)
    assert claude.prices.cache_write is not None and claude.prices.output is not None
    assert claude.worst_cost(above, 1) == (above * claude.prices.cache_write + claude.prices.output) / million
    assert dearer.cache_write is not None and dearer.output is not None
    assert claude.worst_cost(above + 1, 0) == (above + 1) * dearer.cache_write / million
    unwritten = replace(claude, prices=replace(claude.prices, cache_write=None))
    assert unwritten.worst_cost(1, 1) is None
