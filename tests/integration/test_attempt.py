"""The loop of an attempt: a recorded model, the real tool server, the event log."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent.attempt import Attempt, Ending
from agent.conversation import messages
from agent.event_log import EventLog, read_events
from agent.events import (
    ContextMasked,
    ContextRenewed,
    DriftSeen,
    HypothesisStated,
    ModelReplied,
    ToolReturned,
    UserSaid,
)
from agent.models import Model
from agent.models.catalogue import ModelInfo, Prices
from agent.models.provider import INVALID_JSON
from agent.models.registry import open_model
from agent.toolbox import Toolbox
from agent.types import Reply
from tests.integration.workspace import base_of, tool_server

FILES = {"a.txt": "one\n"}
RUN = {"name": "shell", "arguments": {"command": "cat a.txt missing.txt"}}
CAUSE = {
    "cause": "there is no second file",
    "where": ["a.txt:1"],
    "test": "cat a.txt missing.txt",
    "observed": "cat: missing.txt: No such file or directory",
    "expected": "two",
    "explains": "what is not there can't be read",
}
STATE = {"name": "root_cause", "arguments": CAUSE}
EDIT = {"name": "write_file", "arguments": {"path": "b.txt", "content": "two\n"}}
GIVE_UP = {"name": "submit", "arguments": {"summary": "no", "give_up": True}}
SUBMIT = {"name": "submit", "arguments": {"summary": "done"}}


def work(
    tmp_path: Path, *lines: dict[str, Any], info: ModelInfo | None = None, turns: int = 10
) -> tuple[Ending, EventLog]:
    root = tmp_path / "workspace"
    root.mkdir()
    for name, text in FILES.items():
        (root / name).write_text(text)
    script = tmp_path / "script.jsonl"
    script.write_text("\n".join(map(json.dumps, lines)))
    config = {"workspace": str(root), "scratch": str(tmp_path / "s"), "test_command": "python -m pytest"}
    log = EventLog(tmp_path / "events.jsonl")
    log.append(UserSaid(1, "Mend it."))

    async def run() -> Ending:
        async with anyio.create_task_group() as tasks:
            toolbox = Toolbox(tasks, lambda: tool_server(config))
            await toolbox.start()
            model, deadline = open_model(f"scripted/{script}"), anyio.current_time() + 60

            async def read(path: str, limit: int) -> bytes:
                data = (root / path.removeprefix("/workspace/")).read_bytes()
                if len(data) > limit:
                    raise ValueError(f"{path} is larger than {limit} bytes")
                return data

            ending = await Attempt(
                1, model, toolbox, log, base_of(FILES), "You mend bugs.", turns, deadline, info, read
            ).work()
            toolbox.stop()
            return ending

    return anyio.run(run), log


def results(log: EventLog) -> list[ToolReturned]:
    return [event for event in log.events if isinstance(event, ToolReturned)]


class Priced:
    """A scripted model that tells what its input cost."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.spec = model.spec

    async def reply(self, *asked: Any) -> Reply:
        reply = await self._model.reply(*asked)
        return replace(
            reply, cost_usd=Decimal("0.03"), input_usd=Decimal("0.02"), uncached_usd=Decimal("0.05")
        )

    async def close(self) -> None:
        await self._model.close()


def test_the_log_tells_what_the_input_of_each_request_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = open_model
    monkeypatch.setitem(globals(), "open_model", lambda spec: Priced(real(spec)))
    _, log = work(tmp_path, {"tool_calls": [RUN]}, {"tool_calls": [GIVE_UP]})
    again = [event for _, event in read_events(log.path) if isinstance(event, ModelReplied)]
    told = [(event.cost_usd, event.input_usd, event.uncached_usd) for event in again]
    assert told == [(Decimal("0.03"), Decimal("0.02"), Decimal("0.05"))] * 2


def test_a_mended_call_runs_and_is_counted_as_mended(tmp_path: Path) -> None:
    raw = '```json\n{"path": "a.txt",}\n```'
    read = {"name": "read_file", "arguments": {INVALID_JSON: raw}}
    ending, log = work(tmp_path, {"tool_calls": [read, RUN, STATE, EDIT]}, {"tool_calls": [SUBMIT]})
    first, *others, _ = results(log)
    assert "one" in first.text and not first.is_error and first.mended
    assert not any(other.mended for other in others)
    assert ending.how == "submitted" and ending.patch is not None and b"+two" in ending.patch


def test_an_outline_shows_the_file_as_it_is_after_an_edit(tmp_path: Path) -> None:
    def outline(path: str) -> dict[str, Any]:
        return {"name": "outline", "arguments": {"path": path}}

    text = "class Shop:\n    def buy(self):\n        pass\n"
    write = {"name": "write_file", "arguments": {"path": "shop.py", "content": text}}
    lines = [
        {
            "tool_calls": [
                outline("shop.py"),
                RUN,
                STATE,
                write,
                outline("shop.py"),
                outline("/workspace/shop.py"),
            ]
        },
        {"tool_calls": [outline("a.txt"), {"name": "outline", "arguments": {"file": "shop.py"}}, GIVE_UP]},
    ]
    _, log = work(tmp_path, *lines)
    missing, *told, other, wrong, _ = [
        result for result in results(log) if result.name in ("outline", "submit")
    ]
    assert missing.is_error and "there is no file 'shop.py'" in missing.text
    for one in told:
        assert one.text.endswith("shop.py: 2 symbols in 3 lines\n1-3: class Shop\n  2-3: def buy(self)")
    assert "no outline of a.txt" in other.text
    assert wrong.is_error and not wrong.refused and "Usage: outline(path: string)" in wrong.text


def test_a_call_beyond_mending_is_answered_and_the_work_goes_on(tmp_path: Path) -> None:
    broken = {"name": "read_file", "arguments": {INVALID_JSON: '{"path": "a.t'}}
    _, log = work(tmp_path, {"tool_calls": [broken]}, {"tool_calls": [broken]}, {"tool_calls": [SUBMIT]})
    first, second, *_ = results(log)
    assert first.is_error and first.refused and "path (string, required)" in first.text
    assert "failed 2 times" in second.text


def test_a_call_that_was_cut_is_not_mended(tmp_path: Path) -> None:
    broken = {"name": "read_file", "arguments": {INVALID_JSON: '{"path": "a.txt"'}}
    _, log = work(tmp_path, {"tool_calls": [broken], "stop": "length"}, {"tool_calls": [SUBMIT]})
    assert results(log)[0].is_error and not results(log)[0].mended


def test_an_unknown_tool_is_answered_with_the_nearest(tmp_path: Path) -> None:
    _, log = work(tmp_path, {"tool_calls": [{"name": "readfile", "arguments": {}}]}, {"tool_calls": [SUBMIT]})
    assert "did you mean 'read_file'?" in results(log)[0].text


@pytest.mark.parametrize(
    ("stop", "how", "patched"),
    [("refusal", "refused", False), ("filtered", "refused", False), ("overflow", "context", True)],
)
def test_a_named_outcome_ends_the_attempt(stop: str, how: str, patched: bool, tmp_path: Path) -> None:
    ending, _ = work(
        tmp_path,
        {"tool_calls": [RUN, STATE, EDIT]},
        {"text": "No.", "stop": stop},
        {"text": "No.", "stop": stop},
    )
    assert (ending.how, ending.patch is not None) == (how, patched)
    assert "No." in ending.detail


def test_an_answer_that_was_cut_is_told_so_and_goes_on(tmp_path: Path) -> None:
    then = {"tool_calls": [RUN, STATE, EDIT, SUBMIT]}
    ending, log = work(tmp_path, {"text": "I will", "stop": "length"}, then)
    assert ending.how == "submitted"
    assert "cut at the output limit" in messages(log.events, 1)[2].text


def test_a_model_that_says_nothing_is_asked_once_more(tmp_path: Path) -> None:
    ending, log = work(tmp_path, {"text": " ", "stop": "empty"}, {"text": "Well.", "stop": "end"})
    assert ending.how == "no_patch"
    assert "held no tool call" in messages(log.events, 1)[2].text


def test_product_code_waits_for_a_root_cause_and_tests_do_not(tmp_path: Path) -> None:
    test = {"name": "write_file", "arguments": {"path": "tests/test_b.py", "content": "def test(): pass\n"}}
    scratch = {"name": "write_file", "arguments": {"path": str(tmp_path / "s" / "x"), "content": "x"}}
    ending, log = work(
        tmp_path,
        {"tool_calls": [test, scratch, EDIT, SUBMIT]},
        {"tool_calls": [RUN, STATE, EDIT, SUBMIT]},
    )
    tested, _, early, too_early, *_ = results(log)
    assert not tested.is_error and not tested.refused
    assert early.is_error and early.refused and "root cause first" in early.text
    assert too_early.is_error and too_early.refused and "the edit of 'b.txt' before it" in too_early.text
    assert ending.how == "submitted" and ending.patch is not None and b"b.txt" in ending.patch
    assert ending.root_cause == "a.txt:1: there is no second file"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"where": ["a.txt:2"]}, "a.txt has 1 lines"),
        ({"where": ["b/a.text:1"]}, "no file 'b/a.text'"),
        ({"where": ["a.txt"]}, "path:line or path:first-last"),
        ({"where": []}, "'where' is empty"),
        ({"where": ["a.txt:" + "9" * 5000]}, "path:line or path:first-last"),
        ({"observed": "AssertionError: made up"}, "not in the output of what was run"),
        ({"observed": "one"}, "at least 6 characters"),
        ({"test": "tests/test_z.py::test_z"}, "was not seen to fail here"),
        ({"cause": " "}, "'cause' is empty"),
    ],
)
def test_a_cause_that_was_not_seen_is_not_taken(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    wrong = {"name": "root_cause", "arguments": {**CAUSE, **changes}}
    _, log = work(tmp_path, {"tool_calls": [RUN, wrong, STATE]}, {"tool_calls": [EDIT, SUBMIT]})
    _, refused, taken, *_ = results(log)
    assert refused.is_error and refused.refused and told in refused.text
    assert not taken.is_error
    (stated,) = (event for event in log.events if isinstance(event, HypothesisStated))
    assert not stated.unchecked


def test_a_cause_cites_a_run_of_this_attempt(tmp_path: Path) -> None:
    _, log = work(tmp_path, {"tool_calls": [STATE]}, {"tool_calls": [RUN, STATE, EDIT, SUBMIT]})
    assert "nothing has been run yet" in results(log)[0].text


def test_who_cannot_cite_is_not_locked_out_but_marked(tmp_path: Path) -> None:
    wrong = {"name": "root_cause", "arguments": {**CAUSE, "observed": "something else"}}
    ending, log = work(tmp_path, {"tool_calls": [RUN, *[wrong] * 4]}, {"tool_calls": [EDIT, SUBMIT]})
    (stated,) = (event for event in log.events if isinstance(event, HypothesisStated))
    assert "'observed' is not in the output" in stated.unchecked
    assert ending.how == "submitted"


def test_a_conversation_that_outgrew_its_window_begins_anew_with_the_facts(tmp_path: Path) -> None:
    ending, log = work(
        tmp_path,
        {"tool_calls": [RUN, STATE, EDIT]},
        {"text": "too long", "stop": "overflow"},
        {"tool_calls": [SUBMIT]},
    )
    assert ending.how == "submitted"
    (facts, _, _) = messages(log.events, 1)
    assert facts.text.startswith("Mend it.")
    assert "there is no second file" in facts.text and "+two" in facts.text


READ = {"name": "read_file", "arguments": {"path": "a.txt"}}


def told(log: EventLog) -> list[str]:
    return [event.text for event in log.events if isinstance(event, UserSaid)]


def test_drift_is_told_and_edits_wait_for_the_cause_to_be_stated_anew(tmp_path: Path) -> None:
    again = {"name": "write_file", "arguments": {"path": "c.txt", "content": "three\n"}}
    ending, log = work(
        tmp_path,
        {"tool_calls": [RUN, STATE, EDIT]},
        *[{"tool_calls": [READ]}] * 3,
        {"tool_calls": [again]},
        {"tool_calls": [STATE, again]},
        {"tool_calls": [RUN, SUBMIT]},
    )
    (seen,) = (event for event in log.events if isinstance(event, DriftSeen))
    assert (seen.kind, seen.turn) == ("repeated_calls", 4)
    assert seen.text in told(log)[-1] and "call `root_cause` again" in told(log)[-1]
    refused, stated, taken = [event for event in results(log) if event.turn in (5, 6)]
    assert refused.is_error and not stated.is_error and not taken.is_error
    assert ending.how == "submitted"


def test_further_drift_ends_the_attempt_with_what_was_changed(tmp_path: Path) -> None:
    other = {"name": "find_files", "arguments": {"pattern": "*.txt"}}
    ending, _ = work(
        tmp_path,
        {"tool_calls": [RUN, STATE, EDIT]},
        *[{"tool_calls": [READ]}] * 3,
        *[{"tool_calls": [other]}] * 4,
    )
    assert ending.how == "drift" and "find_files" in ending.detail
    assert ending.patch is not None and b"+two" in ending.patch
    assert ending.turns == 7


def test_a_submission_that_nothing_was_run_for_is_questioned_once(tmp_path: Path) -> None:
    code = {"name": "write_file", "arguments": {"path": "b.py", "content": "two = 2\n"}}
    ending, log = work(
        tmp_path, {"tool_calls": [RUN, STATE, code, SUBMIT]}, {"tool_calls": [READ]}, {"tool_calls": [SUBMIT]}
    )
    first, second = (event for event in results(log) if event.name == "submit")
    assert (
        first.is_error
        and first.refused
        and "nothing was run since" in first.text
        and "submit again" in first.text
    )
    assert not second.is_error and ending.how == "submitted"


@pytest.mark.parametrize("path", ["tests/../b.py", "/tmp/../workspace/b.py", "docs/./../b.py"])
def test_product_code_is_known_behind_a_detour(path: str, tmp_path: Path) -> None:
    detour = {"name": "write_file", "arguments": {"path": path, "content": "two = 2\n"}}
    _, log = work(tmp_path, {"tool_calls": [detour]}, {"tool_calls": [GIVE_UP]})
    assert "root cause first" in results(log)[0].text


def test_a_statement_whose_form_is_wrong_again_and_again_locks_nobody_out(tmp_path: Path) -> None:
    odd = {"name": "root_cause", "arguments": {"cause": "so", "where": "a.txt:1", "more": 1}}
    ending, log = work(tmp_path, {"tool_calls": [RUN, *[odd] * 4]}, {"tool_calls": [EDIT, SUBMIT]})
    (stated,) = (event for event in log.events if isinstance(event, HypothesisStated))
    assert stated.cause == "so" and "'expected' is empty" in stated.unchecked
    assert ending.how == "submitted"


LONG = "".join(f"{n} is a line of the file\n" for n in range(1, 101))
LOOK = {"name": "read_file", "arguments": {"path": "long.txt"}}
WRITE_LONG = {
    "name": "shell",
    "arguments": {
        "command": "seq -f '%.0f is a line of the file' 100 > /tmp/long-$$; cp /tmp/long-$$ long.txt"
    },
}
PRICED = ModelInfo(
    "anthropic", "x", "anthropic", prices=Prices(Decimal(2), Decimal(10), Decimal("0.2"), Decimal("2.5"))
)


def test_a_file_in_sight_is_not_sent_again_but_after_a_change_what_changed_is(tmp_path: Path) -> None:
    change = {"name": "shell", "arguments": {"command": "sed -i 's/^50 is/FIFTY is/' long.txt"}}
    _, log = work(
        tmp_path,
        {"tool_calls": [WRITE_LONG]},
        {"tool_calls": [LOOK]},
        {"tool_calls": [LOOK]},
        {"tool_calls": [LOOK]},
        {"tool_calls": [change]},
        {"tool_calls": [LOOK]},
        {"tool_calls": [GIVE_UP]},
        info=PRICED,
    )
    first, again, whole, changed = [event for event in results(log) if event.name == "read_file"]
    assert "7 is a line" in first.text and "7 is a line" not in again.text
    assert "lines 1-100 are as read_file showed them above" in again.text
    assert whole.text == first.text, "asked once more, it comes whole"
    assert "FIFTY is" in changed.text and "17 is a line" not in changed.text


def test_without_a_model_that_somebody_pays_for_all_is_sent_whole(tmp_path: Path) -> None:
    _, log = work(
        tmp_path, {"tool_calls": [WRITE_LONG]}, *[{"tool_calls": [LOOK]}] * 2, {"tool_calls": [GIVE_UP]}
    )
    first, again = [event for event in results(log) if event.name == "read_file"]
    assert first.text == again.text


def test_a_conversation_that_outgrew_its_window_is_masked_first_and_renewed_after(tmp_path: Path) -> None:
    show = [{"name": "shell", "arguments": {"command": f"seq {n}00 {n}99"}} for n in range(1, 10)]
    full = {"text": "too long", "stop": "overflow"}
    ending, log = work(
        tmp_path,
        {"tool_calls": [RUN, STATE, EDIT]},
        *[
            {
                "tool_calls": [
                    {**one, "arguments": {"command": one["arguments"]["command"] + "; seq 1000 1200"}}
                ]
            }
            for one in show
        ],
        full,
        {"tool_calls": [RUN]},
        full,
        {"tool_calls": [SUBMIT]},
        info=PRICED,
        turns=20,
    )
    (masked,) = (event for event in log.events if isinstance(event, ContextMasked))
    assert (masked.why, list(masked.results)) == ("window", [4, 5, 6, 7, 8, 9])
    (renewed,) = (event for event in log.events if isinstance(event, ContextRenewed))
    assert renewed.turn == 13 and ending.how == "submitted"
    anew = messages(log.events, 1)[0].text
    for fact in ("Mend it.", "there is no second file", "cat: missing.txt", "b.txt (+1 -0)", "+two"):
        assert fact in anew


def test_an_attempt_masks_by_itself_and_its_log_replays_to_the_same_conversation(tmp_path: Path) -> None:
    usage = {"input": 9000, "output": 10}
    show = [
        {"tool_calls": [{"name": "shell", "arguments": {"command": f"seq {n}000 {n}500"}}], "usage": usage}
        for n in range(1, 9)
    ]
    _, log = work(tmp_path, {"tool_calls": [RUN, STATE]}, *show, {"tool_calls": [GIVE_UP]}, info=PRICED)
    masked = [event for event in log.events if isinstance(event, ContextMasked)]
    assert masked and masked[0].why == "cost" and masked[0].rewritten == 0, (
        "the script's model reads no cache"
    )
    read = [event for _, event in read_events(log.path)]
    assert messages(read, 1) == messages(log.events, 1)
    assert list(masked) == [e for e in read if isinstance(e, ContextMasked)]
    shown = [result.text for message in messages(read, 1) for result in message.tool_results]
    assert shown[2].startswith("[exit code 0") and "left out" in shown[2] and "8500" in shown[9]
