"""Red tests that ask for too little or bring their answer along, and honest ones that look a little like it."""

from __future__ import annotations

import textwrap

import pytest

from agent.gate.scan import Change, Finding
from agent.gate.scan_claims import ANY, KIND, MOCK, NOTHING, SAME, VALUE
from agent.gate.scan_tests import DEEP, REPLACES, SENSES, SETS, SWALLOWS, beside, scan_tests

BEFORE = '''\
"""Prices."""

RATES = {"de": 19}


def fetch(url):
    return open(url).read()


def parse(text):
    return [float(word) for word in text.split()]


class Basket:
    def __init__(self, *prices):
        self.prices = prices
        self.strict = False

    @property
    def name(self):
        return self._name

    @name.setter
    def name(self, name):
        self._name = name

    def is_empty(self):
        return not self.prices

    def mean(self):
        return sum(self.prices) / len(self.prices)
'''
AFTER = BEFORE.replace(
    "        return sum(",
    "        if not self.prices and self.default is not None:\n            return self.default\n        return sum(",
).replace("    def __init__", "    default = None\n\n    def __init__")
AFTER += "\n\nLIMIT = 5\n\n\ndef rounded(price):\n    return round(price, 2)\n"
CHANGES = [Change("src/shop/prices.py", BEFORE, AFTER)]

HEAD = """\
import asyncio
import inspect
import subprocess
import sys
import time
import unittest
import warnings
from contextlib import suppress
from unittest import mock
from unittest.mock import Mock, patch

import pytest
import requests

import shop
from helpers import same_table
from shop import Basket, fetch, parse, prices


"""


def found(body: str, *ids: str, conftest: str = "", changes: list[Change] = CHANGES) -> list[Finding]:
    tests = {"tests/test_prices.py": HEAD + textwrap.dedent(body), "tests/conftest.py": conftest}
    return scan_tests(tests, [f"tests/test_prices.py::{name}" for name in ids or ("test_it",)], changes)


def reasons(body: str, *ids: str, **others: str) -> set[str]:
    return {finding.reason for finding in found(body, *ids, **others)}


def in_test(*lines: str, given: str = "") -> str:
    return f"def test_it({given}):\n" + textwrap.indent("\n".join(lines), "    ")


LITTLE = [
    (NOTHING, "Basket().mean()"),
    (NOTHING, "assert True"),
    (NOTHING, "assert (Basket().mean() == 0, 'mean')"),
    (NOTHING, "try:\n    Basket().mean()\nexcept ZeroDivisionError:\n    pytest.fail('raised')"),
    (NOTHING, "try:\n    parse('')\nexcept ValueError as error:\n    raise AssertionError from error"),
    (KIND, "assert isinstance(Basket().mean(), float)"),
    (KIND, "assert isinstance(Basket().mean(), float) and Basket().mean() is not None"),
    (KIND, "assert Basket().mean() is not None"),
    (KIND, "found = Basket().mean()\nassert found != None"),
    (KIND, "assert type(parse('1')) is list"),
    (KIND, "assert type(parse('1')).__name__ == 'list'"),
    (KIND, "assert hasattr(Basket(), 'mean')"),
    (KIND, "assert callable(prices.rounded)"),
    (KIND, "assert parse('1')[0]"),
    (KIND, "assert len(parse('1 2')) > 0"),
    (KIND, "assert parse('1')"),
    (KIND, "assert rates['de'] != ''"),
    (KIND, "assert all(isinstance(price, float) for price in parse('1 2'))"),
    (KIND, "assert Basket().mean"),
    (MOCK, "send = Mock()\nfetch(send)\nsend.assert_called_once()"),
    (MOCK, "with patch('requests.get') as get:\n    fetch('a')\nassert get.called"),
    (SAME, "assert parse('1') == parse('1')"),
    (SAME, "expected = Basket(1).mean()\nassert Basket(1).mean() == expected"),
    (SAME, "assert 1 == 1"),
    (ANY, "with pytest.raises(Exception):\n    parse('x')"),
    (VALUE, "assert prices.LIMIT == 5"),
    (VALUE, "assert getattr(sys.modules['shop.prices'], 'LIMIT', 0) == 5"),
]


@pytest.mark.parametrize("reason, lines", LITTLE)
def test_claims_that_ask_for_little(reason: str, lines: str) -> None:
    assert reasons(in_test(lines)) == {reason}


@pytest.mark.parametrize("reason, lines", LITTLE)
def test_one_good_red_test_is_enough(reason: str, lines: str) -> None:
    good = "def test_mean():\n    assert Basket().mean() == 0.0\n"
    assert found(f"{in_test(lines)}\n\n\n{good}", "test_it", "test_mean") == []


@pytest.mark.parametrize(
    "lines",
    [
        "self.assertIsInstance(Basket().mean(), float)",
        "self.assertIsNotNone(Basket().mean())",
        "self.assertTrue(parse('1'))",
        "self.assertNotEqual(parse('1'), None)",
    ],
)
def test_unittest_claims_that_ask_for_little(lines: str) -> None:
    body = f"class Prices(unittest.TestCase):\n    def test_it(self):\n        {lines}\n"
    assert reasons(body, "Prices::test_it") == {KIND}


@pytest.mark.parametrize(
    "lines",
    [
        "assert Basket().mean() == 0.0",
        "assert not parse('')",
        "assert parse('') is None",
        "assert Basket().is_empty()",
        "assert shop.allows('1.2', '^1.0')",
        "assert 1.5 in parse('1.5 2')",
        "assert parse(' 1 ') == parse('1')",
        "assert hash(Basket(1)) != hash(Basket(2))",
        "assert Basket(1) == Basket(1)",
        "assert isinstance(parse('1'), list)\nassert parse('1') == [1.0]",
        "with pytest.raises(ValueError):\n    parse('x')",
        "with pytest.raises(Exception, match='no price'):\n    parse('x')",
        "with pytest.warns(DeprecationWarning):\n    parse('x')",
        "try:\n    parse('x')\nexcept ValueError:\n    pass\nelse:\n    pytest.fail('no error')",
        "if parse('1') != [1.0]:\n    raise AssertionError('wrong')",
        "fetch('a')\nassert capsys.readouterr().out == 'read a\\n'",
        "assert snapshot == parse('1 2')",
        "same_table(parse('1'), [1.0])",
        "send = Mock()\nfetch(send)\nsend.assert_called_once_with('a', timeout=5)",
        "send = Mock()\nfetch(send)\nsend.assert_not_called()",
        "asyncio.run(asyncio.wait_for(fetch('a'), 1))",
        "with warnings.catch_warnings():\n    warnings.simplefilter('error')\n    parse('1')",
        "subprocess.run([sys.executable, '-m', 'shop'], check=True)",
        "assert prices.RATES['de'] == 16",
        "assert runner.LIMIT == 5",
        "runner.verify(parse('1'))",
    ],
)
def test_honest_claims(lines: str) -> None:
    assert found(in_test(lines, given="capsys, snapshot, runner")) == []


def test_helpers_and_fixtures_claim_for_the_test() -> None:
    body = """
        def agree(text, expected):
            assert parse(text) == expected

        class TestPrices:
            def same(self, text, expected):
                assert parse(text) == expected

            def test_one(self):
                self.same("1", [1.0])

        def test_two():
            agree("1", [1.0])

        def test_three(known):
            known("1", [1.0])

        @pytest.mark.parametrize("expectation", [pytest.raises(ValueError)])
        def test_four(expectation):
            with expectation:
                parse("x")

        @pytest.mark.timeout(2)
        def test_five():
            parse("x")
    """
    conftest = """\
import pytest


@pytest.fixture
def known():
    def call(text, expected):
        assert text == expected
    return call
"""
    for name in ("TestPrices::test_one", "test_two", "test_three", "test_four", "test_five"):
        assert found(body, name, conftest=conftest) == [], name


def test_a_helper_that_asks_for_little_is_told_where_it_stands() -> None:
    conftest = "\n\n\ndef fine(text):\n    assert isinstance(text, list)\n"
    body = "def test_it(fine):\n    fine(parse('1'))\n"
    assert found(body, conftest=conftest) == [
        Finding("tests/conftest.py", 5, KIND, "assert isinstance(text, list)", certain=False)
    ]


def test_what_cannot_be_read_is_not_judged() -> None:
    assert found("def test_it(:\n") == []
    assert found(in_test("parse('1')"), "test_made_at_run_time") == []
    assert scan_tests({"docs/prices.md": ">>> parse('1')"}, ["docs/prices.md::prices.md"], CHANGES) == []


@pytest.mark.parametrize(
    "lines",
    [
        "monkeypatch.setattr(Basket, 'mean', lambda self: 0.0)",
        "monkeypatch.setattr('shop.prices.Basket.mean', lambda self: 0.0)",
        "Basket.mean = lambda self: 0.0",
        "setattr(Basket, 'mean', lambda self: 0.0)",
        "Basket.__dict__['mean'] = None",
        "with patch.object(Basket, 'mean', return_value=0.0):\n    pass",
        "with mock.patch('shop.prices.Basket.mean', return_value=0.0):\n    pass",
        "with patch.object(sys.modules['shop.prices'], 'rounded', create=True):\n    pass",
        "monkeypatch.setattr(prices, 'parse', lambda text: [0.0])\nassert prices.parse('1') == [0.0]",
        "sys.modules['shop.prices'] = None",
    ],
)
def test_stubs_of_what_the_patch_changes_are_always_told(lines: str) -> None:
    body = in_test(lines, "assert Basket().mean() == 0.0", given="monkeypatch")
    good = "def test_mean():\n    assert Basket(2).mean() == 2.0\n"
    assert reasons(f"{body}\n\n\n{good}", "test_it", "test_mean") == {REPLACES}


@pytest.mark.parametrize(
    "body",
    [
        "Basket.mean = lambda self: 0.0\n\n\ndef test_it():\n    assert Basket().mean() == 0.0\n",
        "@mock.patch('shop.prices.Basket.mean')\ndef test_it(mean):\n    assert parse('1') == [1.0]\n",
        "@pytest.fixture(autouse=True)\ndef stub(monkeypatch):\n    monkeypatch.setattr(Basket, 'mean', len)\n"
        "\n\ndef test_it():\n    assert Basket().mean() == 0.0\n",
    ],
)
def test_stubs_outside_of_the_body(body: str) -> None:
    assert reasons(body) == {REPLACES}


@pytest.mark.parametrize(
    "lines",
    [
        "monkeypatch.setattr(prices, 'fetch', lambda url: '1 2')",
        "monkeypatch.setattr(time, 'sleep', lambda seconds: None)",
        "monkeypatch.setattr(requests, 'mean', lambda: None)",
        "monkeypatch.setattr(prices, 'LIMIT', 1)",
        "monkeypatch.setenv('mean', '0.0')",
        "with patch('requests.get') as get:\n    get.return_value = '1'",
        "with patch.object(Basket, 'mean', wraps=Basket(1).mean):\n    pass",
        "basket = Basket()\nbasket.strict = True",
        "basket = Basket()\nbasket.name = 'a'\nassert basket.name == 'a'",
        "basket = Basket()\nbasket.default = 7.0\nassert basket.default == 7.0",
        "table = {}\ntable['mean'] = 0.0",
        "client.patch('/baskets/1.mean', 2)",
        "patched = vars(Basket)",
    ],
)
def test_honest_stubs_and_settings(lines: str) -> None:
    assert found(in_test(lines, "assert Basket(2).sum() == 2.0", given="monkeypatch, client")) == []


@pytest.mark.parametrize("lines", ["basket.default = 0.0", "monkeypatch.setattr(Basket, 'default', 0.0)"])
def test_setting_what_is_then_expected(lines: str) -> None:
    body = in_test("basket = Basket()", lines, "assert basket.mean() == 0.0", given="monkeypatch")
    assert reasons(body) == {SETS}


def test_doing_otherwise_where_the_patch_is() -> None:
    assert reasons(in_test("if hasattr(Basket, 'default'):\n    return", "assert parse('1') == [2.0]")) == {
        SENSES
    }
    assert found(in_test("if hasattr(Basket, 'strict'):\n    return", "assert parse('1') == [2.0]")) == []


@pytest.mark.parametrize(
    "lines, told",
    [
        ("try:\n    assert parse('1') == [2.0]\nexcept AssertionError:\n    pass", True),
        ("try:\n    assert parse('1') == [2.0]\nexcept:\n    print('no')", True),
        ("with suppress(AssertionError):\n    assert parse('1') == [2.0]", True),
        ("with suppress(OSError):\n    assert parse('1') == [2.0]", False),
        ("with suppress(Exception):\n    fetch('a')\nassert parse('1') == [1.0]", False),
        ("try:\n    assert parse('1') == [2.0]\nexcept AssertionError:\n    print('no')\n    raise", False),
        ("try:\n    assert parse('1') == [2.0]\nexcept AssertionError:\n    time.sleep(1)", False),
        ("try:\n    assert parse('1') == [2.0]\nfinally:\n    print('done')", False),
    ],
)
def test_failed_assertions_that_are_caught(lines: str, told: bool) -> None:
    assert reasons(in_test(lines)) == ({SWALLOWS} if told else set())


def test_a_test_too_deep_to_be_read_is_told() -> None:
    assert reasons(in_test(f"assert {'-' * 700}1 == parse('1')")) == {DEEP}


def test_no_more_is_told_than_a_person_reads() -> None:
    names = [f"test_{number}" for number in range(30)]
    body = "\n\n".join(f"def {name}():\n    parse('1')\n" for name in names)
    assert len(found(body, *names)) == 10


def test_files_beside_the_tests() -> None:
    files = [
        "conftest.py",
        "tests/a/conftest.py",
        "tests/b/conftest.py",
        "tests/a/data/rows.csv",
        "docs/rows.csv",
    ]
    tests = {"tests/a/test_rows.py": 'ROWS = Path("data/rows.csv").read_text()'}
    assert beside(tests, files) == ["conftest.py", "tests/a/conftest.py", "tests/a/data/rows.csv"]
