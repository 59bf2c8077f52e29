"""Mutants of changed lines in JavaScript, TypeScript, Go, Rust and Java.

Nothing here can compile, so that only such changes are made as leave the types alone: a mutant that does not compile
would be taken for one that a test noticed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import SequenceMatcher
from itertools import accumulate
from typing import NamedTuple

from agent.gate.mutant import MAX_SOURCE, UNDONE, Mutant
from agent.gate.rust_tests import parts_of
from agent.gate.source_text import Language, closing, language, text_of

MAX_TRIED = 40  # edits that are looked at in a call

_NEGATED = {"==": "!=", "===": "!==", "<": ">=", ">": "<="}
_NEGATED |= {other: one for one, other in _NEGATED.items()}
_SHIFTED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_COMPARED = re.compile(r"(?<=[\w)\]'\"`$?] )(===|!==|==|!=|<=|>=|<|>)(?= [\w('\"`$\-!&*+\[])")
_EQUAL = re.compile(r"(?<=[\w)\]'\"`$])(===|!==|==|!=)(?=[\w('\"`$\-!&*])")
_JOINED = re.compile(r"&&|\|\|")
_NUMBER = re.compile(r"(?<![\w.$])(0|[1-9]\d{0,8})(?![\w.]|\s*\.\.)")
_SUM = re.compile(r"(?<=[\w)\]] )[+-](?= [\w(])|(?<=[\w)\]])[+-](?=[\w(])")
_TRUTH = re.compile(r"(?<![\w.$'])(true|false)(?![\w$])(?!\s*=>)")
_NOT = re.compile(r"(?<![\w)\]=!#>])!(?=[\w(])")
_IF = re.compile(r"(?<![\w.$])if(?![\w$!])\s*")
_STRING = re.compile(r"(?<![\w#'])(\"[^\"\n]*\"|'[^'\n]*')")
_RETURN = re.compile(
    r"^(?P<head>[ \t]*(?:[^\n]*[\s){;])?return\s+)(?P<value>[^\n;{}]+)(?P<tail>;?[ \t]*\}?[ \t]*)$", re.M
)
_SOME = re.compile(r"^(?P<head>[ \t]*(?:return\s+)?)(?P<value>Some\([^\n]*\))(?P<tail>;?[ \t]*)$", re.M)
_CALL = re.compile(r"^[ \t]*(?:await\s+)?[\w$]+(?:(?:\.|::|\?\.)[\w$]+)*\([^\n]*\)\??;?[ \t]*$", re.M)
_ASSIGNED = re.compile(r"^[ \t]*[\w$]+(?:(?:\.|->)[\w$]+|\[[^\]\n]*\])+ [-+*/|&]?= [^\n{]*[^\n{(,]$", re.M)
_KEYWORD = re.compile(r"\s*(if|for|while|switch|return|super|this\s*\(|catch|else|panic|await\s*$)\b")
_QUIET = re.compile(
    r"\s*(?:import\b|export\s.*\bfrom\b|export\s*[{*]|package\b|use\s|pub\s+use\s|extern\s|mod\s|@|#!?\[|case\b|type\s"
    r"|interface\b|(?:export\s+)?(?:type|interface)\s|\"[^\"]*\"\s*$|(?:const\s+)?\S+\s*=\s*require\()"
    r"|.*(?:\bconsole\.|\b(?i:log|logger|slog|tracing)(?:\.|::)\w+|\be?println?!|\b(?:debug|info|warn|error|trace)!"
    r"|\bSystem\.(?:out|err)\.|\bfmt\.(?:Fp|P)rint|\brequire\(|\blog::)"
)
_SAID = re.compile(
    r"(?:\bthrow\b|\w*(?:Error|Exception)\b|errors\.New|Errorf|\bpanic|\bbail!|\banyhow!|\bexpect|\bassert|\bunreachable"
    r"|\bRegExp|\bMatcher|Pattern|Regex)[\w!]*\s*\(?[^;]*\Z"
)
_DECLARES = (
    r"\b(?:let|mut|const|var|static|function\*?|func|fn|class|struct|enum|trait|interface|type|import|use|from|mod)"
    r"[\s{{(*]+(?:[\w$]+\s*,\s*)*{0}\b|\b{0}\b(?:\s*,\s*\w+)*\s*:=|\bfunc\s*\([^)]*\)\s*{0}\b"
    r"|(?<![\w.])(?!(?:return|throw|await|new|else|in|of|case|typeof)\b)[\w.]+(?:<[^;()]*>)?(?:\[\])*\s+{0}\s*[=;(]"
)


class _Edit(NamedTuple):
    """What to replace. Every kind of edit has a rank of its own: the higher, the more telling."""

    start: int
    end: int
    new: str
    what: str
    rank: int


def text_mutants(changed: Mapping[str, tuple[str | None, str]], limit: int = 8) -> list[Mutant]:
    """At most `limit` mutants of changed files (path -> source before and after), the most telling first.

    They are spread over the changed places, and none is what its file was before or after. Never raises.
    """
    waiting: list[tuple[_File, _Edit]] = []
    for path, (before, after) in sorted(changed.items()):
        lang = language(path)
        if lang and max(len(after), len(before or "")) <= MAX_SOURCE:
            with suppress(Exception):
                file = _File(path, lang, before, after)
                waiting += [(file, edit) for edit in file.edits()]
    waiting = sorted(waiting, key=lambda one: -one[1].rank)[:MAX_TRIED]
    found: list[Mutant] = []
    uses: Counter[tuple[int, str, int]] = Counter()
    while waiting and len(found) < limit:
        file, edit = max(waiting, key=lambda it: it[1].rank - sum(uses[m] * m[0] for m in it[0].marks(it[1])))
        waiting.remove((file, edit))
        if source := file.mutated(edit):
            uses.update(file.marks(edit))
            found.append(Mutant(file.path, file.text.line(edit.start), edit.what, source))
    return found


class _File:
    """A changed file and what can be done to it."""

    def __init__(self, path: str, lang: Language, before: str | None, after: str) -> None:
        self.path, self.lang, self.before, self.after = path, lang, before or "", after
        self.text, self.old = text_of(after, lang), text_of(self.before, lang)
        self.code = self.text.code
        lines, old = after.splitlines(keepends=True), self.before.splitlines(keepends=True)
        self.starts = [0, *accumulate(map(len, lines))]
        self.old_starts = [0, *accumulate(map(len, old))]
        spared = parts_of(after) if lang == "rust" else []
        compared = SequenceMatcher(None, old, lines, autojunk=False).get_opcodes()
        self.hunks = [
            (was, until, first, last)
            for kind, was, until, first, last in compared
            if kind != "equal"
            and not any(part.start <= self.starts[first] < part.end for part in spared)
            and not (first == last and not "".join(old[was:until]).strip())
        ]
        self.known = {self._meaning(after), self._meaning(self.before)}

    def marks(self, edit: _Edit) -> list[tuple[int, str, int]]:
        """Its place, its line and its kind, and by how much less others are wanted then."""
        line = self.text.line(edit.start)
        place = sum(first < line for _, _, first, _ in self.hunks)
        return [(25, self.path, place), (20, self.path, line), (12, "", edit.rank)]

    def edits(self) -> Iterator[_Edit]:
        for was, until, first, last in self.hunks:
            start, end = self.starts[first], self.starts[last]
            if self.before:
                old = self.before[self.old_starts[was] : self.old_starts[until]]
                what = f"lines {first + 1} to {last} were" if last - first > 1 else f"line {first + 1} was"
                yield _Edit(start, end, old, f"{what} as before the fix", UNDONE)
            for line in range(first, last):
                begin, stop = self.starts[line], self.starts[line + 1]
                if not _QUIET.match(self.text.plain[begin:stop]):
                    yield from self._in_line(begin, begin + len(self.after[begin:stop].rstrip("\r\n")))

    def mutated(self, edit: _Edit) -> str | None:
        """The file with an edit, if that can compile and is none that was seen so far."""
        source = self.after[: edit.start] + edit.new + self.after[edit.end :]
        meaning = self._meaning(source)
        if meaning in self.known or (edit.rank == UNDONE and self._loses_name(edit, source)):
            return None
        if self.lang == "go" and _unused(text_of(source, "go").plain, text_of(source, "go").code):
            return None
        self.known.add(meaning)
        return source

    def _meaning(self, source: str) -> str:
        return " ".join(text_of(source, self.lang).plain.split())

    def _loses_name(self, edit: _Edit, source: str) -> bool:
        """Whether a name that stands in a change taken back is used elsewhere, and was not there before."""
        mine, old = self.code[edit.start : edit.end], set(re.findall(r"[\w$]+", self.old.code))
        kept = set(re.findall(r"[\w$]+", text_of(source, self.lang).code))
        for name in set(re.findall(r"[A-Za-z_$][\w$]*", mine)) & kept - old:
            first = re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", self.code)
            if re.search(_DECLARES.format(re.escape(name)), mine) or (first and first.start() >= edit.start):
                return True
        # What the change takes back may use a name that another change took away.
        gone = set(re.findall(r"[A-Za-z_$][\w$]*", text_of(edit.new, self.lang).code))
        return any(
            self._declared(name) and not re.search(_DECLARES.format(re.escape(name)), edit.new)
            for name in gone
        )

    def _declared(self, name: str) -> bool:
        """Whether a name was declared before the fix and is nowhere after it."""
        there = re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", self.code)
        return not there and bool(re.search(_DECLARES.format(re.escape(name)), self.old.code))

    # ---- what can be done in a line

    def _in_line(self, start: int, end: int) -> Iterator[_Edit]:
        line = self.code[start:end]
        if not line.strip():
            return
        declared = re.search(r"\b(fn|func|function|class|struct|impl|trait|enum)\b", line)
        if not declared or self.lang == "js":
            yield from self._comparisons(start, end)
        for match in _JOINED.finditer(line):
            if not re.search(r"\blet\b", line) or self.lang != "rust":
                other = "||" if match[0] == "&&" else "&&"
                is_closure = (
                    self.lang == "rust"
                    and match[0] == "||"
                    and not re.search(r"[\w)\]] $", line[: match.start()])
                )
                if not is_closure:
                    yield _edit(start, match, other, f"`{match[0]}` became `{other}`", 78)
        for match in _NOT.finditer(line):
            yield _edit(start, match, "", "a `!` was taken out", 89)
        for match in _TRUTH.finditer(line):
            other = "false" if match[0] == "true" else "true"
            yield _edit(start, match, other, f"{match[0]} became {other}", 68)
        for match in _NUMBER.finditer(line):
            # The size in a type and the place in a tuple are no values.
            if not re.search(r"[;\]]\s*$|\bArray\W*$", line[: match.start()]) and not declared:
                other = str(int(match[0]) + 1)
                yield _edit(start, match, other, f"{match[0]} became {other}", 65)
        yield from self._sums(start, line)
        yield from self._conditions(start, end)
        yield from self._statements(start, end, line)
        for match in _STRING.finditer(line):
            inner = self.after[start + match.start() + 1 : start + match.end() - 1]
            quote = match[0][0]
            is_text = quote == '"' or self.lang == "js"
            if is_text and not re.search(r"[{}%\\$]", inner) and not _SAID.search(line[: match.start()]):
                new = "" if inner else "mutant"
                what = f'a text became "{new}"'
                yield _edit(start, match, f"{quote}{new}{quote}", what, 63)

    def _comparisons(self, start: int, end: int) -> Iterator[_Edit]:
        line = self.code[start:end]
        looped = re.search(r"\b(for|while|loop)\b", line)
        for match in [*_COMPARED.finditer(line), *_EQUAL.finditer(line)]:
            if _is_generic(line, match):
                continue
            if not looped:
                other = _NEGATED[match[0]]
                yield _edit(start, match, other, f"`{match[0]}` became `{other}`", 87)
            if other := _SHIFTED.get(match[0], ""):
                yield _edit(start, match, other, f"`{match[0]}` became `{other}`", 60)

    def _sums(self, start: int, line: str) -> Iterator[_Edit]:
        for match in _SUM.finditer(line):
            around = line[: match.start()].rstrip()[-12:] + " " + line[match.end() :].lstrip()[:12]
            left, right = line[: match.start()].rstrip(), line[match.end() :].lstrip()
            number = re.search(r"(?<![\w.])\d+$", left) or re.match(r"\d+(?![\w.])", right)
            is_text = re.search(r"['\"`]", around)
            if not is_text and (number or match[0] == "-" or self.lang == "js"):
                other = "-" if match[0] == "+" else "+"
                yield _edit(start, match, other, f"`{match[0]}` became `{other}`", 61)

    def _conditions(self, start: int, end: int) -> Iterator[_Edit]:
        """The condition of an `if` negated, where no comparison does it already."""
        for match in _IF.finditer(self.code, start, end):
            at = match.end()
            if self.lang in ("js", "java"):
                stop = closing(self.code, at) if self.code.startswith("(", at) else None
                at += 1
            else:
                brace = re.compile(r"[^{}\n]*?(?=\s*\{)").match(self.code, at)
                stop = brace.end() if brace else None
                if self.lang == "go" and stop and ";" in self.code[at:stop]:
                    at += self.code[at:stop].rindex(";") + 1
            if stop is None or stop > end:
                continue
            asked = self.code[at:stop]
            if asked.strip() and not re.search(r"[=!<>]=|\s[<>]\s|^\s*!|\blet\b", asked):
                lead = " " * (len(asked) - len(asked.lstrip()))
                new = f"{lead}!({self.after[at:stop].strip()})"
                yield _Edit(at, stop, new, "the condition was negated", 88)

    def _statements(self, start: int, end: int, line: str) -> Iterator[_Edit]:
        def rest(match: re.Match[str], new: str, what: str, rank: int) -> _Edit:
            return _Edit(start + match.start("value"), start + match.end("value"), new, what, rank)

        returned = _RETURN.match(line)
        value = returned["value"].strip() if returned else ""
        following = self.code[end:].lstrip()[:1]
        ends = bool(value) and _is_whole(value) and following not in (*".+-*/&|?:([,", "")
        if returned and ends and self.lang == "js" and value not in ("null", "undefined"):
            new = "undefined" if re.search(r"\.[cm]?jsx?$", self.path) else "undefined as any"
            yield rest(returned, new, "the value returned became undefined", 83)
        if returned and self.lang == "go" and re.search(r"(?:^|, )err$", value):
            at = start + returned.start("value") + len(value) - 3
            yield _Edit(at, at + 3, "nil", "the error returned became nil", 83)
        some = _SOME.match(line) if self.lang == "rust" else None
        if some and closing(line, some.start("value") + 4) == some.end("value") - 1:
            yield rest(some, "None", "the value became None", 83)
        if self._is_statement(start, line):
            ended = ";" if self.lang in ("js", "java") else ""
            lead = len(line) - len(line.lstrip())
            yield _Edit(start + lead, start + len(line.rstrip()), ended, "the statement was left out", 86)

    def _is_statement(self, start: int, line: str) -> bool:
        """Whether a line is one call or one assignment to what an object has, and stands where statements do."""
        if not (_CALL.match(line) or _ASSIGNED.match(line)) or _KEYWORD.match(line):
            return False
        if self.lang in ("rust", "java") and not line.rstrip().endswith(";"):
            return False
        before = self.code[:start].rstrip()[-1:]
        loose = self.lang in ("js", "go") and before.isalnum()
        return (loose or before in ("", "{", "}", ";", ")")) and _is_whole(line)


def _is_whole(text: str) -> bool:
    """Whether no bracket is open in a text, and no operator waits at its end."""
    depth = 0
    for bracket in re.findall(r"[()\[\]{}]", text):
        depth += 1 if bracket in "([{" else -1
        if depth < 0:
            return False
    return depth == 0 and not re.search(r"[,.(\[+\-*/&|=?:]\s*$", text)


def _edit(start: int, match: re.Match[str], new: str, what: str, rank: int) -> _Edit:
    return _Edit(start + match.start(), start + match.end(), new, what, rank)


def _is_generic(line: str, match: re.Match[str]) -> bool:
    """Whether an angle stands in a type: a closing one follows without blanks around it."""
    return match[0] in "<>" and bool(re.search(r"\b(extends|type|keyof|infer|where|dyn)\b", line))


def _unused(plain: str, code: str) -> bool:
    """Whether a Go source imports or declares what it does not use, which does not compile."""
    block = "\n".join(re.findall(r"^import\s*(?:\(([^)]*)\))", plain, re.M))
    imports = re.findall(r'^\s*(?:(\w+|\.)\s+)?"([^"]+)"', block, re.M)
    imports += re.findall(r'^import\s+(?:(\w+|\.)\s+)?"([^"]+)"', plain, re.M)
    names = []
    for alias, path in imports:
        parts = [part for part in path.split("/") if not re.fullmatch(r"v\d+", part)]
        names.append(alias or (parts or [path])[-1].removeprefix("go-").partition(".")[0])
    unused = [name for name in names if name not in ("_", ".") and not re.search(rf"\b{name}\.", code)]
    for match in re.finditer(r"((?:\b\w+\s*,\s*)*\b\w+)\s*:=|\bvar\s+(\w+)", code):
        for name in re.split(r"\s*,\s*", match[1] or match[2]):
            if name != "_" and len(re.findall(rf"\b{name}\b", code)) < 2:
                unused.append(name)
    return bool(unused)
