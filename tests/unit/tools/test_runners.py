"""Which runner a command line runs, and the line that it becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.runners import Wanted, find_run, prepared
from tools.scripts import NoScript, resolved
from tools.suite import runner_of, shuffled


@pytest.mark.parametrize(
    ("command", "runner"),
    [
        ("python -m pytest", "pytest"),
        ("make check REPORT={junit}", "junit"),
        ("python -m unittest", "unittest"),
        ("python3.12 -W error -m unittest discover -s tests", "unittest"),
        ("coverage run -m unittest && coverage report", "unittest"),
        ("uv run python -m unittest", "unittest"),
        ("python -m doctest README.md", "doctest"),
        ("nosetests -v", "nose"),
        ("python -m nose2", "nose2"),
        ("node --test test/", "node"),
        ("node --import tsx --test", "node"),
        ("node test.js", "exit code"),
        ("npx jest --ci", "jest"),
        ("NODE_ENV=test cross-env A=1 ./node_modules/.bin/jest", "jest"),
        ("node --experimental-vm-modules node_modules/jest/bin/jest.js", "jest"),
        ("react-scripts test", "jest"),
        ("yarn vitest", "vitest"),
        ("nyc mocha 'test/**/*.js'", "mocha"),
        ("npm test", "script"),
        ("npm t -- --bail", "script"),
        ("npm ci && npm run test:unit", "script"),
        ("yarn test", "script"),
        ("pnpm run test", "script"),
        ("npm run build", "exit code"),
        ("npm install jest", "exit code"),
        ("go test ./...", "go"),
        ("CGO_ENABLED=0 timeout 60 go test -race ./...", "go"),
        ("go vet ./...", "exit code"),
        ("cargo +nightly --locked test --workspace", "cargo"),
        ("cargo test --no-run", "exit code"),
        ("./mvnw -q clean verify", "maven"),
        ("mvn compile", "exit code"),
        ("./gradlew :app:test", "gradle"),
        ("gradle assemble", "exit code"),
        ("make check", "exit code"),
        ("terraform validate", "exit code"),
        ("cat pytest.ini", "exit code"),
        ("pip install pytest", "exit code"),
        ("echo jest", "exit code"),
        ("bash -c 'pytest tests'", "exit code"),
    ],
)
def test_the_runner_of_a_command(command: str, runner: str) -> None:
    assert runner_of(command) == runner


def line(command: str, *ids: str) -> str:
    run = find_run(command)
    assert run is not None
    made = prepared(command, run, "/f", Wanted(ids, Path("/repo")))
    return " ".join(made.replace(str(Path(__file__).parents[3] / "tools"), "TOOLS").split())


NODE = (
    "--test-reporter=spec --test-reporter-destination=stdout --test-reporter=TOOLS/node_reporter.mjs "
    "--test-reporter-destination=/f/node.jsonl"
)
MOCHA = "--reporter=TOOLS/mocha_reporter.cjs --reporter-option=output=/f/mocha.json"
VITEST = "--reporter=default --reporter=json --outputFile.json=/f/vitest.json"
RUST = "--no-fail-fast --message-format=json-render-diagnostics"


@pytest.mark.parametrize(
    ("command", "ids", "expected"),
    [
        ("python -m unittest -v tests", [], "python TOOLS/unittest_report.py /f unittest -v tests"),
        ("node --test", [], f"node {NODE} --test"),
        (
            "node --test --test-reporter tap t/a.js | cat",
            ["t/b c.js"],
            f"node {NODE} --test '/repo/t/b c.js' | cat",
        ),
        ("npx jest --ci src", [], "npx jest --ci src --json --outputFile=/f/jest.json"),
        (
            "npx jest --ci --config c.js src",
            ["a.js::x", "b.js"],
            "npx jest --ci --config c.js --json --outputFile=/f/jest.json --runTestsByPath /repo/a.js /repo/b.js",
        ),
        ("vitest", [], f"vitest --run {VITEST}"),
        ("vitest watch src", ["a.js"], f"vitest run {VITEST} /repo/a.js"),
        ("mocha --recursive -R dot test", ["a.js"], f"mocha --recursive {MOCHA} /repo/a.js"),
        ("mocha -r ts-node/register t/*.ts", ["a.ts"], f"mocha -r ts-node/register {MOCHA} /repo/a.ts"),
        ("go test -v ./... -args -x", [], "go test -json -v ./... -args -x"),
        ("go test -tags it ./...", ["p/a_test.go", "p/b_test.go"], "go test -json -tags it /repo/p"),
        (
            "cd m && go test ./... ; true",
            ["m/p/a_test.go::TestA/sub", "m/p/a_test.go::TestB"],
            "cd m && go test -json '-run=^(TestA|TestB)$' /repo/m/p ; true",
        ),
        ("cargo test -q -- --nocapture", [], f"cargo test {RUST} -- --nocapture"),
        ("cargo test", ["tests/api.rs::a", "c/tests/x/main.rs"], f"cargo test {RUST} --test api --test x"),
        ("cargo test", ["tests/api.rs", "src/lib.rs"], f"cargo test {RUST}"),
        ("mvn -q test", [], "mvn -q test --fail-at-end"),
        (
            "mvn test",
            ["m/src/test/java/com/x/FooTest.java", "src/test/java/com/x/BarTest.java::a(int)[1]"],
            "mvn test --fail-at-end '-Dtest=com.x.FooTest,com.x.BarTest#a' -DfailIfNoTests=false "
            "-Dsurefire.failIfNoSpecifiedTests=false",
        ),
        (
            "./gradlew test -i",
            ["src/test/kotlin/com/x/FooTest.kt::a"],
            "./gradlew cleanTest test --tests com.x.FooTest.a -i --continue",
        ),
        ("gradle test", [], "gradle cleanTest test --continue"),
        (
            "nosetests tests",
            ["t/test_a.py"],
            "nosetests --with-xunit --xunit-file=/f/nose.xml /repo/t/test_a.py",
        ),
    ],
)
def test_the_options_that_a_runner_gets(command: str, ids: list[str], expected: str) -> None:
    assert line(command, *ids) == expected


def test_ids_are_words_and_never_code() -> None:
    assert line("npx mocha", "$(touch x); `y`").endswith(" '/repo/$(touch x); `y`'")


def reader(package: str):
    return lambda path: {"package.json": package, "web/package.json": package}[path]


def test_scripts_are_written_out() -> None:
    package = '{"scripts": {"pretest": "tsc", "test": "npm run test:unit -- --bail", "test:unit": "mocha x"}}'
    made, run = resolved("cd web && npm test -- 'a b'", reader(package))
    assert run is not None
    assert (run.runner, run.folder) == ("mocha", "web")
    assert "tsc && (export PATH=" in made
    assert "mocha x --bail 'a b'" in made
    assert "$PWD/node_modules/.bin:$PWD/../node_modules/.bin:$PATH" in made
    assert runner_of("npm test", reader(package)) == "mocha"


def test_scripts_that_run_no_runner_or_are_not_there() -> None:
    assert resolved("npm test", reader('{"scripts": {"test": "eslint ."}}')) == ("npm test", None)
    assert resolved("npm test", reader('{"scripts": {"test": "npm test"}}')) == ("npm test", None)
    for package in ("", "[]", "{}", '{"scripts": {"test2": "x"}}', '{"scripts": 3}'):
        with pytest.raises(NoScript, match="no script 'test'"):
            resolved("npm test", reader(package))


def test_another_order_of_the_tests() -> None:
    read = reader('{"scripts": {"test": "jest --ci", "lint": "eslint"}}')
    assert shuffled("cd m && go test ./... -args -x", read) == "cd m && go test -shuffle=11 ./... -args -x"
    assert shuffled("npx vitest run", read) == "npx vitest run --sequence.shuffle --sequence.seed=11"
    written_out = shuffled("npm test", read)
    assert written_out is not None
    assert runner_of(written_out) == "jest"
    assert "jest --ci --randomize --seed=11" in " ".join(written_out.split())
    assert [shuffled(command, read) for command in ("cargo test", "make check", "pytest")] == [None] * 3
