"""All candidate repairs at suspicious places, the most promising first."""

from __future__ import annotations

import contextlib
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import libcst as cst

from agent.models.repair.localise import Places
from agent.models.repair.operators import NODE_OPERATORS, STATEMENT_OPERATORS
from agent.models.repair.operators.base import Context, Evidence, Fix, walk
from agent.models.repair.source import Edit, SourceFile, Statement, Unreadable

MAX_FILES = 6
MAX_SPOTS = 250
MAX_PER_PLACE = 400
MAX_CANDIDATES = 40_000
MAX_CLONES = 12


@dataclass(frozen=True, slots=True)
class Candidate:
    """One repair to try: one edit, or the same edit at several places, or several edits."""

    edits: tuple[Edit, ...]
    operator: str
    score: float
    line: int
    live: bool
    """Can it be put into live functions, or does it need a new import?"""

    def disjoint(self, other: Candidate) -> bool:
        return not any(mine.overlaps(theirs) for mine in self.edits for theirs in other.edits)


def combined(candidates: Sequence[Candidate]) -> Candidate:
    """Several candidates, whose edits don't overlap, as one."""
    score = min(c.score for c in candidates) * 0.8 ** (len(candidates) - 1)
    edits = tuple(edit for c in candidates for edit in c.edits)
    names = dict.fromkeys(c.operator for c in candidates)
    return Candidate(edits, " + ".join(names), score, candidates[0].line, all(c.live for c in candidates))


def generate(
    sources: Mapping[str, str], places: Places, evidence: Evidence, seed: int = 0
) -> list[Candidate]:
    """Candidates for the suspicious lines of `sources`, in order of suspicion, prior of the operator and size.

    `seed` decides between equals.
    """
    spots = _spots(sources, places)
    chosen: dict[tuple[Edit, ...], Candidate] = {}
    contexts: dict[tuple[str, int], Context] = {}
    for suspicion, file, statement in spots:
        key = file.path, id(statement.function)
        if key not in contexts:
            own = [s for s in file.statements if s.function is statement.function]
            contexts[key] = Context(file, statement.function, evidence, own)
        with contextlib.suppress(
            RecursionError
        ):  # of deeply nested expressions, which are no one's small edit
            for candidate in _at(contexts[key], statement, suspicion, places):
                held = chosen.get(candidate.edits)
                if held is None or held.score < candidate.score:
                    chosen[candidate.edits] = candidate
    singles = list(chosen.values())
    shuffled = random.Random(seed)  # noqa: S311 (order between equals, nothing secret)
    singles.sort(key=lambda c: (c.edits[0].path, c.edits[0].start, c.edits[0].end, c.edits[0].new))
    keys = {id(c): shuffled.random() for c in singles}
    every = singles + _clones(singles, sources)
    every.sort(key=lambda c: (-c.score, keys.get(id(c), 0.0)))
    return every[:MAX_CANDIDATES]


def _spots(sources: Mapping[str, str], places: Places) -> list[tuple[float, SourceFile, Statement]]:
    """Statements with their suspicion, the highest first."""
    weight: dict[str, float] = defaultdict(float)
    for (path, _), score in places.scores.items():
        weight[path] = max(weight[path], score)
    spots: list[tuple[float, SourceFile, Statement]] = []
    for path in sorted((p for p in weight if p in sources), key=lambda p: (-weight[p], p))[:MAX_FILES]:
        try:
            file = SourceFile(path, sources[path])
        except Unreadable:
            continue
        for statement in file.statements:
            suspicion = _suspicion(file, statement, places, sources)
            if suspicion > 0:
                spots.append((suspicion, file, statement))
    return sorted(spots, key=lambda spot: -spot[0])[:MAX_SPOTS]


def _suspicion(file: SourceFile, statement: Statement, places: Places, sources: Mapping[str, str]) -> float:
    """That of a statement's lines (of a compound one's header, with its `elif`s)."""
    node = statement.node
    if isinstance(node, cst.FunctionDef):
        return 0.5 * places.of(file.path, *file.lines(node)) if node.params.children else 0.0
    if isinstance(node, cst.ClassDef):
        return 0.0
    if statement.function is None and isinstance(node, cst.SimpleStatementLine):
        return 0.9 * _by_use(file, node, places, sources)
    suspicion = places.of(file.path, statement.first, statement.last)
    following = node.orelse if isinstance(node, cst.If) else None
    while isinstance(following, cst.If):
        suspicion = max(suspicion, places.of(file.path, *file.lines(following.test)))
        following = following.orelse
    return suspicion


def _at(context: Context, statement: Statement, suspicion: float, places: Places) -> Iterator[Candidate]:
    """The candidates at one statement (or the header of a compound one)."""
    node = statement.node
    own = suspicion
    if isinstance(node, cst.If):
        own = places.of(context.file.path, statement.first, statement.last)
    fixes: list[tuple[Fix, float]] = []
    if own > 0:
        found = [
            f
            for part in _parts(node)
            for inner in walk(part)
            for op in NODE_OPERATORS
            for f in op(context, inner)
        ]
        most = round(MAX_PER_PLACE * (0.2 + 0.8 * own))
        fixes += [(fix, own) for fix in _best(found, most)]
        for operator in STATEMENT_OPERATORS if context.function is not None else ():
            fixes += [(fix, own) for fix in _best(list(operator(context, statement)), most)]
    if isinstance(node, cst.If):
        fixes += _elifs(context, node, places)
    live = context.function is not None and not isinstance(node, cst.FunctionDef)
    for fix, score in fixes:
        edit = Edit(context.file.path, fix.start, fix.end, fix.new)
        size = abs(len(fix.new) - (fix.end - fix.start)) + 0.3 * len(fix.new)
        yield Candidate(
            (edit,), fix.operator, score * fix.prior / (1.0 + size / 150.0), statement.first, live
        )


def _elifs(context: Context, node: cst.If, places: Places) -> Iterator[tuple[Fix, float]]:
    """The conditions of `elif`s, which are no statements of their own."""
    following = node.orelse
    while isinstance(following, cst.If):
        suspicion = places.of(context.file.path, *context.file.lines(following.test))
        if suspicion > 0:
            found = [
                f
                for inner in walk(following.test)
                for operator in NODE_OPERATORS
                for f in operator(context, inner)
            ]
            yield from ((fix, suspicion) for fix in _best(found, MAX_PER_PLACE // 2))
        following = following.orelse


def _best(fixes: list[Fix], most: int) -> list[Fix]:
    return fixes if len(fixes) <= most else sorted(fixes, key=lambda f: -f.prior)[:most]


def _parts(node: cst.BaseStatement) -> list[cst.CSTNode]:
    """What belongs to a statement itself: all of a simple one, the header of a compound one."""
    if isinstance(node, cst.SimpleStatementLine):
        return list(node.body)
    if isinstance(node, cst.If | cst.While):
        return [node.test]
    if isinstance(node, cst.For):
        return [node.iter]
    if isinstance(node, cst.With):
        return [item.item for item in node.items]
    if isinstance(node, cst.FunctionDef):
        params = [*node.params.posonly_params, *node.params.params, *node.params.kwonly_params]
        return [p.default for p in params if p.default is not None]
    if isinstance(node, cst.Try):
        return [handler.type for handler in node.handlers if handler.type is not None]
    return []


def _by_use(file: SourceFile, node: cst.BaseStatement, places: Places, sources: Mapping[str, str]) -> float:
    """The suspicion of a module's or a class's assignment: that of the lines that use its name."""
    if not isinstance(node, cst.SimpleStatementLine):
        return 0.0
    names = []
    for small in node.body:
        targets = small.targets if isinstance(small, cst.Assign) else ()
        names += [t.target.value for t in targets if isinstance(t.target, cst.Name)]
        if (
            isinstance(small, cst.AnnAssign)
            and isinstance(small.target, cst.Name)
            and small.value is not None
        ):
            names.append(small.target.value)
    if not names:
        return 0.0
    pattern = re.compile(r"\b(?:" + "|".join(map(re.escape, names)) + r")\b")
    best = 0.0
    for path, text in sources.items():
        if not pattern.search(text):
            continue
        for number, line in enumerate(text.split("\n"), 1):
            score = places.scores.get((path, number), 0.0)
            if score > best and pattern.search(line):
                best = score
    return best


def _clones(singles: Sequence[Candidate], sources: Mapping[str, str]) -> list[Candidate]:
    """The same edit at every place with the same text: a mistake that was copied must be mended in each copy."""
    data = {path: text.encode() for path, text in sources.items()}
    groups: dict[tuple[str, bytes, str], list[Candidate]] = defaultdict(list)
    for candidate in singles:
        edit = candidate.edits[0]
        text = data[edit.path]
        line = text[text.rfind(b"\n", 0, edit.start) + 1 : (text.find(b"\n", edit.end) + 1) or len(text)]
        # An inserted text belongs to the line that it stands at.
        old = text[edit.start : edit.end] if edit.end > edit.start else line.strip()
        groups[candidate.operator, old, edit.new.strip()].append(candidate)
        groups[candidate.operator + "/line", line.strip(), edit.new.strip()].append(candidate)
    clones: dict[tuple[Edit, ...], Candidate] = {}
    for group in groups.values():
        if not 2 <= len(group) <= MAX_CLONES:
            continue
        group.sort(key=lambda c: (c.edits[0].path, c.edits[0].start))
        edits = [c.edits[0] for c in group]
        if any(a.overlaps(b) for a, b in pairwise(edits)):
            continue
        score = 0.5 * sum(c.score for c in group) / len(group)
        best = max(group, key=lambda c: c.score)
        clones[tuple(edits)] = Candidate(
            tuple(edits),
            f"{best.operator} (at {len(edits)} places)",
            score,
            best.line,
            all(c.live for c in group),
        )
    return list(clones.values())
