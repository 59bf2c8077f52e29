"""The test runners besides pytest: how a command line that runs one looks, and the options that it needs from us.

What each writes, and where, is read by tools/report.py. All of that goes into one folder beside the report.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.shellwords import Edit, NotASuite, Word, after_lead_in, edited, simple_commands

EXIT_CODE = "exit code"
"""No runner that we know: the command as a whole is one test, and its exit code the outcome."""
RUNNERS = (
    "unittest", "doctest", "nose", "nose2", "node", "jest", "vitest", "mocha", "go", "cargo", "maven", "gradle",
)  # fmt: skip
SCRIPT = "script"
"""A script of package.json, which may run any of them."""
SELECTS = frozenset(RUNNERS) - {"doctest", "nose2"}
"""Those that run only the files that they are given, as far as their files are where these runners look for them."""

_SHUFFLED = {
    "go": ("-shuffle=11",),
    "jest": ("--randomize", "--seed=11"),
    "vitest": ("--sequence.shuffle", "--sequence.seed=11"),
}

_TOOLS = Path(__file__).parent

_WRAPPERS = re.compile(
    r"(?:.*/)?(?:npx|pnpx|bunx|yarn|pnpm|npm|node|cross-env(?:-shell)?|c8|nyc|dotenv|timeout|nice|nohup|xvfb-run|"
    r"stdbuf|sudo|uv|uvx|poetry|pdm|hatch|rye|pipenv|coverage|python[\d.]*|pypy[\d.]*|ts-node|tsx)"
)
"""Programs that run the program which their arguments name."""
_NO_RUNS = frozenset({"install", "i", "ci", "add", "remove", "uninstall", "update", "list", "ls", "why"})
"""Of a wrapper: after these come names, not programs to run."""
_PROGRAMS = {
    "jest": re.compile(r"jest(?:\.js)?|(?:.*/)?node_modules/(?:\.bin/jest|jest/bin/jest\.js)"),
    "vitest": re.compile(r"vitest(?:\.mjs)?|(?:.*/)?node_modules/(?:\.bin/vitest|vitest/vitest\.mjs)"),
    "mocha": re.compile(
        r"_?mocha(?:\.js)?|(?:.*/)?node_modules/(?:\.bin/_?mocha|mocha/bin/_?mocha(?:\.c?js)?)"
    ),
    "nose": re.compile(r"(?:.*/)?nosetests(?:[\d.-]*)"),
    "nose2": re.compile(r"(?:.*/)?nose2(?:[\d.-]*)"),
    "go": re.compile(r"(?:.*/)?go"),
    "cargo": re.compile(r"(?:.*/)?cargo"),
    "maven": re.compile(r"(?:.*/)?mvnw?"),
    "gradle": re.compile(r"(?:.*/)?gradlew?"),
}
_PHASES = frozenset({"test", "package", "verify", "install", "integration-test", "surefire:test"})
_TASK = re.compile(r"(?:[\w.:-]*:)?(?:test|check|build|\w*Test)")
_MODULES = {"unittest": "unittest", "doctest": "doctest", "nose": "nose", "nose2": "nose2"}
_PACKAGE_MANAGERS = re.compile(r"(?:.*/)?(npm|yarn|pnpm)")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a runner inside a command line."""

    runner: str
    words: tuple[Word, ...]
    """From the word that names the runner on."""
    folder: str = ""
    """Where the command line changes to before it, as far as that is plain to see."""
    before: Word | None = None
    """The word before the runner's."""


def find_run(command: str) -> Run | None:
    """The one run of a known runner in `command`, or None. Raises NotASuite when there are several."""
    found: list[Run] = []
    folder = ""
    for words in simple_commands(command):
        words = words[after_lead_in(words) :]
        if words[1:2] and words[0].text == "cd":
            folder = str(Path(folder, words[1].text))
        for i, word in enumerate(words):
            runner = _runner(words, i)
            if runner:
                found.append(Run(runner, tuple(words[i:]), folder, words[i - 1] if i else None))
                break
            if (not i and not _WRAPPERS.fullmatch(word.text)) or word.text in _NO_RUNS:
                break
    tests = [run for run in found if run.runner != SCRIPT] or found
    if len(tests) > 1:
        raise NotASuite(f"the test command {command!r} runs tests more than once; name one run")
    return tests[0] if tests else None


def _runner(words: Sequence[Word], i: int) -> str:
    """The runner that the word at `i` names, or ""."""
    text, rest = words[i].text, [word.text for word in words[i + 1 :]]
    if text == "-m" and rest and rest[0] in _MODULES:
        return _MODULES[rest[0]]
    if re.fullmatch(r"(?:.*/)?(?:node|tsx)", text) and "--test" in rest:
        return "node"
    if _script_name(words[i:]):
        return SCRIPT
    for runner, program in _PROGRAMS.items():
        if program.fullmatch(text) and _tests(runner, rest):
            return runner
    return "jest" if text == "react-scripts" and rest[:1] == ["test"] else ""


def _tests(runner: str, rest: Sequence[str]) -> bool:
    """Whether a program with these arguments runs tests."""
    if runner == "go":
        return rest[:1] == ["test"]
    if runner == "cargo":
        command = next((word for word in rest if not word.startswith(("+", "-"))), "")
        return command in ("test", "t") and not {"--no-run", "--help"} & set(rest)
    if runner == "maven":
        return bool(_PHASES & set(rest)) and "-DskipTests" not in rest
    if runner == "gradle":
        return any(_TASK.fullmatch(word) for word in rest)
    return not {"--version", "--help", "init", "list"} & set(rest[:1])


def _script_name(words: Sequence[Word]) -> str:
    """The script of package.json that `npm test`, `yarn run test:unit` and the like run, if it is one for tests."""
    manager = _PACKAGE_MANAGERS.fullmatch(words[0].text)
    rest = [word.text for word in words[1:]]
    while rest and rest[0] in ("-s", "--silent", "--quiet"):
        rest = rest[1:]
    if not manager or not rest:
        return ""
    if rest[0] in ("test", "t", "tst") and (rest[0] == "test" or manager[1] == "npm"):
        return "test"
    name = rest[1] if rest[0] in ("run", "run-script") and rest[1:] else rest[0]
    named = rest[0] != name or manager[1] == "yarn"
    return name if named and re.fullmatch(r"(?:[\w-]+:)?(?:unit-?)?tests?(?:[:-][\w:-]+)?", name) else ""


def script_of(run: Run) -> tuple[str, str]:
    """The name of the script that a `SCRIPT` run runs, and the arguments that it adds, as bash takes them."""
    name = _script_name(run.words)
    at = next(i for i, word in enumerate(run.words) if i and word.text in (name, "t", "tst"))
    more = [word.text for word in run.words[at + 1 :]]
    if more[:1] == ["--"]:
        more = more[1:]
    return name, shlex.join(more)


# --- options -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """The tests to run."""

    ids: tuple[str, ...]
    root: Path

    @property
    def files(self) -> list[str]:
        return list(dict.fromkeys(test.partition("::")[0] for test in self.ids))

    @property
    def paths(self) -> list[str]:
        """The files, wherever the command line changes to."""
        return [str(self.root / file) for file in self.files]

    @property
    def names(self) -> list[str]:
        """The tests' names, if all ids have one."""
        names = [test.partition("::")[2] for test in self.ids]
        return names if all(names) else []


def prepared(command: str, run: Run, folder: str, wanted: Wanted) -> str:
    """`command` with what makes the runner tell into `folder` what became of each test."""
    return edited(command, _OPTIONS[run.runner](run, folder, wanted))


def shuffled(command: str, run: Run) -> str | None:
    """`command` with its tests in a random order, the same each time; None where the runner has no option for that."""
    options = _SHUFFLED.get(run.runner)
    return edited(command, [_added(run, *options, at=1 if run.runner == "go" else None)]) if options else None


def _added(run: Run, *options: str, at: int | None = None) -> Edit:
    """Words put after the word at index `at`, or at the end but before a `--`."""
    if at is None:
        ends = [i for i, word in enumerate(run.words) if word.text == "--"]
        at = (ends[0] if ends else len(run.words)) - 1
    place = run.words[at].end
    return place, place, "".join(f" {shlex.quote(option)}" for option in options)


def _positional(words: Iterable[Word], flags: frozenset[str]) -> Iterator[Word]:
    """The words that are surely no options and no option's values; `flags` are the options that have none."""
    free = True
    for word in words:
        if word.text in ("--", "-args", "--args"):
            return
        if word.text.startswith("-"):
            free = "=" in word.text or word.text.lstrip("-") in flags
        elif free:
            yield word
        else:
            free = True


def _without(words: Iterable[Word], option: str) -> list[Edit]:
    """Take out an option and its value."""
    edits: list[Edit] = []
    value_follows = False
    for word in words:
        if value_follows and not word.text.startswith("-"):
            edits.append((word.start, word.end, ""))
        value_follows = word.text == option
        if value_follows or word.text.startswith(option + "="):
            edits.append((word.start, word.end, ""))
    return edits


def _replaced(words: Iterable[Word], flags: str, wanted: Wanted) -> list[Edit]:
    """Without the user's own files, where others are wanted."""
    positional = _positional(words, frozenset(flags.split()))
    return [(word.start, word.end, "") for word in positional] if wanted.ids else []


def _python_module(run: Run, folder: str, wanted: Wanted) -> list[Edit]:
    # The script itself reads which tests are wanted; it stands in for "-m unittest".
    script = shlex.join([str(_TOOLS / "unittest_report.py"), folder, run.runner])
    return [(run.words[0].start, run.words[1].end, script)]


def _nose(run: Run, folder: str, wanted: Wanted) -> list[Edit]:
    if run.runner == "nose2":
        plugin = ("--plugin", "nose2.plugins.junitxml", "--junit-xml", "--junit-xml-path")
        return [_added(run, *plugin, f"{folder}/nose.xml")]
    start = 2 if run.words[0].text == "-m" else 1
    edits = _replaced(run.words[start:], "v s x verbose nocapture stop with-doctest", wanted)
    return [*edits, _added(run, "--with-xunit", f"--xunit-file={folder}/nose.xml", *wanted.paths)]


def _node(run: Run, folder: str, wanted: Wanted) -> list[Edit]:
    reporters = (
        "--test-reporter=spec", "--test-reporter-destination=stdout",
        f"--test-reporter={_TOOLS / 'node_reporter.mjs'}", f"--test-reporter-destination={folder}/node.jsonl",
    )  # fmt: skip
    flags = "test watch test-only enable-source-maps no-warnings experimental-strip-types"
    edits = _without(run.words, "--test-reporter") + _without(run.words, "--test-reporter-destination")
    edits += _replaced(run.words[1:], flags, wanted)
    return [*edits, _added(run, *reporters, at=0), *([_added(run, *wanted.paths)] if wanted.ids else [])]


def _jest(run: Run, folder: str, wanted: Wanted) -> list[Edit]:
    options = ["--json", f"--outputFile={folder}/jest.json"]
    if run.words[0].text == "react-scripts":
        options.append("--watchAll=false")
    start = 2 if run.words[0].text == "react-scripts" else 1
    flags = "ci silent verbose coverage bail runInBand i watchAll passWithNoTests detectOpenHandles forceExit"
    edits = [*_without(run.words, "--outputFile"), *_replaced(run.words[start:], flags, wanted)]
    return [*edits, _added(run, *options, *(["--runTestsByPath", *wanted.paths] if wanted.ids else []))]


def _vitest(run: Run, folder: str, wanted: Wanted) -> list[Edit]:
    words = run.words
    commands = [word for word in words[1:2] if word.text in ("run", "watch", "dev", "related")]
    edits = _replaced(words[1 + len(commands) :], "run coverage silent no-watch globals no-coverage", wanted)
    edits += [*_without(words, "--outputFile"), *((word.start, word.end, "run") for word in commands)]
    options = ["--reporter=default", "--reporter=json", f"--outputFile.json={folder}/vitest.json"]
    return [*edits, _added(run, *([] if commands else ["--run"]), *options, *wanted.paths)]


def _mocha(run: Run, folder: str, wanted: Wanted) -> list[Edit]:
    edits = _replaced(run.words[1:], "recursive exit bail b parallel no-timeouts check-leaks color c", wanted)
    edits += _without(run.words, "--reporter") + _without(run.words, "-R")
    options = (f"--reporter={_TOOLS / 'mocha_reporter.cjs'}", f"--reporter-option=output={folder}/mocha.json")
    return [*edits, _added(run, *options, *wanted.paths)]


def _go(run: Run, folder: str, wanted: Wanted) -> list[Edit]:
    options = [] if any(word.text in ("-json", "--json") for word in run.words) else ["-json"]
    flags = "v race short json cover failfast x a n trimpath msan asan fullpath"
    edits = _replaced(run.words[2:], flags, wanted)
    packages: list[str] = []
    if wanted.ids:
        packages = list(dict.fromkeys(str(Path(path).parent) for path in wanted.paths))
        tests = sorted({name.partition("/")[0] for name in wanted.names})
        options += [f"-run=^({'|'.join(map(re.escape, tests))})$"] if tests else []
    after = [i for i, word in enumerate(run.words) if word.text in ("-args", "--args")]
    end = (after[0] if after else len(run.words)) - 1
    if end == 1:  # one insertion, so that the order is sure
        return [*edits, _added(run, *options, *packages, at=1)]
    return [*edits, _added(run, *options, at=1), *([_added(run, *packages, at=end)] if packages else [])]


def _cargo(run: Run, folder: str, wanted: Wanted) -> list[Edit]:
    texts = [word.text for word in run.words]
    at = next(i for i, text in enumerate(texts) if i and text in ("test", "t"))
    options = [] if "--no-fail-fast" in texts else ["--no-fail-fast"]
    # It names the source of each program that the tests are in; errors are still told in words.
    options.append("--message-format=json-render-diagnostics")
    quiet = [(word.start, word.end, "") for word in run.words if word.text in ("-q", "--quiet")]
    edits = [*quiet, *_without(run.words, "--message-format")]
    targets = [re.fullmatch(r"(?:.*/)?tests/([\w-]+)(?:\.rs|/main\.rs)", file) for file in wanted.files]
    if targets and all(targets) and not any(text.startswith(("--test", "--lib", "--doc")) for text in texts):
        for target in targets:
            assert target is not None
            options += ["--test", target[1]]
    return [*edits, _added(run, *options, at=at)]


def _java_classes(wanted: Wanted) -> list[tuple[str, str]]:
    """Class and method of each wanted test; nothing unless all of them are Java tests."""
    found = []
    for test in wanted.ids:
        file, _, name = test.partition("::")
        path = re.fullmatch(
            r"(?:.*/)?src/[\w-]+/(?:java|kotlin|groovy|scala)/(.*)\.(?:java|kt|groovy|scala)", file
        )
        if path is None:
            return []
        method = re.split(r"[\[({]", name.rpartition(" > ")[2])[0].strip()
        found.append((path[1].replace("/", "."), method if re.fullmatch(r"\w+", method) else ""))
    return found


def _maven(run: Run, folder: str, wanted: Wanted) -> list[Edit]:
    options = [] if {"-fae", "--fail-at-end", "-fn"} & {w.text for w in run.words} else ["--fail-at-end"]
    if classes := _java_classes(wanted):
        tests = [f"{name}#{method}" if method else name for name, method in classes]
        options += [f"-Dtest={','.join(dict.fromkeys(tests))}", "-DfailIfNoTests=false"]
        options.append("-Dsurefire.failIfNoSpecifiedTests=false")
    return [_added(run, *options)]


def _gradle(run: Run, folder: str, wanted: Wanted) -> list[Edit]:
    edits = [_added(run, "--continue")]
    at = next((i for i, word in enumerate(run.words) if word.text == "test"), None)
    if at is not None:
        tests = [f"{name}.{method}" if method else name for name, method in _java_classes(wanted)]
        asked = [option for test in dict.fromkeys(tests) for option in ("--tests", test)]
        # Results that are up to date are not written again, so that old ones could not be told from these.
        word = run.words[at]
        line = shlex.join(["cleanTest", "test", *asked])
        edits = [(word.start, word.end, line), edits[0]]
        if at == len(run.words) - 1:
            edits = [(word.start, word.end, f"{line} --continue")]
    return edits


_OPTIONS: dict[str, Callable[[Run, str, Wanted], list[Edit]]] = {
    "unittest": _python_module,
    "doctest": _python_module,
    "nose": _nose,
    "nose2": _nose,
    "node": _node,
    "jest": _jest,
    "vitest": _vitest,
    "mocha": _mocha,
    "go": _go,
    "cargo": _cargo,
    "maven": _maven,
    "gradle": _gradle,
}
