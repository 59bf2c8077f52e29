"""Batches in real sandboxes: tasks and a driver killed in the middle, and cases mined from a history."""

from __future__ import annotations

import json

import anyio
import pytest

from tests.benchmarks.batch import disturbed, make_tasks, results, settled
from tests.docker.project import BUGGY, FIX, FIXED_LINE, RED, SUBMIT, TESTS, agent, git, make_project, script
from tests.docker.runners_image import build_image
from tests.docker.test_runners import POM

pytestmark = pytest.mark.docker

MAVEN = "mvn -o -q -B -Dmaven.repo.local=/usr/share/maven-repo test"
JAVA = """\
package com.x;

public class Calc {
    public static int clamp(int value, int low, int high) {
        if (value < low) return low;
        if (value > high) return %s;
        return value;
    }
}
"""
JAVA_TESTS = """\
package com.x;

import static org.junit.Assert.assertEquals;
import org.junit.Test;

public class CalcTest {
    @Test public void below() { assertEquals(1, Calc.clamp(0, 1, 3)); }
    %s
}
"""


def test_tasks_and_a_driver_that_are_killed_change_no_result_and_leave_nothing(tmp_path):
    make_tasks(tmp_path, 3)
    model = script(tmp_path, [[FIX], [SUBMIT]])
    killed = disturbed(tmp_path, model, workers=2, kills=3, seed=3, most=5)
    assert killed == {"tasks": 2, "drivers": 1}
    ended = results(tmp_path, "killed")
    assert {task: status for task, (status, _) in ended.items()} == dict.fromkeys(
        ["t0", "t1", "t2"], "accepted"
    )
    assert len({patch for _, patch in ended.values()}) == 1  # the scripted one, whatever was killed
    assert not settled(tmp_path)


def test_real_fixes_of_a_history_become_cases_that_a_batch_runs(tmp_path):
    repo = make_project(tmp_path, red=False)
    tests, product = repo / "tests" / "test_calc.py", repo / "calc.py"

    def commit(message: str) -> str:
        git(repo, "add", "-A")
        git(repo, "commit", "-qm", message)
        return git(repo, "rev-parse", "HEAD").strip()

    product.write_text(BUGGY.replace(*FIXED_LINE))
    tests.write_text(TESTS + RED)
    fix = commit(
        "clamp() is wrong above the range\n\nclamp(5, 1, 3) gave 1.\n\nSigned-off-by: A <a@b.invalid>\n"
    )
    product.write_text(product.read_text() + "\n\ndef twice(value):\n    return value * 2\n")
    tests.write_text(tests.read_text() + "\n\ndef test_mean_of_one():\n    assert mean([4]) == 4\n")
    commit("Add twice() and a test of something else")
    (repo / "README.md").write_text("calc\n")
    commit("Say in the documentation what this is")
    product.write_text(product.read_text() + "\n\ndef thrice(value):\n    return value * 3\n")
    commit("Add thrice() without any test")

    done = agent(tmp_path, "cases", "from-git", "repo", "--out", "cases.jsonl")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 of 2 candidates are cases: cases.jsonl\n"
    assert "no test fails without the fix" in done.stderr
    [case] = [json.loads(line) for line in (tmp_path / "cases.jsonl").read_text().splitlines()]
    assert case["base"] == git(repo, "rev-parse", f"{fix}~").strip()
    assert case["issue"] == "# clamp() is wrong above the range\n\nclamp(5, 1, 3) gave 1.\n"
    assert case["fail_to_pass"] == ["tests/test_calc.py::test_above"]
    assert "calc.py" not in case["test_patch"].replace("test_calc.py", "")
    assert case["case"]["gold_patch"].count("+++") == 1 and case["case"]["pass_to_pass"] == 3

    model = script(tmp_path, [[FIX], [SUBMIT]])
    done = agent(tmp_path, "batch", "cases.jsonl", "--out", "out", "--model", model)
    assert done.returncode == 0, done.stderr + (tmp_path / "out/results.jsonl").read_text()
    [result] = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert result["status"] == "accepted" and result["case"]["commit"] == fix
    assert agent(tmp_path, "cases", "from-git", "repo", "--out", "cases.jsonl").returncode == 2


def test_a_budget_of_all_tasks_ends_the_batch_before_it_is_passed(tmp_path):
    make_tasks(tmp_path, 2)
    given = ["--model", "anthropic/claude-haiku-4-5", "--budget", "0.0001", "--workers", "1"]
    keys = {"ANTHROPIC_API_KEY": "sk-ant-nobody-asks", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    done = agent(tmp_path, "batch", "tasks.jsonl", "--out", "out", *given, **keys)
    assert done.returncode == 4, done.stderr
    assert "t0: the batch's budget is spent" in done.stderr and "t1 starts" not in done.stderr
    assert "2  without a result: --resume runs them" in done.stdout
    assert not (tmp_path / "out" / "results.jsonl").read_text()


def test_bugs_of_a_collection_become_cases_if_they_show_here(tmp_path):
    repo = make_project(tmp_path, red=False)
    buggy = git(repo, "rev-parse", "HEAD").strip()
    (repo / "calc.py").write_text(BUGGY.replace(*FIXED_LINE))
    (repo / "tests" / "test_calc.py").write_text(TESTS + RED)
    git(repo, "commit", "-qam", "clamp() is wrong above the range")
    fixed = git(repo, "rev-parse", "HEAD").strip()
    bugs = tmp_path / "BugsInPy/projects/calc/bugs"
    for number, test in (
        (1, "pytest tests/test_calc.py::test_above"),
        (2, "python -m unittest -q tests.test_calc.test_below"),
    ):
        (bugs / str(number)).mkdir(parents=True)
        info = f'python_version="3.8.3"\nbuggy_commit_id="{buggy[:7]}"\nfixed_commit_id ="{fixed}"\n'
        (bugs / str(number) / "bug.info").write_text(info)
        (bugs / str(number) / "run_test.sh").write_text(f"{test}\n")
    (bugs.parent / "project.info").write_text(f'github_url="file://{repo}"\nstatus="OK"\n')
    elsewhere = tmp_path / "BugsInPy/projects/other"
    (elsewhere / "bugs/1").mkdir(parents=True)
    (elsewhere / "project.info").write_text(f'github_url="file://{tmp_path}/none"\n')
    (elsewhere / "bugs/1/bug.info").write_text(f'buggy_commit_id="{buggy}"\nfixed_commit_id="{fixed}"\n')

    done = agent(tmp_path, "cases", "from-folder", "BugsInPy", "--out", "cases.jsonl")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 of 2 candidates are cases: cases.jsonl\n"
    assert "no calc-2 clamp() is wrong above the range: tests.test_calc.test_below should fail" in done.stderr
    assert "no other-1: git fetch failed" in done.stderr
    [case] = [json.loads(line) for line in (tmp_path / "cases.jsonl").read_text().splitlines()]
    assert (case["id"], case["repo"], case["base"]) == ("calc-1", f"file://{repo}", buggy)
    assert case["issue"] == "# clamp() is wrong above the range\n"
    assert (
        case["fail_to_pass"] == ["tests/test_calc.py::test_above"] and "+def test_above" in case["test_patch"]
    )
    assert agent(tmp_path, "cases", "from-folder", "repo", "--out", "more.jsonl").returncode == 2
    assert not (tmp_path / "more.jsonl").exists()


def test_a_bug_of_defects4j_is_a_case_where_maven_builds_it(tmp_path):
    work, collection = tmp_path / "work", tmp_path / "defects4j"
    product, tests = work / "src/main/java/com/x/Calc.java", work / "src/test/java/com/x/CalcTest.java"

    def commit(message: str, bound: str, more: str) -> str:
        for path, text in ((work / "pom.xml", POM), (product, JAVA % bound), (tests, JAVA_TESTS % more)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git(work, "add", "-A")
        git(work, "commit", "-qm", message)
        return git(work, "rev-parse", "HEAD").strip()

    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    buggy = commit("base", "low", "")
    above = "@Test public void above() { assertEquals(3, Calc.clamp(5, 1, 3)); }"
    fixed = commit("CALC-7: clamp() is wrong above the range", "high", above)
    git(work, "clone", "-q", "--bare", ".", str(collection / "project_repos/commons-calc.git"))
    project, module = collection / "framework/projects/Calc", collection / "framework/core/Project/Calc.pm"
    for path, text in (
        (
            project / "active-bugs.csv",
            f"bug.id,buggy,fixed,report.id,report.url\n1,{buggy},{fixed},CALC-7,x\n",
        ),
        (
            project / "trigger_tests/1",
            "--- com.x.CalcTest::above\njava.lang.AssertionError: expected:<3>\n\tat x\n",
        ),
        (module, '    my $name = "commons-calc";\n'),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    given = ["--image", anyio.run(build_image), "--test", MAVEN]
    done = agent(tmp_path, "cases", "from-folder", str(project), "--out", "cases.jsonl", *given)
    assert done.returncode == 0, done.stderr
    case = json.loads((tmp_path / "cases.jsonl").read_text())
    assert (case["id"], case["base"]) == ("Calc-1", buggy)
    assert case["fail_to_pass"] == ["src/test/java/com/x/CalcTest.java::above"]
