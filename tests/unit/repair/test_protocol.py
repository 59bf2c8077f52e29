"""The model's side of the conversation, with scripted tool results: which calls it makes, and how it ends."""

from __future__ import annotations

import base64
import json
import re
import zlib

import anyio
import pytest

from agent.errors import ModelError
from agent.models.repair import RepairModel
from agent.types import Message, ToolResult

BRIEF = """Repair this issue.

<issue>
f is wrong
- tests/test_m.py::test_in_the_issue
</issue>

These tests fail on the base commit and must pass with your patch:
- tests/test_m.py::test_f

Test command: `python -m pytest`. The base commit's suite: 1 tests pass, 2 fail.
Failing on the base:
- tests/test_m.py::test_f
- tests/test_m.py::test_other
"""
UNNAMED = BRIEF.replace(
    "These tests fail on the base commit and must pass with your patch:\n- tests/test_m.py::test_f\n", ""
)
OUTCOMES = {
    "tests/test_m.py::test_f": "failed",
    "tests/test_m.py::test_other": "failed",
    "tests/test_m.py::test_g": "passed",
}
SOURCE = "def f(a):\n    return a - 1\n"


class Talk:
    """A conversation with a new model, whose tool results the test gives."""

    def __init__(self, brief=BRIEF, **options):
        self.model = RepairModel(**options)
        self.messages = [Message("user", brief)]

    def turn(self, *results):
        """Answer the calls before with `results` (text or data), and get the next calls as (name, arguments)."""
        if len(self.messages) > 1:
            calls = self.messages[-1].tool_calls
            assert len(results) == len(calls), [call.name for call in calls]
            answers = tuple(
                ToolResult(
                    c.id, c.name, r if isinstance(r, str) else "", data=None if isinstance(r, str) else r
                )
                for c, r in zip(calls, results, strict=True)
            )
            self.messages.append(Message("user", "", tool_results=answers))
        reply = anyio.run(self.model.reply, "system", self.messages, [])
        self.messages.append(Message("assistant", reply.text, tool_calls=reply.tool_calls))
        assert reply.cost_usd == 0.0
        return [(call.name, dict(call.arguments)) for call in reply.tool_calls]


def shown(result):
    """A laboratory's result as the shell tool shows it."""
    packed = base64.b64encode(zlib.compress(json.dumps(result).encode())).decode()
    return f"\n@@@ {len(packed)}\n{packed}\n\n@@@\n[exit code 0, 1.0 s]"


def job_of(calls):
    content = next(a["content"] for n, a in calls if n == "write_file" and a["path"].endswith("/job"))
    return json.loads(zlib.decompress(base64.b64decode(content)))


def seen(**changes):
    test = "tests/test_m.py::test_f"
    failing = {"id": test, "ok": False, "kind": "AssertionError", "message": "", "test_line": 3, "frames": []}
    return {
        "python": [3, 11, 0],
        "missing": [],
        "collected": 3,
        "startup": 0.1,
        "modules": ["json"],
        "failing": {test: {**failing, "seconds": 0.01, "spawns": False}},
        "passed": ["tests/test_m.py::test_g"],
        "known_seconds": 0.1,
        "hanging": [],
        "tests": {test: "def test_f():\n    assert f(1) == 2\n"},
        "lines": {"m.py": [[2, 1, 0]]},
        "sources": {"m.py": SOURCE},
        **changes,
    }


def names(calls):
    return [name for name, _ in calls]


def until_batch(talk, **changes):
    assert names(talk.turn()) == ["run_tests"]
    calls = talk.turn({"outcomes": OUTCOMES})
    assert names(calls)[-1] == "shell"
    written = ["written"] * (len(calls) - 1)
    return talk.turn(*written, shown(seen(**changes)))


def test_from_failing_test_to_submission():
    talk = Talk()
    batch = until_batch(talk)
    job = job_of(batch)
    assert job["wanted"] == ["tests/test_m.py::test_f"]
    assert job["known"] == ["tests/test_m.py::test_g"]
    right = next(i for i, c in enumerate(job["candidates"]) if c[0][3] == "+")
    result = {
        "done": len(job["candidates"]),
        "counts": {"plausible": 1},
        "results": [[right, "plausible", "1", ""]],
    }
    calls = talk.turn("written", shown(result))
    while names(calls)[0] == "write_file":  # further batches: nothing more is found
        calls = talk.turn("written", shown({"done": 10_000, "counts": {}, "results": []}))
    assert names(calls) == ["root_cause", "edit_file", "run_tests", "run_tests"]
    assert calls[0][1]["where"] == ["m.py:2"]
    assert calls[1][1]["path"] == "m.py"
    assert SOURCE.replace(calls[1][1]["old"], calls[1][1]["new"]) == "def f(a):\n    return a + 1\n"
    assert calls[2][1]["ids"] == ["tests/test_m.py::test_f"]
    green = {**OUTCOMES, "tests/test_m.py::test_f": "passed"}
    calls = talk.turn({}, {}, {"outcomes": {"tests/test_m.py::test_f": "passed"}}, {"outcomes": green})
    assert names(calls) == ["shell", "diff"]
    calls = talk.turn("", {"patch": "diff --git a/m.py b/m.py\n@@ -1 +1 @@\n"})
    assert names(calls) == ["submit"]
    assert not calls[0][1].get("give_up")
    assert "m.py:2" in calls[0][1]["summary"]


def test_an_edit_that_breaks_another_test_is_undone():
    talk = Talk()
    job = job_of(until_batch(talk))
    result = {"done": len(job["candidates"]), "counts": {}, "results": [[0, "plausible", "1", ""]]}
    calls = talk.turn("written", shown(result))
    while names(calls)[0] == "write_file":
        calls = talk.turn("written", shown({"done": 10_000, "counts": {}, "results": []}))
    assert names(calls)[:2] == ["root_cause", "edit_file"]
    red = {**OUTCOMES, "tests/test_m.py::test_f": "passed", "tests/test_m.py::test_g": "failed"}
    calls = talk.turn({}, {}, {"outcomes": {"tests/test_m.py::test_f": "passed"}}, {"outcomes": red})
    assert calls == [("write_file", {"path": "m.py", "content": SOURCE})]
    calls = talk.turn("written")
    while names(calls) != ["submit"]:
        calls = talk.turn(*({"patch": ""} for _ in calls))
    assert calls[0][1]["give_up"] is True
    assert "test_g no longer passes" in calls[0][1]["summary"]


def test_no_failing_test_means_no_guess():
    talk = Talk(UNNAMED)
    talk.turn()
    ((name, arguments),) = talk.turn({"outcomes": {"tests/test_m.py::test_g": "passed"}})
    assert name == "submit"
    assert arguments["give_up"] is True
    assert "--fail-to-pass" in arguments["summary"]


def test_all_failing_tests_are_wanted_when_none_is_named():
    talk = Talk(UNNAMED)
    talk.turn()
    calls = talk.turn({"outcomes": OUTCOMES})
    assert job_of(calls)["wanted"] == ["tests/test_m.py::test_f", "tests/test_m.py::test_other"]


@pytest.mark.parametrize(
    "answer", ["", "@@@ 0\n\n@@@", "garbage", "\n@@@ 4\nAAAA\n@@@\n", "@@@ 99999\nAAAA\n@@@"]
)
def test_a_laboratory_that_fails_ends_the_search_plainly(answer):
    talk = Talk()
    talk.turn()
    calls = talk.turn({"outcomes": OUTCOMES})
    calls = talk.turn(*(["written"] * (len(calls) - 1)), answer)
    for _ in range(10):
        if "submit" in names(calls):
            break
        calls = talk.turn(*([""] * len(calls)))
    assert calls[-1][1]["give_up"] is True


def test_a_suite_that_is_not_pytest_is_told():
    talk = Talk(BRIEF.replace("python -m pytest", "make check"))
    talk.turn()
    ((name, arguments),) = talk.turn({"outcomes": OUTCOMES})
    assert (name, arguments["give_up"]) == ("submit", True)
    assert "make check" in arguments["summary"]


def test_time_spent_means_give_up_with_files_restored():
    talk = Talk(seconds=0)
    calls = until_batch(talk)
    assert names(calls) == ["shell", "diff"]
    calls = talk.turn(
        "", {"patch": "diff --git a/left over b/left over\nnew file mode 100644\n--- /dev/null\n"}
    )
    assert calls == [("shell", {"command": "rm -f -- 'left over'"})]
    ((name, arguments),) = talk.turn("")
    assert (name, arguments["give_up"]) == ("submit", True)


def test_an_earlier_rejected_patch_is_not_handed_in_again():
    talk = Talk(
        BRIEF + "\nAttempt 2. Earlier patches …\n\nAttempt 1: submitted (x)\n- check `kept` failed: test_h\n"
    )
    job = job_of(until_batch(talk))
    found = [[0, "plausible", "1", ""], [1, "plausible", "1", ""]]
    calls = talk.turn("written", shown({"done": len(job["candidates"]), "counts": {}, "results": found}))
    while names(calls)[0] == "write_file":
        calls = talk.turn("written", shown({"done": 10_000, "counts": {}, "results": []}))
    second = job["candidates"][1][0]
    data = SOURCE.encode()
    expected = data[: second[1]].decode() + second[3] + data[second[2] :].decode()
    assert SOURCE.replace(calls[1][1]["old"], calls[1][1]["new"]) == expected


def test_half_repairs_are_put_together():
    two = ["tests/test_m.py::test_f", "tests/test_m.py::test_other"]
    talk = Talk(UNNAMED)
    entry = {
        "ok": False,
        "kind": "E",
        "message": "",
        "test_line": 3,
        "frames": [],
        "seconds": 0.01,
        "spawns": False,
    }
    source = "def f(a):\n    return a - 1\n\ndef g(b):\n    return b - 1\n"
    batch = until_batch(
        talk,
        failing={test: {"id": test, **entry} for test in two},
        lines={"m.py": [[2, 1, 0], [5, 1, 0]]},
        sources={"m.py": source},
    )
    edits = job_of(batch)["candidates"]
    first = next(i for i, c in enumerate(edits) if len(c) == 1 and c[0][2] < source.index("g(b)"))
    second = next(i for i, c in enumerate(edits) if len(c) == 1 and c[0][1] > source.index("g(b)"))
    parts = [[first, "part", "10", "0"], [second, "part", "01", "3"]]
    calls = talk.turn("written", shown({"done": len(edits), "counts": {}, "results": parts}))
    assert job_of(calls)["candidates"][0] in (
        [*edits[first], *edits[second]],
        [*edits[second], *edits[first]],
    )


def test_the_same_conversation_gets_the_same_calls():
    first, again = (job_of(until_batch(Talk(seed=3)))["candidates"] for _ in range(2))
    assert first == again


def test_a_conversation_must_end_with_the_user():
    model = RepairModel()
    with pytest.raises(ModelError):
        anyio.run(model.reply, "system", [Message("assistant", "hello")], [])


def test_the_laboratory_goes_into_the_sandbox_as_files():
    talk = Talk()
    talk.turn()
    calls = talk.turn({"outcomes": OUTCOMES})
    paths = [arguments["path"] for name, arguments in calls if name == "write_file"]
    assert all(path.startswith("/tmp/") for path in paths)
    assert any(path.endswith("repair_lab.py") for path in paths)
    command = calls[-1][1]["command"]
    assert re.search(r"^python -m pytest$", command, re.MULTILINE)


def test_the_search_ends_within_the_turns_of_the_loop():
    talk = Talk()
    calls = until_batch(talk)
    for _turn in range(57):
        if "submit" in names(calls):
            break
        # One candidate a batch, and nothing found.
        answers = [
            shown({"done": 1, "counts": {}, "results": []}) if n == "shell" else "" for n in names(calls)
        ]
        calls = talk.turn(*answers)
    assert names(calls) == ["submit"]
    assert calls[0][1]["give_up"] is True
    assert sum(message.role == "assistant" for message in talk.messages) <= 60
