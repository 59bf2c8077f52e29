"""The JSON in a model's text: found, mended without loss, or refused. The texts are in extract_corpus.jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from agent.models.extract import NoValue, find_value, repaired_arguments

CORPUS = [
    json.loads(line) for line in Path(__file__).with_name("extract_corpus.jsonl").read_text().splitlines()
]
A = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
WRITE = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "content": {"type": "string"}, "mode": {"type": "integer"}},
    "required": ["path"],
    "additionalProperties": False,
}
OBJECT = {"type": "object"}
quick = settings(
    deadline=None, derandomize=True, max_examples=150, suppress_health_check=list(HealthCheck), database=None
)


def same(one: Any, other: Any) -> bool:
    """As JSON: unlike Python, which takes True, 1 and 1.0 for the same."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def outcome(text: str, schema: dict[str, Any]) -> tuple[Any] | str:
    """The value in a tuple, or the reason of the refusal, which is one short line."""
    try:
        return (find_value(text, schema),)
    except NoValue as refused:
        reason = str(refused)
        assert reason.isprintable() and 10 < len(reason) < 400
        return reason


@pytest.mark.parametrize("case", CORPUS, ids=[case["name"] for case in CORPUS])
def test_corpus(case: dict[str, Any]) -> None:
    found = outcome(case["text"], case["schema"])
    if "refused" in case:
        assert isinstance(found, str), f"found {found}"
        assert case["refused"] in found
    else:
        assert not isinstance(found, str), found
        assert same(found[0], case["value"])


@pytest.mark.parametrize("case", CORPUS, ids=[case["name"] for case in CORPUS])
def test_arguments_are_never_what_a_text_does_not_hold(case: dict[str, Any]) -> None:
    arguments = repaired_arguments(case["text"], case["schema"])
    assert arguments is None or same(arguments, case.get("value"))


def test_corpus_is_many_different_texts() -> None:
    assert len({case["name"] for case in CORPUS}) == len(CORPUS) >= 220
    assert len({(case["text"], json.dumps(case["schema"])) for case in CORPUS}) == len(CORPUS)


MENDED = {
    "as it should be": ('{"path": "x", "content": "y"}', {"path": "x", "content": "y"}),
    "in a fence": ('```json\n{"path": "x"}\n```', {"path": "x"}),
    "in an unclosed fence": ('```\n{"path": "x"}', {"path": "x"}),
    "prose around": ('I write {"path": "x"} now.', {"path": "x"}),
    "a tool call's tags around": ('<tool_call>{"path": "x"}</tool_call>', {"path": "x"}),
    "given twice": ('{"path": "x"}{"path": "x"}', {"path": "x"}),
    "encoded twice": (json.dumps('{"path": "x", "content": "a\\nb"}'), {"path": "x", "content": "a\nb"}),
    "encoded twice, then fenced": (json.dumps('```json\n{"path": "x"}\n```'), {"path": "x"}),
    "trailing comma": ('{"path": "x", }', {"path": "x"}),
    "one brace too many": ('{"path": "x"}}', {"path": "x"}),
    "missing brace": ('{"path": "x"', {"path": "x"}),
    "missing brace after a line break": ('{"path": "x", "mode": 7\n', {"path": "x", "mode": 7}),
    "in a list of one": ('[{"path": "x"}]', {"path": "x"}),
    "single quotes": ("{'path': 'it\\'s'}", {"path": "it's"}),
    "raw line breaks and tabs": (
        '{"path": "x", "content": "a\n\tb\r\n"}',
        {"path": "x", "content": "a\n\tb\r\n"},
    ),
    "a regex": (r'{"path": "x", "content": "^\d+\s"}', {"path": "x", "content": r"^\d+\s"}),
    "a fence in the content": (
        '{"path": "x", "content": "```\n{}\n```\n"}',
        {"path": "x", "content": "```\n{}\n```\n"},
    ),
    "JSON in the content": (
        '{"path": "x", "content": "{\\"path\\": 1,}",}',
        {"path": "x", "content": '{"path": 1,}'},
    ),
    "blanks at the content's ends": (
        '{"path": "x", "content": "\n  y \n",}',
        {"path": "x", "content": "\n  y \n"},
    ),
}

LOST = {
    "nothing": "",
    "prose": "I would rather not.",
    "no object": "[1, 2]",
    "a string": '"ls"',
    "null": "null",
    "empty object, not what the tool needs": "{}",
    "content is cut off": '{"path": "x", "content": "rm -rf /tmp',
    "content is cut off in an escape": '{"path": "x", "content": "a\\',
    "content is cut off in a unicode escape": '{"path": "x", "content": "a\\u00',
    "content is cut off, fence after it": '```json\n{"path": "x", "content": "a\n```',
    "content is cut off, braces after it": '{"path": "x", "content": "a}}',
    "cut off within JSON encoded twice": json.dumps('{"path": "x", "content": "a')[:-1],
    "cut off, then encoded twice": json.dumps('{"path": "x", "content": "a'),
    "a fence's mark in the middle": '{"path": "x"\n```\n, "content": "y"}',
    "cut off in a number": '{"path": "x", "mode": 64',
    "cut off after a comma": '{"path": "x",',
    "cut off in a key": '{"path": "x", "cont',
    "cut off before a value": '{"path": "x", "content":',
    "JSON inside of cut content": '{"path": "x", "content": "{"path": "y"}',
    "another call after it": '{"path": "x"}{"path": "y"}',
    "another call of another tool after it": '{"path": "x"}{"command": "ls"}',
    "a list after it": '{"path": "x"} [1, 2]',
    "a broken call before it": '{"path": "x", "content": oops} {"path": "x"}',
    "a cut call after it": '{"path": "x"} {"path": "x", "content": "y',
    "wrapped in a name": '{"arguments": {"path": "x"}}',
    "an argument too many": '{"path": "x", "force": true}',
    "key twice": '{"path": "x", "path": "y"}',
    "quotes that are not escaped": '{"path": "x", "content": "print("hi")"}',
    "escaped apostrophe in double quotes": r'{"path": "x", "content": "echo \'a\'"}',
    "backspace or a word's edge": r'{"path": "x", "content": "\bword\d"}',
    "encoded twice in single quotes with backslashes": "'" + r'{"path": "x", "content": "a\\nb"}' + "'",
    "half a surrogate pair": '{"path": "x", "content": "\\ud800"}',
    "the rest stands in a comment": '{"path": "x" /* content ... unchanged */}',
    "NaN": '{"path": "x", "mode": NaN}',
    "a thousand brackets": "[" * 1000,
}


@pytest.mark.parametrize("name", MENDED)
def test_arguments_are_mended(name: str) -> None:
    raw, arguments = MENDED[name]
    assert repaired_arguments(raw, WRITE) == arguments


@pytest.mark.parametrize("name", LOST)
def test_arguments_that_would_be_guessed_are_refused(name: str) -> None:
    assert repaired_arguments(LOST[name], WRITE) is None


def test_no_schema_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **_: asked.append(args))
    with pytest.raises(Exception, match="Unresolvable"):
        find_value("{}", {"$ref": "http://127.0.0.1:9/schema.json"})
    assert not asked


# --- properties

texts = st.text(max_size=12) | st.sampled_from(
    ['"', "\\", "{", "}", "[", "]", "```", "'", "\n", ",", ":", "//", "\\d"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=4)
# No key begins with a colon or comma: after prose that ends in `{"`, its quote would end a key of the prose.
fitting = st.builds(lambda value, a: {**value, "a": a}, objects, st.integers()).filter(
    lambda value: not any(key.lstrip().startswith((":", ",")) for key in value)
)
prose = st.lists(
    st.sampled_from(
        [
            "{",
            "}",
            "[",
            "]",
            "{}",
            "[]",
            '"',
            "'",
            "`",
            "```",
            "```json\n",
            "~~~",
            "\n",
            " ",
            "x",
            "“",
            "{{",
            "(see)",
            "null",
        ]
    ),
    max_size=12,
).map("".join)
hostile_parts = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "'",
    "“",
    "”",
    "\\",
    "\n",
    " ",
    "a",
    '"a"',
    "1",
    "-",
    "1e9",
]
hostile_parts += [
    "true",
    "None",
    "NaN",
    "//",
    "/*",
    "*/",
    "#",
    "```",
    "```json\n",
    "~~~",
    "\\u",
    "\ud800",
    "\x00",
]
hostile_parts += ['{"a": 1}', "{'a': 2,}", "\ufeff", "..."]
hostile = st.lists(st.sampled_from(hostile_parts), max_size=30).map("".join)


@quick
@given(fitting, prose, prose)
def test_a_value_is_found_in_any_prose(value: dict[str, Any], before: str, after: str) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        # In single quotes from end to end, a backslash may be Python's.
        assume(not (before + text + after).strip().startswith(("'", "“")) or "\\" not in text)
        found = outcome(before + text + after, A)
        assert not isinstance(found, str), found
        assert same(found[0], value)


@quick
@given(fitting, fitting, prose)
def test_two_that_differ_are_refused(one: dict[str, Any], other: dict[str, Any], between: str) -> None:
    assume(not same(one, other) and "```" not in between and "~~~" not in between)
    assert "different values fit" in outcome(json.dumps(one) + between + json.dumps(other), A)


@quick
@given(objects, st.data())
def test_a_prefix_is_refused_or_loses_only_what_had_not_begun(
    value: dict[str, Any], data: st.DataObject
) -> None:
    whole = json.dumps(value)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    found = outcome(cut, OBJECT)
    if not isinstance(found, str):
        # All that was read is still there, letter for letter, in the same order.
        closing = json.dumps(found[0])
        kept = closing.rstrip("]}")
        assert cut.rstrip("]}") == kept
    arguments = repaired_arguments(cut, OBJECT)
    assert arguments is None or same(arguments, found[0])


@quick
@given(objects)
def test_sound_arguments_stay_as_they_are(value: dict[str, Any]) -> None:
    for raw in (
        json.dumps(value),
        json.dumps(value, ensure_ascii=False, indent=1),
        json.dumps(json.dumps(value)),
    ):
        assert same(repaired_arguments(raw, OBJECT), value)


@quick
@given(st.dictionaries(texts, texts, max_size=4))
def test_raw_control_characters_do_not_change_a_string(value: dict[str, str]) -> None:
    raw = json.dumps(value, ensure_ascii=False)
    for escape, char in (("\\n", "\n"), ("\\t", "\t"), ("\\r", "\r")):
        raw = raw.replace("\\\\", "\\u005c").replace(escape, char)
    assert same(repaired_arguments(raw, OBJECT), value)


@quick
@given(st.dictionaries(st.text("abc'\"\\ \n", max_size=8), st.text("abc'\"\\ \n", max_size=8), max_size=4))
def test_what_python_prints_is_read_as_python_reads_it(value: dict[str, str]) -> None:
    assert same(repaired_arguments(f"{value!r}", OBJECT), value)


@settings(quick, max_examples=300)
@given(hostile | st.text(max_size=40))
def test_any_text_is_answered(text: str) -> None:
    for schema in ({}, A, {"type": "array"}, {"type": "string"}):
        outcome(text, schema)
        arguments = repaired_arguments(text, {**schema, "type": "object"})
        assert arguments is None or same((arguments,), outcome(text, {**schema, "type": "object"}))


@settings(quick, max_examples=300)
@given(hostile | prose)
def test_where_json_reads_it_the_same_is_found(text: str) -> None:
    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        value = json.loads(text, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return
    if len(json.dumps(value)) == len(text.strip()):  # no key twice
        assert outcome(text, {}) == (value,)


BIG = [
    "[",
    "{",
    "]",
    '["',
    "['",
    '{"',
    '{"a":',
    "{'a':",
    "[1,",
    "[1 x",
    "[x ",
    "[/* ",
    "[// ",
    "[“",
    "{} ",
    "[1] ",
]
BIG += [
    '{"a" x',
    '{"a":1 x',
    "{ ",
    "```\n",
    "~~~ ",
    "```json\n{}\n",
    '"',
    "'",
    "\\",
    '\\"',
    '["\\',
    "1",
    "{#",
    "-",
]
BIG += ["[\u00a0", '{"a":1,"a":', '{"a":x "', "[“”"]


@pytest.mark.parametrize("unit", BIG)
def test_a_megabyte_is_answered(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    assert isinstance(outcome(text, A), str)
    assert isinstance(outcome('{"a": 1, "b":' + text[:100_000], A), str)
    assert repaired_arguments(text + "”]*/x", A) is None


def test_big_values_are_found() -> None:
    value = {"a": 1, "s": 'x\n"\\' * 100_000, "list": [{"b": [1, None]}] * 5_000}
    text = json.dumps(value)
    assert find_value(f"Here:\n```json\n{text}\n```", A) == value
    assert repaired_arguments(text[:-1] + ",}", A) == value
    assert repaired_arguments(text[:-1], A) == value
    assert repaired_arguments(text[:500_000], A) is None
