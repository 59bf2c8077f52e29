"""Tests and settings of other runners than pytest: what a path is, and which change is one of the runner's."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.gate.ecosystems import settings, start_up_files
from agent.gate.paths import Paths, is_mixed, refusal, runner_settings
from agent.git import Repository
from tests.unit.gate.test_policy import Change, taken
from tests.unit.git.tools import commit, git


@pytest.mark.parametrize(
    ("path", "kind", "module"),
    [
        ("src/a.test.js", "test", True),
        ("src/a.spec.tsx", "test", True),
        ("src/a.test.mts", "test", True),
        ("src/__tests__/a.js", "test", True),
        ("src/__tests__/helpers/a.js", "test", False),
        ("src/__mocks__/fs.js", "test", False),
        ("src/__snapshots__/a.test.js.snap", "test", False),
        ("test/plain.js", "product", False),  # files of this package are named as tests
        ("src/contest.js", "product", False),
        ("src/latest.ts", "product", False),
        ("src/test-utils.js", "product", False),
        ("src/a.test.json", "product", False),
        ("pkg/a_test.go", "test", True),
        ("pkg/testdata/in.txt", "test", False),
        ("pkg/out.golden", "test", False),
        ("pkg/a.go", "product", False),
        ("tests/cli.rs", "test", True),
        ("crates/a/tests/cli.rs", "test", True),
        ("tests/cli/main.rs", "test", True),
        ("tests/common/mod.rs", "test", False),
        ("src/parser/tests.rs", "test", True),
        ("src/latest.rs", "product", False),
        ("src/a.rs", "product", False),
        ("src/test/java/x/FooTest.java", "test", True),
        ("src/test/java/x/FooIT.java", "test", True),
        ("src/test/java/x/TestFoo.java", "test", True),
        ("src/test/java/x/Fixtures.java", "test", False),
        ("src/test/resources/x.json", "test", False),
        ("src/main/java/x/AbTest.java", "product", False),
        ("src/main/java/x/Latest.java", "product", False),
        ("src/main/java/x/Testing.java", "product", False),
        ("jest.config.ts", "config", False),
        ("packages/a/vitest.config.mts", "config", False),
        (".mocharc.json", "config", False),
        (".npmrc", "config", False),
        ("karma.conf.js", "config", False),
        (".cargo/config.toml", "config", False),
        (".config/nextest.toml", "config", False),
        ("go.work", "config", False),
        (".mvn/maven.config", "config", False),
        ("scripts/first.js", "config", False),
        ("babel.config.js", "product", False),
        ("go.mod", "product", False),
        ("src/config.toml", "product", False),
        ("node_modules/jest/index.js", "control", False),
        ("gradle/wrapper/gradle-wrapper.jar", "control", False),
        ("src/__tests__/node_modules/x/index.js", "test", True),
    ],
)
def test_kinds_of_paths(path: str, kind: str, module: bool) -> None:
    paths = Paths(["package.json", "a.test.js", "src/a.rs"], start_up=["scripts/first.js"])
    assert (paths.kind(path), paths.is_module(path)) == (kind, module)


@pytest.mark.parametrize(
    ("path", "kind", "module"),
    [
        ("test/plain.js", "test", True),
        ("test/utils.js", "test", True),
        ("test/deep/plain.ts", "test", True),
        ("test/support/env.js", "test", False),
        ("test/fixtures/a.js", "test", False),
        ("test/helpers.js", "test", False),
        ("test/types.d.ts", "test", False),
        ("test/data.json", "test", False),
        ("test.js", "test", True),
        ("lib/parse-test.js", "test", True),
        ("lib/parse.js", "product", False),
    ],
)
def test_kinds_of_paths_where_the_folder_tells(path: str, kind: str, module: bool) -> None:
    paths = Paths(["package.json", "test/old.js", "lib/parse.js"])
    assert (paths.kind(path), paths.is_module(path)) == (kind, module)


PACKAGE = """{
  "name": "x", "version": "1.0.0",
  "exports": {"require": "./lib/a.cjs"},
  "scripts": {"build": "tsc", "test": "npm run lint && npm run unit", "unit": "mocha -r ./scripts/first.js",
  "lint": "eslint ."},
  "jest": {"setupFiles": ["<rootDir>/scripts/env"]},
  "dependencies": {"a": "^1"}
}"""
CARGO = """[package]
name = "x"
edition = "2021"

[lib]
name = "x"

[[test]]
name = "cli"

[profile.release]
lto = true
"""
POM = """<project>
  <properties><java.version>17</java.version></properties>
  <build><plugins>
    <plugin><artifactId>maven-compiler-plugin</artifactId></plugin>
    <plugin><artifactId>maven-surefire-plugin</artifactId><version>3.0.0</version></plugin>
  </plugins></build>
</project>"""
GRADLE = """plugins { id 'java' }
dependencies {
    implementation 'a:b:1'
    testImplementation 'junit:junit:4.13'
}
test {
    useJUnitPlatform()
    filter { includeTestsMatching "*" }
}
"""
VITE = "export default defineConfig({\n  plugins: [vue()],\n  test: { globals: true /* why */ },\n})\n"
CASES = [
    ("package.json", PACKAGE, '"^1"', '"^2"', True),
    ("package.json", PACKAGE, '"tsc"', '"tsc -b"', True),
    ("package.json", PACKAGE, "a.cjs", "b.cjs", True),
    ("package.json", PACKAGE, "npm run unit", "npm run unit || true", False),
    ("package.json", PACKAGE, "first.js", "second.js", False),
    ("package.json", PACKAGE, '"eslint ."}', '"eslint .", "pretest": "rm -r test"}', False),
    ("package.json", PACKAGE, "setupFiles", "setupFilesAfterEnv", False),
    ("package.json", PACKAGE, '"version"', '"ava": {"files": []}, "version"', False),
    ("Cargo.toml", CARGO, "2021", "2024", True),
    ("Cargo.toml", CARGO, "lto = true", "lto = false", True),
    ("Cargo.toml", CARGO, '"cli"', '"cli"\nharness = false', False),
    ("Cargo.toml", CARGO, '[lib]\nname = "x"', '[lib]\nname = "x"\ntest = false', False),
    ("Cargo.toml", CARGO, "[profile.release]", "[profile.test]\npanic = 'abort'\n[profile.release]", False),
    ("Cargo.toml", CARGO, 'name = "x"\n', 'name = "x"\nautotests = false\n', False),
    ("pom.xml", POM, ">17<", ">21<", True),
    ("pom.xml", POM, "3.0.0", "3.0.1", False),
    ("pom.xml", POM, "</properties>", "<skipTests>true</skipTests></properties>", False),
    ("pom.xml", POM, "</properties>", "<!-- <skipTests>true</skipTests> --></properties>", True),
    ("build.gradle", GRADLE, "a:b:1", "a:b:2", True),
    ("build.gradle", GRADLE, '"*"', '"Foo"', False),
    ("build.gradle.kts", GRADLE, "test {", "tasks.test {\n ignoreFailures = true", False),
    ("build.gradle", GRADLE, "plugins", "tasks.withType(Test) { enabled = false }\nplugins", False),
    ("build.gradle", GRADLE, "plugins", "// test { }\nplugins", True),
    ("vite.config.ts", VITE, "vue()", "react()", True),
    ("vite.config.ts", VITE, "why", "because", True),
    ("vite.config.ts", VITE, "globals: true", "globals: true, include: ['x']", False),
]


@pytest.mark.parametrize(("path", "source", "old", "new", "same"), CASES)
def test_whose_settings_change(path: str, source: str, old: str, new: str, same: bool) -> None:
    changed = source.replace(old, new)
    assert is_mixed(f"sub/{path}")
    assert changed != source
    assert (runner_settings(path, source.encode()) == runner_settings(path, changed.encode())) is same


@pytest.mark.parametrize("path", ["package.json", "Cargo.toml"])
def test_broken_settings(path: str) -> None:
    with pytest.raises(ValueError):
        settings(path, b'{"a": ')
    settings(path, b"")


def test_files_loaded_before_the_tests() -> None:
    base = {
        "scripts/first.js",
        "scripts/env.js",
        "lib/a.cjs",
        "package.json",
        "test/hooks.mjs",
        "web/setup.ts",
    }
    assert start_up_files("package.json", PACKAGE.encode(), base) == {"scripts/first.js", "scripts/env.js"}
    mocha = b'{"require": ["ts-node/register", "./test/hooks.mjs"], "spec": "lib/a.cjs"}'
    assert start_up_files(".mocharc.json", mocha, base) == {"test/hooks.mjs"}
    assert start_up_files(".npmrc", b"node-options=--require ./scripts/first.js\n", base) == {
        "scripts/first.js"
    }
    vitest = b"export default { test: { setupFiles: './setup', globalSetup: ['./setup.ts'] } }"
    assert start_up_files("web/vitest.config.ts", vitest, base) == {"web/setup.ts"}
    assert start_up_files("package.json", b"{", base) == set()


def test_only_a_config_of_a_kind_is_refused() -> None:
    assert refusal("node_modules/a/b.js") and refusal("a/b.jar")
    assert refusal("test/fixtures/a.js") is None


NODE = {
    "package.json": PACKAGE.encode(),
    "lib/a.cjs": b"exports.f = () => 1\n",
    "scripts/first.js": b"globalThis.x = 1\n",
    "scripts/env.js": b"process.env.TZ = 'UTC'\n",
    "test/a.test.js": b"test('a', () => { expect(f()).toBe(1) })\n",
}
FIX: Change = {"lib/a.cjs": b"exports.f = () => 2\n"}


@pytest.mark.parametrize(
    "change",
    [
        {"package.json": PACKAGE.replace("mocha", "true; mocha").encode()},
        {"package.json": None},
        {"scripts/first.js": b"globalThis.expect = 1\n"},
        {"scripts/env.js": None},
        {"jest.config.js": b"module.exports = {}\n"},
        {".npmrc": b"node-options=--require ./lib/x.js\n"},
        {"test/__snapshots__/a.test.js.snap": b"x"},
    ],
    ids=lambda change: ",".join(change),
)
def test_a_change_of_the_runners_settings_is_set_aside(tmp_path: Path, change: Change) -> None:
    git(tmp_path, "init", "-q")
    commit(tmp_path, {**NODE, "test/__snapshots__/a.test.js.snap": b"y"})
    with Repository(tmp_path) as repository:
        intake = taken(repository, {**FIX, **change})
    assert (intake.refused, intake.product, set(intake.set_aside)) == ((), ("lib/a.cjs",), set(change))


def test_a_change_of_the_products_settings_is_the_products(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    commit(tmp_path, NODE)
    with Repository(tmp_path) as repository:
        change: Change = {"package.json": PACKAGE.replace("^1", "^2").encode(), "scripts/new.js": b"1\n"}
        intake = taken(repository, {**FIX, **change, "test/b.test.js": b"test('b', () => {})\n"})
    assert intake.product == ("lib/a.cjs", "package.json", "scripts/new.js")
    assert (set(intake.additive), dict(intake.set_aside), intake.refused) == ({"test/b.test.js"}, {}, ())
