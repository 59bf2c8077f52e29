"""Attempts up the ladder, with a gate and models that are told what to say."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import anyio
import pytest

from agent.attempt import Ending
from agent.climb import Climb
from agent.errors import ModelError
from agent.event_log import EventLog
from agent.events import AttemptEnded, Note, PhaseStarted
from agent.result import RunEnding
from agent.root_cause import Rejection
from agent.types import Check, Verdict
from sandboxes.errors import SandboxError

A, B, REPAIR = "scripted/a", "scripted/b", "local/repair"
HAIKU, OPUS = "anthropic/claude-haiku-5-5", "anthropic/claude-opus-5-5"
VERDICTS = {
    b"good": Verdict(True, ()),
    b"odd": Verdict(False, (Check("review", False, "look"),), needs_review=True),
    b"bad": Verdict(False, (Check("green", False, "still red"),)),
}
FOREVER = Ending("")


def gives(patch: bytes) -> Ending:
    return Ending("submitted", "done", patch=patch, turns=2)


GAVE_UP = Ending("gave_up")
DOWN = Ending("model_error", "anthropic: HTTP 529: Overloaded", provider_down=True)
UNKNOWN = Ending("model_error", "HTTP 404: no such model")
REFUSED = Ending("refused", "it refused")


class Stage:
    """Says for each attempt, by its number, how it ends; keeps what was asked."""

    def __init__(self, folder, endings: Mapping[int, Ending] | Callable[[int], Ending]) -> None:
        self.log = EventLog(folder / "events.jsonl")
        self.asked: list[tuple[str, int, list[int], int]] = []
        self.deadlines: list[float] = []
        self.judged: list[bytes] = []
        self.published: list[bytes] = []
        self.stopped: list[int] = []
        self._judging = 0
        self._ending = endings if callable(endings) else endings.__getitem__

    async def work(
        self, spec: str, number: int, rejections: Sequence[Rejection], deadline: float, *, attempts: int
    ) -> Ending:
        self.asked.append((spec, number, [one.attempt for one in rejections], attempts))
        self.deadlines.append(deadline - anyio.current_time())
        ending = self._ending(number)
        if ending is FOREVER:
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                self.stopped.append(number)
                raise
        self.log.append(AttemptEnded(number, ending.how, ending.detail, "", None, ending.turns, 0.0))
        return ending

    async def judge(self, number: int, patch: bytes) -> Verdict:
        assert not self._judging, "two judgements at once"
        self._judging += 1
        await anyio.sleep(0.01)
        self._judging -= 1
        self.judged.append(patch)
        return VERDICTS[patch]

    async def publish(self, patch: bytes, verdict: Verdict) -> RunEnding:
        self.published.append(patch)
        return RunEnding(verdict.status, patch=patch.decode())

    def climb(self, models, attempts=3, best_of=1, seconds=60.0) -> RunEnding:
        async def run() -> RunEnding:
            deadline = anyio.current_time() + seconds
            climb = Climb(
                self.log,
                models,
                0,
                attempts,
                best_of,
                deadline,
                self.work,
                self.judge,
                self.publish,
            )
            with anyio.fail_after(30):
                return await climb.to_the_end()

        return anyio.run(run)

    def specs(self) -> list[str]:
        return [spec for spec, *_ in self.asked]

    def notes(self) -> str:
        return "\n".join(e.text for e in self.log.events if isinstance(e, Note))


@pytest.fixture(autouse=True)
def nothing_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("AGENT_HOME", str(tmp_path))


@pytest.mark.parametrize(
    "ending",
    [
        gives(b"bad"),
        GAVE_UP,
        *(Ending(how, "so") for how in ("no_patch", "turns", "context", "sandbox_died", "stuck")),
    ],
)
def test_what_is_not_accepted_leads_to_the_next_rung(tmp_path, ending):
    stage = Stage(tmp_path, {1: ending, 2: gives(b"good")})
    assert stage.climb([A, B], attempts=2).status == "accepted"
    assert stage.asked == [(A, 1, [], 2), (B, 2, [1], 2)]


def test_when_all_is_rejected_the_attempts_are_spent(tmp_path):
    stage = Stage(tmp_path, lambda number: gives(b"bad"))
    assert stage.climb([A, B]).status == "rejected"
    assert stage.specs() == [A, B, B]
    phases = [e.detail for e in stage.log.events if isinstance(e, PhaseStarted)]
    assert phases == [
        f"1 of 3: {A}",
        f"2 of 3: {B} (the next model)",
        f"3 of 3: {B} (once more)",
    ]


def test_a_provider_that_is_down_is_passed_over_and_takes_no_attempt(tmp_path):
    stage = Stage(tmp_path, {1: DOWN, 2: gives(b"bad"), 3: gives(b"good")})
    assert stage.climb([HAIKU, OPUS, A, B], attempts=2).status == "accepted"
    assert stage.specs() == [HAIKU, A, B]
    assert stage.asked[1][2] == []  # a fault of the provider is no fact about the task
    assert "its provider's other models: anthropic: HTTP 529" in stage.notes()


@pytest.mark.parametrize("ending", [UNKNOWN, REFUSED])
def test_a_model_that_cannot_or_will_not_answer_is_passed_over_alone(tmp_path, ending):
    stage = Stage(tmp_path, {1: ending, 2: gives(b"good")})
    assert stage.climb([HAIKU, OPUS], attempts=1).status == "accepted"
    assert stage.specs() == [HAIKU, OPUS]
    assert ending.detail in stage.notes()


@pytest.mark.parametrize("endings", [{1: DOWN}, {1: GAVE_UP, 2: DOWN}, {1: REFUSED, 2: UNKNOWN}])
def test_when_nobody_is_left_the_fault_ends_the_run(tmp_path, endings):
    models = [REPAIR, OPUS] if len(endings) == 2 and endings[1] is GAVE_UP else [HAIKU, OPUS]
    stage = Stage(tmp_path, endings)
    with pytest.raises(ModelError, match=endings[max(endings)].detail):
        stage.climb(models)
    assert len(stage.asked) == len(endings)


def test_a_rejected_ladder_whose_last_provider_was_down_is_rejected_not_a_fault(tmp_path):
    stage = Stage(tmp_path, {1: gives(b"bad"), 2: DOWN, 3: gives(b"bad")})
    assert stage.climb([A, OPUS], attempts=2).status == "rejected"
    assert stage.specs() == [A, OPUS, A]


def test_giving_up_everywhere_ends_before_the_attempts_are_spent(tmp_path):
    stage = Stage(tmp_path, lambda number: GAVE_UP)
    assert stage.climb([REPAIR, A], attempts=9).status == "rejected"
    assert stage.specs() == [REPAIR, A]


def test_the_free_rung_leaves_the_others_their_attempts_and_half_the_time(tmp_path):
    stage = Stage(tmp_path, {1: Ending("minutes", "slow"), 2: gives(b"bad"), 3: gives(b"good")})
    assert stage.climb([REPAIR, A], attempts=2, seconds=60).status == "accepted"
    assert stage.specs() == [REPAIR, A, A]
    assert stage.deadlines[0] <= 30 < stage.deadlines[1]
    alone = Stage(tmp_path, {1: gives(b"good")})
    alone.climb([REPAIR], seconds=60)
    assert alone.deadlines[0] > 30


def test_no_attempt_is_begun_when_the_time_is_spent(tmp_path):
    def slow(number: int) -> Ending:
        time.sleep(0.6)
        return gives(b"bad")

    stage = Stage(tmp_path, slow)
    ending = stage.climb([A], seconds=0.5)
    assert (ending.status, ending.error) == ("limit", "the run's time is spent")
    assert len(stage.asked) == 1


def test_a_spent_budget_ends_the_run_whatever_rungs_are_left(tmp_path):
    stage = Stage(tmp_path, {1: gives(b"bad"), 2: Ending("budget", "0.50 USD are spent")})
    ending = stage.climb([A, B], attempts=5)
    assert (ending.status, ending.error) == ("limit", "0.50 USD are spent")
    assert len(stage.asked) == 2


@pytest.mark.parametrize(
    ("how", "status"),
    [("turns", "limit"), ("context", "limit"), ("sandbox_died", "environment"), ("no_patch", "rejected")],
)
def test_the_status_of_attempts_that_all_end_alike(tmp_path, how, status):
    assert Stage(tmp_path, lambda number: Ending(how, "so")).climb([A]).status == status


def test_the_first_accepted_of_several_ends_the_others(tmp_path):
    stage = Stage(tmp_path, {1: FOREVER, 2: gives(b"bad"), 3: gives(b"good")})
    ending = stage.climb([A], attempts=2, best_of=3)
    assert (ending.status, ending.patch, stage.published) == ("accepted", "good", [b"good"])
    assert sorted(stage.asked) == [(A, 1, [], 6), (A, 2, [], 6), (A, 3, [], 6)]
    assert stage.stopped == [1]
    (outrun,) = [e for e in stage.log.events if isinstance(e, AttemptEnded) and e.how == "outrun"]
    assert (outrun.attempt, outrun.detail) == (1, "attempt 3 was accepted first")


def test_what_was_not_judged_any_more_is_told(tmp_path):
    stage = Stage(tmp_path, lambda number: gives(b"good"))
    assert stage.climb([A], best_of=2).status == "accepted"
    assert len(stage.judged) == 1
    assert "was not judged: attempt" in stage.notes()


def test_all_rejections_of_a_round_are_facts_for_the_next(tmp_path):
    stage = Stage(tmp_path, {n: gives(b"good" if n == 4 else b"bad") for n in range(1, 5)})
    assert stage.climb([A, B], attempts=2, best_of=2).status == "accepted"
    assert sorted((spec, number) for spec, number, *_ in stage.asked) == [(A, 1), (A, 2), (B, 3), (B, 4)]
    assert all(sorted(told) == [1, 2] for spec, _, told, _ in stage.asked if spec == B)


def test_a_patch_for_a_person_waits_for_a_better_one_and_is_kept(tmp_path):
    better = Stage(tmp_path, {1: gives(b"odd"), 2: gives(b"good")})
    assert better.climb([A], best_of=2).patch == "good"
    assert better.published == [b"odd", b"good"]
    worse = Stage(tmp_path, {1: gives(b"odd"), 2: gives(b"bad")})
    ending = worse.climb([A], best_of=2)
    assert (ending.status, ending.patch) == ("needs_review", "odd")
    assert worse.published == [b"odd"]
    assert len(worse.asked) == 2


def test_one_of_several_that_answers_is_enough_to_go_on(tmp_path):
    stage = Stage(tmp_path, {1: UNKNOWN, 2: gives(b"bad"), 3: gives(b"good"), 4: FOREVER})
    assert stage.climb([A], attempts=2, best_of=2).status == "accepted"
    assert [told for _, number, told, _ in stage.asked if number == 3] == [[2]]


def test_the_free_search_is_made_once_where_others_are_made_several_times(tmp_path):
    stage = Stage(tmp_path, {1: GAVE_UP, 2: gives(b"good"), 3: FOREVER})
    assert stage.climb([REPAIR, A], attempts=1, best_of=2).status == "accepted"
    assert [number for spec, number, *_ in stage.asked if spec == REPAIR] == [1]
    assert sorted(number for spec, number, *_ in stage.asked if spec == A) == [2, 3]


def test_a_budget_that_is_spent_beside_other_attempts_is_what_ended_the_run(tmp_path):
    def ending(number: int) -> Ending:
        return Ending("budget", "0.50 USD are spent") if number == 1 else gives(b"bad")

    stage = Stage(tmp_path, ending)
    assert stage.climb([A, B], best_of=2) == RunEnding("limit", error="0.50 USD are spent")
    assert stage.judged == [b"bad"] and len(stage.asked) == 2


def test_a_fault_of_one_lane_takes_nothing_from_the_others(tmp_path):
    def ending(number: int) -> Ending:
        if number == 2:
            raise SandboxError("no space for a second container")
        return gives(b"good")

    stage = Stage(tmp_path, ending)
    assert stage.climb([A], best_of=2).status == "accepted"
    assert stage.published == [b"good"]
    assert any(isinstance(e, Note) and "no space for a second" in e.text for e in stage.log.events)


def test_a_fault_of_every_lane_is_the_run_s(tmp_path):
    def ending(number: int) -> Ending:
        raise SandboxError("no engine")

    with pytest.raises(SandboxError, match="no engine"):
        Stage(tmp_path, ending).climb([A], best_of=2)
