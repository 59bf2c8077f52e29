"""Which rung is asked next."""

from __future__ import annotations

import pytest

from agent.ladder import Asked, rungs_ahead
from agent.models.registry import KEYS

HAIKU, OPUS, GPT = "anthropic/claude-haiku-5-5", "anthropic/claude-opus-5-5", "openai/gpt-5.5"
REPAIR = "local/repair"


@pytest.fixture(autouse=True)
def nothing_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("AGENT_HOME", str(tmp_path))
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    for name in (name for names in KEYS.values() for name in names):
        monkeypatch.delenv(name, raising=False)


def ahead(models, attempts, *asked, start=0):
    return [rung.spec for rung in rungs_ahead(models, attempts, asked, start=start)]


@pytest.mark.parametrize(
    ("models", "attempts", "plan"),
    [
        ([HAIKU], 3, [HAIKU, f"{HAIKU}:max", f"{HAIKU}:max"]),
        ([HAIKU, OPUS], 1, [HAIKU]),
        ([HAIKU, OPUS], 2, [HAIKU, OPUS]),
        ([HAIKU, OPUS], 3, [HAIKU, f"{HAIKU}:max", OPUS]),
        ([HAIKU, OPUS], 5, [HAIKU, f"{HAIKU}:max", OPUS, f"{OPUS}:max", f"{OPUS}:max"]),
        # a level that the user gave is kept, and unknown names get none that we would have to guess
        ([f"{HAIKU}:low", OPUS], 3, [f"{HAIKU}:low", OPUS, f"{OPUS}:max"]),
        ([HAIKU, f"{HAIKU}:high"], 3, [HAIKU, f"{HAIKU}:high", f"{HAIKU}:high"]),
        (["openai/own-model", OPUS], 3, ["openai/own-model", OPUS, f"{OPUS}:max"]),
        (["scripted/a", "scripted/b"], 4, ["scripted/a", "scripted/b", "scripted/b", "scripted/b"]),
        # local/repair costs nothing, so it takes no attempt of the others
        ([REPAIR, OPUS], 2, [REPAIR, OPUS, f"{OPUS}:max"]),
        ([REPAIR], 3, [REPAIR, REPAIR, REPAIR]),
        ([OPUS, OPUS], 2, [OPUS, OPUS]),
    ],
)
def test_a_rung_an_attempt_and_deeper_thinking_before_the_next_model(models, attempts, plan):
    assert ahead(models, attempts) == plan


def test_what_was_asked_is_not_asked_again_before_the_rest():
    assert ahead([HAIKU, OPUS], 3, Asked(HAIKU)) == [f"{HAIKU}:max", OPUS]
    assert ahead([HAIKU, OPUS], 3, Asked(HAIKU), Asked(f"{HAIKU}:max")) == [OPUS]
    assert ahead([HAIKU, OPUS], 2, Asked(HAIKU), Asked(OPUS)) == []
    assert ahead([REPAIR, OPUS], 1, Asked(REPAIR)) == [OPUS]


def test_a_rung_that_gave_up_is_left_but_not_its_model_s_deeper_thinking():
    assert ahead([HAIKU], 3, Asked(HAIKU, gave_up=True)) == [f"{HAIKU}:max", f"{HAIKU}:max"]
    assert ahead([HAIKU], 3, Asked(HAIKU, gave_up=True), Asked(f"{HAIKU}:max", gave_up=True)) == []
    assert ahead([REPAIR], 3, Asked(REPAIR, gave_up=True)) == []
    assert ahead(["scripted/a", "scripted/b"], 2, Asked("scripted/a", gave_up=True)) == ["scripted/b"]


def test_a_provider_that_is_down_is_passed_over_with_all_its_models_and_takes_no_attempt():
    assert ahead([HAIKU, OPUS, GPT], 2, Asked(HAIKU, out="provider")) == [GPT, f"{GPT}:max"]
    assert ahead([HAIKU, OPUS], 3, Asked(HAIKU, out="provider")) == []
    assert ahead([REPAIR, OPUS], 3, Asked(REPAIR, gave_up=True), Asked(OPUS, out="provider")) == []


def test_a_model_that_cannot_answer_is_passed_over_alone():
    assert ahead([HAIKU, OPUS], 2, Asked(HAIKU, out="model")) == [OPUS, f"{OPUS}:max"]
    assert ahead([HAIKU], 3, Asked(HAIKU), Asked(f"{HAIKU}:max", out="model")) == []


def test_without_the_dearer_model_its_attempts_go_to_the_others():
    asked = [Asked(HAIKU), Asked(f"{HAIKU}:max"), Asked(GPT, out="provider")]
    assert ahead([HAIKU, GPT], 3, *asked) == [f"{HAIKU}:max"]
    assert ahead([HAIKU, GPT], 2, Asked(HAIKU), Asked(GPT, out="provider")) == [f"{HAIKU}:max"]


def test_the_rungs_below_the_start_are_asked_only_when_nobody_above_can_answer():
    models = [HAIKU, "scripted/a", GPT]
    assert ahead(models, 3, start=1) == ["scripted/a", GPT, f"{GPT}:max"]
    out = Asked("scripted/a", out="model")
    assert ahead(models, 1, out, start=1) == [GPT]
    assert ahead(models, 1, out, Asked(GPT, out="provider"), start=1) == [HAIKU]
    assert ahead(models, 1, Asked("scripted/a"), start=1) == []


def test_no_history_keeps_a_ladder_going_for_ever():
    for models in ([REPAIR], [REPAIR, OPUS], [HAIKU, "scripted/a"], [REPAIR, REPAIR, GPT]):
        for ending in (Asked(""), Asked("", gave_up=True), Asked("", out="model"), Asked("", out="provider")):
            asked: list[Asked] = []
            while rungs := rungs_ahead(models, 4, asked):
                asked.append(Asked(rungs[0].spec, ending.gave_up, ending.out))
                assert len(asked) <= 6
