"""Which changes of a test file only add to it."""

import pytest

from agent.gate.additive import find_tests, newly_skipped, obstacle, requested, same_code

BASE = """\
import os
from calc import clamp
import pytest

CASES = [1, 2]


@pytest.fixture
def low():
    return 1


@pytest.mark.parametrize("x", [1, 2])
def test_many(x, low):
    assert clamp(x, low, 3) == x


def test_one():
    assert clamp(1, 1, 3) == 1


class TestClamp:
    limit = 3

    def test_high(self):
        assert clamp(3, 1, self.limit) == len([1, 2, 3])


if __name__ == "__main__":
    pytest.main()
"""


def change(old: str, new: str) -> str:
    assert BASE.count(old) == 1, old
    return BASE.replace(old, new)


ADDITIONS = {
    "nothing": BASE,
    "a comment and layout": change("CASES = [1, 2]", "CASES = [\n    1,\n    2,  # two\n]"),
    "a test at the end": BASE + "\n\ndef test_new():\n    assert clamp(9, 1, 3) == 3\n",
    "a test in between": change(
        "def test_one", "def test_new():\n    assert clamp(9, 1, 3) == 3\n\n\ndef test_one"
    ),
    "a method": change(
        "class TestClamp:\n", "class TestClamp:\n    def test_new(self):\n        assert True\n\n"
    ),
    "a class": BASE + "\n\nclass TestNew:\n    def setup_method(self):\n        self.x = 1\n",
    "an imported name": change("import clamp", "import clamp, mean"),
    "an import": change("import os\n", "import os\nimport re\nfrom calc import mean as average\n"),
    "the same import again": BASE + "\n\nimport os\nimport os.path\n",
    "a parameter set": change('"x", [1, 2]', '"x", [1, 2, 3]'),
    "an element of a table": change("CASES = [1, 2]", "CASES = [1, 2, 3]"),
    "an assertion at a test's end": change(
        "    assert clamp(1, 1, 3) == 1\n", "    assert clamp(1, 1, 3) == 1\n    assert clamp(9, 1, 3) == 3\n"
    ),
    "a fixture": BASE + "\n\n@pytest.fixture\ndef high():\n    return 3\n",
    "a helper and a constant": BASE + "\n\nHIGH = compute(3)\n\n\ndef helper():\n    return HIGH\n",
    "a name that is local elsewhere": BASE + "\n\nx = 5\n",
}


@pytest.mark.parametrize("name", ADDITIONS)
def test_additions(name):
    assert obstacle(BASE.encode(), ADDITIONS[name].encode()) is None


INTRUSIONS = {
    "changed expectation": change("clamp(1, 1, 3) == 1", "clamp(1, 1, 3) == 2"),
    "weakened assertion": change("    assert clamp(1, 1, 3) == 1\n", "    assert clamp(1, 1, 3)\n"),
    "deleted test": change("def test_one():\n    assert clamp(1, 1, 3) == 1\n", ""),
    "renamed test": change("def test_one", "def test_uno"),
    "early return": change(
        "    assert clamp(1, 1, 3) == 1\n", "    return\n    assert clamp(1, 1, 3) == 1\n"
    ),
    "turned into a generator": change("clamp(1, 1, 3) == 1\n", "clamp(1, 1, 3) == 1\n    yield\n"),
    "turned into a coroutine": change("def test_one", "async def test_one"),
    "other arguments": change("def test_one()", "def test_one(low=1)"),
    "skip mark": change("def test_one", "@pytest.mark.skip\ndef test_one"),
    "module mark": BASE + "\npytestmark = pytest.mark.skip\n",
    "class mark": change("    limit = 3\n", "    limit = 3\n    pytestmark = pytest.mark.skip\n"),
    "not a test any more": change("    limit = 3\n", "    limit = 3\n    __test__ = False\n"),
    "shadowed test": BASE + "\n\ndef test_one():\n    pass\n",
    "shadowed class": BASE + "\n\nclass TestClamp:\n    pass\n",
    "shadowed method": change("    limit = 3\n", "    limit = 3\n\n    def test_high(self): ...\n"),
    "shadowed product": BASE + "\n\ndef clamp(*a):\n    return 1\n",
    "shadowed product by import": BASE + "\n\nfrom fake import clamp\n",
    "shadowed product by a grown import": change("import clamp", "import clamp, mean as os"),
    "shadowed built-in": BASE + "\n\ndef len(x):\n    return 3\n",
    "shadowed attribute": change("    limit = 3\n", "    limit = 3\n    limit = 4\n"),
    "star import": BASE + "\n\nfrom fake import *\n",
    "replaced fixture": BASE + "\n\n@pytest.fixture\ndef low():\n    return 2\n",
    "replaced fixture by name": BASE + '\n\n@pytest.fixture(name="low")\ndef lower():\n    return 2\n',
    "fixture of a name unread": BASE + "\n\n@pytest.fixture(**options)\ndef lower():\n    return 2\n",
    "autouse fixture": BASE + "\n\n@pytest.fixture(autouse=True)\ndef always():\n    pass\n",
    "setup hook": BASE + "\n\ndef setup_module():\n    pass\n",
    "setup method": change("    limit = 3\n", "    limit = 3\n\n    def setup_method(self): ...\n"),
    "runner hook": BASE + "\n\ndef pytest_runtest_makereport(): ...\n",
    "code at load": BASE + "\n\nsetattr(os, 'x', 1)\n",
    "loop at load": BASE + "\n\nfor _ in range(3):\n    pass\n",
    "assignment into the product": BASE + "\n\nos.sep = '/'\n",
    "fewer parameter sets": change('"x", [1, 2]', '"x", [1]'),
    "parameter sets in another place": change('"x", [1, 2]', '"x", [0, 1, 2]'),
    "marked parameter set": change('"x", [1, 2]', '"x", [1, pytest.param(2, marks=pytest.mark.xfail)]'),
    "changed fixture": change("    return 1\n", "    return 2\n"),
    "changed table": change("CASES = [1, 2]", "CASES = [1, 3]"),
    "removed import": change("import os\n", ""),
    "other base class": change("class TestClamp:", "class TestClamp(object):"),
    "order of tests": change("import os\n", "").replace("CASES", "import os\nCASES", 1),
    "broken syntax": BASE + "\ndef (",
    "null bytes": BASE + "\0",
    "too deep": BASE + "x = " + "(" * 500 + ")" * 500,
}


@pytest.mark.parametrize("name", INTRUSIONS)
def test_intrusions(name):
    reason = obstacle(BASE.encode(), INTRUSIONS[name].encode())
    assert reason
    assert "\n" not in reason


def test_the_reason_names_the_place():
    assert obstacle(BASE.encode(), INTRUSIONS["renamed test"].encode()) == (
        "test_one (line 18 of the base) is changed or gone"
    )
    changed = change("self.limit) ==", "self.limit) >=")
    assert obstacle(BASE.encode(), changed.encode()) == "test_high (line 25 of the base) is changed or gone"
    reason = obstacle(b"", b"import pytest\n\ndef setup_module():\n    pass\n")
    assert reason == "line 3: setup_module acts on other tests"


def test_a_method_beside_what_a_class_inherits_is_an_intrusion():
    base = b"class TestX(Base):\n    def test_a(self): self.check()\n"
    assert obstacle(base, base + b"    def test_b(self): self.check()\n") is None
    assert obstacle(base, base + b"    def check(self): pass\n")
    assert obstacle(base, base + b"    def _callTestMethod(self, m): pass\n")


SHARED = [
    ("import os\nimport pytest\n\n\n@pytest.fixture\ndef db():\n    return 1\n", True),
    ("DATA = {'a': [1, -2]}\n", True),
    ("@pytest.fixture\ndef client():\n    return 1\n", False),
    ("@pytest.fixture(name='client')\ndef anything():\n    return 1\n", False),
    ("@pytest.fixture(autouse=True)\ndef always():\n    return 1\n", False),
    ("def pytest_collection_modifyitems(items):\n    items.clear()\n", False),
    ("pytest_plugins = ['evil']\n", False),
    ("collect_ignore = ['test_a.py']\n", False),
    ("x = patch_everything()\n", False),
    ("patch_everything()\n", False),
    ("if True:\n    import evil\n", False),
]


@pytest.mark.parametrize(("source", "inert"), SHARED)
def test_what_acts_on_other_files_may_only_define_new_things(source, inert):
    asked = requested(b"@usefixtures('db2')\ndef test_a(client): pass\n")
    assert asked >= {"client", "db2"}
    assert (obstacle(b"", source.encode(), everywhere=asked) is None) is inert


def test_tests_are_found_by_the_names_of_their_ids():
    source = b"def test_a(): ...\nasync def test_b(): ...\nclass C:\n  class D:\n    def test_c(self): ...\n"
    assert list(find_tests(source)) == ["test_a", "test_b", "C::D::test_c"]
    assert find_tests(b"def (") == {}


@pytest.mark.parametrize(
    "mark",
    [
        "@pytest.mark.skip",
        "@pytest.mark.skipif(True, reason='x')",
        "@pytest.mark.xfail(strict=True)",
        "@unittest.skip('x')",
        "@unittest.expectedFailure",
        "@skipIf(True, 'x')",
    ],
)
def test_new_skip_marks_are_seen(mark):
    base = b"def test_a(): ...\n@pytest.mark.skip\ndef test_b(): ...\n"
    assert newly_skipped(base, base) == []
    assert newly_skipped(base, mark.encode() + b"\n" + base) == ["test_a"]


@pytest.mark.parametrize(
    ("base", "new", "same"),
    [
        ("x = 1\n", "# why\nx  =  (1)\n", True),
        ("x = 1\n", "x = 2\n", False),
        ("def f():\n    '''a'''\n", "def f():\n    '''b'''\n", False),
        ("x = (\n", "x = (\n\n", False),
    ],
)
def test_comments_and_layout_are_not_code(base, new, same):
    assert same_code(base.encode(), new.encode()) is same
