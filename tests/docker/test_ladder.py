"""Several models: from the command line, on a real engine, with loopback providers and recorded replies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.docker import project
from tests.docker.project import ABOVE, FIX, FIXED_LINE, SUBMIT, agent, call, fix, git, make_project, script
from tests.loopback.anthropic_server import Answer, AnthropicServer, Fault

pytestmark = pytest.mark.docker

WORSE = call("edit_file", path="calc.py", old="    if value < low:\n        return low\n", new="")
GIVE_UP = call("submit", summary="no idea", give_up=True)
HAIKU, OPUS = "anthropic/claude-haiku-5-5", "anthropic/claude-opus-5-5"
UNDERSTOOD = [(str(one["name"]), one["arguments"]) for one in project.UNDERSTOOD]
RIGHT = Answer(
    "",
    [
        *UNDERSTOOD,
        ("edit_file", {"path": "calc.py", "old": FIXED_LINE[0], "new": FIXED_LINE[1]}),
        UNDERSTOOD[0],
        ("submit", {"summary": "x"}),
    ],
)
WRONG = Answer(
    "",
    [
        *UNDERSTOOD,
        ("edit_file", {"path": "calc.py", "old": "return value\n", "new": "return low\n"}),
        UNDERSTOOD[0],
        ("submit", {"summary": "x"}),
    ],
)


def recorded(folder: Path, name: str, *attempts: list[list[dict[str, object]]]) -> str:
    """A scripted model of its own file."""
    (folder / name).mkdir()
    return script(folder / name, *attempts)


def log(folder: Path, result: dict[str, object]) -> list[dict[str, object]]:
    path = folder / "home" / "runs" / str(result["run_id"]) / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def notes(folder: Path, result: dict[str, object]) -> list[str]:
    return [str(event["text"]) for event in log(folder, result) if event["type"] == "note"]


def asked(result: dict[str, object]) -> list[str]:
    return [attempt["model"] for attempt in result["attempts"]]  # type: ignore[attr-defined]


def test_a_rejected_verdict_leads_to_the_next_model_with_what_the_gate_saw(tmp_path):
    make_project(tmp_path)
    cheap = recorded(tmp_path, "cheap", [[WORSE], [SUBMIT]])
    dear = recorded(tmp_path, "dear", [[FIX], [SUBMIT]])
    code, result, _ = fix(tmp_path, cheap, "--model", dear, "--fail-to-pass", ABOVE)
    assert (code, result["status"]) == (0, "accepted"), result
    assert asked(result) == [cheap, dear]
    assert [attempt["verdict"]["accepted"] for attempt in result["attempts"]] == [False, True]
    (told,) = [e["text"] for e in log(tmp_path, result) if e["type"] == "user_said" and e["attempt"] == 2]
    assert "check `green` failed" in told
    assert f"routed to rung 1 of 2, {cheap}: ordinary" in notes(tmp_path, result)


def test_deeper_thinking_comes_before_the_dearer_model(tmp_path):
    make_project(tmp_path)
    with AnthropicServer([WRONG, RIGHT]) as server:
        code, result, _ = fix(tmp_path, HAIKU, "--model", OPUS, "--fail-to-pass", ABOVE, **server.environ)
        levels = [body.get("output_config", {}).get("effort") for body in server.requests]
    assert (code, asked(result)) == (0, [HAIKU, f"{HAIKU}:max"]), result
    assert levels == [None, "max"]


def test_a_free_search_that_gives_up_leaves_the_real_model_all_its_attempts(tmp_path):
    make_project(tmp_path)
    # Nothing that a small edit can mend.
    repo = tmp_path / "repo"
    (repo / "tests" / "test_new.py").write_text(
        "import calc\n\n\ndef test_median():\n    assert calc.median([3, 1, 2]) == 2\n"
        "    assert calc.median([4, 1, 2, 9]) == 3\n"
    )
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "a test of what is not there yet")
    text = "def median(values):\n    return sorted(values)[len(values) // 2]\n\n\n"
    right = "import statistics\n\n\ndef median(values):\n    return statistics.median(values)\n\n\n"
    first = call("edit_file", path="calc.py", old="def mean", new=text + "def mean")
    second = call("edit_file", path="calc.py", old="def mean", new=right + "def mean")
    model = recorded(tmp_path, "model", [[]], [[first], [SUBMIT]], [[second], [SUBMIT]])
    test = "tests/test_new.py::test_median"
    code, result, _ = fix(
        tmp_path, "local/repair", "--model", model, "--attempts", "2", "--fail-to-pass", test
    )
    assert (code, asked(result)) == (0, ["local/repair", model, model]), result
    assert result["attempts"][0]["ended"] == "gave_up"
    assert result["attempts"][0]["verdict"] is None


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(401, "authentication_error", "invalid x-api-key")],
        [Fault(529, "overloaded_error", headers={"retry-after-ms": "1"})] * 8,
    ],
    ids=["key refused", "overloaded"],
)
def test_a_provider_that_is_down_is_passed_over(tmp_path, faults):
    make_project(tmp_path)
    other = recorded(tmp_path, "other", [[FIX], [SUBMIT]])
    models = ["--model", OPUS, "--model", other]
    with AnthropicServer(faults) as server:
        code, result, stderr = fix(
            tmp_path, HAIKU, *models, "--attempts", "1", "--fail-to-pass", ABOVE, **server.environ
        )
        assert len(server.requests) == len(faults)  # its second model was not even asked
    assert (code, result["status"]) == (0, "accepted"), result
    assert asked(result) == [HAIKU, other]
    assert result["attempts"][0]["ended"] == "model_error"
    (note,) = [text for text in notes(tmp_path, result) if "passed over" in text]
    assert faults[0].message in note
    assert "warning" in stderr and "passed over" in stderr


def test_when_every_provider_is_down_the_run_says_so(tmp_path):
    make_project(tmp_path)
    with AnthropicServer([Fault(401, "authentication_error", "invalid x-api-key")]) as server:
        code, result, _ = fix(tmp_path, HAIKU, "--model", OPUS, "--fail-to-pass", ABOVE, **server.environ)
    assert (code, result["status"], asked(result)) == (5, "model_error", [HAIKU])
    assert "x-api-key" in result["error"]


def test_the_first_rung_is_routed_by_the_rules_of_the_base_commit(tmp_path):
    repo = make_project(tmp_path)
    (repo / "agent.toml").write_text(
        '[[models.routes]]\nclass = "several files"\nwhen = { min_named = 2 }\nstart = "last"\n'
    )
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "rules")
    cheap = recorded(tmp_path, "cheap", [[GIVE_UP]])
    dear = recorded(tmp_path, "dear", [[FIX], [SUBMIT]])
    (tmp_path / "issue.md").write_text("clamp of calc.py is wrong, see tests/test_calc.py\n")
    code, result, _ = fix(tmp_path, cheap, "--model", dear, "--fail-to-pass", ABOVE)
    assert (code, asked(result)) == (0, [dear]), result
    assert f"routed to rung 2 of 2, {dear}: several files (2 files are named)" in notes(tmp_path, result)


def test_of_several_attempts_side_by_side_the_gate_takes_the_one_that_holds(tmp_path):
    make_project(tmp_path)
    idle = call("shell", command="sleep 600", timeout=600)
    model = script(tmp_path, [[WORSE], [SUBMIT]], [[FIX], [SUBMIT]], [[idle]])
    code, result, stderr = fix(tmp_path, model, "--best-of", "3", "--attempts", "1", "--fail-to-pass", ABOVE)
    assert (code, result["status"]) == (0, "accepted"), result
    assert len(result["attempts"]) == 3
    verdicts = [a["verdict"] and a["verdict"]["accepted"] for a in result["attempts"]]
    assert verdicts[1:] == [True, None]
    assert verdicts[0] is not True  # rejected, or not judged any more
    assert result["attempts"][2]["ended"] == "outrun"
    assert "return high" in Path(result["patch"]).read_text()
    assert "1 to 3 of 3, side by side" in stderr
    assert "#2 " in agent(tmp_path, "show", "--steps", str(result["run_id"])).stdout


def test_a_round_without_an_accepted_patch_is_followed_by_one_that_knows_why(tmp_path):
    make_project(tmp_path)
    model = script(tmp_path, [[WORSE], [SUBMIT]], [[GIVE_UP]], [[FIX], [SUBMIT]], [[FIX], [SUBMIT]])
    code, result, _ = fix(tmp_path, model, "--best-of", "2", "--attempts", "2", "--fail-to-pass", ABOVE)
    assert (code, len(result["attempts"])) == (0, 4), result
    told = [e["text"] for e in log(tmp_path, result) if e["type"] == "user_said" and e["attempt"] > 2]
    assert len(told) >= 1
    assert all("Attempt 1: submitted" in text and "Attempt 2: gave_up" in text for text in told)
