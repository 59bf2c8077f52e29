"""Runs test functions without a test runner in the process, and says how they end. Text that the gate sends over.

Under the project's own Python (3.8 and later), from a tree without test files: the modules come as text, `pytest` in
them is a stand-in of another name. Supported is what small tests need: plain functions and classes, parametrize,
raises, approx, fixtures of the same module, tmp_path, unittest.TestCase. What needs more ends as it may: the gate
believes only failures that are those of the real run.

The job, put in place of {} below, is {"modules": [[name, folder, source, [test, ...]], ...], "out": path,
"stand_in": name, "root": path of the tree, "rounds": number, "days": number}: all tests run `rounds` times in turn,
`days` from now by the clock. What is found out is written a line a test, for a test that never ends may end it all.
"""
# ruff: noqa: PTH110, PTH118, PTH120

import inspect
import json
import os
import re
import signal
import sys
import tempfile
import traceback
import types
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

JOB: Dict[str, Any] = {}
LIMIT = 5.0
"""Seconds that a test may take."""


class Hung(BaseException):
    """A test took too long. That says nothing of the fix, but others shall have their turn."""


def watch(seconds: float) -> None:
    """Let what runs then be Hung after so many seconds; 0: no longer."""

    def hang(*_: Any) -> None:
        raise Hung

    signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, seconds)


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


class Raises:
    def __init__(self, expected: Any, match: Any = None) -> None:
        self.expected, self.match = expected, match
        self.value: Any = None

    def __enter__(self) -> "Raises":
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> bool:
        if kind is None:
            raise Failed(f"DID NOT RAISE {self.expected!r}")
        if not issubclass(kind, self.expected):
            return False
        self.value, self.type, self.tb = value, kind, trace
        if self.match is not None and not re.search(self.match, str(value)):
            raise AssertionError("the message does not match")
        return True


class Approx:
    def __init__(self, expected: Any, rel: Any = None, abs: Any = None, nan_ok: bool = False) -> None:
        self.expected, self.rel, self.abs = expected, rel or 1e-6, abs or 1e-12

    def _near(self, a: Any, b: Any) -> bool:
        if isinstance(b, dict):
            return a.keys() == b.keys() and all(self._near(a[key], b[key]) for key in b)
        if isinstance(b, (list, tuple)):
            return len(a) == len(b) and all(map(self._near, a, b))
        return bool(a == b or abs(a - b) <= max(self.abs, self.rel * abs(b)))

    def __eq__(self, other: object) -> bool:
        return self._near(other, self.expected)

    __hash__ = None  # type: ignore[assignment]


class Param:
    def __init__(self, *values: Any, **rest: Any) -> None:
        self.values = values


class Marks:
    def __getattr__(self, name: str) -> Any:
        if name == "parametrize":
            return parametrize

        def mark(*arguments: Any, **named: Any) -> Any:
            plain = len(arguments) == 1 and not named and inspect.isroutine(arguments[0])
            if plain or (len(arguments) == 1 and inspect.isclass(arguments[0])):
                return arguments[0]
            return lambda target: target

        return mark


def parametrize(names: Any, values: Any, **_: Any) -> Any:
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",")]

    def note(target: Any) -> Any:
        sets = []
        for value in values:
            value = value.values if isinstance(value, Param) else value if len(names) > 1 else (value,)
            sets.append(dict(zip(names, value)))  # noqa: B905 (3.8)
        target.__dict__.setdefault("_sets", []).append(sets)
        return target

    return note


def fixture(function: Any = None, **named: Any) -> Any:
    if function is None:
        return lambda real: fixture(real, **named)
    function._is_fixture = True
    return function


def stand_in(name: str) -> types.ModuleType:
    module = types.ModuleType(name)

    def skip(reason: str = "", **_: Any) -> None:
        raise Skipped(reason)

    def fail(reason: str = "", **_: Any) -> None:
        raise Failed(reason)

    def raises(expected: Any, *arguments: Any, **named: Any) -> Raises:
        if arguments and callable(arguments[0]):
            with Raises(expected) as caught:
                arguments[0](*arguments[1:], **named)
            return caught
        return Raises(expected, **named)

    given = {"raises": raises, "approx": Approx, "mark": Marks(), "param": Param, "fixture": fixture}
    for key, value in {**given, "skip": skip, "fail": fail, "xfail": skip}.items():
        setattr(module, key, value)
    return module


class Scene:
    """The fixtures of one call."""

    def __init__(self, module: Any, given: Dict[str, Any]) -> None:
        self.module, self.values = module, dict(given)
        self.open: List[Any] = []

    def arguments(self, function: Any) -> Dict[str, Any]:
        named = inspect.signature(function).parameters.values()
        return {p.name: self.value(p.name) for p in named if p.default is p.empty and p.name != "self"}

    def value(self, name: str) -> Any:
        if name not in self.values:
            if name == "tmp_path":
                self.values[name] = Path(tempfile.mkdtemp())
            else:
                maker: Any = getattr(self.module, name, None)
                if not getattr(maker, "_is_fixture", False):
                    raise LookupError(f"no fixture {name} here")
                made = maker(**self.arguments(maker))
                if inspect.isgenerator(made):
                    self.open.append(made)
                    made = next(made)
                self.values[name] = made
        return self.values[name]

    def close(self) -> None:
        for generator in reversed(self.open):
            next(generator, None)


def sets_of(function: Any) -> List[Dict[str, Any]]:
    """All combinations of the parameter sets; one empty one where there are none."""
    combined: List[Dict[str, Any]] = [{}]
    for sets in getattr(function, "_sets", ()):
        combined = [{**one, **more} for one in combined for more in sets]
    return combined


def call(module: Any, cls: Any, name: str, scene: Scene) -> None:
    """Call the test `name` of a class, or of the module itself."""
    if cls is module:
        function = getattr(module, name)
        function(**scene.arguments(function))
    elif hasattr(cls, "assertEqual"):
        case = cls(name)
        cls.setUpClass()
        case.setUp()
        try:
            getattr(case, name)()
        finally:
            case.tearDown()
    else:
        one = cls()
        getattr(one, "setup_method", lambda: None)()
        bound = getattr(one, name)
        bound(**scene.arguments(bound))


def run(module: Any, test: str) -> Iterator[Tuple[int, str, str, int]]:
    owner, _, name = test.rpartition("::")
    cls = module
    for part in owner.split("::") if owner else ():
        cls = getattr(cls, part)
    function = getattr(cls, name)
    for number, given in enumerate(sets_of(function)):
        scene = Scene(module, given)
        try:
            watch(LIMIT)
            call(module, cls, name, scene)
            scene.close()
            watch(0)
        except BaseException as error:
            watch(0)
            lines = [
                f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == module.__file__
            ]
            yield (
                number,
                type(error).__name__,
                str(error).partition("\n")[0][:300],
                (lines[-1] or 0) if lines else 0,
            )
        else:
            yield number, "", "", 0


def shift_clock(days: int) -> None:
    """Let the process believe that so many days have passed. What asks the system itself is not deceived."""
    import datetime
    import time

    seconds = days * 86400.0
    real_time, real_ns = time.time, time.time_ns
    time.time = lambda: real_time() + seconds
    time.time_ns = lambda: real_ns() + int(seconds) * 10**9
    real_datetime: Any = datetime.datetime
    real_date: Any = datetime.date

    class Later(type):
        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, cls.__mro__[1])

    class DateTime(real_datetime, metaclass=Later):  # type: ignore[misc]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real_datetime.now(tz) + datetime.timedelta(days=days)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

        @classmethod
        def utcnow(cls) -> Any:
            return real_datetime.utcnow() + datetime.timedelta(days=days)

    class Date(real_date, metaclass=Later):  # type: ignore[misc]
        @classmethod
        def today(cls) -> Any:
            return real_date.today() + datetime.timedelta(days=days)

    datetime.datetime, datetime.date = DateTime, Date  # type: ignore[misc]


def main() -> None:
    if JOB["days"]:
        shift_clock(JOB["days"])
    out = os.open(JOB["out"], os.O_WRONLY | os.O_CREAT, 0o600)

    def tell(*result: Any) -> None:
        os.write(out, json.dumps(result).encode() + b"\n")

    sys.modules[JOB["stand_in"]] = stand_in(JOB["stand_in"])
    loaded = []
    for name, folder, source, tests in JOB["modules"]:
        try:
            place = folder
            while os.path.exists(os.path.join(place, "__init__.py")):
                place = os.path.dirname(place)
            for path in (JOB["root"], os.path.join(JOB["root"], "src"), place):
                if path not in sys.path:
                    sys.path.insert(0, path)
            module = types.ModuleType(name)
            module.__file__ = os.path.join(folder, name + ".py")
            sys.modules[name] = module
            exec(compile(source, module.__file__, "exec"), module.__dict__)  # noqa: S102
        except BaseException as error:
            tell(0, name, "", -1, type(error).__name__, str(error)[:300], 0)
            continue
        loaded += [(name, module, test) for test in tests]
    for number in range(JOB["rounds"]):
        for one in list(loaded):
            name, module, test = one
            try:
                for result in run(module, test):
                    tell(number, name, test, *result)
                    if result[1] == Hung.__name__ and one in loaded:
                        loaded.remove(one)
            except BaseException as error:
                tell(number, name, test, -1, type(error).__name__, str(error)[:300], 0)


main()
