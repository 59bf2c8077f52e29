"""The scripts that run under the project's Python: what they parse as, live edits, children and their limits."""

from __future__ import annotations

import ast
import importlib
import os
import signal
import sys
import time
from importlib.resources import files

import pytest

from agent.models.repair.laboratory import SCRIPTS

FOLDER = files("agent.models.repair.in_sandbox")
MODULE = """import functools

LIMIT = 3


def plain(a):
    return a + 1


def noisy(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args)

    return inner


class Thing:
    __secret = 5

    @noisy
    def grow(self, by=1):
        return by * 2 + self.__secret

    @property
    def text(self):
        return super().__str__()[:1]


def maker(step):
    def add(a):
        return a + step

    return add


add_two = maker(2)
"""


@pytest.fixture(scope="module", autouse=True)
def scripts():
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


@pytest.fixture
def patch():
    return importlib.import_module("repair_patch")


@pytest.fixture
def fork():
    return importlib.import_module("repair_fork")


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "seeded.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("seeded")
    del sys.modules["seeded"]


def change(patcher, old, new):
    """Edit the one occurrence of `old` in the module's live functions."""
    start = MODULE.index(old)
    assert MODULE.count(old) == 1
    for function, code in patcher.prepare([("seeded.py", start, start + len(old), new)]):
        function.__code__ = code


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_python_3_8(name):
    ast.parse(FOLDER.joinpath(name).read_text(), feature_version=(3, 8))


def test_a_function_changes_where_it_is_referred_to(tmp_path, module, patch):
    held = module.plain
    change(patch.Patcher(str(tmp_path)), "a + 1", "a + 10")
    assert held(1) == 11


def test_a_decorated_method_changes_with_its_class_private_names(tmp_path, module, patch):
    change(patch.Patcher(str(tmp_path)), "by * 2", "by * 3")
    assert module.Thing().grow() == 8


def test_a_method_that_calls_super_changes(tmp_path, module, patch):
    change(patch.Patcher(str(tmp_path)), "[:1]", "[:2]")
    assert module.Thing().text == "<s"


def test_a_closure_that_lives_already_changes(tmp_path, module, patch):
    change(patch.Patcher(str(tmp_path)), "a + step", "a - step")
    assert (module.add_two(5), module.maker(1)(5)) == (3, 4)


@pytest.mark.parametrize(("old", "new"), [("LIMIT = 3", "LIMIT = 4"), ("return a + step", "return a")])
def test_what_live_functions_cannot_take_needs_an_import(tmp_path, module, patch, old, new):
    with pytest.raises(patch.NeedsImport):
        change(patch.Patcher(str(tmp_path)), old, new)


def test_lines_in_a_traceback_stay_true(tmp_path, module, patch):
    change(patch.Patcher(str(tmp_path)), "by * 2", "by / 0")
    with pytest.raises(ZeroDivisionError) as error:
        module.Thing().grow()
    assert MODULE.split("\n")[error.traceback[-1].lineno] == "        return by * 2 + self.__secret"


def test_broken_code_is_a_syntax_error(tmp_path, module, patch):
    with pytest.raises(SyntaxError):
        change(patch.Patcher(str(tmp_path)), "a + 1", "a +")


def test_an_edit_concerns_the_lines_of_its_statement(tmp_path, patch):
    text = "def f(a):\n    x = g(\n        a,\n        1,\n    )\n    if a:\n        return x\n    return 0\n"
    (tmp_path / "m.py").write_text(text)
    source = patch.Source(str(tmp_path), "m.py")
    at = text.index("1")
    assert source.lines_of(at, at + 1) == {2, 3, 4, 5}
    after_the_if = text.index("    return 0")
    assert source.lines_of(after_the_if, after_the_if) == set(range(1, 9))


def test_children_that_never_end_are_killed(fork):
    def forever(say):
        say("begun")
        while True:
            pass

    began = time.monotonic()
    jobs = [(0, forever, 0.3), (1, lambda say: say("done"), 20.0)]
    children = {child.key: child for child in fork.run_all(iter(jobs), 2)}
    assert time.monotonic() - began < 15
    assert children[0].timed_out
    assert children[0].said == ["begun"]
    assert (children[1].timed_out, children[1].said) == (False, ["done"])
    with pytest.raises(ProcessLookupError):
        os.kill(children[0].pid, 0)


def test_a_child_that_passed_its_first_part_gets_more_time(fork):
    def slow(say):
        say("whole")
        time.sleep(0.6)
        say("end")

    (child,) = fork.run_all(iter([(0, slow, 0.3)]), 1, {"whole": 20.0})
    assert child.said == ["whole", "end"]


def test_a_child_that_takes_much_memory_or_crashes_harms_no_other(fork):
    def greedy(say):
        say(str(len(bytearray(8 << 30))))

    def crash(say):
        os.kill(os.getpid(), signal.SIGSEGV)

    jobs = [(0, greedy, 20.0), (1, crash, 20.0), (2, lambda say: say("fine"), 20.0)]
    said = {child.key: child.said for child in fork.run_all(iter(jobs), 2)}
    assert said[0][0].startswith("crash")
    assert "MemoryError" in said[0][0]
    assert (said[1], said[2]) == ([], ["fine"])
