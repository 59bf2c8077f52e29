"""Is what a lint, type check or build says worse with the patch?"""

from __future__ import annotations

import pytest

from agent.gate.extra import worse
from sandboxes.types import Completed


def said(code: int | None, *lines: str) -> Completed:
    return Completed(code, "\n".join(lines).encode(), 0, code is None, 1.0)


OLD = "calc.py:3: error: Name 'x' is not defined"


@pytest.mark.parametrize(
    ("base", "after"),
    [
        (said(0), said(0)),
        (said(1, OLD, "Found 1 error"), said(0)),
        (said(1, OLD, "Found 1 error in 0.03s"), said(1, OLD.replace("3", "5"), "Found 1 error in 0.05s")),
        (said(1, OLD, "step one"), said(1, OLD, "step two")),
        (said(None, "a.py: x"), said(None, "b.py: y")),
        (said(1, OLD, "5 | os.x", "6 | a"), said(1, OLD, "5 | os.x", "6 | return os.path.join(a, tail)")),
    ],
    ids=["clean", "mended", "moved", "progress", "neither ends", "code around it"],
)
def test_no_worse(base: Completed, after: Completed) -> None:
    assert worse(base, after) == ""


@pytest.mark.parametrize(
    ("base", "after", "told"),
    [
        (said(0, "ok"), said(1, "calc.py:9: unused"), "calc.py:9: unused"),
        (said(0, "ok"), said(None), "does not end"),
        (said(1, OLD), said(1, OLD, "calc.py:9: unused"), "calc.py:9: unused"),
        (said(1, OLD), said(1, OLD, OLD), "not defined"),
        (said(1, OLD), said(2, "src/a.ts(3,4): error TS1005"), "TS1005"),
        (said(1, "a.js", "1:2  error  one"), said(1, "a.js", "1:2  error  one", "7:1  error  two"), "two"),
        (said(1, OLD), said(1, OLD, "  --> src/a.rs:3:4"), "a.rs"),
    ],
    ids=["fails now", "hangs now", "one more", "twice", "another", "eslint", "rustc"],
)
def test_worse(base: Completed, after: Completed, told: str) -> None:
    assert told in worse(base, after)
