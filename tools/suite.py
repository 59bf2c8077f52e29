"""Test suites: from the user's test command to a command that leaves a JUnit report, and the report's outcomes."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar
from xml.parsers import expat

DEFAULT_TEST_COMMAND = "python -m pytest"
PLACEHOLDER = "{junit}"

MAX_DETAIL = 20_000
"""Characters kept of one failure's text; of longer ones the start and the end."""
MAX_MESSAGE = 2_000


class NotASuite(ValueError):
    """The test command cannot be made to leave a JUnit report."""


# --- the command -----------------------------------------------------------------------------------------

# One word of a shell command line. Substitutions are one level deep: test commands are simple.
_NESTED = r"\((?:[^()]|\((?:[^()])*\))*\)"
_WORD = rf"""(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[$<>]{_NESTED}|`[^`]*`|[^\s;&|<>()'"\\`])+"""
_TOKEN = re.compile(
    rf"(?P<space>(?:[ \t\r]|\\\n)+|\#[^\n]*)"
    rf"|(?P<redirect>(?:\d*(?:<<<|<<-?|<&|>&|>>|<>|>\||[<>](?!\())|&>>?)[ \t]*(?:{_WORD})?)"
    rf"|(?P<word>{_WORD})"
    r"|(?P<end>;;|&&|\|\||\|&|[\n;|&()])",
    re.DOTALL,
)
_PYTEST = re.compile(r"(?:.*/)?py\.?test(?:-\d+(?:\.\d+)?)?")
_LEAD_IN = re.compile(
    r"[A-Za-z_]\w*=.*|!|\{|if|then|else|elif|do|while|until|time|env|exec|command", re.DOTALL
)

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


@dataclass(frozen=True, slots=True)
class _Word:
    start: int
    end: int
    text: str
    """Without its quotes."""


def suite_command(test_command: str, junit_path: str, ids: Sequence[str] = ()) -> str:
    """Return a bash command line that runs the suite and leaves its JUnit XML at `junit_path`.

    A command that runs pytest gets the options for that, and with `ids` these node ids instead of its own path
    arguments; its other options stay. Give each run a fresh `junit_path`: pytest's cache goes beside it, so
    that neither the repository nor a later run sees it. A command with the placeholder {junit} writes the
    report itself; unless it is pytest, it runs as a whole whatever `ids` say.

    Raises NotASuite with one clear line.
    """
    for test_id in ids:
        if not test_id or "\0" in test_id:
            raise NotASuite(f"not a test id: {test_id!r}")
    has_placeholder = PLACEHOLDER in test_command
    command = test_command.replace(PLACEHOLDER, shlex.quote(junit_path))
    words = _pytest_arguments(command)
    if words is None:
        if has_placeholder:
            return command
        raise NotASuite(
            f"the test command {test_command!r} does not run pytest; "
            f"let it write JUnit XML to the file {PLACEHOLDER}"
        )
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
    for start, end, text in sorted(edits, reverse=True):
        command = command[:start] + text + command[end:]
    return command


def _argument(test_id: str) -> str:
    # pytest takes "-x" for an option and "@x" for a file of arguments; the node id that it reports stays the same.
    return shlex.quote(f"./{test_id}" if test_id[0] in "-@" else test_id)


def _pytest_arguments(command: str) -> list[_Word] | None:
    """The words of the one run of pytest in `command`, from the word pytest on; None when there is none."""
    sure: list[list[_Word]] = []
    likely: list[list[_Word]] = []
    for words in _simple_commands(command):
        lead = 0
        while lead < len(words) and _LEAD_IN.fullmatch(words[lead].text):
            lead += 1
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


def _simple_commands(command: str) -> Iterator[list[_Word]]:
    words: list[_Word] = []
    at = 0
    while at < len(command):
        token = _TOKEN.match(command, at)
        if token is None:
            raise NotASuite(f"the test command {command!r} has an unclosed quote or bracket")
        if token.lastgroup == "word":
            try:
                text = "".join(shlex.split(token[0]))
            except ValueError:
                text = token[0]
            words.append(_Word(token.start(), token.end(), text))
        elif token.lastgroup == "end":
            yield words
            words = []
        at = token.end()
    yield words


def _paths(words: Sequence[_Word]) -> Iterator[_Word]:
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


# --- the report ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """What became of one test."""

    id: str
    outcome: str
    """passed, failed, error (set-up, teardown or collection), skipped, xfailed or xpassed."""
    message: str
    """One or a few lines: the assertion or exception, or why it was skipped."""
    detail: str
    """The traceback as the runner wrote it."""
    seconds: float
    collection: bool = False
    """The id stands for a file or class that the runner failed (error) or declined (skipped) to collect."""
    __test__: ClassVar[bool] = False  # pytest shall not collect this class


# The worst first. A test that failed and whose teardown broke as well counts as failed: its body ran.
_RANK = {name: i for i, name in enumerate(("failed", "error", "skipped", "xfailed", "xpassed", "passed"))}


def parse_junit(xml: bytes) -> dict[str, TestOutcome]:
    """Read a JUnit report into outcomes by test id, in the report's order. Where an id stands twice, the worst wins.

    For pytest (`junit_family=xunit1`) the id is pytest's node id, `tests/test_x.py::Class::test[param]`; a
    collection error has its file's path as id. What the XML does not tell:
    - pytest writes characters that XML forbids as `#x1B`, and so do the ids (only where a project turned pytest's
      escaping of parameters off);
    - `file` is where the function's code stands. For an inherited or wrapped test that is another file; then the
      file is found by the module names of the report's other tests, else guessed from the dotted name;
    - a test that passed against a non-strict xfail mark is `passed`, against a strict one `failed`;
    - a test one of whose subtests was skipped is `skipped`.
    For other runners the id is `classname::name` as far as there is no `file`.

    Raises ValueError when this is not a JUnit report, or one with a document type (which could hold entities).
    """
    cases = _read(xml)
    files = {
        _dotted(case.file): case.file for case in cases if case.file and _covers(_dotted(case.file), case)
    }
    outcomes: dict[str, TestOutcome] = {}
    for case in cases:
        new = case.outcome(_node_id(case, files))
        old = outcomes.get(new.id)
        if old is not None:
            worst = min(old, new, key=lambda o: _RANK[o.outcome])
            new = replace(worst, seconds=old.seconds + new.seconds)
        outcomes[new.id] = new
    return outcomes


@dataclass(slots=True)
class _Case:
    classname: str
    name: str
    file: str
    seconds: float
    results: list[tuple[str, Mapping[str, str], str]]
    """Tag, attributes and text of each failure, error or skipped element."""

    @property
    def collection(self) -> bool:
        internal = (self.classname, self.name) == ("pytest", "internal")
        return internal or any(
            attributes.get("message") in ("collection failure", "collection skipped")
            for _, attributes, _ in self.results
        )

    def outcome(self, test_id: str) -> TestOutcome:
        worst, message, detail = "passed", "", ""
        for tag, attributes, text in self.results:
            said = attributes.get("message", "")
            if tag == "skipped":
                name = "xfailed" if attributes.get("type") == "pytest.xfail" else "skipped"
                if said == "xfail-marked test passes unexpectedly":
                    name = "xpassed"
            else:
                name = "failed" if tag == "failure" else "error"
            if _RANK[name] < _RANK[worst]:
                worst, detail = name, _cut(text, MAX_DETAIL)
                if not said or said.startswith("collection "):
                    said = text.strip().rpartition("\n")[2].removeprefix("E  ").strip()
                message = _cut(said, MAX_MESSAGE)
        return TestOutcome(test_id, worst, message, detail, self.seconds, self.collection)


def _read(xml: bytes) -> list[_Case]:
    cases: list[_Case] = []
    open_tags: list[str] = []
    text: list[str] = []

    def doctype(*_: object) -> None:
        raise ValueError("the report has a document type, which JUnit XML never has")

    def start(tag: str, attributes: dict[str, str]) -> None:
        if not open_tags and tag not in ("testsuites", "testsuite"):
            raise ValueError(f"not a JUnit report: its root is <{tag[:50]}>")
        open_tags.append(tag)
        if tag == "testcase":
            if "testcase" in open_tags[:-1]:
                raise ValueError("not a JUnit report: a testcase inside a testcase")
            get = attributes.get
            file = get("file", "").replace("\\", "/")
            cases.append(_Case(get("classname", ""), get("name", ""), file, _seconds(get("time", "")), []))
        elif tag in ("failure", "error", "skipped") and open_tags[-2:-1] == ["testcase"]:
            cases[-1].results.append((tag, attributes, ""))
            text.clear()

    def end(tag: str) -> None:
        open_tags.pop()
        if tag in ("failure", "error", "skipped") and open_tags[-1:] == ["testcase"]:
            _, attributes, _ = cases[-1].results[-1]
            cases[-1].results[-1] = (tag, attributes, "".join(text))

    def characters(data: str) -> None:
        if open_tags[-1] in ("failure", "error", "skipped"):
            text.append(data)

    parser = expat.ParserCreate("utf-8")  # whatever encoding the document claims
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise ValueError(f"the report is not well-formed XML: {error}") from error
    return cases


def _seconds(text: str) -> float:
    try:
        seconds = float(text.replace(",", ""))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters cut ...]\n{text[-half:]}"


def _dotted(file: str) -> str:
    return re.sub(r"\.py$", "", file.replace("/", "."))


def _covers(dotted: str, case: _Case) -> bool:
    return case.classname == dotted or case.classname.startswith(dotted + ".")


def _node_id(case: _Case, files: Mapping[str, str]) -> str:
    classname, name, file = case.classname, case.name, case.file
    if not file:
        return f"{classname}::{name}" if classname else name
    if not classname:
        return file if case.collection or name == _dotted(file) else f"{file}::{name}"
    parts = classname.split(".")
    for length in range(len(parts), 0, -1):
        path = files.get(".".join(parts[:length]))
        if path is not None:
            return "::".join([path, *parts[length:], name])
    if not file.endswith(".py"):
        return f"{file}::{classname}::{name}"
    # Written in another file than it runs in: the module is the last part named like one.
    named = [i for i, part in enumerate(parts) if re.fullmatch(r"test_.*|.*_test", part)]
    lower = [i for i, part in enumerate(parts) if not part[:1].isupper()]
    module = (named or lower or [len(parts) - 1])[-1]
    return "::".join(["/".join(parts[: module + 1]) + ".py", *parts[module + 1 :], name])
