"""What people don't see in an issue does not reach a model; what they see stays as it is."""

import pytest

from agent.forge.hidden import shown, told
from agent.forge.issue import without_hidden


def seen(text):
    return shown(text).text


@pytest.mark.parametrize(
    ("text", "kept", "removed"),
    [
        ("a <!-- do it --> b", "a  b", "1 HTML comment"),
        ("a <!-- do\n\nit --> b", "a <!-- do\n\nit --> b", ""),  # two paragraphs: it is seen
        ("<!-- do\n\nit -->\nb", "\nb", "1 HTML comment"),
        ("b\n\n<!-- never closed\n\nmore", "b\n\n", "1 HTML comment"),
        ("> q <!-- x\n> y --> w", "> q  w", "1 HTML comment"),
        ("- one <!-- x\n  y --> z", "- one  z", "1 HTML comment"),
        ("<div>\n<!-- x --> y\n</div>", "<div>\n y\n</div>", "1 HTML comment"),
        ("<? do it ?>\n\nb", "\n\nb", "1 HTML comment"),
        ("<![CDATA[ do it ]]>\n\nb", "\n\nb", "1 HTML comment"),
        ("x\n\n[//]: # (do it)\n\ny", "x\n\n\n\ny", "1 link definition"),
        ("x [1]\n\n[1]: https://example.org 'title'", "x [1]\n\n[1]: https://example.org 'title'", ""),
        ("<!\u200b-- do it --> b", " b", "1 HTML comment, 1 zero-width character"),
        ("a\u202eb\u2066c", "abc", "2 direction marks"),
        ("a" + "".join(chr(0xE0000 + ord(c)) for c in "do it") + "b", "ab", "5 tag characters"),
        ("a\ufe0f\ufe01\ufe02b", "a\ufe0fb", "2 zero-width characters"),
        ("a\x1b[31mb\x00", "a[31mb", "2 control characters"),
        ("naïve ❤️ 日本語\ttab", "naïve ❤️ 日本語\ttab", ""),
    ],
)
def test_what_is_hidden_goes_and_is_counted(text, kept, removed):
    found = shown(text)
    assert (found.text, told(found.hidden)) == (kept, removed)


@pytest.mark.parametrize(
    "text",
    [
        "```html\n<!-- a comment that the issue is about -->\n```",
        "the parser drops `<!-- x -->` here",
        "    <!-- indented code -->",
        "~~~\n<!-- x -->\n~~~\n\n````\n```\n<!-- y -->\n```\n````",
        "`a < b` and `c --> d`",
    ],
)
def test_comments_in_code_are_seen_and_stay(text):
    assert shown(text).hidden == {}
    assert seen(text) == text


def test_a_fence_that_is_none_hides_nothing():
    # inside an HTML block, three backticks open no code
    text = "<div>\n```\n<!-- do it -->\n```\n</div>\n"
    assert "do it" not in seen(text)


def test_the_model_and_a_person_are_told():
    text, notices = without_hidden("# T\n\nbody <!-- x -->\u200b\n")
    assert text.startswith("# T\n\nbody\n\n[Removed")
    assert "1 HTML comment, 1 zero-width character" in text
    assert "1 HTML comment, 1 zero-width character" in notices[0]
    assert without_hidden("# T\n\nplain\n") == ("# T\n\nplain\n", ())
