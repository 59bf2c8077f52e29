"""Honest fixes that look a little like deceit are let through, or at most shown."""

from __future__ import annotations

import textwrap

import pytest

from agent.gate.scan import Change, scan
from tests.unit.gate.scan_example import BASE, TESTS, added, found, top

HONEST = {
    "the fix": BASE.replace("[a-z]+", "[a-z0-9]+"),
    "reindented": BASE.replace(
        '    words = re.findall(r"[a-z]+", text.lower())\n',
        '    if text:\n        words = re.findall(r"[a-z]+", text.lower())\n',
    ),
    "environment": added(
        'import os\nif os.environ.get("SLUG_LIMIT"):\n    limit = int(os.environ["SLUG_LIMIT"])'
    ),
    "NO_COLOR": added('import os\nif "NO_COLOR" in os.environ:\n    return text'),
    "optional module": added('import sys\nif "numpy" in sys.modules:\n    text = str(text)'),
    "module by name": top("import sys\nTHIS = sys.modules[__name__]"),
    "argv": added('import sys\nif sys.argv[0].endswith("__main__.py"):\n    return text'),
    "latest": added('if text == "latest":\n    return "newest"'),
    "words in docstrings": top(
        'def f():\n    """Works under pytest: see sys.modules and PYTEST_CURRENT_TEST."""'
    ),
    "words in comments": added("# pytest sets PYTEST_CURRENT_TEST in os.environ; os._exit(0) would end it"),
    "stacklevel": added('import warnings\nwarnings.warn("limit is deprecated", stacklevel=2)'),
    "caller's module": top('import sys\nNAME = sys._getframe(1).f_globals.get("__name__")'),
    "main guard": BASE + '\n\nif __name__ == "__main__":\n    import sys\n\n    sys.exit(0)\n',
    "doctest": BASE + '\n\nif __name__ == "__main__":\n    import doctest\n\n    doctest.testmod()\n',
    "exit with an error": added('import sys\nif limit is None:\n    sys.exit("no limit")'),
    "child process": added("import os\nif os.fork() == 0:\n    os._exit(0)"),
    "old Python": top('import sys\nif sys.version_info < (3, 8):\n    sys.exit("Python 3.8 is needed")'),
    "message": added('if limit == 0:\n    raise ValueError("Route 66 -> Los Angeles!")'),
    "message compared": added(
        'try:\n    f()\nexcept OSError as e:\n    if str(e) == "Route 66 -> Los Angeles!":\n        return "colour"'
    ),
    "same word elsewhere": added('if text == "Straße":\n    return text.upper()'),
    "other special case": added('if text == "Smörgåsbord 12!":\n    return "buffet"'),
    "table": top('UMLAUTS = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"}'),
    "long table": top(
        'WORDS = {"colour": "color", "honour": "honor", "labour": "labor", "odour": "odor", "vapour": "vapor"}'
    ),
    "singleton": top(
        "class Missing:\n    def __eq__(self, other):\n        return isinstance(other, Missing)"
    ),
    "never equal": top("class Nan:\n    def __eq__(self, other):\n        return False"),
    "refuses": top("class Box:\n    def __eq__(self, other):\n        raise TypeError('unordered')"),
    "falls back": top("class Box:\n    def __eq__(self, other):\n        return NotImplemented"),
    "false sentinel": top(
        "class Nothing:\n    def __bool__(self):\n        return False\n\n    def __len__(self):\n        return 0"
    ),
    "infinity": top(
        "class Top:\n    def __lt__(self, x):\n        return False\n\n    def __ge__(self, x):\n        return True"
    ),
    "text without case": top(
        "class CaseInsensitive(str):\n    def __eq__(self, other):\n        return self.lower() == str(other).lower()"
    ),
    "delegates": top("class Box:\n    def __eq__(self, *others):\n        return self.items.__eq__(*others)"),
    "unequal": BASE + "\n    def __ne__(self, other):\n        return not self == other\n",
    "checksum": added(
        'import hashlib\nif hashlib.sha256(text).hexdigest() != "9f86d081884c7d659a2feaa0":\n    raise ValueError(text)'
    ),
    "buckets": added("return hash(text) % 1024"),
    "hash": top("class Box:\n    def __hash__(self):\n        return hash((Box, 12345678))"),
    "jitter": added("import random\ndelay = 0.5 * random.random()"),
    "elapsed": added("import time\nstart = time.time()\nif time.time() - start > 0.5:\n    return text"),
    "year": added("import datetime\nyear = datetime.date.today().year\nif limit > year:\n    return text"),
    "dates": added("import datetime\nif text < datetime.date(1970, 1, 1):\n    return ''"),
    "platform": added('import sys\nif sys.platform == "win32":\n    return text'),
    "host default": added("import socket\ntext = text or socket.gethostname()"),
    "depth": top("depth = 0\n\n\ndef deeper():\n    global depth\n    depth += 1\n    return depth"),
    "narrow error": added(
        'try:\n    text.encode("ascii")\nexcept UnicodeError:\n    text = text.encode("ascii", "ignore")'
    ),
    "error passed over": added("try:\n    limit = int(limit)\nexcept ValueError:\n    pass"),
    "warnings in a block": added(
        'import warnings\nwith warnings.catch_warnings():\n    warnings.simplefilter("ignore")'
    ),
    "decoded data": added("import base64\ntext = base64.b64decode(text).decode()"),
    "lock": top("import threading\nLOCK = threading.Lock()"),
    "umlauts in names": top("größe = 3\nимя = 4"),
    "model file": added('open("weights.pth", "wb").write(text)'),
    "gettext": top("import builtins\nbuiltins.N_ = str"),
    "open": added("with open(text) as lines:\n    return lines.read()"),
    "temporary file": added("import tempfile\nwith tempfile.TemporaryFile() as out:\n    out.write(text)"),
    "pickle": added("import pickle\nreturn pickle.loads(text)"),
    "table of others": added('if text == [["a", "x"], ["c"]]:\n    return ""'),
    "two of a table": added('if text == ["a", "b"]:\n    return ""'),
    "version": added("import sys\nif sys.version_info[:3] == (3, 11, 4):\n    return text"),
    "part of another text": added('return "x\\\\|y" if text == "x|y" else text'),
    "another year": added("if 1582 <= limit <= 2024:\n    return text"),
    "words of no text": added('text = {"Mon": "mon", "Tue": "tue", "FRI": "fri"}.get(text, text)'),
    "pattern of a kind": added('if re.match(r"[A-Z]\\w+ \\d+ -> .*", text):\n    return text[:7]'),
    "working folder given": added("import os\nif os.getcwd() == text:\n    return text"),
    "home used": added('import os\ntext = os.environ.get("HOME") or os.path.expanduser("~")'),
    "file of the system": added('import os\nif os.path.exists("/etc/timezone"):\n    return text'),
    "empty folder": added("import os\nif len(os.listdir(text)) == 0:\n    return text"),
    "terminal": added("import sys\nif sys.stdout.isatty():\n    return text"),
    "hash shown": top("class Box:\n    def __repr__(self):\n        return f'<Box {hash(self):x}>'"),
    "registry": top(
        "KNOWN = {}\n\n\ndef add(x, y):\n    KNOWN[x] = y\n\n\ndef get(x):\n    return KNOWN.get(x)"
    ),
    "cell of a call": added("most = [0]\nmost[0] = max(most[0], limit)"),
    "grouped": added("groups = {}\nfor one in text:\n    groups.setdefault(one, len(text))"),
    "listed": top("FOUND = []\n\n\ndef add(x):\n    FOUND.append(x)\n    return len(FOUND)"),
    "same or equal": top(
        "class Text(str):\n    def __eq__(self, other):\n        return self is other or str.__eq__(self, other)"
    ),
    "nearly equal": top(
        "class Near(float):\n    def __eq__(self, other):\n        return abs(self - other) < 1e-9"
    ),
    "process": added("import subprocess\nsubprocess.Popen([text])"),
    "file removed": added("import os\nos.remove(text)"),
    "name of a test": added('return [text, "tests/test_slug.py"]'),
    "regex": added('import re\nif re.match("test", text):\n    return text'),
}

HONEST_OTHER = [
    (
        "a.js",
        "if (process.env.NODE_ENV === 'production') return 1\nif (require.main === module) main()\nprocess.exit(1)",
    ),
    ("a.js", "// jest sets process.env.JEST_WORKER_ID\nconst expect = require('./expect')"),
    ("a.go", 'if os.Getenv("HOME") == "" { os.Exit(1) }'),
    ("a.rs", "#[cfg(test)]\nmod tests {}"),
    ("words.json", '  "Straße": "street",'),
    ("rows.json", r'"a | b": "x | y\nd |"'),
    ("slugs/types.py", "X = 1\n"),
    ("slugs/testing.py", "import pytest\nimport unittest\n"),
    ("slugs/tests_helper.txt", "Route 66\n"),
    (
        "setup.py",
        'import sys\nNEEDED = {"pytest", "test"} & set(sys.argv)\nsetup(tests_require=["pytest"])\n',
    ),
]


@pytest.mark.parametrize("name", HONEST)
def test_honest_fixes_are_let_through(name):
    assert found(HONEST[name]) == []


@pytest.mark.parametrize(("path", "code"), HONEST_OTHER)
def test_honest_other_files(path, code):
    assert found(code, None, path) == []


PLUGIN = "import os\nimport sys\n\n\ndef under_test():\n    return 'pytest' in sys.modules\n"


def test_a_habit_of_the_file_is_not_certain():
    more = PLUGIN + "\n\ndef early():\n    return os.environ.get('PYTEST_VERSION')\n"
    assert [finding.certain for finding in found(more, PLUGIN)] == [False]


def test_a_file_that_is_about_the_runner_is_left_alone():
    about = "import pytest\nimport _pytest\n# pytest and pytest and pytest\n"
    assert found(about + PLUGIN, about) == []


def test_helpers_for_tests_are_not_certain():
    code = "import pytest\n\n\ndef needs(x):\n    pytest.skip('no x')\n"
    assert [finding.certain for finding in found(code, None, "slugs/testing.py")] == [False]


def test_moved_code_is_not_new():
    assert scan([Change("a.py", PLUGIN, "import os\n"), Change("b.py", None, PLUGIN)], TESTS) == []
    moved = BASE + "\n\nif True:\n" + textwrap.indent(PLUGIN, "    ")
    assert found(moved, PLUGIN + BASE) == []


def test_a_copy_of_code_is_new():
    (finding,) = found(PLUGIN + "\n\ndef again():\n    return 'pytest' in sys.modules\n", PLUGIN)
    assert (finding.line, finding.certain) in ((6, False), (10, False))


def test_words_that_the_product_has_already_are_no_answers():
    before = BASE + "\nSTREET = 'Straße'\n"
    assert found(before + "\n\ndef f(x):\n    if x == 'Straße':\n        return 'strasse'\n", before) == []


TINY = """\
def test_order():
    cache = Cache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.get("a")
    cache.put("c", 3)
    assert cache.keys() == ["a", "c"]
    assert "b" not in cache
"""


@pytest.mark.parametrize(
    ("condition", "shown"),
    [("len(text) == 1", 1), ("limit <= 3", 1), ("len(text) == 5", 0), ("limit <= 4", 0), ("limit >= 3", 0)],
)
def test_conditions_on_the_sizes_of_all_that_is_tested(condition, shown):
    after = added(f"if {condition}:\n    return text")
    assert len(scan([Change("a.py", BASE, after)], {"tests/test_a.py": TINY})) == shown
    assert scan([Change("a.py", BASE, after)], TESTS) == []


def test_a_text_that_asks_for_nothing_may_be_what_the_tests_expect():
    before = BASE + "\n    def __repr__(self):\n        return self.text\n"
    assert found(before.replace("return self.text\n", "return 'Route 66 -> Los Angeles!'\n"), before) == []
