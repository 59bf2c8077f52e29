"""The short of a run, in lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from agent.explain import explained
from agent.progress import clean, verdict_table, wrapped
from agent.report.charts import clock
from agent.report.story import AttemptTold, Story

FILES = (
    ("patch.diff", "patch"),
    ("proof.json", "proof; judge it again with `agent gate --proof`"),
    ("setup.toml", "set-up that a model wrote"),
    ("report.html", "page"),
    ("events.jsonl", "event log"),
)


def brief(story: Story, folder: Path, width: int | None = None) -> Iterator[str]:
    """Status, issue, attempts, root cause, verdict, cost, and where the files are; `width` is that of a terminal."""
    status = f"{story.status}: {clean(story.error)}" if story.error else story.status
    yield f"{clean(story.run_id)}  {status}"
    yield clean(story.title)
    yield f"{clean(story.start.repo)} at {clean(story.start.base[:12])}, {story.started_at:%Y-%m-%d %H:%M} UTC"
    yield ""
    for attempt in story.attempts:
        yield _line(attempt)
    if story.cause:
        said = story.cause.told["hypothesis"]
        where = ", ".join(map(clean, said["where"])) or "no place"
        yield from wrapped(f"root cause ({said['standing']}): {where}: {clean(said['cause'])}", width, "  ")
    if story.decided:
        yield ""
        yield verdict_table(story.decided.told["verdict"], width)
    if story.result and story.result.get("explanation"):
        yield ""
        yield from explained(story.result["explanation"])
    yield ""
    yield _cost(story)
    yield from _files(folder)


def _line(attempt: AttemptTold) -> str:
    told = attempt.told
    failed = [c["name"] for c in (told["verdict"] or {"checks": ()})["checks"] if not c["passed"]]
    how = attempt.word + (f" ({clean(', '.join(failed))})" if failed else "")
    cost = "? USD" if told["cost_usd"] is None else f"{told['cost_usd']:.4f} USD"
    took = "" if told["seconds"] is None else f", {clock(told['seconds'])}"
    return f"attempt {attempt.number}, {clean(told['model'])}: {how}, {told['turns']} turns{took}, {cost}"


def _cost(story: Story) -> str:
    cost = "unknown" if story.cost_usd is None else f"{story.cost_usd:.4f} USD"
    growth = (story.result or {}).get("context_growth")
    linear = f", input {growth:.2f} times the linear price" if isinstance(growth, float) else ""
    return f"cost: {cost}{linear}   time: {clock(story.seconds)}"


def _files(folder: Path) -> Sequence[str]:
    return [f"{what}: {folder / name}" for name, what in FILES if (folder / name).exists()]
