"""Whether a change to a test file of another language than Python only adds, as additive.py asks of Python's.

Every line of the base must still be there, in its order and read in the same way. What is new may stand between tests
(tests, groups, helpers of new names), at the end of a test, or be an entry of a table; it may not hook into the
runner, switch tests off or take the place of a name that the base uses. All by text: what is not understood is no
addition.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import accumulate

from agent.gate.found_tests import Found, found_tests, groups_of
from agent.gate.source_text import MAX_TEXT, Language, Text, closing, text_of

_RUNS = r"(?<![\w$.])(?:test|it|describe|suite|specify|context)(?:\s*\.\s*\w+)*?"
_OFF = re.compile(
    rf"{_RUNS}\s*\.\s*(?:only|skip|todo|skipIf|runIf|failing|fails|fixme)\b"
    r"|(?<![\w$.])(?:x|f)(?:it|test|describe|specify|context)\s*[(.]|\b(?:this|t|ctx|context)\.skip\(|\bskip\s*:\s*(?:true|['\"])"
    r"|\.Skip(?:f|Now)?\(|#\[\s*(?:ignore|cfg_attr)\b|#!\[|@(?:[\w.]+\.)?(?:Disabled\w*|Enabled\w*|Ignore)\b"
)
_FOCUSED = re.compile(rf"{_RUNS}\s*\.\s*only\b|(?<![\w$.])f(?:it|describe)\s*[(.]")
_MEDDLES = re.compile(
    r"\b(?:jest|vi)\s*\.\s*(?:mock|doMock|setMock|unstable_mockModule|hoisted|setConfig)\b|\bmock\.module\(|\bproxyquire\b"
    r"|\bexpect\.extend\b|\b(?:global|globalThis|window)(?:\.\w+|\[[^\]]*\])\s*=[^=]|\.prototype(?:\.\w+|\[[^\]]*\])\s*=[^=]"
    r"|Object\.(?:assign|defineProperty)\(\s*(?:global|globalThis|[\w.]+\.prototype)\b|\brequire\.cache\b"
    r"|\bprocess\.(?:exit|abort|kill)\b|\bos\.Exit\(|\bprocess::(?:exit|abort)\b|\bSystem\.exit\(|\.halt\("
    r"|\bmacro_rules!|#\[\s*(?:ctor|global_allocator|panic_handler)|\bpanic::set_hook\b"
)
_HOOKS = re.compile(
    r"(?<![\w$.])(?:before|after|setup|teardown)(?:Each|All)?\s*\(|\bfunc\s+(?:init|TestMain)\s*\("
    r"|@(?:[\w.]+\.)?(?:Before|After|BeforeClass|AfterClass|BeforeEach|AfterEach|BeforeAll|AfterAll|Rule|ClassRule"
    r"|ExtendWith|RegisterExtension|RunWith|TestInstance|Override)\b|\bstatic\s*\{|\bvoid\s+(?:setUp|tearDown)\s*\("
)
_DIRECTIVE = re.compile(r"^\s*(?://go:|//\s*\+build)|@(?:jest|vitest)-environment|@jest-config", re.M)
_DATA = re.compile(
    r"[;]|(?<![=!<>])=(?![=])|=>|\b(?:return|if|for|while|switch|match|break|continue|goto|defer|try|catch|throw|panic|func"
    r"|function|fn|let|const|var|await|yield|exit)\b"
)
_JS_NAMED = (
    r"(?:export\s+)?(?:default\s+)?(?:declare\s+)?(?:async\s+)?"
    r"(?:function\b\s*\*?|class|const|let|var|type|interface|enum)\s+"
)
_RUST_NAMED = (
    r"(?:pub(?:\([^)]*\))?\s+)?(?:(?:async|const|unsafe)\s+)*(?:fn|struct|enum|static|mod|type|trait|const)\b"
)
_STARTS: dict[Language, str] = {
    "js": rf"{_JS_NAMED}|import\s*[\w${{*]|(?:describe|suite|context|test|it|specify)\b",
    "go": r"func\b|type\b|var\b|const\b|import\b|(?:\w+\s+)?\"",
    "rust": rf"#\[|{_RUST_NAMED}|(?:pub\s+)?use\b|(?:unsafe\s+)?impl\b",
    "java": r"@|import\b|[\w<]",
}
_WORD = r"[A-Za-z_$][\w$]*"
_DECLARED: dict[Language, list[str]] = {
    "js": [rf"{_JS_NAMED}({_WORD})", rf"{_JS_NAMED}([{{\[][^=]*)=", r"import\s+([^'\"`]*?)\s*from\b"],
    "go": [rf"(?:func|type|var|const)\s+(?:\([^)]*\)\s*)?({_WORD})"],
    "rust": [
        rf"{_RUST_NAMED}\s+({_WORD})",
        rf"(?:pub\s+)?use\s+(?:[\w:]*::)?({_WORD}|\{{.*\}})\s*;",
        rf"(?:pub\s+)?use\s+[\w:]+\s+as\s+({_WORD})",
    ],
    "java": [
        rf"import\s+(?:static\s+)?[\w.]*\.({_WORD})\s*;",
        rf"[\w<>\[\],.?\s]*?({_WORD})\s*[(=;]",
        rf"[\w\s]*\b(?:class|record|interface|enum)\s+({_WORD})",
    ],
}
_CONTINUES = re.compile(r"\s*(?:[.,;)=(&|?:+]|(?:from|as|satisfies)\b)")
"""What goes on with a statement after a closing brace."""
_IMPORTED_GO = re.compile(r"^\s*(?:import\s+)?(?:([\w.]+)\s+)?\"([^\"]+)\"", re.M)
_GLOB = re.compile(r"import\s+(?:static\s+)?[\w.]+\.\*|(?:pub\s+)?use\s+[\w:{}, ]*\*")


def obstacle(base: str, new: str, lang: Language) -> str | None:
    """What makes the change from `base` to `new` more than an addition; None when it only adds."""
    if max(len(base), len(new)) > MAX_TEXT:
        return "it is too large to be read"
    return _Change(text_of(base, lang), text_of(new, lang), lang).obstacle()


def names_of(source: str, lang: Language) -> list[str]:
    """The names of the tests that are written in a file, as in their ids."""
    return [test.name for test in found_tests(source, lang)]


def taken_away(base: str, new: str, lang: Language) -> dict[str, str]:
    """The base's tests that a new version lacks or switches off, with how it does so."""
    before, after = found_tests(base, lang), found_tests(new, lang)
    gone = Counter(test.name for test in before) - Counter(test.name for test in after)
    lost = dict.fromkeys(gone, "is deleted or renamed")
    ran = {test.name for test in before if not test.skipped}
    off = {test.name for test in after if test.skipped} - {test.name for test in after if not test.skipped}
    lost |= {name: "gets a skip mark" for name in [test.name for test in before] if name in ran & off}
    more = len(_FOCUSED.findall(text_of(new, lang).code)) > len(_FOCUSED.findall(text_of(base, lang).code))
    if lang == "js" and more:
        lost |= dict.fromkeys((test.name for test in before), "is switched off by a mark on others")
    return lost


class _Change:
    def __init__(self, base: Text, new: Text, lang: Language) -> None:
        self.base, self.new, self.lang = base, new, lang
        self.lines = new.source.splitlines(keepends=True)
        self.starts = [0, *accumulate(map(len, self.lines))]
        self.tests = found_tests(new.source, lang)
        self.groups = groups_of(new.source, lang)
        self.used = set(re.findall(rf"(?<![\w$.:])(?<!\.\s){_WORD}", base.code))

    def obstacle(self) -> str | None:
        blocks = self._added()
        if blocks is None:
            return "lines of the base are changed or gone"
        if taken_away(self.base.source, self.new.source, self.lang):
            return "tests of the base are no longer there"
        for first, last in blocks:
            reasons = [self._intrusion(*slid) for slid in self._slides(first, last)]
            if None not in reasons:
                return f"line {first + 1}: {reasons[0]}"
        return None

    def _added(self) -> list[tuple[int, int]] | None:
        """The blocks of new lines; None when the base's are not all there, or not read as they were."""
        old = self.base.source.splitlines(keepends=True)
        if old and not old[-1].endswith("\n"):
            old[-1] += "\n"
        new = [*self.lines]
        if new and not new[-1].endswith("\n"):
            new[-1] += "\n"
        compared = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        if any(kind not in ("equal", "insert") for kind, *_ in compared):
            return None
        before, after = self.base.code.splitlines(), self.new.code.splitlines()
        for kind, i1, i2, j1, j2 in compared:
            if kind == "equal" and before[i1:i2] != after[j1:j2]:
                return None
        return [(j1, j2) for kind, _, _, j1, j2 in compared if kind == "insert"]

    def _slides(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """The places of a block that come to the same file: lines around it may equal its own."""
        yield first, last
        up, down = (first, last), (first, last)
        while up[0] > 0 and self.lines[up[0] - 1] == self.lines[up[1] - 1]:
            yield (up := (up[0] - 1, up[1] - 1))
        while down[1] < len(self.lines) and self.lines[down[0]] == self.lines[down[1]]:
            yield (down := (down[0] + 1, down[1] + 1))

    def _intrusion(self, first: int, last: int) -> str | None:
        """Why a block of new lines may act on what was there before; None when it may not."""
        start, end = self.starts[first], self.starts[last]
        code = self.new.code[start:end]
        if _DIRECTIVE.search(self.new.source[start:end]):
            return "it changes for whom or where the file is run"
        if not code.strip():
            return None
        if _OFF.search(code):
            return "it switches tests off"
        if _MEDDLES.search(code):
            return "it meddles with the runner, the process or what others use"
        depth = self._depth(start)
        if depth is None or not _is_balanced(code):
            return "it is no whole statement"
        within = [test for test in self.tests if test.body and test.body[0] <= start and end <= test.body[1]]
        if within:
            return self._in_test(within, start, end, code)
        mine = sum(1 for group in self.groups if group.start < start < group.end)
        if self.lang == "go" and depth == 1 and self._in_import(start):
            return self._imports(self.new.plain[start:end])
        if depth != mine * (2 if self.lang == "js" else 1):
            return None if _is_data(code) else "it stands in code that tests use"
        return self._between(start, end)

    def _in_test(self, within: list[Found], start: int, end: int, code: str) -> str | None:
        for test in within:
            if test.block and test.body and not self.new.code[end : test.body[1]].strip():
                return None
        return None if _is_data(code) else f"it stands in the test {within[0].name}"

    def _between(self, start: int, end: int) -> str | None:
        """Statements where tests are declared."""
        code, at = self.new.code, start
        if hook := self._hook(start, end):
            return f"{hook} acts on other tests"
        while match := re.compile(r"[\s;]*(?=\S)").match(code, at, end):
            at = match.end()
            if at >= end or code[at] == ";":
                break
            if not re.compile(_STARTS[self.lang]).match(code, at, end):
                return "it runs code when the file is loaded"
            stop = _end_of_statement(code, at, end)
            if reason := self._declares(self.new.plain[at:stop], code[at:stop]):
                return reason
            at = stop
        return None

    def _hook(self, start: int, end: int) -> str:
        """A hook in a block that is not in a group of the block itself."""
        own = [group for group in self.groups if start <= group.start and group.end < end]
        for match in _HOOKS.finditer(self.new.code, start, end):
            override = match[0].endswith("Override")
            if not any(group.start < match.start() < group.end for group in own) and not override:
                return match[0].strip(" (")
            if override and not own:
                return match[0]
        return ""

    def _declares(self, plain: str, code: str) -> str | None:
        if self.lang == "go" and plain.startswith("import"):
            return self._imports(plain)
        if _GLOB.match(plain) and plain.strip() not in self.base.plain:
            return "it imports names that cannot be seen"
        if self.lang == "js" and re.match(r"(?:describe|suite|context|test|it|specify)\b", code):
            return None
        bare = re.sub(r"^(?:@[\w.]+(?:\([^()]*\))?\s*)+", "", code) if self.lang == "java" else code
        names: list[str] = []
        for pattern in _DECLARED[self.lang]:
            if match := re.match(pattern, bare, re.S):
                names += _bound(match[1])
        for name in names:
            if name in self.used:
                return f"{name} takes the place of a name that the base uses"
        return None

    def _imports(self, plain: str) -> str | None:
        for match in _IMPORTED_GO.finditer(plain):
            name = match[1] or match[2].rpartition("/")[2]
            if name in ("_", ".") or name in self.used:
                return f"the import {name} acts on the base's tests"
        return None

    def _in_import(self, at: int) -> bool:
        before = self.new.code[:at]
        opening = before.rfind("(")
        return bool(re.search(r"\bimport\s*$", before[: max(opening, 0)]))

    def _depth(self, at: int) -> int | None:
        depth = 0
        for bracket in re.findall(r"[()\[\]{}]", self.new.code[:at]):
            depth += 1 if bracket in "([{" else -1
            if depth < 0:
                return None
        return depth


def _bound(text: str) -> list[str]:
    """The names that a pattern or an import's list binds: of `a: b` and `a as b` the latter."""
    return re.findall(rf"(?<![\w$])(?!(?:as|type)\b){_WORD}(?![\w$])(?!\s*(?::|as\b))", text)


def _is_balanced(code: str) -> bool:
    waiting: list[str] = []
    for bracket in re.findall(r"[()\[\]{}]", code):
        if bracket in "([{":
            waiting.append({"(": ")", "[": "]", "{": "}"}[bracket])
        elif not waiting or waiting.pop() != bracket:
            return False
    return not waiting


def _is_data(code: str) -> bool:
    """Whether lines are entries of a table and do nothing."""
    return code.rstrip().endswith(",") and not _DATA.search(code)


def _end_of_statement(code: str, at: int, end: int) -> int:
    """The end of the statement that begins at `at`: where no bracket is open and nothing announces more."""
    place = at
    while place < end:
        char = code[place]
        if char in "([{":
            stop = closing(code, place)
            if stop is None or stop >= end:
                return end
            place = stop
            after = code[place + 1 : end].lstrip()[:1]
            if char == "{" and not _CONTINUES.match(code, place + 1, end):
                return place + 1
        elif char == ";":
            return place + 1
        elif char == "\n":
            before, after = code[at:place].rstrip()[-1:], code[place:end].lstrip()[:1]
            if before not in tuple("=,(+-*/&|?:<") and after not in tuple(".=+-*/&|?:,{"):
                return place
        place += 1
    return end
