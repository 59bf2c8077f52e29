"""What the event log costs: an append beside a plain write of the same bytes, and reading a log into messages.

    python -m tests.benchmarks.event_log [ROUNDS]

The events are those of the recorded sessions in `tests/unit/sessions`, again and again until there are 1,000. Each
round appends them to a log, writes the same lines to a file through Python's buffer (as they are, and flushed line by
line, as the log's are), and reads the log into the messages of its attempts. Prints medians of the rounds,
in CPU time, the kernel's included: nothing waits for the disk, and other work on the machine does not count.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.conversation import messages
from agent.event_log import EventLog, read_events
from agent.events import AttemptStarted, Event

SESSIONS = Path(__file__).parent.parent / "unit" / "sessions"
EVENTS = 1000


def recorded() -> list[Event]:
    """1,000 events of recorded sessions, whose attempts are numbered on."""
    found: list[Event] = []
    attempts = 0
    while True:
        for path in sorted(SESSIONS.glob("*.jsonl")):
            session = [event for _, event in read_events(path)]
            for event in session:
                number = getattr(event, "attempt", None)
                moved = event if number is None else dataclasses.replace(event, attempt=attempts + number)
                found.append(moved)  # type: ignore[arg-type]
                if len(found) == EVENTS:
                    return found
            attempts += sum(isinstance(event, AttemptStarted) for event in session)


def timed(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def append(events: Sequence[Event], path: Path) -> None:
    log = EventLog(path)
    for event in events:
        log.append(event)


def write(lines: Sequence[bytes], path: Path, *, flushed: bool) -> None:
    with path.open("ab") as file:
        for line in lines:
            file.write(line)
            if flushed:
                file.flush()


def replay(path: Path) -> int:
    events = [event for _, event in read_events(path)]
    starts = [event.attempt for event in events if isinstance(event, AttemptStarted)]
    return sum(len(messages(events, attempt)) for attempt in starts)


def measure(rounds: int) -> dict[str, float]:
    """Median seconds of each kind of work on 1,000 events; `bytes` is what they take on disk."""
    events = recorded()
    took: dict[str, list[float]] = {"append": [], "buffered": [], "flushed": [], "replay": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            log, plain, flushed = (Path(folder) / f"{name}-{number}" for name in ("log", "plain", "flushed"))
            took["append"].append(timed(lambda log=log: append(events, log)))  # type: ignore[misc]
            lines = log.read_bytes().splitlines(keepends=True)
            took["buffered"].append(timed(lambda p=plain, n=lines: write(n, p, flushed=False)))  # type: ignore[misc]
            took["flushed"].append(timed(lambda p=flushed, n=lines: write(n, p, flushed=True)))  # type: ignore[misc]
            took["replay"].append(timed(lambda log=log: replay(log)))  # type: ignore[misc]
            assert log.read_bytes() == plain.read_bytes() == flushed.read_bytes()
        size = log.stat().st_size
    return {**{name: statistics.median(times) for name, times in took.items()}, "bytes": size}


def main() -> None:
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 21)
    print(f"{EVENTS} events, {found['bytes'] / 1e6:.2f} MB")
    for name in ("append", "buffered", "flushed"):
        print(f"{name}: {found[name] / EVENTS * 1e6:.1f} us an event")
    print(f"append / buffered write: {found['append'] / found['buffered']:.1f}")
    print(f"append / flushed write: {found['append'] / found['flushed']:.1f}")
    print(f"replay into messages: {found['replay'] * 1000:.1f} ms")


if __name__ == "__main__":
    main()
