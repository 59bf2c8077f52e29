"""Which task is next: fair over repositories, within limits. Nothing here starts anything."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.batch.tasks import TaskLine

TASK_MB = 4096
"""Memory to be reckoned with for a task: what one sandbox may use by default. Most use far less, some all of it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many tasks run side by side, in all and of one repository or provider; None is without limit."""

    workers: int
    per_repository: int | None = None
    per_provider: int | None = None


class Queue:
    """The tasks that wait, by repository."""

    def __init__(self, lines: Iterable[TaskLine], limits: Limits) -> None:
        self._waiting: dict[str, deque[TaskLine]] = {}
        self._served: dict[str, int] = {}
        self._limits = limits
        for line in lines:
            self._waiting.setdefault(line.repo, deque()).append(line)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def again(self, line: TaskLine) -> None:
        """Put a task back, to be the next one of its repository."""
        self._waiting.setdefault(line.repo, deque()).appendleft(line)

    def next(self, running: Collection[TaskLine], preparing: Collection[str] = ()) -> TaskLine | None:
        """The task to start now, beside those that run; None when there is none, or no room for it.

        Of the repository of which the fewest run; among these the one that was served longest ago. `preparing` are
        repositories whose environment is being made: a second task would only wait for it, so others go first.
        """
        if len(running) >= self._limits.workers:
            return None
        at_work = Counter(line.repo for line in running)
        asked = Counter(provider for line in running for provider in line.providers)
        found = [
            (repo in preparing, at_work[repo], self._served.get(repo, 0), place, repo)
            for place, (repo, lines) in enumerate(self._waiting.items())
            if lines and self._allowed(lines[0], at_work[repo], asked)
        ]
        if not found:
            return None
        repo = min(found)[-1]
        self._served[repo] = max(self._served.values(), default=0) + 1
        return self._waiting[repo].popleft()

    def _allowed(self, line: TaskLine, of_repository: int, asked: Counter[str]) -> bool:
        repository, provider = self._limits.per_repository, self._limits.per_provider
        return (repository is None or of_repository < repository) and (
            provider is None or all(asked[name] < provider for name in line.providers)
        )


def workers_here() -> int:
    """One for each CPU that this process may use, as far as the memory goes; at least one."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus, _free_mb() // TASK_MB))


def _free_mb() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) >> 10
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    except (OSError, ValueError):
        return TASK_MB
