"""`agent eval` on results that are there already: what it writes, and what its exit code says of drift."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent.batch.folder import write_results
from agent.batch.tasks import read_tasks
from agent.cli.dispatch import run
from agent.evaluate.arms import task_lines
from agent.result import write_atomically
from tests.unit.evaluate.lines import line

REPLY = {"tool_calls": [{"name": "submit", "arguments": {"summary": "no", "give_up": True}}]}
MODELS = ("one", "two")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Twelve cases and two models, whose runs have all ended."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_HOME", str(tmp_path / "home"))
    for name in MODELS:
        (tmp_path / name).write_text(json.dumps(REPLY) + "\n")
    cases = [{"id": f"c{number}", "repo": "r", "issue": "It is wrong."} for number in range(12)]
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    return tmp_path


def ended(folder: Path, out: str, **accepted: int) -> None:
    """Results of which each model's first few are accepted."""
    cases = read_tasks("cases.jsonl", str(folder))
    results = []
    for task in task_lines(cases, [f"scripted/{folder / name}" for name in MODELS], 1):
        told = task.case["evaluation"]
        number, name = int(told["case"][1:]), Path(told["model"]).name
        status = "accepted" if number < accepted[name] else "rejected"
        one = line(told["case"], told["model"], status, digest=told["digest"])
        results.append(replace(one, id=task.id, case=task.case))
    write_results(folder / out, results)


def evaluated(*more: str) -> int:
    models = [f"--model=scripted/{name}" for name in MODELS]
    return run(["eval", "cases.jsonl", "--out", "new", "--resume", *models, *more])


def test_the_table_the_figures_the_page_and_the_ladder_are_written(folder, capsys):
    ended(folder, "new", one=12, two=2)
    assert evaluated() == 0
    said = capsys.readouterr().out
    assert "100 % (76-100) of 12" in said and "17 % (5-45) of 12" in said and "better beyond chance" in said
    told = json.loads((folder / "new/summary.json").read_text())
    assert [mine["accepted_runs"] for mine in told["models"].values()] == [12, 2]
    assert f'ladder = ["scripted/{folder / "one"}"]' in (folder / "new/recommended.toml").read_text()
    predicted = [json.loads(one) for one in (folder / "new/predictions-2-1.jsonl").read_text().splitlines()]
    assert [one["instance_id"] for one in predicted] == [f"c{number}" for number in range(12)]
    assert {one["model_name_or_path"] for one in predicted} == {f"scripted/{folder / 'two'}"}
    assert not (folder / "new/predictions.jsonl").exists()  # a grader would take the last of each case
    assert "<svg" in (folder / "new/evaluation.html").read_text()


def test_one_model_once_has_its_predictions_where_a_batch_has_them(folder):
    ended(folder, "new", one=12, two=2)
    assert run(["eval", "cases.jsonl", "--out", "new", "--resume", "--model=scripted/one"]) == 0
    for name in ("predictions.jsonl", "predictions-1-1.jsonl"):
        lines = [json.loads(one) for one in (folder / "new" / name).read_text().splitlines()]
        assert [one["instance_id"] for one in lines] == [f"c{number}" for number in range(12)], name


def test_a_model_that_got_worse_beyond_chance_is_exit_code_1(folder, capsys):
    ended(folder, "old", one=12, two=6)
    ended(folder, "new", one=2, two=5)
    assert evaluated("--compare", "old") == 1
    said = capsys.readouterr().out
    assert said.count("WORSE beyond chance") == 1 and "accepted: 100 % before, 17 % now" in said
    changed = json.loads((folder / "new/summary.json").read_text())["changes"]
    assert [one["model"].rpartition("/")[2] for one in changed if one["worse"]] == ["one"]
    ended(folder, "new", one=12, two=12)
    assert evaluated("--compare", "old") == 0  # better is no warning


def test_what_can_not_be_evaluated_is_one_line(folder, capsys):
    assert run(["eval", "cases.jsonl", "--out", "x", "--model=scripted/one", "--model=scripted/one"]) == 2
    assert "each model once" in capsys.readouterr().err
    assert run(["eval", "cases.jsonl", "--out", "x", "--model=scripted/one", "--repeat=0"]) == 2
    assert run(["eval", "cases.jsonl", "--out", "x", "--model=scripted/one", "--compare=nowhere"]) == 2
    assert "no results.jsonl" in capsys.readouterr().err
    write_atomically(
        folder / "batch/results.jsonl",
        b'{"id":"t","repo":"r","status":"x","error":null,"tries":1,"seconds":1}\n',
    )
    assert run(["eval", "cases.jsonl", "--out", "x", "--model=scripted/one", "--compare=batch"]) == 2
    assert "none of `agent eval`" in capsys.readouterr().err
    assert not (folder / "x").exists()


def test_results_of_a_case_that_was_another_task_are_not_told_as_its_own(folder, capsys):
    ended(folder, "new", one=12, two=12)
    text = (folder / "cases.jsonl").read_text()
    (folder / "cases.jsonl").write_text(text.replace("It is wrong.", "It is slow.", 1))
    assert evaluated() == 2
    assert "case 'c0' was another task then" in capsys.readouterr().err
