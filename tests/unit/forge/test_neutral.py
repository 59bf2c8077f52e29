"""Text under our name notifies nobody, closes nothing, commands no bot, hides nothing, and tells no secret."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.forge.neutral import block, code, line, neutral
from agent.forge.secret_text import cut_out, found_in

ACTS = re.compile(
    r"@[A-Za-z0-9]|#\d|\bGH-\d|<!|^[ \t>*+-]*/[a-z]|https?://|www\.\w|\[skip ci\]|^bors r|^@?dependabot merge",
    re.I | re.M,
)


@pytest.mark.parametrize(
    "text",
    [
        "@octocat please look",
        "cc @org/team",
        "fixes #12",
        "Closes: octo/calc#3",
        "resolved GH-7",
        "fix https://github.com/octo/calc/issues/4",
        "/lgtm",
        "  /approve",
        "> /merge",
        "- /deploy production",
        "bors r+",
        "@dependabot merge",
        "dependabot merge",
        "<!-- assay comment issue=7 -->",
        "see www.example.org",
        "title [skip ci]",
        "f\u200bixes #\u200b12 @\u200boctocat <\u200b!-- x",
        "\x1b[31m@octocat\x1b[0m",
        "@\x1b[31moctocat",
    ],
)
def test_nothing_in_it_acts(text):
    for made in (neutral(text, ()), block(text, (), 1000), code(text, ()), line(text, (), 100)):
        assert not ACTS.search(made), made


def test_a_word_that_wrapping_puts_first_on_a_line_commands_nothing():
    words = " ".join(["word"] * 21 + ["x", "/lgtm"] * 30)
    assert not re.search(r"(?m)^/lgtm", block(words, (), 5000, prose=True))


def test_people_read_the_same():
    text = "clamp() returns low: 3 != 5 (a - b, x/y, 50 %)\n\tassert x == 'é'"
    assert neutral(text, ()) == text


@given(st.text(alphabet="`~\n |ab<>-", max_size=80))
def test_no_text_ends_its_own_block_or_cell(text):
    made = block(text, (), 60)
    fence = re.match("`+", made)[0]
    inner = made.split("\n")[1:-1]
    assert made.endswith(fence) and not any(re.match(f"^ {{0,3}}{fence}`*\\s*$", one) for one in inner)
    cell = code(text, (), 40)
    assert "\n" not in cell and not re.search(r"(?<!\\)\|", cell)


@given(st.text(max_size=200))
def test_a_block_is_bounded(text):
    assert len(block(text, (), 50)) < 50 + 220


SECRETS = [
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "a1B2c3" * 12,
    "AKIAIOSFODNN7EXAMPLE",
    "AIza" + "Sy0aB_-" * 5,
    "sk-ant-api03-" + "aB3_" * 6,
    "sk-proj-" + "aB3d" * 10,
    "xoxb-123456789012-abcdefghij",
    "npm_" + "aB3d" * 9,
    "glpat-" + "aB3d" * 5,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----",
    "postgres://admin:hunter2hunter2@db.example.org/x",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_known_by_their_shape(secret):
    assert found_in(f"key = '{secret}'", ()) is not None
    assert secret not in cut_out(f"key = '{secret}' tail", ()) and "tail" in cut_out(
        f"key = '{secret}' tail", ()
    )


def test_what_a_patch_may_hold_but_a_text_need_not_is_cut_out_of_text():
    header = "Authorization: Bearer abc123def456ghi789"
    assert found_in(header, ()) is None
    assert "abc123def456ghi789" not in cut_out(f"curl -H '{header}' tail", ())


def test_secrets_are_known_by_their_value():
    assert cut_out("a hunter2hunter2X b", ("hunter2hunter2X",)) == "a [secret] b"
    # what parts it is taken out first
    assert "hunter2" not in neutral("a hunter2\u200bhunter2X b", ("hunter2hunter2X",))


@pytest.mark.parametrize(
    "text",
    [
        "def test_above():\n    assert clamp(5, 1, 3) == 3",
        "https://example.org:8080/path@v2",
        "sha256:" + "0123456789abcdef" * 4,
        "import sklearn as sk; sk-learn",
        "user@example.org ssh://git@github.com/a/b.git",
    ],
)
def test_what_is_no_secret_stays(text):
    assert found_in(text, ()) is None
