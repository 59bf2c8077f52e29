"""Poisoned tests of other languages: run by the real tools where they are installed, else compared as text."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.gate.found_tests import found_tests
from agent.gate.poison import poisoned_file
from agent.gate.poison_other import poisoned_text

WORD = "w0rd"
JS = r"""
const { test, describe, it } = require('node:test');
const assert = require('node:assert');

// test('in a comment', () => {});
const text = "test('in a string', () => { x";
const template = `it('in a template', () => { ${[1].map((x) => { return `}${x}` })}`;
const regex = /test\('in a regex', \(\) => {/;

test('plain', () => {
  assert.equal(1, 1);
});

test("it's (really) {odd} [\"1\"]", async (t) => {
  await new Promise((resolve) => setTimeout(resolve, 1)); // }
  return;
});

test('one expression', () => assert.ok(true));
test('awaited expression', async () => await Promise.resolve({ a: '}' }));
test('with options', { timeout: 1000 }, function named(t) {
  assert.throws(() => { throw new Error('x') }, /x/);
})
test('with done', (t, done) => { done(); });
test.skip('skipped', () => {});
test('skipped by options', { skip: true }, () => {});

describe('group', () => {
  describe('deeper', function () {
    it('inside', () => { assert.ok(text && template && regex); });
  });
  it('same', () => {});
});
describe('other', () => { it('same', () => {}); });

for (const n of [1, 2]) {
  test(`computed ${n}`, () => { assert.ok(n); });
}
const helper = () => {};
test('by reference', helper);
test('left alone', () => { assert.ok(true); });
"""
NAMES = {
    *("plain", 'it\'s (really) {odd} ["1"]', "one expression", "awaited expression", "with options"),
    *("with done", "group > deeper > inside", "group > same", "other > same", "computed 1", "computed 2"),
}


def test_javascript(tmp_path: Path) -> None:
    asked = {*NAMES, "by reference", "skipped", "skipped by options", "absent", "in a string", "in a regex"}
    source, found = poisoned_file("test/a.test.js", JS, asked, WORD)
    assert found == NAMES
    assert source.count(f'throw new Error("{WORD}")') == len(NAMES) - 1  # two of them are one in the source
    node = shutil.which("node")
    if not node:
        pytest.skip("needs node")
    (tmp_path / "a.test.js").write_text(source)
    done = subprocess.run(
        [node, "--test", "--test-reporter=tap", "a.test.js"], capture_output=True, text=True, cwd=tmp_path
    )
    passed = set(re.findall(r"^ *ok \d+ - (.*?)(?: #.*)?$", done.stdout, re.M))
    assert passed == {"by reference", "skipped", "skipped by options", "left alone"}, done.stdout
    assert len(re.findall(rf"^ *error: '{WORD}'", done.stdout, re.M)) == len(NAMES), done.stdout


@pytest.mark.parametrize(
    ("source", "poisoned"),
    [
        (
            "it('a', async (): Promise<void> => { await f(); });",
            "it('a', async (): Promise<void> => { try { await f(); } finally { throw new Error(\"w0rd\"); } });",
        ),
        (
            "it('a', function (this: Ctx) { f<T>(); });",
            "it('a', function (this: Ctx) { try { f<T>(); } finally { throw new Error(\"w0rd\"); } });",
        ),
        (
            "it.only('a', done => f(done));",
            "it.only('a', done => { try { return (f(done)); } finally { throw new Error(\"w0rd\"); } });",
        ),
        (
            "test.each([[1, 2]])('a', (x, y) => { f(x); }, 500);",
            "test.each([[1, 2]])('a', (x, y) => { try { f(x); } finally { throw new Error(\"w0rd\"); } }, 500);",
        ),
        (
            "test.each`x|y\n${1}|${2}`('a', ({x}) => { f(x); });",
            "test.each`x|y\n${1}|${2}`('a', ({x}) => { try { f(x); } finally { throw new Error(\"w0rd\"); } });",
        ),
    ],
)
def test_forms_of_javascript(source: str, poisoned: str) -> None:
    assert poisoned_text(source, "js", {"a"}, WORD) == (poisoned, {"a"})


@pytest.mark.parametrize(
    "source",
    [
        "it('a', () => { f();",
        "xit('a', () => {});",
        "it.todo('a');",
        "describe.skip('g', () => { it('a', () => {}); });",
        "obj.test('a', () => {});",
        "it('a', wrap(() => {}));",
        "it(name, () => {});",
        "test.failing('a', () => {});",
        "/* it('a', () => {}); */",
    ],
)
def test_what_cannot_be_made_to_fail_in_javascript(source: str) -> None:
    assert poisoned_text(source, "js", {"a", "g > a"}, WORD) == (source, frozenset())


GO = """package a

import "testing"

// func TestComment(t *testing.T) {
const text = `
func TestRaw(t *testing.T) {
`

func TestPlain(t *testing.T) {
	if got := f("}"); got != '{' {
		t.Fatal(got)
	}
}

func TestTable(tt *testing.T) {
	for _, c := range cases {
		tt.Run(c.name, func(t *testing.T) {
			t.Parallel()
		})
	}
}

func TestSub(t *testing.T) {
	t.Run("one two", func(t *testing.T) { f("") })
	t.Run("helper", helper)
}

func TestSkipped(t *testing.T) {
	t.Skip("why")
}

func TestMain(m *testing.M) { os.Exit(m.Run()) }
func helper(t *testing.T) {}
"""


def test_go() -> None:
    asked = {"TestPlain", "TestTable", "TestTable/a/b", "TestTable/x#01", "TestSub/one_two", "TestSkipped"}
    source, found = poisoned_file("a/a_test.go", GO, {*asked, "TestRaw", "TestComment", "TestMain"}, WORD)
    assert found == asked - {"TestSkipped"}
    assert source == GO.replace(
        "func TestPlain(t *testing.T) {", 'func TestPlain(t *testing.T) { defer t.Error("w0rd");'
    ).replace(
        "func TestTable(tt *testing.T) {", 'func TestTable(tt *testing.T) { defer tt.Error("w0rd");'
    ).replace("c.name, func(t *testing.T) {", 'c.name, func(t *testing.T) { defer t.Error("w0rd");').replace(
        "func TestSub(t *testing.T) {", 'func TestSub(t *testing.T) { defer t.Error("w0rd");'
    ).replace('two", func(t *testing.T) {', 'two", func(t *testing.T) { defer t.Error("w0rd");')


RUST = r"""
pub fn double(x: i32) -> i32 { x * 2 }
// #[test] fn comment() {}
const TEXT: &str = "#[test] fn string() {";
const RAW: &str = r#"#[test] fn raw() { " "#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain() {
        assert_eq!(double(2), 4, "{}", '}');
    }

    #[test]
    #[allow(clippy::all)]
    // why
    fn early<'a>() {
        let text: &'a str = TEXT;
        if text.len() > 1 { return; }
        panic!("never");
    }

    #[test]
    fn result() -> Result<(), Box<dyn std::error::Error>> {
        let x: i32 = "4".parse()?;
        assert_eq!(double(x), 8);
        Ok(())
    }

    mod deep {
        #[test]
        pub(crate) fn panics() { panic!("as it always did"); }
    }

    #[test]
    #[should_panic]
    fn should() { panic!(); }

    #[test]
    #[ignore]
    fn ignored() {}

    #[test]
    fn left_alone() { assert!(!RAW.is_empty()); }
    fn helper() {}
}
"""


def test_rust(tmp_path: Path) -> None:
    names = {"tests::plain", "tests::early", "tests::result", "tests::deep::panics"}
    asked = {*names, "tests::should", "tests::ignored", "tests::helper", "comment", "string", "raw"}
    source, found = poisoned_file("src/a.rs", RUST, asked, WORD)
    assert found == names
    if not (rustc := shutil.which("rustc")):
        pytest.skip("needs rustc")
    (tmp_path / "a.rs").write_text(source)
    subprocess.run([rustc, "--test", "--edition=2021", "a.rs"], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run([str(tmp_path / "a")], capture_output=True, text=True)
    assert set(re.findall(r"^test (\S+)(?: - should panic)? \.\.\. ok", done.stdout, re.M)) == {
        "tests::should",
        "tests::left_alone",
    }, done.stdout
    assert len(re.findall(rf"panicked at .*\n{WORD}$", done.stdout, re.M)) == 4, done.stdout


def test_asynchronous_rust() -> None:
    source = (
        '#[tokio::test(flavor = "multi_thread")]\nasync fn a() -> anyhow::Result<()> { f().await?; Ok(()) }\n'
    )
    text, found = poisoned_text(source, "rust", {"a"}, WORD)
    assert found == {"a"}
    assert (
        "{ let _: anyhow::Result<()> = async move { f().await?; Ok(()) }.await; "
        'panic!("{}", "w0rd"); }' in text
    )


JAVA = """package x;

import java.util.*;

/* @Test void comment() {} */
class FooTest extends Base {
    String text = "@Test void string() {";
    String block = \"\"\"
        @Test void block() { "
        \"\"\";

    @Test
    public void plain() throws Exception {
        assertEquals('{', text.charAt(0));
    }

    @Test(expected = IllegalStateException.class)
    // why
    public void expected() { throw new IllegalStateException("}"); }

    @ParameterizedTest
    @CsvSource({"1,2", "(3,4)"})
    void each(int a, @Foo("x") int b) {
        if (a > b) { return; }
    }

    @Disabled @Test void disabled() {}

    @Nested
    class Inner {
        @Test void deep() { Runnable r = () -> { }; }
    }

    @Test void alone() { }
    void helper() {}
}
"""


def test_java(tmp_path: Path) -> None:
    asked = {
        "plain",
        "expected()",
        "each(int, int)[1]",
        "Inner::deep",
        "disabled",
        "helper",
        "string",
        "block",
    }
    source, found = poisoned_file("src/test/java/x/FooTest.java", JAVA, asked, WORD)
    assert found == {"plain", "expected()", "each(int, int)[1]", "Inner::deep"}
    assert source.count('} finally { if (true) throw new AssertionError("w0rd"); } }') == 4
    if not (javac := shutil.which("javac")):
        pytest.skip("needs javac")
    stubs = "class Base { static void assertEquals(char a, char b) {} }\n" + "".join(
        f"@interface {name} {{ {body} }}\n"
        for name, body in {
            "Test": "Class<?> expected() default Object.class;",
            "CsvSource": "String[] value();",
            "Foo": "String value();",
            **dict.fromkeys(("ParameterizedTest", "Disabled", "Nested"), ""),
        }.items()
    )
    (tmp_path / "FooTest.java").write_text(source)
    (tmp_path / "Stubs.java").write_text("package x;\n" + stubs)
    done = subprocess.run(
        [javac, "-d", ".", "FooTest.java", "Stubs.java"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_names_in_files() -> None:
    assert [test.name for test in found_tests(JS, "js")][:2] == ["plain", 'it\'s (really) {odd} ["1"]']
    assert [test.name for test in found_tests(GO, "go")] == [
        *("TestPlain", "TestTable", "TestSub", "TestSub/one_two", "TestSkipped"),
    ]
    assert [test.name for test in found_tests(JAVA, "java") if test.skipped] == ["disabled"]
    assert [test.name for test in found_tests(RUST, "rust") if test.skipped] == ["tests::ignored"]


def test_other_files_are_left_alone() -> None:
    assert poisoned_file("a.rb", "x", {"x"}, WORD) == ("x", frozenset())
    assert poisoned_file("a.py", "def test_x(): pass\n", {"test_x"}, WORD)[1] == {"test_x"}
