"""Mutants of other languages stand on changed lines, differ in what counts, and compile."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.gate.mutants import Mutant, mutants
from agent.gate.mutants_text import text_mutants


def of(path: str, before: str | None, after: str, limit: int = 100) -> list[Mutant]:
    return text_mutants({path: (before, after)}, limit)


def lines_of(path: str, line: str, around: str = "{\n%s\n}\n") -> list[str]:
    """The changed line in all its mutants."""
    before, after = around % "old", around % line
    found = []
    for mutant in of(path, before, after):
        ours, theirs = after.splitlines(), mutant.source.splitlines()
        assert len(ours) == len(theirs)
        found += [new for old, new in zip(ours, theirs, strict=True) if old != new]
    return found


@pytest.mark.parametrize(
    ("path", "line", "expected"),
    [
        ("a.js", "if (a >= b) {", ["if (a < b) {", "if (a > b) {"]),
        ("a.js", "if (a === b && c) {", ["if (a !== b && c) {", "if (a === b || c) {"]),
        ("a.js", "if (a.ready(b)) c()", ["if (!(a.ready(b))) c()"]),
        ("a.js", "if (!a) {", ["if (a) {"]),
        ("a.ts", "const x = a.length - 1;", ["const x = a.length + 1;", "const x = a.length - 2;"]),
        ("a.js", "return a + b;", ["return undefined;", "return a - b;"]),
        ("a.ts", "return f(a);", ["return undefined as any;"]),
        ("a.js", "const ok = true", ["const ok = false"]),
        ("a.js", "this.cache.clear();", [";"]),
        ("a.js", "a.b = c;", [";"]),
        ("a.js", "return a.split('&');", ["return undefined;", "return a.split('');"]),
        ("a.js", "f(`${a && b}`)", [";", "f(`${a || b}`)"]),
        ("a.go", "if n < 0 {", ["if n >= 0 {", "if n <= 0 {", "if n < 1 {"]),
        ("a.go", "if _, ok := m[k]; ok {", ["if _, ok := m[k]; !(ok) {"]),
        ("a.go", "return x, err", ["return x, nil"]),
        ("a.go", "\tb.Reset()", ["\t"]),
        (
            "a.rs",
            "if a <= b || !c {",
            ["if a > b || !c {", "if a < b || !c {", "if a <= b && !c {", "if a <= b || c {"],
        ),
        ("a.rs", "    Some(x)", ["    None"]),
        ("a.rs", "if x.is_empty() {", ["if !(x.is_empty()) {"]),
        ("a.rs", "let y = x + 1;", ["let y = x - 1;", "let y = x + 2;"]),
        (
            "A.java",
            "if (a != null && a.ok()) {",
            ["if (a == null && a.ok()) {", "if (a != null || a.ok()) {"],
        ),
        ("A.java", "list.clear();", [";"]),
        ("A.java", 'return x.split("-");', ['return x.split("");']),
    ],
)
def test_kinds(path: str, line: str, expected: list[str]) -> None:
    found = lines_of(path, line)
    missing = [one for one in expected if one not in found]
    assert not missing, found


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a.js", "// if (a < 1) return true"),
        ("a.js", "import { a } from './b.js'"),
        ("a.js", "const a = require('./b')"),
        ("a.js", "console.log(a < b, 1)"),
        ("a.js", "logger.debug('a ' + 1)"),
        ("a.ts", "type A = B<1> | 'x'"),
        ("a.ts", "  @Input({ required: true })"),
        ("a.js", "throw new TypeError('not so: ' + a)"),
        ("a.js", "const f = (a) => a"),
        ("a.js", "case 1:"),
        ("a.go", 'import "fmt"'),
        ("a.go", 'log.Printf("x", a == 1)'),
        ("a.go", "x := [4]byte{}"),
        ("a.go", "s := a + b"),
        ("a.go", 'return fmt.Errorf("no %s", x)'),
        ("a.rs", "use a::b;"),
        ("a.rs", "#[derive(A)]"),
        ("a.rs", "let f = || x;"),
        ("a.rs", "if let Some(x) = y {"),
        ("a.rs", "fn f<T: A>(x: Vec<T>) -> [u8; 4] {"),
        ("a.rs", 'info!("{}", a == b);'),
        ("A.java", "@Size(max = 1)"),
        ("A.java", "String s = a + b;"),
        ("A.java", "Map<String, List<A>> x = y;"),
        ("A.java", "import a.b;"),
    ],
)
def test_what_is_left_alone(path: str, line: str) -> None:
    assert lines_of(path, line) == []


def test_a_change_is_taken_back_alone() -> None:
    before = "function f(a) {\n  if (a) b();\n  x();\n  return a;\n}\n"
    after = "function f(a) {\n  if (a > 0) b();\n  x();\n  return -a;\n}\n"
    undone = [mutant for mutant in of("a.js", before, after) if mutant.undoes]
    assert {mutant.source for mutant in undone} == {
        before.replace("return a", "return -a"),
        before.replace("if (a)", "if (a > 0)"),
    }
    # The only change taken back is the base, and that was run already.
    assert not [m for m in of("a.js", before, before.replace("if (a)", "if (a > 0)")) if m.undoes]


def test_a_declaration_is_not_taken_back_from_under_its_use() -> None:
    before = "function f(a) {\n  x();\n  return a;\n}\n"
    after = "function f(a) {\n  const most = Math.max(a, 3);\n  x();\n  return most;\n}\n"
    undone = [mutant.source for mutant in of("a.js", before, after) if mutant.undoes]
    assert undone == [after.replace("return most", "return a")]


def test_go_mutants_use_what_they_declare() -> None:
    before = 'package a\n\nimport "fmt"\n\nfunc f(s string) string {\n\treturn fmt.Sprint(s)\n}\n'
    after = (
        'package a\n\nimport (\n\t"fmt"\n\t"strings"\n)\n\nfunc f(s string) string {\n'
        "\tt := strings.TrimSpace(s)\n\tif t == s {\n\t\treturn t\n\t}\n\treturn fmt.Sprint(s)\n}\n"
    )
    found = of("a.go", before, after)
    assert found
    assert all("strings.Trim" in mutant.source for mutant in found)
    assert any("t != s" in mutant.source for mutant in found)


def test_rust_tests_in_product_files_are_left_alone() -> None:
    before = "pub fn f(x: i32) -> bool { x > 1 }\n\n#[cfg(test)]\nmod tests {\n}\n"
    after = before.replace("x > 1", "x > 2").replace(
        "mod tests {\n",
        "mod tests {\n    #[test]\n    fn a() {\n        assert!(super::f(3) == true);\n    }\n",
    )
    found = of("src/a.rs", before, after)
    assert {mutant.line for mutant in found} == {1}


def test_both_kinds_take_turns() -> None:
    changed = {"a.py": ("def f(a):\n    return a\n", "def f(a):\n    return a > 1 and a < 5\n")}
    changed["b.js"] = ("f = a => a", "f = a => a > 1 && a < 5")
    assert [mutant.path for mutant in mutants(changed, 4)] == ["a.py", "b.js", "a.py", "b.js"]
    assert [mutant.path for mutant in mutants({"b.js": changed["b.js"]}, 2)] == ["b.js", "b.js"]


JAVASCRIPT = (
    """\
'use strict';

function parse(text, options) {
  const parts = text.split('&');
  const out = {};
  for (const part of parts) {
    const [key, value] = part.split('=');
    out[key] = value;
  }
  return out;
}

module.exports = { parse };
""",
    """\
'use strict';

const own = Object.prototype.hasOwnProperty;

function parse(text, options) {
  const limit = (options && options.limit) || 1000;
  const parts = text.split('&', limit);
  const out = {};
  for (const part of parts) {
    const at = part.indexOf('=');
    const key = at === -1 ? part : part.slice(0, at);
    const value = at < 0 ? '' : part.slice(at + 1);
    if (own.call(out, key) && !options.last) {
      out[key] = [].concat(out[key], value);
    } else {
      out[key] = decodeURIComponent(value.replace(/\\+/g, ' '));
    }
  }
  if (parts.length > limit) {
    throw new RangeError(`more than ${limit} parts`);
  }
  return out;
}

module.exports = { parse };
""",
)
RUST = (
    """\
use std::collections::HashMap;

pub struct Cache { map: HashMap<String, u32>, size: usize }

impl Cache {
    pub fn new(size: usize) -> Self { Cache { map: HashMap::new(), size } }
    pub fn get(&self, key: &str) -> Option<u32> { self.map.get(key).copied() }
    pub fn put(&mut self, key: &str, value: u32) {
        self.map.insert(key.to_string(), value);
    }
}
""",
    """\
use std::collections::HashMap;
use std::collections::VecDeque;

pub struct Cache { map: HashMap<String, u32>, order: VecDeque<String>, size: usize }

impl Cache {
    pub fn new(size: usize) -> Self { Cache { map: HashMap::new(), order: VecDeque::new(), size } }
    pub fn get(&self, key: &str) -> Option<u32> {
        if key.is_empty() {
            return None;
        }
        let found = *self.map.get(key)?;
        Some(found)
    }
    pub fn put(&mut self, key: &str, value: u32) {
        if self.size == 0 || key.len() > 64 {
            return;
        }
        if !self.map.contains_key(key) {
            while self.order.len() + 1 > self.size {
                if let Some(old) = self.order.pop_front() {
                    self.map.remove(&old);
                }
            }
            self.order.push_back(key.to_string());
        }
        self.map.insert(key.to_string(), value);
    }
}
""",
)
JAVA = (
    """\
class Text {
    static String pad(String text, int size) {
        return text;
    }
}
""",
    """\
class Text {
    static String pad(String text, int size) {
        if (text == null || size <= 0) {
            return "";
        }
        StringBuilder built = new StringBuilder(text);
        for (int i = text.length(); i < size; i++) {
            built.append(' ');
        }
        boolean blank = text.isBlank();
        if (blank) {
            built.setLength(size - 1);
        }
        java.util.Map<String, Integer> seen = new java.util.HashMap<>();
        seen.put("a", built.length() > 3 ? 1 : 0);
        return built.toString();
    }
}
""",
)


@pytest.mark.parametrize(
    ("tool", "arguments", "name", "sources"),
    [
        ("node", ["--check"], "a.js", JAVASCRIPT),
        ("rustc", ["--crate-type=lib", "--edition=2021", "--emit=metadata"], "a.rs", RUST),
        ("javac", [], "Text.java", JAVA),
    ],
)
def test_mutants_compile(
    tmp_path: Path, tool: str, arguments: list[str], name: str, sources: tuple[str, str]
) -> None:
    if not shutil.which(tool):
        pytest.skip(f"needs {tool}")
    found = of(name, *sources, limit=8)
    assert len(found) == 8
    assert len({mutant.source for mutant in found}) == 8
    for mutant in found:
        (tmp_path / name).write_text(mutant.source)
        done = subprocess.run([tool, *arguments, name], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, (mutant, done.stderr)


def test_most_telling_first_and_spread() -> None:
    found = of("a.js", *JAVASCRIPT, limit=6)
    assert found[0].undoes
    assert len({mutant.line for mutant in found}) == 6


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    st.text("ab(){}[]<>=!&|+-;,.\"'`/* \n01iftrue", max_size=80), st.sampled_from(["js", "go", "rs", "java"])
)
def test_never_raises(after: str, kind: str) -> None:
    for mutant in of(f"a.{kind}", "a\n(b)\n", after, 5):
        assert mutant.source != after
