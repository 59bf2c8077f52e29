"""What the laboratory reports, checked: it runs the repository's code, so its results are anyone's data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


class BadReport(ValueError):
    """The result does not have the shape that the laboratory gives it."""


@dataclass(frozen=True)
class Failure:
    """How one wanted test went, run alone."""

    ok: bool
    kind: str
    """The exception's name, "" where there is none."""
    message: str
    test_line: int
    """The line of the test at which it failed, 0 when unknown."""
    seconds: float
    spawns: bool
    """Did it start a process?"""
    frames: list[tuple[str, int]]
    """The product's frames of the traceback, the innermost last."""


@dataclass(frozen=True)
class Observation:
    """What `observe` saw; see repair_observe."""

    missing: list[str]
    hanging: list[str]
    passed: list[str]
    failing: dict[str, Failure]
    tests: dict[str, str]
    """The wanted tests' source texts."""
    lines: dict[str, list[tuple[int, int, int]]]
    """Per path: line, failing tests that run it, passing tests that run it."""
    sources: dict[str, str]
    modules: list[str]
    startup: float
    known_seconds: float

    @classmethod
    def read(cls, data: Any) -> Observation:
        """Raises BadReport."""
        return cls(
            _list(_field(data, "missing"), _text),
            _list(_field(data, "hanging"), _text),
            _list(_field(data, "passed"), _text),
            _dict(_field(data, "failing"), _failure),
            _dict(_field(data, "tests"), _text),
            _dict(_field(data, "lines"), lambda counts: _list(counts, _count)),
            _dict(_field(data, "sources"), _text),
            _list(_field(data, "modules"), _text),
            _number(_field(data, "startup")),
            _number(_field(data, "known_seconds")),
        )


@dataclass(frozen=True)
class Outcome:
    """What came out for one candidate of a batch; the words are those of repair_trial."""

    index: int
    word: str
    bits: str
    detail: str


@dataclass(frozen=True)
class TrialReport:
    done: int
    counts: dict[str, int]
    results: list[Outcome]

    @classmethod
    def read(cls, data: Any, candidates: int, wanted: int) -> TrialReport:
        """Of a batch of `candidates` against `wanted` tests. Raises BadReport."""

        def outcome(item: Any) -> Outcome:
            index, word, bits, detail = _exactly(item, 4)
            found = Outcome(_whole(index), _text(word), _text(bits), _text(detail))
            if not 0 <= found.index < candidates or len(found.bits) != wanted or set(found.bits) - {"0", "1"}:
                raise BadReport(f"no outcome of this batch: {found}")
            if found.word == "part" and not found.detail.isdecimal():
                raise BadReport(f"no number of lines: {found}")
            return found

        done = max(0, _whole(_field(data, "done")))
        return cls(done, _dict(_field(data, "counts"), _whole), _list(_field(data, "results"), outcome))


def _failure(data: Any) -> Failure:
    return Failure(
        _field(data, "ok") is True,
        _text(data.get("kind", "")),
        _text(data.get("message", "")),
        _whole(data.get("test_line", 0)),
        _number(_field(data, "seconds")),
        _field(data, "spawns") is True,
        _list(data.get("frames", []), _frame),
    )


def _frame(data: Any) -> tuple[str, int]:
    path, line = _exactly(data, 2)
    return _text(path), _whole(line)


def _count(data: Any) -> tuple[int, int, int]:
    line, failing, passing = map(_whole, _exactly(data, 3))
    if line < 1 or failing < 0 or passing < 0:
        raise BadReport(f"no count: {data!r:.100}")
    return line, failing, passing


def _field(data: Any, name: str) -> Any:
    if not isinstance(data, dict) or name not in data:
        raise BadReport(f"{name!r} is missing")
    return data[name]


def _text(data: Any) -> str:
    if not isinstance(data, str):
        raise BadReport(f"not a text: {data!r:.100}")
    return data


def _whole(data: Any) -> int:
    if type(data) is not int:
        raise BadReport(f"not a whole number: {data!r:.100}")
    return data


def _number(data: Any) -> float:
    if type(data) not in (int, float) or not 0 <= data < 1e6:
        raise BadReport(f"not a number of seconds: {data!r:.100}")
    return float(data)


def _exactly(data: Any, count: int) -> Sequence[Any]:
    if not isinstance(data, list) or len(data) != count:
        raise BadReport(f"not {count} items: {data!r:.100}")
    return data


def _list(data: Any, item: Callable[[Any], T]) -> list[T]:
    if not isinstance(data, list):
        raise BadReport(f"not a list: {data!r:.100}")
    return [item(one) for one in data]


def _dict(data: Any, value: Callable[[Any], T]) -> dict[str, T]:
    if not isinstance(data, dict):
        raise BadReport(f"not an object: {data!r:.100}")
    return {key: value(one) for key, one in data.items()}
