"""Instances of benchmarks are tasks, and what only their graders may know reaches no run."""

from __future__ import annotations

import json

import pytest

from agent.batch.tasks import read_tasks
from agent.evaluate.arms import task_lines

# Forms of the sets' cards, with texts of our own.
TESTS = "diff --git a/t.py b/t.py\n--- a/t.py\n+++ b/t.py\n@@ -1 +1 @@\n-a\n+secret_test\n"
SWE_BENCH = {
    "instance_id": "astropy__astropy-12907",
    "repo": "astropy/astropy",
    "base_commit": "d16bfe05a744909de4b27f5875fe0d4ed41ce607",
    "problem_statement": "Separability is wrong for nested models.\r\n",
    "hints_text": "secret_hint",
    "patch": "secret_fix",
    "test_patch": TESTS,
    "FAIL_TO_PASS": '["secret_test"]',
    "PASS_TO_PASS": "[]",
    "version": "4.3",
    "environment_setup_commit": "298ccb478e6bf092953bca67a3d29dc6c35f6752",
    "created_at": "2022-03-03T15:14:54Z",
}
PRO = {
    **{key: value for key, value in SWE_BENCH.items() if key not in ("FAIL_TO_PASS", "PASS_TO_PASS")},
    "instance_id": "instance_owner__name-0123",
    "repo": "owner/name",
    "requirements": "- It must be fast.",
    "interface": "No new interfaces are introduced.",
    "fail_to_pass": "['secret_test']",
    "dockerhub_tag": "owner.name-0123",
}
MULTI = {
    "org": "cli",
    "repo": "cli",
    "number": 123,
    "base": {"label": "cli:trunk", "ref": "trunk", "sha": "a" * 40},
    "resolved_issues": [{"number": 5, "title": "It crashes", "body": "Without arguments."}],
    "body": "secret_fix",
    "fix_patch": "secret_fix",
    "test_patch": TESTS,
    "fixed_tests": {"secret_test": {}},
}


def lines(folder, *instances, images=False):
    path = folder / "instances.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in instances))
    return read_tasks(str(path), str(folder), images=images)


def test_an_instance_of_each_set_is_a_task_at_its_commit(tmp_path):
    one, pro, multi = lines(tmp_path, SWE_BENCH, PRO, MULTI)
    assert not one.fault and not pro.fault and not multi.fault
    assert (one.id, one.repo, one.base) == (
        "astropy__astropy-12907",
        "https://github.com/astropy/astropy",
        "d16bfe05a744909de4b27f5875fe0d4ed41ce607",
    )
    assert one.issue == "Separability is wrong for nested models.\n"
    assert "## Requirements\n\n- It must be fast." in str(pro.issue) and "## Interface" in str(pro.issue)
    assert (multi.id, multi.repo, multi.base) == ("cli__cli-123", "https://github.com/cli/cli", "a" * 40)
    assert multi.issue == "# It crashes\n\nWithout arguments."


@pytest.mark.parametrize("instance", [SWE_BENCH, PRO, MULTI], ids=["swe-bench", "pro", "multi-swe"])
def test_what_graders_know_reaches_no_run_and_an_evaluation_grades_by_it(tmp_path, instance):
    [line] = lines(tmp_path, instance)
    given = [line.issue, line.test, line.setup, line.fail_to_pass, line.test_patch]
    assert "secret" not in repr(given) and "secret_fix" not in repr(line)
    [graded] = task_lines([line], ["local/repair"], 1)
    assert graded.test_patch == TESTS and "hidden_tests" not in graded.case


def test_a_broken_instance_is_one_line_and_the_others_are_there(tmp_path):
    found = lines(
        tmp_path,
        {**SWE_BENCH, "problem_statement": 5},
        {**SWE_BENCH, "instance_id": None},
        {**MULTI, "resolved_issues": "none"},
        {**SWE_BENCH, "instance_id": "another"},
    )
    assert [bool(one.fault) for one in found] == [True, True, True, False]
    assert "issue must be" in found[0].fault and "line 1" in found[0].fault


def test_the_image_of_an_instance_is_named_as_its_set_names_it_if_it_is_asked_for(tmp_path):
    own = {**SWE_BENCH, "instance_id": "b", "image": "mirror.example/sweb.eval.x86_64.b:v2"}
    capitals = {**MULTI, "org": "BurntSushi", "repo": "ripgrep"}
    instances = [SWE_BENCH, own, PRO, MULTI, capitals]
    assert [one.image for one in lines(tmp_path, *instances)] == [None] * 5
    assert [one.image for one in lines(tmp_path, *instances, images=True)] == [
        "swebench/sweb.eval.x86_64.astropy_1776_astropy-12907:latest",
        "mirror.example/sweb.eval.x86_64.b:v2",
        "jefzda/sweap-images:owner.name-0123",
        "mswebench/cli_m_cli:pr-123",
        "mswebench/burntsushi_m_ripgrep:pr-123",
    ]
    nameless, tagless = lines(tmp_path, {**own, "image": ""}, {**PRO, "dockerhub_tag": None}, images=True)
    assert "has no name" in nameless.fault and "has no name" in tagless.fault


def test_a_test_command_may_stand_beside_the_fields_of_an_instance(tmp_path):
    [line] = lines(tmp_path, {**SWE_BENCH, "test": "./tests/runtests.py --verbosity 2"})
    assert line.test == "./tests/runtests.py --verbosity 2" and not line.fault
