"""What counts as an addition to a test file of another language, and what takes tests away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.gate.additive_other import obstacle, taken_away
from agent.gate.source_text import Language
from agent.git import Repository
from tests.unit.gate.test_policy import Change, taken
from tests.unit.git.tools import commit, git

JS = """\
import { parse } from '../src/parse.js';
const cases = [
  ['a=1', { a: '1' }],
];

describe('parse', () => {
  beforeEach(() => { reset(); });

  it('reads', () => {
    expect(parse('a')).toEqual({ a: '' });
  });

  it.each(cases)('reads %s', (text, value) => {
    expect(parse(text)).toEqual(value);
  });
});
"""
JS_TEST = """
  it('keeps the rest', () => {
    const text = 'a=b=c';
    expect(parse(text)).toEqual({ a: 'b=c' });
  });
"""
GO = """\
package a

import (
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct{ in, out string }{
		{"a", "b"},
		{"c", "d"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			if got := Parse(tt.in); got != tt.out {
				t.Errorf("got %q", got)
			}
		})
	}
}

func check(t *testing.T, x string) {
	if x == "" {
		t.Fatal("empty")
	}
}
"""
RUST = """\
mod tests {
    use super::*;

    #[test]
    fn reads() {
        assert_eq!(parse("a"), "b");
    }
}
"""
JAVA = """\
package x;

import static org.junit.jupiter.api.Assertions.assertEquals;
import org.junit.jupiter.api.Test;

class FooTest {
    private final Foo foo = new Foo();

    @Test
    void reads() {
        assertEquals("b", foo.parse("a"));
    }
}
"""


def after(source: str, line: str, new: str) -> str:
    assert source.count(line) == 1, line
    return source.replace(line, line + new)


JS_END = "toEqual({ a: '' });\n  });\n"
ADDED: dict[str, tuple[Language, str, str]] = {
    "test": ("js", JS, after(JS, JS_END, JS_TEST)),
    "test at the end": ("js", JS, JS.removesuffix("});\n") + JS_TEST + "});\n"),
    "group with hooks of its own": (
        "js",
        JS,
        JS
        + "\ndescribe('more', () => {\n  let x;\n  beforeEach(() => { x = 1; });\n  test('x', () => f(x));\n});\n",
    ),
    "statement at a test's end": (
        "js",
        JS,
        after(JS, "{ a: '' });\n", "    expect(parse('')).toEqual({});\n"),
    ),
    "case": ("js", JS, after(JS, "{ a: '1' }],\n", "  ['b=2&c', { b: '2', c: '' }], // why\n")),
    "import and helper": (
        "js",
        JS,
        after(
            JS,
            "parse.js';\n",
            "import { format as show } from '../src/format.js';\nconst twice = (x) => [x, x];\n",
        ),
    ),
    "comment": ("js", JS, after(JS, "];\n", "// why: it('x', () => {\n")),
    "each": (
        "js",
        JS,
        after(JS, JS_END, "\n  it.each([[1], [2]])('n %i', (n) => {\n    expect(n).toBe(n);\n  });\n"),
    ),
    "typed": (
        "js",
        JS,
        JS + "\ninterface Row { a: string }\ntest('typed', async (): Promise<void> => {\n  await f();\n});\n",
    ),
    "go case": ("go", GO, after(GO, '{"c", "d"},\n', '\t\t{"e}", `f\n`},\n')),
    "go case in lines": (
        "go",
        GO,
        after(GO, '{"c", "d"},\n', '\t\t{\n\t\t\tin:  "e",\n\t\t\tout: "f",\n\t\t},\n'),
    ),
    "go test": ("go", GO, GO + '\nfunc TestMore(t *testing.T) {\n\tcheck(t, Parse("x"))\n}\n'),
    "go import": (
        "go",
        GO,
        after(GO, "import (\n", '\t"strings"\n')
        + '\nfunc TestMore(t *testing.T) {\n\tcheck(t, strings.ToUpper("x"))\n}\n',
    ),
    "rust test": (
        "rust",
        RUST,
        after(
            RUST,
            '"b");\n    }\n',
            '\n    #[test]\n    #[should_panic(expected = "x")]\n    fn fails() {\n        parse("");\n    }\n',
        ),
    ),
    "rust module": ("rust", "", "#[cfg(test)]\n" + RUST),
    "rust use": (
        "rust",
        RUST,
        after(RUST, "use super::*;\n", "    use std::collections::{BTreeMap, HashMap as Map};\n"),
    ),
    "java test": (
        "java",
        JAVA,
        after(
            JAVA,
            'foo.parse("a"));\n    }\n',
            '\n    @Test\n    void keeps() throws Exception {\n        assertEquals("c", foo.parse("c"));\n    }\n',
        ),
    ),
    "java import": ("java", JAVA, after(JAVA, "Test;\n", "import java.util.List;\n")),
    "java group": (
        "java",
        JAVA,
        JAVA.removesuffix("}\n")
        + "\n    @Nested\n    class More {\n        @BeforeEach void first() {}\n        @Test void x() {}\n    }\n}\n",
    ),
}
INTRUDES: dict[str, tuple[Language, str, str, str]] = {
    "changed": ("js", JS, JS.replace("{ a: '' }", "{}"), "changed or gone"),
    "gone": ("js", JS, JS.replace("  it('reads'", "  it('writes'"), "changed or gone"),
    "in a comment": (
        "js",
        JS,
        JS.replace("  it('reads'", "  /*\n  it('reads'").replace(JS_END, JS_END + "  */\n"),
        "changed or gone",
    ),
    "in a template": (
        "js",
        JS,
        JS.replace("  it('reads'", "  `\n  it('reads'").replace(JS_END, JS_END + "  `;\n"),
        "changed",
    ),
    "only": ("js", JS, JS + "it.only('x', () => {});\n", "no longer there"),
    "skipped group": (
        "js",
        JS,
        JS + "describe.skip('x', () => {\n  it('y', () => {});\n});\n",
        "switches tests off",
    ),
    "focused": ("js", JS, JS + "fit('x', () => {});\n", "no longer there"),
    "hook": ("js", JS, after(JS, JS_END, "  afterEach(() => { fix(); });\n"), "afterEach acts"),
    "mock": ("js", JS, "jest.mock('../src/parse.js');\n" + JS, "meddles"),
    "mock in a test": ("js", JS, JS + "it('x', () => {\n  vi.mock('../src/parse.js');\n});\n", "meddles"),
    "matchers": ("js", JS, JS + "expect.extend({ toEqual: () => ({ pass: true }) });\n", "meddles"),
    "global": ("js", JS, JS + "it('x', () => {\n  global.fetch = () => 1;\n});\n", "meddles"),
    "run on load": ("js", JS, JS + "parse.x = 1;\n", "runs code"),
    "redefined": ("js", JS, JS + "function parse() { return {}; }\n", "takes the place"),
    "imported over": ("js", JS, "import { x as expect } from './x.js';\n" + JS, "takes the place"),
    "early return": ("js", JS, after(JS, "it('reads', () => {\n", "    return;\n"), "stands in the test"),
    "caught": (
        "js",
        JS,
        JS.replace("    expect(parse('a'))", "    try {\n    expect(parse('a'))").replace(
            JS_END, "toEqual({ a: '' });\n    } catch {}\n  });\n"
        ),
        "no whole statement",
    ),
    "environment": ("js", JS, "/** @jest-environment ./mine.js */\n" + JS, "for whom"),
    "go early return": (
        "go",
        GO,
        GO.replace("\ttests :=", "\treturn\n\ttests :="),
        "in the test",
    ),
    "go skip": ("go", GO, GO.replace("\ttests :=", "\tt.Skip()\n\ttests :="), "no longer there"),
    "go main": ("go", GO, GO + "\nfunc TestMain(m *testing.M) { os.Exit(0) }\n", "meddles"),
    "go main alone": ("go", GO, GO + "\nfunc TestMain(m *testing.M) { m.Run() }\n", "TestMain"),
    "go init": ("go", GO, GO + "\nfunc init() { Parse = nil }\n", "init"),
    "go build tag": ("go", GO, "//go:build never\n\n" + GO, "for whom"),
    "go helper": ("go", GO, GO.replace('\tif x == ""', '\tx = "y"\n\tif x == ""'), "code that tests use"),
    "go shadow": ("go", GO, GO + "\nfunc Parse(s string) string { return s }\n", "takes the place"),
    "go case computed": (
        "go",
        GO,
        after(GO, '{"c", "d"},\n', '\t\t{func() string { x = 1; return "" }(), "d"},\n'),
        "in the test",
    ),
    "go import over": ("go", GO, after(GO, "import (\n", '\tParse "strings"\n'), "import Parse"),
    "go dot import": ("go", GO, after(GO, "import (\n", '\t. "x/y"\n'), "import ."),
    "rust ignored": ("rust", RUST, RUST.replace("#[test]\n", "#[test]\n    #[ignore]\n"), "no longer there"),
    "rust macro": ("rust", RUST, "macro_rules! assert_eq { ($($x:tt)*) => {} }\n" + RUST, "meddles"),
    "rust attribute": ("rust", RUST, "#![cfg(never)]\n" + RUST, "switches tests off"),
    "rust use over": ("rust", RUST, after(RUST, "super::*;\n", "    use x::parse;\n"), "takes the place"),
    "rust glob": ("rust", RUST, after(RUST, "super::*;\n", "    use x::*;\n"), "cannot be seen"),
    "java disabled": ("java", JAVA, JAVA.replace("@Test\n", "@Test\n    @Disabled\n"), "no longer there"),
    "java hook": (
        "java",
        JAVA,
        after(JAVA, "new Foo();\n", "    @BeforeEach void first() { foo.x = 1; }\n"),
        "BeforeEach",
    ),
    "java static": ("java", JAVA, after(JAVA, "new Foo();\n", "    static { Foo.x = 1; }\n"), "static"),
    "java instance": ("java", JAVA, after(JAVA, "new Foo();\n", "    { foo.x = 1; }\n"), "runs code"),
    "java overload": (
        "java",
        JAVA,
        after(JAVA, "new Foo();\n", "    void assertEquals(Object a, Object b) {}\n"),
        "takes the place",
    ),
    "java import over": ("java", JAVA, after(JAVA, "Test;\n", "import y.Foo;\n"), "takes the place"),
}


@pytest.mark.parametrize("name", ADDED)
def test_additions(name: str) -> None:
    lang, base, new = ADDED[name]
    assert obstacle(base, new, lang) is None


@pytest.mark.parametrize("name", INTRUDES)
def test_more_than_additions(name: str) -> None:
    lang, base, new, reason = INTRUDES[name]
    assert reason in (obstacle(base, new, lang) or "nothing")


def test_taken_away() -> None:
    assert taken_away(JS, JS + JS_TEST, "js") == {}
    assert taken_away(JS, JS.replace("it('reads'", "it('writes'"), "js") == {
        "parse > reads": "is deleted or renamed"
    }
    assert taken_away(JS, JS.replace("it('reads'", "xit('reads'"), "js") == {
        "parse > reads": "gets a skip mark"
    }
    assert set(taken_away(JS, JS.replace("it('reads'", "it.only('reads'"), "js")) == {
        "parse > reads",
        "parse > reads %s",
    }
    assert taken_away(GO, "package a\n", "go") == {"TestParse": "is deleted or renamed"}
    assert taken_away(RUST, RUST.replace("#[test]", '#[test]\n #[ignore = "slow"]'), "rust") == {
        "tests::reads": "gets a skip mark"
    }
    assert taken_away(JAVA, JAVA.replace("class FooTest", "@Disabled class FooTest"), "java") == {
        "reads": "gets a skip mark"
    }


PRODUCT = "pub fn parse(x: &str) -> &str {\n    x\n}\n\n#[cfg(test)]\n"
BASE = {
    "src/parse.rs": (PRODUCT + RUST).encode(),
    "src/plain.rs": b"pub fn one() -> u8 { 1 }\n",
    "test/a.test.js": JS.encode(),
    "src/a.js": b"export const a = () => 1; // one\n",
    "a.go": b"package a\n",
    "a_test.go": GO.encode(),
}
FIX: Change = {"src/a.js": b"export const a = () => 2; // one\n"}
RUST_TEST = '\n    #[test]\n    fn keeps() {\n        assert_eq!(parse("c"), "c");\n    }\n'
MORE = RUST.replace('"b");\n    }\n', '"b");\n    }\n' + RUST_TEST)


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    git(tmp_path, "init", "-q")
    commit(tmp_path, BASE)
    with Repository(tmp_path) as repository:
        yield repository


def test_additions_are_the_patchs_own_tests(repository: Repository) -> None:
    change: Change = {
        "test/a.test.js": ADDED["test"][2].encode(),
        "a_test.go": ADDED["go case"][2].encode(),
        "src/parse.rs": (PRODUCT + MORE).encode(),
    }
    intake = taken(repository, {**FIX, **change})
    assert (set(intake.additive), intake.product, intake.lost) == (set(change), ("src/a.js",), ())
    assert not intake.set_aside and not intake.inside


def test_changes_are_set_aside(repository: Repository) -> None:
    change: Change = {
        "test/a.test.js": INTRUDES["early return"][2].encode(),
        "a_test.go": ("100755", ADDED["go case"][2].encode()),
        "src/parse.rs": (PRODUCT + RUST.replace('"b")', '"a")')).encode(),
    }
    intake = taken(repository, {**FIX, **change})
    assert (set(intake.set_aside), intake.product, dict(intake.additive)) == (set(change), ("src/a.js",), {})


def test_rust_files_that_change_in_both_parts(repository: Repository) -> None:
    fixed = PRODUCT.replace("    x\n", "    x.trim()\n")
    intake = taken(repository, {"src/parse.rs": (fixed + MORE).encode()})
    assert (intake.product, dict(intake.inside), intake.lost) == (("src/parse.rs",), {"src/parse.rs": ""}, ())
    intake = taken(repository, {"src/parse.rs": (fixed + RUST.replace('"b")', '"a")')).encode()})
    assert intake.inside == {"src/parse.rs": "lines of the base are changed or gone"}
    intake = taken(repository, {"src/parse.rs": (fixed + RUST).encode()})
    assert (intake.product, dict(intake.inside)) == (("src/parse.rs",), {})
    intake = taken(repository, {"src/plain.rs": b"pub fn one() -> u8 { 2 }\n"})
    assert (intake.product, dict(intake.inside)) == (("src/plain.rs",), {})


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"src/parse.rs": PRODUCT.replace("#[cfg(test)]\n", "").encode()},
            "src/parse.rs::tests::reads is deleted",
        ),
        ({"src/parse.rs": None}, "src/parse.rs is deleted"),
        (
            {"src/parse.rs": (PRODUCT + RUST).replace("#[test]", "#[test] #[ignore]").encode()},
            "src/parse.rs::tests::reads gets a skip mark",
        ),
        (
            {"test/a.test.js": JS.replace("'reads'", "'writes'").encode()},
            "::parse > reads is deleted or renamed",
        ),
        ({"a_test.go": None}, "a_test.go is deleted or renamed"),
        ({"a_test.go": GO.replace("TestParse", "TestOther").encode()}, "a_test.go::TestParse is deleted"),
    ],
)
def test_tests_taken_away(repository: Repository, change: Change, line: str) -> None:
    (lost,) = taken(repository, {**FIX, **change}).lost
    assert line in lost


def test_comments_alone_mend_nothing(repository: Repository) -> None:
    (refusal,) = taken(repository, {"src/a.js": b"/* why */\nexport const a = () => 1;\n"}).refused
    assert "nothing but comments" in refusal
    assert not taken(repository, {"src/a.js": b"export const a = () => 1; // one\nf(`// two`)\n"}).refused
    assert not taken(repository, {"a.go": b"//go:build linux\n\npackage a\n"}).refused
