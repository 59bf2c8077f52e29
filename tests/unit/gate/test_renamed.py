"""Copies of tests with other words: the same relations between other words, and nothing else changed."""

from __future__ import annotations

import ast

import pytest

from agent.gate.renamed import Copy, copied, words_of

SEEDS = range(30)


def copies(source: str, *avoid: str, tests: set[str] | None = None) -> list[Copy]:
    return [copy for seed in SEEDS if (copy := copied(source, tests, set(avoid), seed)) is not None]


def test_words_are_others_everywhere_and_keep_their_order_their_length_and_what_they_share() -> None:
    source = 'KEYS = ["ruk", "Ruko"]\n\n\ndef test_sorted():\n    assert pick({"ruk": 1, "vom": 2}) == "ruk > vom"\n'
    made = copies(source)
    assert len(made) == len(SEEDS)
    for copy in made:
        one, other = copy.words["ruk"], copy.words["vom"]
        assert one < other and (len(one), len(other)) == (3, 3) and {one, other} & {"ruk", "vom"} == set()
        assert f'pick({{"{one}": 1, "{other}": 2}}) == "{one} > {other}"' in copy.source.replace("'", '"')
        assert copy.changed == {"test_sorted"}
    # `Ruko` is in no test, so it stays, and what it is made of is not in one test with it.
    assert all("'Ruko'" in copy.source for copy in made)
    assert len({copy.words["ruk"] for copy in made}) > 5


def test_case_stays() -> None:
    for copy in copies("def test_x():\n    assert up('vom Vom') == 'VOM VOM'\n"):
        new = copy.words["vom"]
        assert f"up('{new} {new.capitalize()}') == '{new.upper()} {new.upper()}'" in copy.source


@pytest.mark.parametrize(
    "text",
    [
        "vom2", "x_vom", "\\\\vom", "%vom", "<vom>", "&vom;", "#vom", "vom()", "{vom}", "a.vom",  # parts of something
        "utf", "json", "monday", "true", "print", "os", "home", "beef", "name",  # words that anybody knows
        "straße vom", "known", "mykey",  # about letters; words of the product; names in the test
    ],
)  # fmt: skip
def test_words_that_may_mean_something_stay(text: str) -> None:
    source = f"mykey = 1\n\n\ndef test_x():\n    assert f('{text}') == mykey\n"
    assert copies(source, "known", "a", "x") == []


@pytest.mark.parametrize(
    "source",
    [
        "def test_x():\n    assert f('ruk') == sorted('kru')\n    assert g('r')\n",
        "def test_x():\n    assert f('ruk') == f'{1:ruk}'\n    match(r'ruk2')\n",
        "def test_x():\n    with raises(E, match='ruk'):\n        f('ruk')\n",
        "def test_x():\n    '''ruk'''\n    patch('ruk.vom')\n    f('ruk', ruk=1)\n",
        "NAME = 'Käse'\n\n\ndef test_x():\n    assert f('ruk')\n",
        "def test_x(:\n",
        "def test_x():\n    assert f(1) == 2\n",
    ],
)
def test_what_would_no_longer_be_the_same_test_is_not_copied(source: str) -> None:
    assert copies(source, "r") == []


def test_a_copy_parses_and_differs_in_words_alone() -> None:
    source = (
        "import pytest\n\n\n@pytest.mark.parametrize('text, n', [('ruk vom', 2), ('ruk', 1)])\n"
        "def test_count(text, n):\n    '''Counts ruk.'''\n    assert count(text) == n\n\n\n"
        "def test_other():\n    assert count('ruk') == 1\n\n\ndef test_else():\n    assert count('mil') == 1\n"
    )
    for copy in copies(source, tests={"test_count"}):
        back = copy.source
        for old, new in copy.words.items():
            back = back.replace(new, old)
        assert ast.dump(ast.parse(back)) == ast.dump(ast.parse(source))
        assert copy.changed == {"test_count", "test_other"}
        assert "mil" not in copy.words


def test_the_words_that_a_file_knows() -> None:
    source = '"""About cheese."""\n# and bread\ndef take_butter(jam, k=1):\n    i = "milk"\n    self.xTea = r"[a-c]"\n'
    words = words_of("a.py", source)
    assert {"take", "butter", "take_butter", "jam", "k", "milk", "tea", "a", "c"} <= words
    assert not {"cheese", "bread", "i"} & words
    assert {"cheese", "bread"} <= words_of("a.txt", source)
    assert "broken" in words_of("a.py", "def broken(:")
