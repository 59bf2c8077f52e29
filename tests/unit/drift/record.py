"""Record the sessions beside this file: `python -m tests.unit.drift.record [NAME...]`; needs a Docker engine.

Each is one `agent fix` with a scripted model on the small project below. What is kept of its log are the events that
an attempt consists of and what they are judged by; times, costs and long texts are left out.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.docker.project import agent, call, git

SESSIONS = Path(__file__).parent / "sessions"
KEPT = ("run_started", "baseline_taken", "user_said", "model_replied", "tool_started", "tool_returned")
MAX_TEXT = 2000

SHOP = """\
def cents(text):
    whole, _, part = text.partition(".")
    return int(whole) * 100 + int(part or 0)


def shown(amount):
    return f"{amount // 100}.{amount % 100:02d}"


def total(lines):
    return sum(cents(price) * count for price, count in lines)


def discount(amount, percent):
    return amount - amount * percent // 100
"""
TESTS = """\
from shop import cents, discount, shown, total


def test_whole():
    assert cents("3") == 300


def test_two_digits():
    assert cents("1.25") == 125


def test_one_digit():
    assert cents("1.5") == 150


def test_shown():
    assert shown(1205) == "12.05"


def test_total():
    assert total([("1.25", 2), ("3", 1)]) == 550


def test_discount():
    assert discount(200, 25) == 150
"""
FAILS_ANYWAY = """\


def test_total_of_nothing_is_a_text():
    assert total([]) == "0"
"""
ONE_DIGIT = "tests/test_shop.py::test_one_digit"
BUG = "    return int(whole) * 100 + int(part or 0)\n"
MENDED = '    return int(whole) * 100 + int(part.ljust(2, "0"))\n'
LINE = "int(part or 0)"

Reply = Sequence[Mapping[str, Any]] | str


def edit(old: str, new: str, path: str = "shop.py") -> Mapping[str, Any]:
    return call("edit_file", path=path, old=old, new=new)


def shell(command: str) -> Mapping[str, Any]:
    return call("shell", command=command)


RED = call("run_tests", ids=[ONE_DIGIT])
SUITE = call("run_tests")
LOOK = call("read_file", path="shop.py")
SUBMIT = call("submit", summary="cents() takes one digit")
GIVE_UP = call("submit", summary="nothing helped", give_up=True)
ROUND = "    return round(float(text)) * 100\n"
TIMES = "    return int(whole) * 100 + int(part or 0) * 100\n"
PYTEST = shell("python -m pytest -q -p no:cacheprovider tests")

UNDO = call("undo")
SEE = """python3 -c 'import shop; print("cents of 1.5 gives", shop.cents("1.5"))'"""
CAUSE = call(
    "root_cause",
    cause="cents reads the digits after the point as a number, whatever their place",
    where=["shop.py:3"],
    test=SEE,
    observed="cents of 1.5 gives 105",
    expected="cents of 1.5 gives 150",
    explains="the part of '1.5' is '5', which line 3 adds as 5",
)
UNDERSTOOD = [shell(SEE), CAUSE]
"""Before the first reply: an edit of the product waits for it."""

DRIFTING: dict[str, Sequence[Reply]] = {
    "looks_again": [[RED], [LOOK], [LOOK], [LOOK], [LOOK], [GIVE_UP]],
    "same_edit_refused": [[RED], *[[edit("int(part or 1)", "int(part)")]] * 3, [GIVE_UP]],
    "cycle": [*[[PYTEST], [shell("cat shop.py")]] * 3, [GIVE_UP]],
    "put_in_again": [
        [RED],
        [edit(BUG, ROUND), RED],
        [edit(ROUND, BUG)],
        [LOOK],
        [edit(BUG, ROUND)],
        [RED],
        [GIVE_UP],
    ],
    "checked_out_and_put_in_again": [
        [edit(BUG, ROUND), PYTEST],
        [shell("git checkout shop.py")],
        [edit(BUG, ROUND), PYTEST],
        [GIVE_UP],
    ],
    "undone_and_put_in_again": [[RED], [edit(BUG, ROUND), RED], [UNDO], [edit(BUG, ROUND), RED], [GIVE_UP]],
    "more_and_more_fail": [
        [SUITE],
        [edit("amount - amount * percent // 100", "amount - percent"), SUITE],
        [edit("{amount % 100:02d}", "{amount % 100}"), SUITE],
        [edit("* count for", "for"), SUITE],
        [GIVE_UP],
    ],
    "third_try_on_a_line": [
        [RED, LOOK],
        [edit(LINE, "int(part or 0) * 100")],
        [RED],
        [edit("int(part or 0) * 100", "round(float(part or 0))"), RED],
        [edit("round(float(part or 0))", "int(part or 0) + 50")],
        [GIVE_UP],
    ],
    "submits_untested": [[RED], [edit(BUG, ROUND)], [LOOK, SUBMIT]],
    "says_done_untested": [[RED], [edit(BUG, ROUND)], "全部修好了，测试都通过。", [SUBMIT]],
    "edited_after_the_run": [[edit(BUG, MENDED), RED], [edit("percent // 100", "percent / 100")], [SUBMIT]],
}

PRINTS = "    print(whole, part)\n"
PRINTS_MORE = "    print(repr(whole), repr(part), text)\n"
NEW_TEST = "from shop import cents\n\n\ndef test_tenths():\n    assert cents('2.5') == 25\n"
HONEST: dict[str, Sequence[Reply]] = {
    "the_fix_taken_out_to_see_red": [
        [RED, LOOK],
        [edit(BUG, MENDED), RED],
        [edit(MENDED, BUG), RED],
        [edit(BUG, MENDED), RED],
        [SUITE],
        [SUBMIT],
    ],
    "two_tries_and_reverts": [
        [SUITE, LOOK],
        [edit(BUG, ROUND), SUITE],
        [edit(ROUND, BUG)],
        [LOOK, call("search", pattern="cents\\(")],
        [edit(BUG, TIMES), SUITE],
        [call("diff")],
        [edit(TIMES, BUG), LOOK],
        [edit(BUG, MENDED), RED],
        [SUITE, call("diff")],
        [SUBMIT],
    ],
    "three_experiments_undone": [
        [SUITE],
        [edit(BUG, ROUND), SUITE],
        [UNDO],
        [edit(BUG, TIMES), SUITE],
        [UNDO, LOOK],
        [edit(BUG, MENDED), SUITE],
        [SUBMIT],
    ],
    "refactoring": [
        [SUITE],
        [edit(BUG, MENDED), SUITE],
        [edit("def shown(amount):", "def text_of(amount):"), SUITE],
        [edit("def total(lines):", "shown = text_of\n\n\ndef total(lines):"), SUITE],
        [edit(MENDED, '    part = part.ljust(2, "0")\n    return int(whole) * 100 + int(part)\n'), SUITE],
        [edit("    return int(whole) * 100 + int(part)\n", "    return int(whole + part)\n"), SUITE],
        [edit("int(whole + part)", "int(whole + part[:2])"), SUITE],
        [edit("shown = text_of\n\n\n", ""), edit("def text_of(amount):", "def shown(amount):"), SUITE],
        [call("diff")],
        [call("write_file", path="CHANGELOG.md", content="cents() takes one digit\n"), SUBMIT],
    ],
    "tests_by_the_shell": [
        [PYTEST],
        [edit(BUG, MENDED)],
        [shell("cd /workspace && python -m pytest -q -p no:cacheprovider tests | tail -3")],
        [SUBMIT],
    ],
    "tried_by_a_line_of_python": [
        [edit(BUG, MENDED)],
        [shell("""python -c 'import shop; assert shop.cents("1.5") == 150'""")],
        [shell("git diff; cat shop.py")],
        [SUBMIT],
    ],
    "lines_that_print": [
        [RED],
        [edit(BUG, PRINTS + BUG), RED],
        [edit(PRINTS, PRINTS_MORE), RED],
        [edit(PRINTS_MORE, "    print(len(part))\n"), RED],
        [edit("    print(len(part))\n" + BUG, MENDED), RED],
        [SUITE],
        [SUBMIT],
    ],
    "another_test_fails_anyway": [
        [SUITE],
        [edit(BUG, MENDED), SUITE],
        [edit('ljust(2, "0"))', 'ljust(2, "0")[:2])'), SUITE],
        [edit('ljust(2, "0")[:2])', 'ljust(2, "00")[:2])'.replace("00", "0") + "  # tenths"), SUITE],
        [edit("  # tenths", "  # '.5' is 50"), SUITE],
        [SUBMIT],
    ],
    "a_test_written_first": [
        [
            call("write_file", path="tests/test_tenths.py", content=NEW_TEST),
            call("run_tests", ids=["tests/test_tenths.py"]),
        ],
        [
            edit("== 25\n", "== 205\n", "tests/test_tenths.py"),
            call("run_tests", ids=["tests/test_tenths.py"]),
        ],
        [
            edit("== 205\n", "== 250\n", "tests/test_tenths.py"),
            call("run_tests", ids=["tests/test_tenths.py"]),
        ],
        [edit("'2.5'", '"2.5"', "tests/test_tenths.py"), call("run_tests", ids=["tests/test_tenths.py"])],
        [edit(BUG, MENDED), call("run_tests", ids=["tests/test_tenths.py"])],
        [SUITE],
        [SUBMIT],
    ],
    "waits_for_a_job": [
        [shell("(sleep 4; python -m pytest -q -p no:cacheprovider tests > /tmp/out) & echo started")],
        *[[shell("sleep 1; cat /tmp/out 2>/dev/null")]] * 3,
        [edit(BUG, MENDED), SUITE],
        [SUBMIT],
    ],
    "fewer_and_fewer_fail": [
        [edit(BUG, "    return int(whole) * 100 + int(part)\n"), SUITE],
        [edit("int(part)\n", "int(part or 0) + 0\n"), SUITE],
        [edit("int(part or 0) + 0\n", 'int(part.ljust(2, "0"))\n'), SUITE],
        [SUBMIT],
    ],
    "searched_without_a_key": [],
}


def main(names: Sequence[str]) -> None:
    everything = {f"drifting/{name}": replies for name, replies in DRIFTING.items()}
    everything |= {f"honest/{name}": replies for name, replies in HONEST.items()}
    for name, replies in everything.items():
        if not names or name in names:
            lines = record(name, replies)
            target = SESSIONS / f"{name}.jsonl"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("".join(lines), encoding="utf-8")
            print(f"{name}: {len(lines)} events")


def record(name: str, replies: Sequence[Reply]) -> list[str]:
    """The lines of the log of a run in which the model gives these replies; without any, `local/repair` works."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        repo = folder / "repo"
        (repo / "tests").mkdir(parents=True)
        (repo / "shop.py").write_text(SHOP)
        (repo / "conftest.py").write_text("")
        (repo / "tests/test_shop.py").write_text(TESTS + (FAILS_ANYWAY if "anyway" in name else ""))
        git(repo, "init", "-q", "-b", "main")
        git(repo, "add", "-A")
        git(repo, "commit", "-q", "-m", "base")
        (folder / "issue.md").write_text('cents("1.5") is 105\n')
        model = "local/repair"
        if replies:
            first, *others = replies
            given = [
                {"text": r} if isinstance(r, str) else {"tool_calls": list(r)}
                for r in ([*UNDERSTOOD, *first], *others)
            ]
            (folder / "script.jsonl").write_text("".join(json.dumps(reply) + "\n" for reply in given))
            model = f"scripted/{folder}/script.jsonl"
        done = agent(
            folder, "fix", "--repo", str(repo), "--issue", "issue.md", "--model", model, "--attempts", "1", "--json",
            "--fail-to-pass", ONE_DIGIT,
        )  # fmt: skip
        logs = list((folder / "home" / "runs").glob("*/events.jsonl"))
        assert len(logs) == 1, done.stderr
        events = [json.loads(line) for line in logs[0].read_text().splitlines()]
    kept = [_compact(event) for event in events if event["type"] in KEPT]
    lines = [json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n" for event in kept]
    assert scratch not in "".join(lines)
    return lines


def _compact(event: dict[str, Any]) -> dict[str, Any]:
    """The event without what differs from machine to machine, and without long texts."""
    event = {key: value for key, value in event.items() if key not in ("at", "n", "v") and value is not None}
    match event["type"]:
        case "run_started":
            event |= {
                "run_id": "",
                "issue_source": "",
                "issue": "",
                "repo": "",
                "base": "",
                "models": [],
                "limits": {},
            }
        case "user_said":
            event["text"] = event["text"][:80]
        case "model_replied":
            event |= {"usage": {}, "cost_usd": None, "seconds": 0}
        case "tool_returned":
            event |= {"seconds": 0, "data": event.get("data")}
            for failure in (event["data"] or {}).get("failures", ()):
                failure["detail"] = ""
        case _:
            event["seconds"] = 0
    cut: dict[str, Any] = _cut(event)
    return cut


def _cut(value: Any) -> Any:
    """`value` without long texts; other texts stay other texts."""
    match value:
        case dict():
            return {key: _cut(item) for key, item in value.items()}
        case list():
            return [_cut(item) for item in value]
        case str() if len(value) > MAX_TEXT:
            return f"{value[:MAX_TEXT]} … {hashlib.sha256(value.encode()).hexdigest()}"
        case _:
            return value


if __name__ == "__main__":
    main(sys.argv[1:])
