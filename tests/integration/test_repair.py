"""local/repair with the real tool server, in small projects with seeded bugs."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from agent.attempt import Attempt
from agent.event_log import EventLog
from agent.events import HypothesisStated, ModelReplied, ToolReturned, UserSaid
from agent.models.repair import RepairModel
from agent.toolbox import Toolbox
from agent.types import ToolCall
from tests.integration.workspace import base_of, tool_server

REPOSITORY = Path(__file__).parents[2]

SHOP = '''"""Prices and stock."""


class OutOfStock(Exception):
    pass


def discount(amount, total):  # percent
    if total > 100:
        return amount * 10 / 100
    return 0


class Stock:
    def __init__(self):
        self.items = {}

    def put(self, name, count):
        self.items[name] = self.items.get(name, 0) + count

    def take(self, name):
        if not self.has(name):
            raise OutOfStock(name)
        self.items[name] -= 1
        return self.items[name]

    def has(self, name):
        return self.items.get(name, 0) >= 0

    def last(self, names):
        return names[len(names) - 1]

    def label(self, name, default=None):
        known = {"pen": "", "ink": "Ink"}
        return known.get(name) or default
'''
TESTS = """import pytest

from shop import OutOfStock, Stock, discount


def test_small_total():
    assert discount(50, 99) == 0


def test_large_total():
    assert discount(50, 101) == 5


def test_put_and_take():
    stock = Stock()
    stock.put("pen", 2)
    assert stock.take("pen") == 1
    assert stock.has("pen")


def test_last():
    assert Stock().last(["a", "b"]) == "b"


def test_label():
    assert Stock().label("ink") == "Ink"
    assert Stock().label("cup", "?") == "?"
"""
BOUNDARY = "def test_wanted():\n    assert discount(50, 100) == 5\n"
CONDITION = (
    "def test_wanted():\n    stock = Stock()\n    stock.put('pen', 1)\n    assert stock.take('pen') == 0\n"
    "    with pytest.raises(OutOfStock):\n        stock.take('pen')\n"
)
NONE_CHECK = "def test_wanted():\n    assert Stock().label('pen', '?') == ''\n"
GUARD = "def test_wanted():\n    with pytest.raises(ValueError):\n        Stock().last([])\n"
UNSOLVABLE = "def test_wanted():\n    assert Stock().last(['a', 'b']) == '2c624232cc221f02'\n"
# Most small edits of the loop never end.
LOOPING = """def digits(number):
    found = []
    while number > 10:
        found.append(number % 10)
        number //= 10
    found.append(number)
    return found[::-1]
"""


@asynccontextmanager
async def tools(root: Path, scratch: Path):
    config = {"workspace": str(root), "scratch": str(scratch), "test_command": f"{sys.executable} -m pytest"}
    async with anyio.create_task_group() as tasks:
        toolbox = Toolbox(tasks, lambda: tool_server(config))
        await toolbox.start()
        yield toolbox
        toolbox.stop()


def repair(tmp_path: Path, files: dict[str, str], *, named: str = "", seconds: float = 60.0):
    """Let the model work in a project of `files`; the arguments of its `submit` (with the places that it stated as the
    cause), and the files after it."""
    root = tmp_path / "workspace"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    told = f"These tests fail on the base commit and must pass with your patch:\n- {named}\n" if named else ""
    brief = f"<issue>\nIn {root} something is wrong.\n</issue>\n\n{told}\nTest command: `{sys.executable} -m pytest`."

    log = EventLog(tmp_path / "events.jsonl")
    log.append(UserSaid(1, brief))

    async def work():
        async with tools(root, tmp_path / "scratch") as toolbox:
            deadline = anyio.current_time() + 600
            model = RepairModel(seconds=seconds)
            await Attempt(1, model, toolbox, log, base_of(files), "", 60, deadline).work()
            return await toolbox.call(ToolCall("diff", "diff", {}), timeout=60)

    diff = anyio.run(work)
    result = next(e for e in log.events if isinstance(e, ToolReturned) and e.name == "submit")
    calls = [call for e in log.events if isinstance(e, ModelReplied) for call in e.tool_calls]
    arguments = next(dict(call.arguments) for call in calls if call.name == "submit")
    stated = [e for e in log.events if isinstance(e, HypothesisStated)]
    if not arguments.get("give_up"):
        assert stated and not stated[-1].unchecked
        arguments["where"] = stated[-1].where
    after = {
        str(path.relative_to(root)): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not {"__pycache__", ".git"} & set(path.parts)
    }
    return arguments, result, diff, after


@pytest.mark.parametrize(
    ("test", "old", "new"),
    [
        (BOUNDARY, "total > 100", "total >= 100"),
        (CONDITION, "0) >= 0", "0) > 0"),
        (NONE_CHECK, "known.get(name) or default", None),
        (GUARD, "names[len(names) - 1]", None),
    ],
    ids=["boundary", "condition", "none-check", "guard"],
)
def test_a_seeded_bug_is_repaired(tmp_path, test, old, new):
    files = {"shop.py": SHOP, "test_shop.py": f"{TESTS}\n\n{test}"}
    arguments, result, _, after = repair(tmp_path, files)
    assert not arguments.get("give_up"), arguments["summary"]
    assert result.data == {"submitted": True, "give_up": False}
    if new is not None:
        assert after == {**files, "shop.py": SHOP.replace(old, new)}
    assert after["test_shop.py"] == files["test_shop.py"]
    # The one judge that counts: the tests, run by themselves on what was handed in.
    namespace: dict[str, object] = {}
    exec(after["shop.py"], namespace)
    judged = f"{TESTS}\n\n{test}".replace("from shop import OutOfStock, Stock, discount\n", "")
    exec(judged, namespace)
    for name, check in list(namespace.items()):
        if name.startswith("test_"):
            check()
    assert arguments["where"][0].startswith("shop.py:")


def test_an_unsolvable_test_ends_with_the_files_as_they_were(tmp_path):
    files = {"shop.py": SHOP, "test_shop.py": f"{TESTS}\n\n{UNSOLVABLE}"}
    arguments, result, diff, after = repair(tmp_path, files, seconds=40)
    assert arguments["give_up"] is True
    assert "candidates tried" in arguments["summary"]
    assert after == files
    assert diff.data["patch"] == ""
    assert result.data == {"submitted": True, "give_up": True}


def test_candidates_that_never_end_are_passed_over(tmp_path):
    test = "from digits import digits\n\ndef test_one():\n    assert digits(7) == [7]\n\n\ndef test_two():\n    assert digits(34) == [3, 4]\n\n\ndef test_ten():\n    assert digits(10) == [1, 0]\n\n\ndef test_many():\n    assert digits(1002) == [1, 0, 0, 2]\n"  # noqa: E501
    files = {"digits.py": LOOPING, "test_digits.py": test}
    arguments, _, _, after = repair(tmp_path, files, named="test_digits.py::test_ten")
    assert not arguments.get("give_up"), arguments["summary"]
    namespace: dict[str, object] = {}
    exec(after["digits.py"], namespace)
    assert [namespace["digits"](n) for n in (7, 10, 34, 100, 1002)] == [
        [7],
        [1, 0],
        [3, 4],
        [1, 0, 0],
        [1, 0, 0, 2],
    ]


def test_a_constant_at_import_is_repaired(tmp_path):
    files = {
        "names.py": "import re\n\nNAME = re.compile(r'^[a-z]+$')\n\n\ndef valid(t):\n    return bool(NAME.match(t))\n",
        "test_names.py": "from names import valid\n\n\ndef test_good():\n    assert valid('abc')\n\n\ndef test_line():\n    assert not valid('abc\\n')\n",  # noqa: E501
    }
    arguments, _, _, after = repair(tmp_path, files)
    assert not arguments.get("give_up"), arguments["summary"]
    namespace: dict[str, object] = {}
    exec(after["names.py"], namespace)
    assert [namespace["valid"](t) for t in ("abc", "abc\n", "x1")] == [True, False, False]


def test_a_bug_behind_a_process_is_repaired(tmp_path):
    files = {
        "tool.py": "import sys\n\n\ndef main():\n    if len(sys.argv) > 2:\n        return 3\n    return 0\n\n\nif __name__ == '__main__':\n    sys.exit(main())\n",  # noqa: E501
        "test_tool.py": "import subprocess, sys\nimport tool\n\n\ndef test_none(monkeypatch):\n    monkeypatch.setattr(sys, 'argv', ['tool'])\n    assert tool.main() == 0\n\n\ndef test_one(monkeypatch):\n    monkeypatch.setattr(sys, 'argv', ['tool', 'x'])\n    tool.main()\n    assert subprocess.run([sys.executable, 'tool.py', 'x']).returncode == 3\n",  # noqa: E501
    }
    arguments, _, _, after = repair(tmp_path, files)
    assert not arguments.get("give_up"), arguments["summary"]
    assert after["tool.py"] != files["tool.py"]
    assert after["test_tool.py"] == files["test_tool.py"]


def test_without_a_failing_test_nothing_is_guessed(tmp_path):
    files = {"shop.py": SHOP, "test_shop.py": TESTS}
    arguments, _, diff, after = repair(tmp_path, files)
    assert arguments["give_up"] is True
    assert "--fail-to-pass" in arguments["summary"]
    assert (after, diff.data["patch"]) == (files, "")


def test_what_tests_leave_behind_is_not_handed_in(tmp_path):
    test = "def test_wanted():\n    open('trace.log', 'a').write('x')\n    assert discount(50, 100) == 5\n"
    files = {"shop.py": SHOP, "test_shop.py": f"{TESTS}\n\n{test}"}
    arguments, _, diff, after = repair(tmp_path, files)
    assert not arguments.get("give_up"), arguments["summary"]
    assert set(after) == set(files)
    assert "trace.log" not in diff.data["patch"]
