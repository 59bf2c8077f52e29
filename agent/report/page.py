"""The page of a run: one file that asks for nothing, runs nothing, and shows hostile text as text.

All that is put into the template passes `_shown` and is then escaped (Jinja's autoescape); only the style sheet, which
is ours, is not. The page's policy allows that style sheet, by its hash, and nothing else: no script, image, font or
request, so that even markup which got through could do nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.event_log import Logged
from agent.redaction import redact, without_shapes
from agent.report import charts
from agent.report.steps import bounded, steps
from agent.report.story import AttemptTold, Story, compared, read, tell, unchanged, worked
from agent.text import printable

if TYPE_CHECKING:
    from jinja2 import Template

NAME = "report.html"
MAX_DIFF_LINES = 4000
"""Lines of one patch that the page holds."""
WORDS = {"needs_review": "needs review", "not_reproduced": "not reproduced", "model_error": "model error"}
GOOD, DOUBTFUL = ("accepted", "passed", "confirmed"), ("needs_review", "unfinished", "interrupted", "open")


@dataclass(frozen=True, slots=True)
class Line:
    kind: str
    """file, hunk, added, removed, or empty"""
    text: str


def write_page(folder: Path, secrets: Sequence[str] = ()) -> Path:
    """Write the page of the run in `folder` there. Raises UsageError, ValueError for a log that is none, OSError."""
    from agent.result import write_atomically

    path = folder / NAME
    write_atomically(path, page(read(folder), patches(folder, secrets)).encode())
    return path


def patches(folder: Path, secrets: Sequence[str] = ()) -> dict[int, str]:
    """The patch of each attempt that was judged, without secrets."""
    found = {}
    for path in sorted((folder / "gate").glob("*.diff")):
        if path.stem.isdecimal():
            text = path.read_bytes().decode("utf-8", "replace")
            found[int(path.stem)] = without_shapes(redact(text, secrets))
    return found


def page(log: Logged, diffs: dict[int, str]) -> str:
    """The page of a run as HTML. Raises ValueError for a log that does not begin with a run's start."""
    story = tell(log)
    return _template().render(
        story=story,
        cause=_cause(story),
        decided=story.decided,
        diffs={number: diff_lines(text) for number, text in diffs.items()},
        lanes=charts.lanes(story),
        steps=steps(log),
        totals=_totals(story),
        style=_style(),
        policy=f"default-src 'none'; style-src '{_hash(_style())}'; base-uri 'none'; form-action 'none'",
    )


def diff_lines(patch: str) -> list[Line]:
    """A patch line by line. What is inside a hunk is told by its mark alone: a removed "-- x" is no head of a file."""
    lines = patch.removesuffix("\n").split("\n")
    told: list[Line] = []
    inside = False
    for line in lines[:MAX_DIFF_LINES]:
        if line.startswith("diff --git "):
            inside = False
        inside = inside or line.startswith("@@ ")
        marked = {"@": "hunk", "+": "added", "-": "removed"}.get(line[:1], "")
        told.append(Line(marked if inside else "file", line))
    if len(lines) > MAX_DIFF_LINES:
        told.append(Line("hunk", f"… {len(lines) - MAX_DIFF_LINES:,} more lines: see the patch's file"))
    return told


def _cause(story: Story) -> dict[str, Any] | None:
    attempt = story.cause
    return {**attempt.told["hypothesis"], "attempt": attempt.number} if attempt else None


def _totals(story: Story) -> list[tuple[str, str]]:
    """The figures at the top, each with its name."""
    attempts = story.attempts
    turns = sum(one.told["turns"] for one in attempts)
    calls = sum(one.told["tool_calls"]["total"] for one in attempts)
    cost = "unknown" if story.cost_usd is None else f"{story.cost_usd:.4f} USD"
    model, tools = worked(attempts, "model"), worked(attempts, "tool")
    return [
        ("cost", cost),
        ("time", charts.clock(story.seconds)),
        ("attempts", str(len(attempts))),
        ("model turns", str(turns)),
        ("tool calls", str(calls)),
        ("model", charts.clock(model)),
        ("tools", charts.clock(tools)),
        ("gate", charts.clock(worked(attempts, "gate"))),
    ]


def _shown(value: Any) -> Any:
    """A value as the page shows it, before it is escaped: control and bidirectional characters are spelled out."""
    from markupsafe import Markup

    return value if isinstance(value, Markup) else printable(str(value))


def _tone(word: str) -> str:
    """good, doubtful or bad: the class that colours a word."""
    return "good" if word in GOOD else "doubtful" if word in DOUBTFUL else "bad"


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("agent.report", "."),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "word": lambda word: WORDS.get(word, word),
        "tone": _tone,
        "bounded": bounded,
        "chart": charts.chart,
        "compared": compared,
        "unchanged": unchanged,
        "clock": charts.clock,
    }
    environment.tests |= {"judged": _judged}
    return environment.get_template("page.html")


def _judged(attempt: AttemptTold | None) -> bool:
    return attempt is not None and bool(attempt.told["verdict"])


@cache
def _style() -> Any:
    from markupsafe import Markup

    return Markup((Path(__file__).parent / "page.css").read_text())  # noqa: S704 (a file of ours)


def _hash(style: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
