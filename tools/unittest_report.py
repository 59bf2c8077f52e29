"""Stands in for `python -m unittest` and `python -m doctest`, and notes what became of each test.

Runs on the project's own Python, from 3.8 on, with the standard library alone, and is no part of the package:

    python unittest_report.py FOLDER unittest|doctest [ARGUMENTS of the module]

FOLDER/ids.json lists the tests to run (all if it is empty), FOLDER/tests.json is what this writes.
"""

import json
import os
import sys
import time
import unittest
from typing import Any, Dict, Iterator, List, Optional, Tuple

FOLDER, MODULE = sys.argv[1], sys.argv[2]
WORST = ("failed", "error", "skipped", "xfailed", "passed")
ROOT = os.getcwd()


def file_of_module(name: str) -> str:
    """The file of a module, which may have failed to load."""
    file: Optional[str] = getattr(sys.modules.get(name), "__file__", None)
    if file:
        return os.path.abspath(file)
    parts = name.split(".")
    for place in [ROOT, *sys.path]:
        for end in (".py", "/__init__.py"):
            path = os.path.join(place, *parts) + end
            if os.path.isfile(path):
                return os.path.abspath(path)
    # Found by a discovery that begins in another folder.
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [entry for entry in folders if not entry.startswith((".", "node_modules"))]
        if parts[-1] + ".py" in names and (folder + "/").replace("/", ".").endswith(
            "." + "".join(part + "." for part in parts[:-1])
        ):
            return os.path.join(folder, parts[-1] + ".py")
    return ""


def place_of(test: Any) -> Tuple[str, str, bool]:
    """File and name of a test, and whether it stands for a file that could not be loaded."""
    kind = type(test)
    if kind.__name__ == "_FailedTest":
        return file_of_module(test._testMethodName), "", True
    if kind.__name__ == "ModuleSkipped":
        return file_of_module(test._testMethodName), test._testMethodName, False
    if kind.__name__ == "_ErrorHolder":
        # "setUpClass (tests.test_x.TestA)", "setUpModule (tests.test_x)"
        what, _, where = str(test.description).partition(" (")
        where = where.rstrip(")")
        if what.endswith("Module"):
            return file_of_module(where), "", True
        module, _, name = where.rpartition(".")
        while module not in sys.modules and "." in module:
            module, _, outer = module.rpartition(".")
            name = outer + "." + name
        return file_of_module(module), name.replace(".", "::"), False
    doctest = getattr(test, "_dt_test", None)
    if doctest is not None:
        return os.path.abspath(doctest.filename or doctest.name), doctest.name, False
    if isinstance(test, unittest.FunctionTestCase):
        function = test._testFunc  # type: ignore[attr-defined]
        return os.path.abspath(function.__code__.co_filename), function.__qualname__, False
    name = kind.__qualname__.replace(".", "::") + "::" + getattr(test, "_testMethodName", "runTest")
    return file_of_module(kind.__module__), name, False


def id_of(test: Any) -> str:
    file, name, _ = place_of(test)
    path = os.path.relpath(file, ROOT) if file else ""
    return path + "::" + name if name else path


class Result(unittest.TextTestResult):
    """Notes each test's outcome; the worst where a test has several, as one with subtests has."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.notes: Dict[str, Dict[str, Any]] = {}
        self.began = 0.0

    def note(self, test: Any, outcome: str, message: str = "", text: str = "") -> None:
        file, name, collection = place_of(test)
        key = id_of(test)
        seconds = time.monotonic() - self.began if self.began else 0.0
        note: Dict[str, Any] = {
            "file": file,
            "name": name,
            "outcome": outcome,
            "message": message,
            "text": text,
        }
        note.update(collection=collection, seconds=seconds)
        old = self.notes.get(key)
        if old is not None:
            both = [entry["text"] for entry in (old, note) if entry["outcome"] in ("failed", "error")]
            worst = min(old, note, key=lambda entry: WORST.index(entry["outcome"]))
            note = dict(worst, text="\n".join(both) or worst["text"])
        self.notes[key] = note

    def fault(self, test: Any, error: Any, outcome: str, prefix: str = "") -> None:
        kind, value = error[0], error[1]
        try:
            said = str(value)
        except Exception as broken:
            said = "its text can't be had: " + type(broken).__name__
        text = self._exc_info_to_string(error, test)  # type: ignore[attr-defined]
        self.note(test, outcome, prefix + kind.__name__ + ": " + said, text)

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self.began = time.monotonic()

    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        self.note(test, "passed")

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self.fault(test, err, "failed")

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        # What a test's own code raises is its failure; what breaks around a class or module is an error.
        self.fault(test, err, "error" if type(test).__name__ in ("_FailedTest", "_ErrorHolder") else "failed")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.fault(test, err, "failed", subtest._subDescription() + " ")

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        self.note(test, "skipped", reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self.fault(test, err, "xfailed")

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self.note(test, "failed", "Unexpected success")


class Runner(unittest.TextTestRunner):
    """Runs the wanted tests, and writes what became of them."""

    resultclass = Result

    def run(self, test: Any) -> Any:
        with open(os.path.join(FOLDER, "ids.json"), encoding="utf-8") as file:
            wanted: List[str] = json.load(file)
        result: Any = super().run(chosen(test, wanted) if wanted else test)
        path = os.path.join(FOLDER, "tests.json")
        with open(path + ".new", "w", encoding="ascii") as file:
            json.dump(list(result.notes.values()), file)
        os.replace(path + ".new", path)
        return result


def each(suite: Any) -> Iterator[Any]:
    if isinstance(suite, unittest.TestSuite):
        for part in suite:
            yield from each(part)
    else:
        yield suite


def chosen(suite: Any, wanted: List[str]) -> unittest.TestSuite:
    """The wanted tests in their order: of the suite, and of wanted files that it does not have."""
    tests = [(id_of(test), test) for test in each(suite)]
    there = {test_id.partition("::")[0] for test_id, _ in tests}
    for file in dict.fromkeys(test_id.partition("::")[0] for test_id in wanted):
        if file not in there and file.endswith(".py") and os.path.isfile(file):
            module = file[:-3].replace(os.sep, ".")
            tests += [
                (id_of(test), test) for test in each(unittest.defaultTestLoader.loadTestsFromName(module))
            ]

    files = {test_id.partition("::")[0] for test_id in wanted}

    def place(test_id: str, test: Any) -> Optional[int]:
        for number, name in enumerate(wanted):
            if test_id.startswith(name) and test_id[len(name) :][:1] in ("", ":", "/"):
                return number
        # A file that does not load stands for all of its tests.
        return len(wanted) if test_id in files and place_of(test)[2] else None

    placed = [(place(test_id, test), number, test) for number, (test_id, test) in enumerate(tests)]
    return unittest.TestSuite(test for _, _, test in sorted(one for one in placed if one[0] is not None))


def run_doctest(arguments: List[str]) -> int:
    """As `python -m doctest [-v] [-o OPTION] [-f] FILE...`."""
    import argparse
    import doctest

    parser = argparse.ArgumentParser(prog="python -m doctest")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument(
        "-o", "--option", action="append", default=[], choices=list(doctest.OPTIONFLAGS_BY_NAME)
    )
    parser.add_argument("-f", "--fail-fast", action="store_true")
    parser.add_argument("file", nargs="+")
    given = parser.parse_args(arguments)
    flags = 0
    for option in given.option:
        flags |= doctest.OPTIONFLAGS_BY_NAME[option]
    suite = unittest.TestSuite()
    for name in given.file:
        if name.endswith(".py"):
            folder, file = os.path.split(name)
            sys.path.insert(0, folder)
            try:
                suite.addTests(doctest.DocTestSuite(__import__(file[:-3]), optionflags=flags))
            except ImportError:
                suite.addTests(unittest.defaultTestLoader.loadTestsFromName(file[:-3]))
            del sys.path[0]
        else:
            suite.addTest(
                doctest.DocFileSuite(os.path.abspath(name), module_relative=False, optionflags=flags)
            )
    result = Runner(verbosity=2 if given.verbose else 1, failfast=given.fail_fast).run(suite)
    return 0 if result.wasSuccessful() else 1


def main() -> Optional[int]:
    # As with -m: what is here can be imported, and what lies beside this script can't.
    sys.path[0] = ROOT
    arguments = sys.argv[3:]
    if MODULE == "doctest":
        return run_doctest(arguments)
    sys.argv = [os.path.basename(sys.executable) + " -m unittest", *arguments]
    unittest.main(module=None, argv=sys.argv, testRunner=Runner)
    return None


if __name__ == "__main__":
    sys.exit(main())
