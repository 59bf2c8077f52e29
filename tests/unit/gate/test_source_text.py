"""Strings, comments, templates and regular expressions are blanked, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.gate.source_text import Language, arguments, closing, language, text_of


@pytest.mark.parametrize(
    ("lang", "source", "code"),
    [
        ("js", "a = 'x{' + \"}y\" // {\nb", "a = '  ' + \"  \"     \nb"),
        ("js", r"a = 'it\'s {'", "a = '       '"),
        ("js", "/* { \n } */ b", "     \n      b"),
        ("js", "`a{ ${b('}')} c}` {", "`   ${b(' ')}   ` {"),
        ("js", "`a ${`x ${1} }`} b` + {}", "`  ${`  ${1}  `}  ` + {}"),
        ("js", "x = /[/{]'/g.test(a)", "x = /     /g.test(a)"),
        ("js", 'return /"/', "return / /"),
        ("js", "a / b / c('{')", "a / b / c(' ')"),
        ("js", "f(a) / 2 + '{' / 1", "f(a) / 2 + ' ' / 1"),
        ("js", "a[1] / 2 /* / */ / 3", "a[1] / 2         / 3"),
        ("js", "x = // why\n/'/", "x =       \n/ /"),
        ("js", "<p>don't</p>\nf('{')", "<p>don't</p>\nf(' ')"),
        ("js", "i++ / 2 + '{'", "i++ / 2 + ' '"),
        ("js", "#!/usr/bin/env node's\na", " " * 21 + "\na"),
        ("go", 'a := "}" + `{\n"` + string(\'{\') // {', "a := \" \" + ` \n ` + string(' ')     "),
        ("go", "r := '\\''; s := '\"'", "r := '  '; s := ' '"),
        ("rust", "fn a<'a>(x: &'a str) -> char { '{' }", "fn a<'a>(x: &'a str) -> char { ' ' }"),
        ("rust", "/* a /* b */ { */ c", " " * 17 + " c"),
        ("rust", 'r#"a " {"# + "\\"{\n" + b"{"', 'r#"     "# + "   \n" + b" "'),
        ("rust", "let c = '\\u{7b}'; let d = '\\'';", "let c = '      '; let d = '  ';"),
        ("java", 'a = """\n "{" \\"""} """; c = \'"\';', 'a = """\n' + " " * 11 + '"""; c = \' \';'),
        ("java", 'a = "" + "{" + 1;', 'a = "" + " " + 1;'),
    ],
)
def test_blanked(lang: Language, source: str, code: str) -> None:
    text = text_of(source, lang)
    assert text.code == code
    assert len(text.plain) == len(source)


def test_plain_keeps_strings() -> None:
    assert text_of("a('//') // b", "js").plain == "a('//')     "
    assert text_of("a\nb /*\n*/ c", "go").line(9) == 3


@pytest.mark.parametrize(
    ("path", "lang"),
    [
        *(
            ("a.js", "js"),
            ("a.mts", "js"),
            ("a.tsx", "js"),
            ("a.d.ts", "js"),
            ("a.go", "go"),
            ("a.rs", "rust"),
        ),
        *(("A.java", "java"), ("a.py", None), ("js", None), ("a.json", None)),
    ],
)
def test_languages(path: str, lang: Language | None) -> None:
    assert language(path) == lang


def test_brackets() -> None:
    assert closing("f(a[1], {b: (c)})", 1) == 16
    assert closing("f(a[1)", 1) is None
    assert closing("f(a", 1) is None
    code = "f( a , (b, c), )"
    assert [code[start:end] for start, end in arguments(code, 1, 15)] == ["a", "(b, c)"]
    assert arguments("f()", 1, 2) == []


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.text("ab/*'\"`\\{}$#r\n[] <>=", max_size=60), st.sampled_from(["js", "go", "rust", "java"]))
def test_never_raises_and_keeps_places(source: str, lang: Language) -> None:
    text = text_of(source, lang)
    for other in (text.plain, text.code):
        assert len(other) == len(source)
        assert all(b in (a, " ") and (a != "\n" or b == "\n") for a, b in zip(source, other, strict=True))
