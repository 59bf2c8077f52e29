"""`agent fix` from the command line, on a real engine: what it answers, and what it leaves alone."""

import json
import subprocess

import pytest

from tests.docker.project import (
    ABOVE,
    FIX,
    SUBMIT,
    agent,
    call,
    command,
    environment,
    fix,
    git,
    make_project,
    script,
    state,
)

pytestmark = pytest.mark.docker


def test_a_fix_is_accepted_and_the_repository_is_left_alone(tmp_path):
    repo = make_project(tmp_path)
    (repo / "calc.py").write_text((repo / "calc.py").read_text() + "# the user's own unfinished work\n")
    before = state(repo)
    model = script(tmp_path, [[call("run_tests", ids=[ABOVE])], [FIX, call("run_tests")], [SUBMIT]])
    code, result, stderr = fix(
        tmp_path, model, "--fail-to-pass", ABOVE, "--output", str(tmp_path / "out.diff")
    )
    assert (code, result["status"]) == (0, "accepted"), result
    assert state(repo) == before
    assert "uncommitted" in stderr
    assert "\x1b" not in stderr  # plain lines where there is no terminal
    (attempt,) = result["attempts"]
    assert all(check["passed"] for check in attempt["verdict"]["checks"])
    assert {"applies", "red", "green", "pass_to_pass"} <= {c["name"] for c in attempt["verdict"]["checks"]}
    assert attempt["root_cause"].startswith("calc.py:5")
    assert (attempt["turns"], result["tool_calls"]["total"], result["cost_usd"]) == (3, 7, 0)
    git(repo, "stash", "-q")
    git(repo, "apply", str(tmp_path / "out.diff"))
    assert "return high" in (repo / "calc.py").read_text()

    folder = tmp_path / "home" / "runs" / result["run_id"]
    assert (folder / "patch.diff").read_bytes() == (tmp_path / "out.diff").read_bytes()
    assert json.loads((folder / "result.json").read_text()) == result
    proof = json.loads((folder / "proof.json").read_text())
    assert proof["base"] == result["base"]
    assert (proof["before"][ABOVE], proof["after"][ABOVE]) == ("failed", "passed")
    assert result["run_id"] in agent(tmp_path, "runs").stdout
    shown = agent(tmp_path, "show", "--steps", result["run_id"]).stdout
    assert "edit_file" in shown
    assert "accepted" in shown
    page = (folder / "report.html").read_text()
    assert "return high" in page and "accepted: clamp() is wrong above the range" in page


def test_a_proof_is_enough_to_judge_again(tmp_path):
    make_project(tmp_path)
    model = script(tmp_path, [[FIX], [SUBMIT]])
    _, result, _ = fix(tmp_path, model, "--fail-to-pass", ABOVE)
    bundle = tmp_path / "home" / "runs" / str(result["run_id"]) / "proof.json"
    again = agent(tmp_path, "gate", "--repo", "repo", "--proof", str(bundle), "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["differs_from_proof"] == []
    told = json.loads(bundle.read_text())
    told["after"][ABOVE] = "failed"
    bundle.write_text(json.dumps(told))
    other = agent(tmp_path, "gate", "--repo", "repo", "--proof", str(bundle))
    assert f"{ABOVE} with the fix: failed then, passed now" in other.stdout
    told["patch_sha256"] = "0" * 64
    bundle.write_text(json.dumps(told))
    forged = agent(tmp_path, "gate", "--repo", "repo", "--proof", str(bundle))
    assert forged.returncode == 2 and "not the one that its hash names" in forged.stderr
    bundle.write_text("{}")
    empty = agent(tmp_path, "gate", "--repo", "repo", "--proof", str(bundle))
    assert empty.returncode == 2 and "not a proof.json" in empty.stderr


def test_a_rejected_patch_is_dropped_and_the_next_attempt_starts_clean(tmp_path):
    repo = make_project(tmp_path)
    bad = call(
        "edit_file", path="calc.py", old="    if value < low:\n        return low\n", new="    # marker-7\n"
    )
    look = call("shell", command="grep -c marker-7 calc.py; git status --porcelain")
    model = script(tmp_path, [[bad], [SUBMIT]], [[look], [FIX], [SUBMIT]])
    code, result, _ = fix(tmp_path, model, "--fail-to-pass", ABOVE, "--branch", "fix/clamp")
    assert (code, result["status"], result["branch"]) == (0, "accepted", "fix/clamp"), result
    first, second = result["attempts"]
    failed = {check["name"] for check in first["verdict"]["checks"] if not check["passed"]}
    assert failed & {"green", "pass_to_pass"}
    assert second["verdict"]["accepted"]
    assert (first["hypothesis"]["standing"], second["hypothesis"]["standing"]) == ("refuted", "confirmed")
    assert first["hypothesis"]["changed"] == ["calc.py:2-3 (+1 -2)"]
    events = [
        json.loads(line)
        for line in (tmp_path / "home" / "runs" / result["run_id"] / "events.jsonl").read_text().splitlines()
    ]
    told = next(e["text"] for e in events if e["type"] == "user_said" and e["attempt"] == 2)
    assert "test_above" in told
    assert "marker-7" not in told
    _, _, looked, *_ = (e for e in events if e["type"] == "tool_returned" and e["attempt"] == 2)
    assert looked["text"].splitlines()[0] == "0", looked["text"]
    assert (
        git(repo, "log", "--format=%p %s", "-1", "fix/clamp").split()[0]
        == git(repo, "rev-parse", "--short", "main").strip()
    )
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "branch", "--show-current").strip() == "main"


def test_a_test_that_was_shown_red_goes_on_into_the_next_attempt(tmp_path):
    make_project(tmp_path, red=False)
    new_test = call(
        "write_file",
        path="tests/test_above.py",
        content="from calc import clamp\n\n\ndef test_above():\n    assert clamp(5, 1, 3) == 3\n",
    )
    bad = call(
        "edit_file", path="calc.py", old="    if value > high:\n        return low\n", new="    # marker-7\n"
    )
    look = call("shell", command="git status --porcelain")
    code, result, stderr = fix(
        tmp_path, script(tmp_path, [[new_test, bad], [SUBMIT]], [[look, FIX], [SUBMIT]])
    )
    assert (code, result["status"], result["explanation"]) == (0, "accepted", None), result
    log = (tmp_path / "home" / "runs" / result["run_id"] / "events.jsonl").read_text().splitlines()
    second = [e for e in map(json.loads, log) if e.get("attempt") == 2]
    told = next(e["text"] for e in second if e["type"] == "user_said")
    assert "tests/test_above.py" in told and "assert clamp(5, 1, 3) == 3" in told
    assert "marker-7" not in told
    looked = [e["text"] for e in second if e["type"] == "tool_returned"][2]
    assert looked.splitlines()[0] == "?? tests/test_above.py"
    assert "root cause: calc.py:5" in stderr


def test_a_run_that_fails_says_what_is_ruled_out_and_where_to_look(tmp_path):
    make_project(tmp_path)
    bad = call("edit_file", path="calc.py", old="    return value\n", new="    return value + 0\n")
    model = script(tmp_path, [[bad], [SUBMIT]])
    line = ["fix", "--repo", "repo", "--issue", "issue.md", "--model", model, "--attempts", "1"]
    done = agent(tmp_path, *line, "--fail-to-pass", ABOVE)
    assert done.returncode == 1, done.stderr
    report = done.stdout.partition("tried:")[2]
    assert "ruled out:\n  calc.py:5: clamp returns low for values above high - attempt 1:" in report
    assert "best evidence: attempt 1, check green (gate/1.diff):" in report
    assert "word for word as without the fix" in report
    assert "next: Look at the assertion that still fails" in report


def test_without_a_named_test_the_patch_must_bring_one_that_was_red(tmp_path):
    make_project(tmp_path, red=False)
    new_test = call(
        "write_file",
        path="tests/test_above.py",
        content="from calc import clamp\n\n\ndef test_above():\n    assert clamp(5, 1, 3) == 3\n",
    )
    green_test = call(
        "write_file", path="tests/test_above.py", content="def test_above():\n    assert 1 == 1\n"
    )
    model = script(tmp_path, [[FIX], [SUBMIT]], [[FIX, green_test], [SUBMIT]], [[FIX, new_test], [SUBMIT]])
    code, result, _ = fix(tmp_path, model)
    assert (code, result["status"]) == (0, "accepted"), result
    none, green, red = (attempt["verdict"] for attempt in result["attempts"])
    for verdict in (none, green):
        assert [check["name"] for check in verdict["checks"] if not check["passed"]] == ["red"]
    assert red["accepted"]


def test_what_is_not_broken_is_said_before_any_money_is_spent(tmp_path):
    make_project(tmp_path)
    model = script(tmp_path, [[SUBMIT]])
    code, result, _ = fix(tmp_path, model, "--fail-to-pass", "tests/test_calc.py::test_mean")
    assert (code, result["status"], result["attempts"]) == (1, "not_reproduced", [])
    code, result, _ = fix(tmp_path, model, "--fail-to-pass", "tests/test_calc.py::test_meen")
    assert (code, result["status"], result["attempts"]) == (1, "not_reproduced", [])
    assert "test_mean" in result["error"]  # the nearest id there is


def test_limits_end_a_run_with_their_own_exit_code(tmp_path):
    make_project(tmp_path)
    model = script(tmp_path, [[call("shell", command="true")]] * 5)
    code, result, _ = fix(tmp_path, model, "--fail-to-pass", ABOVE, "--turns", "3", "--attempts", "2")
    assert (code, result["status"]) == (4, "limit")
    assert [attempt["turns"] for attempt in result["attempts"]] == [3, 3]
    slow = script(tmp_path, [[call("shell", command="sleep 300", timeout=300)]])
    code, result, _ = fix(tmp_path, slow, "--fail-to-pass", ABOVE, "--minutes", "0.05")
    assert (code, result["status"], len(result["attempts"])) == (4, "limit", 1)


def test_a_change_that_was_not_submitted_is_judged_all_the_same(tmp_path):
    make_project(tmp_path)
    code, result, _ = fix(tmp_path, script(tmp_path, [[FIX]]), "--fail-to-pass", ABOVE, "--attempts", "1")
    assert (code, result["status"]) == (0, "accepted"), result


def test_the_event_stream_is_json_lines_that_end_with_the_result(tmp_path):
    make_project(tmp_path)
    model = script(tmp_path, [[FIX], [SUBMIT]])
    done = agent(
        tmp_path,
        *[
            "fix",
            "--repo",
            "repo",
            "--issue",
            "issue.md",
            "--model",
            model,
            "--fail-to-pass",
            ABOVE,
            "--stream-json",
        ],
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [event["n"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "run_ended"
    assert events[-1]["result"]["status"] == "accepted"


def test_the_embedded_model_repairs_it_from_standard_input_without_a_key(tmp_path):
    make_project(tmp_path)
    done = subprocess.run(
        command("fix", "--repo", str(tmp_path / "repo"), "--issue", "-", "--fail-to-pass", ABOVE),
        input="clamp() is wrong above the range",
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "local/repair" in done.stderr
    assert ABOVE in done.stdout
    assert "cost: 0.0000 USD" in done.stdout
    assert "git -C" in done.stdout


def test_a_changed_expectation_needs_a_person(tmp_path):
    repo = make_project(tmp_path)
    weaker = call(
        "edit_file", path="tests/test_calc.py", old="assert mean([1, 2, 3]) == 2", new="assert mean([1]) == 1"
    )
    model = script(tmp_path, [[FIX, weaker], [SUBMIT]])
    code, result, _ = fix(tmp_path, model, "--fail-to-pass", ABOVE, "--branch", "fix/clamp")
    assert (code, result["status"], result["branch"]) == (6, "needs_review", None), result
    (review,) = [c for c in result["attempts"][0]["verdict"]["checks"] if not c["passed"]]
    assert "-    assert mean([1, 2, 3]) == 2" in review["evidence"]
    assert git(repo, "branch", "--list", "fix/*") == ""


def test_text_that_is_no_text_is_the_model_s_to_mend(tmp_path):
    make_project(tmp_path)
    odd = call("shell", command="echo \ud800")
    code, result, _ = fix(tmp_path, script(tmp_path, [[odd, FIX], [SUBMIT]]), "--fail-to-pass", ABOVE)
    assert (code, result["status"]) == (0, "accepted"), result
    assert result["tool_calls"]["failed"] == 1


def test_what_a_rejected_model_said_is_not_fed_to_the_next(tmp_path):
    make_project(tmp_path)
    claim = call("submit", summary="claim-17")
    bad = call("edit_file", path="calc.py", old="    if value > high:\n        return low\n", new="")
    _, result, _ = fix(
        tmp_path, script(tmp_path, [[bad], [claim]], [[FIX], [SUBMIT]]), "--fail-to-pass", ABOVE
    )
    assert [attempt["verdict"]["accepted"] for attempt in result["attempts"]] == [False, True]
    log = (tmp_path / "home" / "runs" / result["run_id"] / "events.jsonl").read_text().splitlines()
    told = [e["text"] for e in map(json.loads, log) if e["type"] == "user_said"]
    assert "claim-1" not in "".join(told)


def test_a_terminal_without_unicode_or_without_stderr_changes_no_verdict(tmp_path):
    make_project(tmp_path)
    (tmp_path / "issue.md").write_text("größer — ☃\n", "utf-8")
    model = script(tmp_path, [[FIX], [SUBMIT]])
    line = ["fix", "--repo", "repo", "--issue", "issue.md", "--model", model, "--fail-to-pass", ABOVE]
    done = agent(tmp_path, *line, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    shown = agent(
        tmp_path, "show", "--full", done.stdout.split("run: ")[1].split()[0], PYTHONIOENCODING="ascii"
    )
    assert shown.returncode == 0
    shell = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command(*line)]
    closed = subprocess.run(shell, capture_output=True, text=True, env=environment(tmp_path), cwd=tmp_path)
    assert closed.returncode == 0, closed.stdout


PATCH = """\
--- a/calc.py
+++ b/calc.py
@@ -2,5 +2,5 @@
     if value < low:
         return low
     if value > high:
-        return low
+        return high
     return value
"""
BROKEN_STREAMS = [
    ('"$@" | true; exit ${PIPESTATUS[0]}', "broken pipe"),
    ('"$@" > /dev/full', "no space left"),
    ('"$@" >&-', "it is closed"),
    ('"$@" > /dev/full 2> /dev/full', None),
]


def by_shell(folder, line, *args):
    words = ["bash", "-c", line, "bash", *command(*args)]
    return subprocess.run(
        words, capture_output=True, text=True, env=environment(folder), cwd=folder, timeout=900
    )


@pytest.mark.parametrize(("line", "says"), BROKEN_STREAMS)
def test_streams_that_break_change_no_verdict(tmp_path, line, says):
    make_project(tmp_path)
    (tmp_path / "fix.diff").write_text(PATCH)
    gate = ["gate", "--repo", "repo", "--patch", "fix.diff", "--fail-to-pass", ABOVE]
    done = by_shell(tmp_path, line, *gate)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    told = [text for text in done.stderr.splitlines() if text.startswith("agent: could not write")]
    assert told == ([f"agent: could not write the result to stdout: {says}"] if says else [])


def test_a_run_whose_reader_leaves_ends_with_its_own_exit_code(tmp_path):
    make_project(tmp_path)
    model = script(tmp_path, [[FIX], [SUBMIT]])
    fix = ["fix", "--repo", "repo", "--issue", "issue.md", "--model", model, "--fail-to-pass", ABOVE]
    done = by_shell(tmp_path, '"$@" | true; exit ${PIPESTATUS[0]}', *fix)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Traceback" not in done.stderr


def test_who_asked_for_json_and_got_none_sees_no_success(tmp_path):
    make_project(tmp_path)
    (tmp_path / "fix.diff").write_text(PATCH)
    gate = ["gate", "--repo", "repo", "--patch", "fix.diff", "--fail-to-pass", ABOVE, "--json"]
    done = by_shell(tmp_path, '"$@" > /dev/full', *gate)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "agent: could not write the result to stdout: no space left"
    model = script(tmp_path, [[FIX], [SUBMIT]])
    fix = ["fix", "--repo", "repo", "--issue", "issue.md", "--model", model, "--fail-to-pass", ABOVE]
    done = by_shell(tmp_path, '"$@" > /dev/full', *fix, "--stream-json")
    assert done.returncode == 3
    assert done.stderr.count("agent: could not write the events to stdout: no space left") == 1
    (run,) = (tmp_path / "home" / "runs").iterdir()
    assert json.loads((run / "result.json").read_text())["status"] == "accepted"
