"""The folder of a batch: what ended is there after any end of the driver, and folders can be put together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent.batch.drive import Result
from agent.batch.folder import Folder, merged, read_results, write_results
from agent.batch.instances import task_of
from agent.errors import UsageError


def result(name: str, status: str = "accepted", patch: str | None = "diff\udce9") -> Result:
    run = {"attempts": [{"model": "a/b"}], "cost_usd": 0.5}
    return Result(name, "/r", status, None, 1, 2.0, patch if status == "accepted" else None, run, {"x": 1})


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_result_is_on_the_disk_when_it_is_added(tmp_path):
    with Folder(tmp_path / "out", resume=False) as folder:
        folder.add(result("a"))
        assert read_results(tmp_path / "out/results.jsonl") == [result("a")]
        folder.add(result("b", "rejected"))
        folder.add(result("c", "crash"))
        folder.add(result("d", "invalid"))
    assert lines(tmp_path / "out/predictions.jsonl") == [
        {"instance_id": "a", "model_name_or_path": "a/b", "model_patch": "diff\udce9"},
        {"instance_id": "b", "model_name_or_path": "a/b", "model_patch": ""},
    ]


def test_each_benchmark_gets_its_own_form_of_prediction(tmp_path):
    multi = {"org": "cli", "repo": "cli", "number": 7, "resolved_issues": [], "base": {"sha": "a"}}
    pro = {"problem_statement": "It is wrong.", "dockerhub_tag": "o.n-1"}
    with Folder(tmp_path, resume=False) as folder:
        folder.add(
            replace(result("plain"), case=task_of({"problem_statement": "It is wrong."}).get("case", {}))
        )
        folder.add(replace(result("cli__cli-7"), case=task_of(multi)["case"]))
        folder.add(replace(result("instance_o__n-1"), case=task_of(pro)["case"]))
        folder.add(replace(result("instance_o__n-2", "limit"), case=task_of(pro)["case"]))
        folder.add(replace(result("instance_o__n-3", "crash"), case=task_of(pro)["case"]))
    assert lines(tmp_path / "predictions.jsonl")[:3] == [
        {"instance_id": "plain", "model_name_or_path": "a/b", "model_patch": "diff\udce9"},
        {"org": "cli", "repo": "cli", "number": 7, "fix_patch": "diff\udce9"},
        {"instance_id": "instance_o__n-1", "model_name_or_path": "a/b", "model_patch": "diff\udce9"},
    ]
    assert json.loads((tmp_path / "predictions.json").read_text()) == [
        {"instance_id": "instance_o__n-1", "patch": "diff\udce9", "prefix": "a__b"},
        {"instance_id": "instance_o__n-2", "patch": "", "prefix": "a__b"},
    ]


@pytest.mark.parametrize("case", [{"instance": 5}, {"instance": {"set": []}}, {"evaluation": "x"}])
def test_a_case_that_means_something_else_is_of_no_benchmark(tmp_path, case):
    with Folder(tmp_path, resume=False) as folder:
        folder.add(replace(result("a"), case=case))
    assert [one["instance_id"] for one in lines(tmp_path / "predictions.jsonl")] == ["a"]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_was_cut_counts_as_not_written_and_a_crash_as_not_ended(tmp_path, cut):
    with Folder(tmp_path, resume=False) as folder:
        number = folder.id
        for name, status in (("a", "accepted"), ("b", "crash"), ("c", "accepted")):
            folder.add(result(name, status))
    for name in ("results.jsonl", "predictions.jsonl"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[:-cut])
    with Folder(tmp_path, resume=True) as folder:
        whole = ["a"] if cut > 1 else ["a", "c"]  # only the end of the line is gone
        assert list(folder.results) == whole
        assert folder.id == number  # so that the budget goes on where it was
        folder.add(result("d"))
    assert [line["id"] for line in lines(tmp_path / "results.jsonl")] == [*whole, "d"]
    assert [line["instance_id"] for line in lines(tmp_path / "predictions.jsonl")] == [*whole, "d"]


def test_what_could_not_begin_is_tried_anew_when_it_may_have_been_mended(tmp_path):
    with Folder(tmp_path, resume=False) as folder:
        folder.add(result("a", "invalid"))
        folder.add(result("b", "environment"))
    with Folder(tmp_path, resume=True) as folder:
        assert list(folder.results) == ["b"]


def test_a_line_in_the_middle_that_is_none_is_told_and_nothing_is_overwritten(tmp_path):
    with Folder(tmp_path, resume=False) as folder:
        folder.add(result("a"))
    path = tmp_path / "results.jsonl"
    path.write_bytes(b'{"id": 1}\n' + path.read_bytes())
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"results.jsonl, line 1"):
        Folder(tmp_path, resume=True)
    assert path.read_bytes() == before


def test_results_are_not_mixed_by_mistake(tmp_path):
    with Folder(tmp_path, resume=False), pytest.raises(UsageError, match="another batch works on it"):
        Folder(tmp_path, resume=True)
    with pytest.raises(UsageError, match="--resume goes on"):
        Folder(tmp_path, resume=False)
    with pytest.raises(UsageError, match="can be written"):
        Folder(Path("/proc/nowhere"), resume=False)


def test_shards_are_put_together(tmp_path):
    for name, results in (
        ("one", [result("a"), result("b", "crash")]),
        ("two", [result("b", "rejected"), result("c")]),
        ("three", [result("c", "rejected")]),
    ):
        (tmp_path / name).mkdir()
        write_results(tmp_path / name, results)
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    assert {r.id: r.status for r in merged([one, two])} == {"a": "accepted", "b": "rejected", "c": "accepted"}
    assert merged([two, one, two]) == [result("b", "rejected"), result("c"), result("a")]
    with pytest.raises(UsageError, match="different results for 'c'"):
        merged([one, two, three])
    with pytest.raises(UsageError, match=r"no results.jsonl"):
        merged([tmp_path])
