"""An evaluation in real sandboxes, of two cases and two models of which all is known beforehand."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.evaluation import faults, make_cases, scripted, truths
from tests.docker.project import agent

pytestmark = pytest.mark.docker


def test_what_models_mend_is_told_as_it_is_and_hidden_tests_judge_apart(tmp_path):
    counts = {"clamp": 1, "mean": 0, "span": 1}
    make_cases(tmp_path, counts)
    one, two = scripted(tmp_path, "one", ["clamp"]), scripted(tmp_path, "two", ["clamp", "span"])
    models = ["--model", one, "--model", two]
    done = agent(tmp_path, "eval", "cases.jsonl", "--out", "out", "--attempts", "1", *models)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "out/summary.json").read_text())
    truth = truths(counts, one, two)
    del truth["local/repair"]
    assert not faults(told, truth), done.stderr
    assert told["models"][two]["accepted_wrong"] == 1  # the visible test passes, the hidden one does not
    # On the other case the first model states a cause that does not hold, and so may not edit: both are refused, and
    # so is its submission.
    assert told["models"][one]["refused"] >= 3 > told["models"][two]["refused"]
    results = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert all(result["run"]["task_class"] == "ordinary" for result in results)
    assert not any("test_hidden" in json.dumps(result["run"]["attempts"]) for result in results)
