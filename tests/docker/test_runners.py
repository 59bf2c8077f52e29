"""The gate on projects in several languages, with the real runners in one image that is built for it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from agent.git import Repository
from agent.toolbox import open_toolbox
from agent.types import ToolCall, ToolResult, Verdict
from sandboxes.docker import Docker
from sandboxes.types import Environment
from tests.docker.gate_harness import Files, Gate, patch, project
from tests.docker.project import agent
from tests.docker.runners_image import LIMITS, environment_of
from tests.docker.sandbox_tools import tar_of

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return anyio.run(environment_of, tmp_path_factory.mktemp("runners"))


def gate(folder: Path, environment: Environment, command: str, files: dict[str, str]) -> Gate:
    made = project(folder, files, environment)
    made.command, made.timeout = command, 240
    return made


def failed_checks(gate: Gate, files: Files, **how: object) -> list[str]:
    verdict = gate.judge(files, **how)  # type: ignore[arg-type]
    return [f"{check.name}: {check.evidence}" for check in verdict.checks if not check.passed]


JS = "exports.clamp = (v, low, high) => (v < low ? low : v > high ? low : v);\n"
JS_FIXED = JS.replace("> high ? low", "> high ? high")
JS_TESTS = """\
const { describe, it } = require('node:test');
const assert = require('node:assert');
const { clamp } = require('../calc');
describe('clamp', () => {
  it('is inside', () => assert.strictEqual(clamp(2, 1, 3), 2));
});
"""
JS_ABOVE = JS_TESTS.replace("is inside", "is above").replace("clamp(2, 1, 3), 2", "clamp(5, 1, 3), 3")
PACKAGE = '{"name": "calc", "scripts": {"test": "node --test"}}'


def test_node_through_npm(tmp_path: Path, environment: Environment) -> None:
    files = {"package.json": PACKAGE, "calc.js": JS, "test/calc.test.js": JS_TESTS}
    named = ["test/above.test.js::clamp > is above"]
    made = gate(tmp_path, environment, "npm test", files | {"test/above.test.js": JS_ABOVE})
    made.baseline = made.take_baseline()
    assert made.baseline.outcomes == {named[0]: "failed", "test/calc.test.js::clamp > is inside": "passed"}
    assert failed_checks(made, {"calc.js": JS_FIXED}, named=named) == []
    [green, *_] = failed_checks(made, {"calc.js": JS + "exports.more = 1;\n"}, named=named)
    assert green.startswith("green: with the fix:\ntest/above.test.js::clamp > is above: failed")


def test_node_with_hidden_tests(tmp_path: Path, environment: Environment) -> None:
    files = {"package.json": PACKAGE, "calc.js": JS, "test/calc.test.js": JS_TESTS}
    made = gate(tmp_path, environment, "node --test", files)
    made.baseline = made.take_baseline()
    hidden: Files = {"test/above.test.js": JS_ABOVE}
    assert failed_checks(made, {"calc.js": JS_FIXED}, hidden=hidden) == []
    assert failed_checks(made, {"calc.js": JS + "exports.more = 1;\n"}, hidden=hidden) != []


GO = """\
package calc

func Clamp(v, low, high int) int {
	if v < low {
		return low
	}
	if v > high {
		return low
	}
	return v
}
"""
GO_FIXED = GO.replace("> high {\n\t\treturn low", "> high {\n\t\treturn high")
GO_TESTS = """\
package calc

import "testing"

func TestInside(t *testing.T) {
	if Clamp(2, 1, 3) != 2 {
		t.Fatal("inside")
	}
}
"""
GO_ABOVE = GO_TESTS.replace("TestInside", "TestAbove").replace("Clamp(2, 1, 3) != 2", "Clamp(5, 1, 3) != 3")


def test_go(tmp_path: Path, environment: Environment) -> None:
    files = {
        "go.mod": "module example.com/calc\n\ngo 1.19\n",
        "calc/calc.go": GO,
        "calc/calc_test.go": GO_TESTS,
    }
    made = gate(tmp_path, environment, "go test ./...", files | {"calc/above_test.go": GO_ABOVE})
    made.baseline = made.take_baseline()
    named = ["calc/above_test.go::TestAbove"]
    assert made.baseline.outcomes == {"calc/calc_test.go::TestInside": "passed", named[0]: "failed"}
    assert failed_checks(made, {"calc/calc.go": GO_FIXED}, named=named) == []
    assert failed_checks(made, {"calc/calc.go": GO + "\nvar More = 1\n"}, named=named) != []
    [red, *_] = failed_checks(made, {"calc/calc.go": GO_FIXED + '\nvar Bad int = "x"\n'}, named=named)
    assert "green" in red or "runner" in red


def test_go_with_hidden_tests(tmp_path: Path, environment: Environment) -> None:
    files = {
        "go.mod": "module example.com/calc\n\ngo 1.19\n",
        "calc/calc.go": GO,
        "calc/calc_test.go": GO_TESTS,
    }
    made = gate(tmp_path, environment, "go test ./...", files)
    made.baseline = made.take_baseline()
    hidden: Files = {"calc/above_test.go": GO_ABOVE}
    assert failed_checks(made, {"calc/calc.go": GO_FIXED}, hidden=hidden) == []
    assert failed_checks(made, {"calc/calc.go": GO + "\nvar More = 1\n"}, hidden=hidden) != []


RUST = """\
pub fn clamp(v: i32, low: i32, high: i32) -> i32 {
    if v < low { return low; }
    if v > high { return low; }
    v
}

#[cfg(test)]
mod tests {
    #[test]
    fn inside() { assert_eq!(super::clamp(2, 1, 3), 2); }
}
"""
RUST_FIXED = RUST.replace("> high { return low", "> high { return high")
CARGO = '[package]\nname = "calc"\nversion = "0.1.0"\nedition = "2021"\n'
RUST_BELOW = "#[test]\nfn below() { assert_eq!(calc::clamp(0, 1, 3), 1); }\n"
RUST_ABOVE = "#[test]\nfn above() { assert_eq!(calc::clamp(5, 1, 3), 3); }\n"


def test_rust(tmp_path: Path, environment: Environment) -> None:
    files = {"Cargo.toml": CARGO, "src/lib.rs": RUST, "tests/api.rs": RUST_BELOW}
    made = gate(tmp_path, environment, "cargo test", files | {"tests/more.rs": RUST_ABOVE})
    made.baseline = made.take_baseline()
    assert made.baseline.outcomes == {
        "src/lib.rs::tests::inside": "passed",
        "tests/api.rs::below": "passed",
        "tests/more.rs::above": "failed",
    }
    named = ["tests/more.rs::above"]
    assert failed_checks(made, {"src/lib.rs": RUST_FIXED}, named=named) == []
    assert failed_checks(made, {"src/lib.rs": RUST + "\npub fn more() {}\n"}, named=named) != []


JEST_TESTS = JS_TESTS.split("\n", 1)[1].replace("node:assert", "assert").replace("../calc", "./calc")
VITEST_TESTS = """\
import { expect, test } from 'vitest';
test('is inside', () => expect(1).toBe(1));
test.skip('is above', () => {});
"""


@pytest.mark.parametrize(
    ("command", "files", "outcomes"),
    [
        (
            "npm test",
            {
                "package.json": '{"scripts": {"test": "jest"}}',
                "calc.js": JS,
                "calc.test.js": JEST_TESTS,
                "x.test.js": "require('./no');",
            },
            {"calc.test.js::clamp > is inside": "passed", "x.test.js": "error"},
        ),
        (
            "vitest",
            {"package.json": '{"type": "module"}', "src/calc.test.js": VITEST_TESTS},
            {"src/calc.test.js::is inside": "passed", "src/calc.test.js::is above": "skipped"},
        ),
        (
            "mocha",
            {"calc.js": JS, "test/calc.js": JEST_TESTS.replace("./calc", "../calc")},
            {"test/calc.js::clamp > is inside": "passed"},
        ),
        (
            "python3 -m nose2",
            {"tests/__init__.py": "", "tests/test_a.py": "import unittest\nclass TestA(unittest.TestCase):\n"
             "    def test_x(self): pass\n    def test_y(self): self.fail('why')\n"},
            {"tests/test_a.py::TestA::test_x": "passed", "tests/test_a.py::TestA::test_y": "failed"},
        ),
    ],
    ids=["jest", "vitest", "mocha", "nose2"],
)  # fmt: skip
def test_other_runners(
    tmp_path: Path, environment: Environment, command: str, files: dict[str, str], outcomes: dict[str, str]
) -> None:
    assert gate(tmp_path, environment, command, files).take_baseline().outcomes == outcomes


JS_COUNTS = """\
let asked = 0;
export const clamp = (v, low, high) => (asked++, v < low ? low : v > high ? (asked > 5 ? high : low) : v);
"""
JS_MANY = """\
describe('clamp', () => {
  for (const v of [1, 2, 3, 4, 5]) it(`is ${v}`, () => expect(clamp(v, 1, 5)).toBe(v));
  it('is above', () => expect(clamp(6, 1, 5)).toBe(5));
});
"""
GO_COUNTS = GO.replace(
    "> high {\n\t\treturn low", "> high {\n\t\tif asked > 5 {\n\t\t\treturn high\n\t\t}\n\t\treturn low"
).replace(
    "func Clamp(v, low, high int) int {", "var asked = 0\n\nfunc Clamp(v, low, high int) int {\n\tasked++"
)
GO_MANY = 'package calc\n\nimport "testing"\n' + "".join(
    f'\nfunc TestN{v}(t *testing.T) {{\n\tif Clamp({v}, 1, 5) != {min(v, 5)} {{\n\t\tt.Fatal("no")\n\t}}\n}}\n'
    for v in range(1, 7)
)


@pytest.mark.parametrize(
    ("command", "product", "files", "counts", "red"),
    [
        (
            "npm test",
            "calc.js",
            {
                "package.json": '{"scripts": {"test": "jest"}}',
                "calc.js": JS,
                "calc.test.js": "const { clamp } = require('./calc');\n" + JS_MANY,
            },
            JS_COUNTS.replace("export const clamp", "exports.clamp"),
            "calc.test.js::clamp > is above",
        ),
        (
            "vitest",
            "calc.js",
            {
                "package.json": '{"type": "module"}',
                "calc.js": JS.replace("exports.clamp", "export const clamp"),
                "calc.test.js": "import { describe, expect, it } from 'vitest';\nimport { clamp } from './calc';\n"
                + JS_MANY,
            },
            JS_COUNTS,
            "calc.test.js::clamp > is above",
        ),
        (
            "go test ./...",
            "calc.go",
            {"go.mod": "module example.com/calc\n\ngo 1.19\n", "calc.go": GO, "calc_test.go": GO_MANY},
            GO_COUNTS,
            "calc_test.go::TestN6",
        ),
    ],
    ids=["jest", "vitest", "go"],
)
def test_a_fix_that_only_holds_in_the_suites_order_is_for_a_person_to_see(
    tmp_path: Path,
    environment: Environment,
    command: str,
    product: str,
    files: dict[str, str],
    counts: str,
    red: str,
) -> None:
    made = gate(tmp_path, environment, command, files)
    made.baseline = made.take_baseline()
    verdict = made.judge({product: counts}, named=[red])
    assert verdict.needs_review, verdict.checks
    assert f"shuffled, these fail as they do without the fix:\n{red}" in evidence(verdict)["review"]
    fixed = files[product].replace("> high ? low", "> high ? high")
    fixed = fixed.replace("> high {\n\t\treturn low", "> high {\n\t\treturn high")
    assert evidence(made.judge({product: fixed}, named=[red]))["order"] == "6 tests pass shuffled too"


POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>com.x</groupId><artifactId>calc</artifactId><version>1</version>
  <properties>
    <maven.compiler.source>17</maven.compiler.source><maven.compiler.target>17</maven.compiler.target>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <dependencies><dependency>
    <groupId>junit</groupId><artifactId>junit</artifactId><version>4.x</version><scope>test</scope>
  </dependency></dependencies>
  <build><plugins>
    <plugin><artifactId>maven-surefire-plugin</artifactId><version>2.12.4</version></plugin>
    <plugin><artifactId>maven-compiler-plugin</artifactId><version>3.1</version></plugin>
    <plugin><artifactId>maven-resources-plugin</artifactId><version>2.6</version></plugin>
  </plugins></build>
</project>
"""
JAVA_TESTS = """\
package com.x;

import static org.junit.Assert.assertEquals;
import org.junit.Ignore;
import org.junit.Test;

public class CalcTest {
    @Test public void inside() { assertEquals(2, 1 + 1); }
    @Test public void above() { assertEquals("sums are off", 3, 1 + 1); }
    @Test @Ignore public void off() {}
}
"""


def test_maven(tmp_path: Path, environment: Environment) -> None:
    """With the plugins that Debian packages, since a sandbox has no network to get others."""
    command = "mvn -o -q -B -Dmaven.repo.local=/usr/share/maven-repo test"
    files = {"pom.xml": POM, "src/test/java/com/x/CalcTest.java": JAVA_TESTS}
    run = gate(tmp_path, environment, command, files).take_baseline().run
    file = "src/test/java/com/x/CalcTest.java"
    assert {test: outcome.outcome for test, outcome in run.outcomes.items()} == {
        f"{file}::inside": "passed",
        f"{file}::above": "failed",
        f"{file}::off": "skipped",
    }
    assert run.outcomes[f"{file}::above"].message == "sums are off expected:<3> but was:<2>"
    assert (run.runner, run.disagreement()) == ("maven", "")


def test_the_models_tool_runs_them_too(tmp_path: Path, environment: Environment) -> None:
    files = {"go.mod": b"module example.com/calc\n\ngo 1.19\n", "calc.go": GO.encode()}
    files |= {"calc_test.go": GO_TESTS.encode(), "above_test.go": GO_ABOVE.encode()}

    async def run() -> ToolResult:
        docker = await Docker.connect()
        async with docker.sandbox(environment, run_id="test-runners", limits=LIMITS) as sandbox:
            await sandbox.put_tree(tar_of(tmp_path / "tree.tar", files))
            async with open_toolbox(sandbox, test_command="go test ./...") as toolbox:
                call = ToolCall("1", "run_tests", {"ids": ["above_test.go::TestAbove"]})
                return await toolbox.call(call, timeout=120)

    result = anyio.run(run)
    assert result.data is not None
    assert result.data["outcomes"] == {"above_test.go::TestAbove": "failed"}
    assert "above_test.go:7: inside" in result.text


def test_the_command_tells_what_it_detected(tmp_path: Path, environment: Environment) -> None:
    files = {
        "package.json": PACKAGE,
        "calc.js": JS,
        "test/calc.test.js": JS_TESTS,
        "test/above.test.js": JS_ABOVE,
    }
    made = gate(tmp_path, environment, "", files)
    with Repository(made.path) as repository:
        (tmp_path / "fix.diff").write_bytes(patch(repository, {"calc.js": JS_FIXED}))
    named = "test/above.test.js::clamp > is above"
    done = agent(
        tmp_path, "gate", "--repo", str(made.path), "--patch", str(tmp_path / "fix.diff"), "--fail-to-pass", named,
        "--image", environment.image,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "agent: tests: npm test (node; detected: package.json scripts.test)" in done.stderr


PY = "def clamp(v, low, high):\n    return low if v < low else low if v > high else v\n"
PY_FIXED = PY.replace("low if v > high", "high if v > high")
PY_TESTS = """\
import unittest
from calc import clamp

class TestClamp(unittest.TestCase):
    def test_inside(self):
        self.assertEqual(clamp(2, 1, 3), 2)
"""
PY_ABOVE = PY_TESTS.replace("test_inside", "test_above").replace("clamp(2, 1, 3), 2", "clamp(5, 1, 3), 3")


def test_unittest(tmp_path: Path, environment: Environment) -> None:
    files = {"calc.py": PY, "tests/__init__.py": "", "tests/test_calc.py": PY_TESTS}
    made = gate(tmp_path, environment, "python3 -m unittest", files)
    made.baseline = made.take_baseline()
    assert made.baseline.outcomes == {"tests/test_calc.py::TestClamp::test_inside": "passed"}
    hidden: Files = {"tests/test_above.py": PY_ABOVE}
    assert failed_checks(made, {"calc.py": PY_FIXED}, hidden=hidden) == []
    assert failed_checks(made, {"calc.py": PY + "\nMORE = 1\n"}, hidden=hidden) != []


def test_a_plain_command_is_judged_by_its_exit_code(tmp_path: Path, environment: Environment) -> None:
    files = {"Makefile": "check:\n\tgrep -q right answer.txt\n", "answer.txt": "wrong\n"}
    made = gate(tmp_path, environment, "make check", files)
    made.baseline = made.take_baseline()
    named = ["exit code::make check"]
    assert made.baseline.outcomes == {named[0]: "failed"}
    verdict = made.judge({"answer.txt": "right\n"}, named=named)
    assert verdict.accepted, verdict.checks
    [baseline] = [check.evidence for check in verdict.checks if check.name == "baseline"]
    assert "the exit code of the whole command is 2, which is all that is known" in baseline
    assert failed_checks(made, {"answer.txt": "worse\n"}, named=named) != []


def evidence(verdict: Verdict) -> dict[str, str]:
    return {check.name: check.evidence for check in verdict.checks}


@pytest.mark.parametrize(
    ("command", "files", "fixed", "test", "shown"),
    [
        (
            "node --test",
            {"package.json": PACKAGE, "calc.js": JS, "test/calc.test.js": JS_TESTS},
            {"calc.js": JS_FIXED},
            {"test/above.test.js": JS_ABOVE},
            "test/above.test.js::clamp > is above",
        ),
        (
            "go test ./...",
            {"go.mod": "module example.com/calc\n\ngo 1.19\n", "calc/calc.go": GO, "calc/calc_test.go": GO_TESTS},
            {"calc/calc.go": GO_FIXED},
            {"calc/above_test.go": GO_ABOVE},
            "calc/above_test.go::TestAbove",
        ),
        (
            "cargo test",
            {"Cargo.toml": CARGO, "src/lib.rs": RUST},
            {"src/lib.rs": RUST_FIXED},
            {"tests/api.rs": RUST_ABOVE},
            "tests/api.rs::above",
        ),
        (
            "cargo test",
            {"Cargo.toml": CARGO, "src/lib.rs": RUST},
            {},
            {
                "src/lib.rs": RUST_FIXED.replace(
                    "2); }\n}", "2); }\n    #[test]\n    fn above() { assert_eq!(super::clamp(5, 1, 3), 3); }\n}"
                )
            },
            "src/lib.rs::tests::above",
        ),
    ],
    ids=["node", "go", "rust", "rust, inside the product's file"],
)  # fmt: skip
def test_a_fix_with_a_test_of_its_own(
    tmp_path: Path,
    environment: Environment,
    command: str,
    files: dict[str, str],
    fixed: Files,
    test: Files,
    shown: str,
) -> None:
    made = gate(tmp_path, environment, command, files)
    made.baseline = made.take_baseline()
    verdict = made.judge(fixed | test)
    assert verdict.accepted, verdict.checks
    assert verdict.fail_to_pass == (shown,)
    said = evidence(verdict)
    assert said["forgery"] == "2 tests that were made to fail fail"
    assert command.startswith("go") or "mutants of the fix killed" in said["adequate"]
    # The test passes without the fix: it shows nothing.
    if fixed:
        weak = {path: (text or "").replace("5, 1, 3", "3, 1, 3") for path, text in test.items()}
        assert failed_checks(made, fixed | weak)[0].startswith("red: ")
        assert failed_checks(made, fixed)[0].startswith("red: ")


def test_a_runner_that_the_product_patches_is_seen(tmp_path: Path, environment: Environment) -> None:
    files = {"package.json": PACKAGE, "calc.js": JS, "test/calc.test.js": JS_TESTS}
    made = gate(tmp_path, environment, "node --test", files)
    made.baseline = made.take_baseline()
    # Each failure becomes a pass; found by name, so that reading the patch does not tell.
    trick = "const a = require(['as', 'sert'].join(''));\nfor (const k of Object.keys(a)) a[k] = () => {};\n"
    forged = trick + JS + "process.on('exit', () => { process.exitCode = 0; });\n"
    failed = failed_checks(made, {"calc.js": forged}, hidden={"test/above.test.js": JS_ABOVE})
    assert failed, "a patched runner was accepted"


def test_a_plain_command_needs_no_name_for_its_one_test(tmp_path: Path, environment: Environment) -> None:
    files = {"Makefile": "check:\n\tgrep -q right answer.txt && sh tests/more.sh\n", "answer.txt": "wrong\n"}
    made = gate(tmp_path, environment, "make check", files | {"tests/more.sh": "true\n"})
    made.baseline = made.take_baseline()
    verdict = made.judge({"answer.txt": "right\n"})
    assert verdict.accepted, verdict.checks
    assert failed_checks(made, {"answer.txt": "worse\n"}) != []
    assert failed_checks(made, {"Makefile": "check:\n\ttrue\n"}) != []


def test_hidden_tests_of_a_plain_command(tmp_path: Path, environment: Environment) -> None:
    files = {
        "Makefile": "check:\n\tfor f in tests/*.sh; do sh $$f || exit 1; done\n",
        "answer.txt": "wrong\n",
    }
    made = gate(tmp_path, environment, "make check", files | {"tests/a.sh": "test -f answer.txt\n"})
    made.baseline = made.take_baseline()
    hidden: Files = {"tests/b.sh": "grep -q right answer.txt\n"}
    assert failed_checks(made, {"answer.txt": "right\n"}, hidden=hidden) == []
    assert failed_checks(made, {"answer.txt": "worse\n"}, hidden=hidden) != []
