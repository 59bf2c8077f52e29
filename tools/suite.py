"""Test suites: from the user's test command to a command that leaves a JUnit report, and the report's outcomes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tools import runners
from tools.junit import TestOutcome, parse_junit
from tools.scripts import NoScript, Read, resolved
from tools.shellwords import NotASuite, Word, after_lead_in, edited, simple_commands

__all__ = [
    "DEFAULT_TEST_COMMAND",
    "EXIT_CODE",
    "IN_SANDBOX",
    "NotASuite",
    "Place",
    "TestOutcome",
    "parse_junit",
    "runner_of",
    "shuffled",
    "suite_command",
]

DEFAULT_TEST_COMMAND = "python -m pytest"
PLACEHOLDER = "{junit}"
EXIT_CODE = runners.EXIT_CODE


@dataclass(frozen=True, slots=True)
class Place:
    """Where the Python is that runs our side of a suite, and the folder that holds the package `tools`."""

    python: str
    folder: str


IN_SANDBOX = Place("/opt/toolbox/bin/python3", "/opt/toolbox/lib/agent-tools")

_LAUNCH = "import sys; sys.path.insert(0, {folder!r}); from tools.launch import main; main()"
_PYTEST = re.compile(r"(?:.*/)?py\.?test(?:-\d+(?:\.\d+)?)?")

# pytest's options (and those of its common plugins) whose value is the next word.
_SHORT_WITH_VALUE = "kmpcoWrn"
_LONG_WITH_VALUE = frozenset(
    """
    assert basetemp capture code-highlight color config-file confcutdir deselect doctest-glob doctest-report
    durations durations-min ignore ignore-glob import-mode junit-prefix junit-xml junitprefix junitxml
    last-failed-no-failures lfnf log-auto-indent log-cli-date-format log-cli-format log-cli-level
    log-date-format log-disable log-file log-file-date-format log-file-format log-file-level log-file-mode
    log-format log-level max-warnings maxfail override-ini pastebin pdbcls pythonwarnings report-chars
    rootdir show-capture tb verbosity anyio-mode asyncio-mode benchmark-json benchmark-storage count cov
    cov-config cov-context cov-fail-under cov-report dc dist ds html hypothesis-profile hypothesis-seed
    maxprocesses numprocesses random-order-bucket random-order-seed reruns reruns-delay rsyncdir rsyncignore
    timeout timeout-method tx
    """.split()  # noqa: SIM905 (a table to read)
)
_LONG_FLAGS = frozenset(
    """
    cache-clear cache-show co collect-in-virtualenv collect-only continue-on-collection-errors cov-append
    cov-branch cov-reset debug disable-plugin-autoload disable-pytest-warnings disable-warnings
    doctest-continue-on-failure doctest-ignore-import-errors doctest-modules exitfirst failed-first ff
    fixtures fixtures-per-test forked full-trace funcargs keep-duplicates last-failed lf new-first nf no-cov
    no-header no-showlocals no-summary noconftest pdb pyargs quiet random-order runxfail setup-only
    setup-plan setup-show showlocals stepwise stepwise-skip strict strict-config strict-markers sw sw-skip
    trace trace-config verbose xfail-tb
    """.split()  # noqa: SIM905 (a table to read)
)


def runner_of(test_command: str, read: Read | None = None) -> str:
    """What runs the tests: "pytest", "junit" (the command writes the report itself), one of runners.RUNNERS,
    "script" (one of package.json, which is read where it runs), or "exit code".

    `read` gives the text of the repository's package.json, so that what a script runs can be told. Raises NotASuite
    for a command of which that can't be said.
    """
    if not test_command.strip():
        raise NotASuite("the test command is empty")
    if _pytest_arguments(test_command.replace(PLACEHOLDER, "junit")) is not None:
        return "pytest"
    if PLACEHOLDER in test_command:
        return "junit"
    try:
        run = resolved(test_command, read)[1] if read else runners.find_run(test_command)
    except NoScript as error:
        raise NotASuite(str(error)) from error
    return run.runner if run else EXIT_CODE


def shuffled(test_command: str, read: Read) -> str | None:
    """The command with its tests in another order, the same each time; None where its runner has no option for that.

    Scripts of package.json are written out; `read` gives its text. Raises NotASuite as `runner_of` does.
    """
    try:
        line, run = resolved(test_command, read)
    except NoScript as error:
        raise NotASuite(str(error)) from error
    return runners.shuffled(line, run) if run else None


def suite_command(
    test_command: str, junit_path: str, ids: Sequence[str] = (), place: Place = IN_SANDBOX
) -> str:
    """Return a bash command line that runs the suite and leaves its JUnit XML at `junit_path`.

    Its exit code is the runner's own. Give each run a fresh `junit_path`: what the runners need besides goes beside
    it, so that neither the repository nor a later run sees it.

    A command that runs pytest gets the options for that, and with `ids` these node ids instead of its own path
    arguments; its other options stay. A command with the placeholder {junit} writes the report itself; unless it is
    pytest, it runs as a whole whatever `ids` say. Any other command is run by tools/launch.py of `place`, which turns
    what the runner tells into a report; where it is a runner that can select files (runners.SELECTS), only those
    of the `ids` run.

    Raises NotASuite with one clear line.
    """
    for test_id in ids:
        if not test_id or "\0" in test_id:
            raise NotASuite(f"not a test id: {test_id!r}")
    runner = runner_of(test_command)
    command = test_command.replace(PLACEHOLDER, shlex.quote(junit_path))
    if runner == "junit":
        return command
    if runner == "pytest":
        return _pytest_command(command, junit_path, ids)
    request = json.dumps({"command": test_command, "report": junit_path, "ids": list(ids)})
    launch = shlex.join([place.python, "-I", "-c", _LAUNCH.format(folder=place.folder)])
    # By standard input, since thousands of ids don't fit on a command line of the system; JSON is one line.
    return f"{launch} <<'ASSAY'\n{request}\nASSAY\n"


def _pytest_command(command: str, junit_path: str, ids: Sequence[str]) -> str:
    words = _pytest_arguments(command)
    assert words is not None
    options = [
        "-o junit_family=xunit1",
        f"-o {shlex.quote(f'cache_dir={junit_path}.cache')}",
        f"--junitxml={shlex.quote(junit_path)}",
    ]
    # Our last option has its value attached, so an id after it can't become the value of the user's last option.
    inserted = " " + " ".join([*options, *(_argument(test_id) for test_id in ids)])
    last = next((before for before, word in pairwise(words) if word.text == "--"), words[-1])
    edits = [(last.end, last.end, inserted)]
    if ids:
        edits += [(word.start, word.end, "") for word in _paths(words[1:])]
    return edited(command, edits)


def _argument(test_id: str) -> str:
    # pytest takes "-x" for an option and "@x" for a file of arguments; the node id that it reports stays the same.
    return shlex.quote(f"./{test_id}" if test_id[0] in "-@" else test_id)


def _pytest_arguments(command: str) -> list[Word] | None:
    """The words of the one run of pytest in `command`, from the word pytest on; None when there is none."""
    sure: list[list[Word]] = []
    likely: list[list[Word]] = []
    for words in simple_commands(command):
        lead = after_lead_in(words)
        for i in range(lead, len(words)):
            if _PYTEST.fullmatch(words[i].text):
                if i == lead or words[i - 1].text == "-m":
                    sure.append(words[i:])
                elif not any(word.text in ("install", "echo", "add") for word in words[:i]):
                    likely.append(words[i:])
                break
    runs = sure or likely
    if len(runs) > 1:
        raise NotASuite(f"the test command {command!r} runs pytest more than once; name one run")
    return runs[0] if runs else None


def _paths(words: Sequence[Word]) -> Iterator[Word]:
    """Those of pytest's arguments that are paths or node ids, and a `--` before them."""
    only_paths = value_follows = maybe_value = False
    for word in words:
        text = word.text
        if only_paths:
            yield word
        elif value_follows:
            value_follows = False
        elif text == "--":
            only_paths = True
            yield word
        elif text.startswith("--"):
            name = text[2:]
            value_follows = name in _LONG_WITH_VALUE
            maybe_value = not value_follows and "=" not in name and name not in _LONG_FLAGS
        elif text.startswith("-") and len(text) > 1:
            letter = next((i for i, c in enumerate(text) if i and c in _SHORT_WITH_VALUE), None)
            value_follows = letter == len(text) - 1
            maybe_value = False
        else:
            # After an option that we don't know a word may be its value: only what looks like tests is dropped.
            if not maybe_value or re.match(r"\.?/|tests?(/|$)|.*\.py($|::)", text):
                yield word
            maybe_value = False
