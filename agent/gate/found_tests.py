"""The tests that stand written in a JavaScript, TypeScript, Go, Rust or Java source, read as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agent.gate.source_text import Language, Text, arguments, closing, text_of

_JS_CALL = re.compile(
    r"(?<![\w$.])(?P<off>[xf]?)(?P<kind>describe|suite|context|test|it|specify)"
    r"(?P<more>(?:\s*\.\s*\w+)*)\s*(?:`[^`]*`\s*)?\("
)
_JS_GROUPS = {"describe", "suite", "context"}
_JS_SKIPPED = {"skip", "todo", "skipIf", "runIf", "failing", "fails", "fixme", "fail"}
_JS_FUNCTION = re.compile(r"(?P<async>async\b\s*)?(?:function\b\s*[\w$]*\s*)?(?=\()")
_JS_ARROW = re.compile(r"\s*(?::\s*[\w$.<>\[\]|\s]+?)?\s*=>\s*")
_JS_BODY = re.compile(r"\s*(?::\s*[\w$.<>\[\]|\s]+?)?\s*(?=\{)")
_JS_ONE = re.compile(r"(?P<async>async\s+)?[\w$]+\s*=>\s*")
_JS_VALUE = re.compile(r"\b(skip|todo)\s*(?::(?!\s*false\b)|[,}])")
_GO_TEST = re.compile(r"^func\s+(?P<name>Test\w*)\s*\(\s*(?P<arg>\w+)\s+\*testing\.T\s*\)\s*(?=\{)", re.M)
_GO_RUN = re.compile(r"\.Run\s*\(")
GO_FUNCTION = re.compile(r"func\s*\(\s*(?P<arg>\w+)\s+\*testing\.T\s*\)\s*(?=\{)")
ATTRIBUTE = r"#\[(?:[^\[\]]|\[(?:[^\[\]]|\[[^\[\]]*\])*\])*\]"
_RUST_FN = re.compile(
    rf"(?P<attributes>(?:{ATTRIBUTE}\s*){{1,20}})(?:pub(?:\s*\([^)]*\))?\s+)?(?P<async>async\s+)?(?:unsafe\s+)?"
    r"fn\s+(?P<name>(?:r#)?\w+)\s*(?:<[^>{(]*>\s*)?(?=\()"
)
_RUST_TEST = re.compile(r"#\[\s*(?:(?:\w+::)*test|rstest|test_case)\b")
_RUST_MOD = re.compile(r"\bmod\s+(?P<name>\w+)\s*(?=\{)")
_ANNOTATION = r"@[\w.]+(?:\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))?"
_JAVA_MODIFIERS = r"(?:(?:public|protected|private|static|final|synchronized|abstract|strictfp|sealed)\s+)*"
_JAVA_METHOD = re.compile(
    rf"(?P<annotations>(?:{_ANNOTATION}\s*)*)(?P<modifiers>{_JAVA_MODIFIERS})"
    r"(?P<type>void|[\w.]+(?:<[^;(){}]*>)?(?:\[\])*)\s+(?P<name>\w+)\s*(?=\()"
)
_JAVA_TEST = re.compile(r"@(?:[\w.]+\.)?(?:Test|ParameterizedTest|RepeatedTest|TestFactory|TestTemplate)\b")
_JAVA_CLASS = re.compile(
    rf"(?P<annotations>(?:{_ANNOTATION}\s*)*){_JAVA_MODIFIERS}(?:class|record|interface|enum)\s+(?P<name>\w+)"
)
_JAVA_SKIPPED = re.compile(r"@(?:[\w.]+\.)?(?:Disabled|Ignore)\b")
_WILD = re.compile(r"%[sdifjoOp#]|\$\{[^}]*\}|\$[\w.]+")


@dataclass(frozen=True)
class Found:
    """A test where it is written."""

    name: str
    """As in an id after the file: `group > title`, `TestX/sub`, `module::name`, `Inner::method`."""
    own: str
    """The last part of its name."""
    start: int
    """Where it begins, with its attributes."""
    body: tuple[int, int] | None
    """What is between its braces, or the one expression that it is."""
    head: str = ""
    """The blanked code before its body."""
    block: bool = True
    """Whether the body is between braces."""
    is_async: bool = False
    skipped: bool = False
    argument: str = ""
    """By which name a Go test knows its runner."""

    def is_called(self, name: str) -> bool:
        """Whether a test's id may mean this by `name`; runners write groups in different ways."""
        pattern = ".*".join(map(re.escape, _WILD.split(self.own)))
        return bool(re.fullmatch(rf"(?:.*(?: > |::|[/ .$]))?{pattern}(?:[\[(].*)?", name.strip(), re.S))


def found_tests(source: str, lang: Language) -> list[Found]:
    """Every test that can be seen, in the order of the source."""
    text = text_of(source, lang)
    finders: dict[Language, Callable[[Text], Iterator[Found]]] = {
        "js": _in_js,
        "go": _in_go,
        "rust": _in_rust,
        "java": _in_java,
    }
    return sorted(finders[lang](text), key=lambda test: test.start)


@dataclass(frozen=True)
class Group:
    """A `describe`, a module or a class, from its beginning to its last bracket."""

    name: str
    start: int
    end: int
    skipped: bool = False


def groups_of(source: str, lang: Language) -> list[Group]:
    """Every group of tests that can be seen, in the order of the source."""
    text = text_of(source, lang)
    if lang == "js":
        return [group for group in _js_calls(text) if isinstance(group, Group)]
    return _rust_modules(text) if lang == "rust" else _java_classes(text) if lang == "java" else []


def _around(groups: list[Group], at: int) -> list[Group]:
    return [group for group in groups if group.start < at < group.end]


def _in_js(text: Text) -> Iterator[Found]:
    return (test for test in _js_calls(text) if isinstance(test, Found))


def _js_calls(text: Text) -> Iterator[Found | Group]:
    code, groups = text.code, list[Group]()
    for match in _JS_CALL.finditer(code):
        words = set(re.findall(r"\w+", match["more"]))
        opening = match.end() - 1
        end = closing(code, opening)
        if end is not None and words & {"each", "for", "skipIf", "runIf"} and "`" not in match[0]:
            again = re.compile(r"\s*\(").match(code, end + 1)
            if not again:
                continue
            opening = again.end() - 1
            end = closing(code, opening)
        given = arguments(code, opening, end) if end is not None else []
        if end is None or not given or code[given[0][0]] not in "'\"`":
            continue
        first, last = given[0]
        title = re.sub(r"\\([^nrtux\d])", r"\1", text.source[first + 1 : last - 1])
        above = _around(groups, match.start())
        options = " ".join(code[start:stop] for start, stop in given[1:] if code[start] == "{")
        skipped = match["off"] == "x" or bool(words & _JS_SKIPPED or _JS_VALUE.search(options))
        skipped = skipped or any(group.skipped for group in above)
        if match["kind"] in _JS_GROUPS or "describe" in words:
            groups.append(Group(title, match.start(), end, skipped))
            yield groups[-1]
            continue
        name = " > ".join([*(group.name for group in above), title])
        functions = (_js_function(code, start, stop) for start, stop in given[1:])
        written = next(filter(None, functions), None)
        body, block, is_async = written or (None, True, False)
        head = code[match.start() : body[0] if body else end]
        yield Found(name, title, match.start(), body, head, block, is_async, skipped)


def _js_function(code: str, start: int, stop: int) -> tuple[tuple[int, int], bool, bool] | None:
    """The body of the function written at a place, whether it is a block, and whether it is asynchronous."""
    if one := _JS_ONE.match(code, start, stop):
        after, is_async = one.end(), bool(one["async"])
    elif match := _JS_FUNCTION.match(code, start, stop):
        end = closing(code, match.end())
        arrow = "function" not in match[0]
        tail = (_JS_ARROW if arrow else _JS_BODY).match(code, end + 1, stop) if end is not None else None
        if tail is None:
            return None
        after, is_async = tail.end(), bool(match["async"])
    else:
        return None
    if code.startswith("{", after):
        end = closing(code, after)
        return ((after + 1, end), True, is_async) if end is not None and end < stop else None
    return ((after, stop), False, is_async) if after < stop else None


def _in_go(text: Text) -> Iterator[Found]:
    code = text.code
    for match in _GO_TEST.finditer(code):
        end = closing(code, match.end())
        if end is None:
            continue
        inner = code[match.end() : end]
        skipped = bool(re.search(rf"\b{match['arg']}\.Skip(f|Now)?\(", inner))
        body = (match.end() + 1, end)
        yield Found(
            match["name"],
            match["name"],
            match.start(),
            body,
            match[0],
            skipped=skipped,
            argument=match["arg"],
        )
        for title, function in go_runs(text, *body):
            if title:
                start, stop = function.body or (0, 0)
                off = bool(re.search(rf"\b{function.argument}\.Skip(f|Now)?\(", code[start:stop]))
                yield Found(
                    f"{match['name']}/{title}",
                    title,
                    function.start,
                    function.body,
                    skipped=off,
                    argument=function.argument,
                )


def go_runs(text: Text, start: int, stop: int) -> Iterator[tuple[str, Found]]:
    """The subtests that are written as functions between two places; the title is empty when it is computed."""
    code = text.code
    for match in _GO_RUN.finditer(code, start, stop):
        end = closing(code, match.end() - 1)
        given = arguments(code, match.end() - 1, end) if end is not None else []
        function = GO_FUNCTION.match(code, given[1][0]) if len(given) == 2 else None
        finish = closing(code, function.end()) if function else None
        if not function or finish is None:
            continue
        first, last = given[0]
        title = text.source[first + 1 : last - 1] if re.fullmatch(r'" *"', code[first:last]) else ""
        body = (function.end() + 1, finish)
        yield (
            title.replace(" ", "_"),
            Found(title, title, match.start(), body, argument=function["arg"]),
        )


def _rust_modules(text: Text) -> list[Group]:
    return [
        Group(match["name"], match.start(), end)
        for match in _RUST_MOD.finditer(text.code)
        if (end := closing(text.code, match.end())) is not None
    ]


def _in_rust(text: Text) -> Iterator[Found]:
    code, modules = text.code, _rust_modules(text)
    for match in _RUST_FN.finditer(code):
        if not _RUST_TEST.search(match["attributes"]):
            continue
        after = closing(code, match.end())
        opening = re.compile(r"[^{;]*(?=\{)").match(code, after + 1) if after is not None else None
        end = closing(code, opening.end()) if opening else None
        if not opening or end is None:
            continue
        name = "::".join([*(module.name for module in _around(modules, match.start())), match["name"]])
        body = (opening.end() + 1, end)
        skipped = bool(re.search(r"#\[\s*ignore\b|\bignore\b.*\]", match["attributes"]))
        head = code[match.start() : opening.end()]
        yield Found(
            name, match["name"], match.start(), body, head, is_async=bool(match["async"]), skipped=skipped
        )


def _java_classes(text: Text) -> list[Group]:
    code, classes = text.code, list[Group]()
    for match in _JAVA_CLASS.finditer(code):
        opening = code.find("{", match.end())
        end = closing(code, opening) if opening >= 0 else None
        if end is not None:
            skipped = bool(_JAVA_SKIPPED.search(match["annotations"]))
            classes.append(Group(match["name"], match.start(), end, skipped))
    return classes


def _in_java(text: Text) -> Iterator[Found]:
    code, classes = text.code, _java_classes(text)
    old = re.search(r"\bextends\s+[\w.]*TestCase\b", code)
    for match in _JAVA_METHOD.finditer(code):
        by_name = old and match["name"].startswith("test") and match["type"] == "void"
        if not (_JAVA_TEST.search(match["annotations"]) or by_name):
            continue
        after = closing(code, match.end())
        opening_ = re.compile(r"\s*(?:throws\s+[\w.,\s]+)?(?=\{)").match(code, after + 1) if after else None
        end = closing(code, opening_.end()) if opening_ else None
        if not opening_ or end is None:
            continue
        above = _around(classes, match.start())
        name = "::".join([*(group.name for group in above[1:]), match["name"]])
        skipped = bool(_JAVA_SKIPPED.search(match["annotations"])) or any(group.skipped for group in above)
        head = code[match.start() : opening_.end()]
        yield Found(name, match["name"], match.start(), (opening_.end() + 1, end), head, skipped=skipped)
