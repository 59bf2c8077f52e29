"""Failing CI jobs that an issue links to: the end of what their failing steps printed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.forge.client import Client, ForgeError
from agent.forge.hidden import shown
from agent.forge.remote import Place
from agent.progress import clean
from agent.text import plain

MAX_JOBS = 3
MAX_LOG = 32 * 1024 * 1024
"""Bytes of a log that are read."""
MAX_TAIL = 8000
"""Characters of it that are told, from its end."""

_ISO = "%Y-%m-%dT%H:%M:%S"
_LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z ?(.*)")
"""A line of a log: when it was printed (UTC), and what."""


def failing_logs(client: Client, place: Place, text: str, notices: list[str]) -> list[str]:
    """What the failing steps of the linked jobs printed last, a part each. Only jobs of the same repository."""
    link = re.compile(
        rf"https?://{re.escape(place.host)}/{re.escape(place.slug)}/actions/runs/\d{{1,18}}/jobs?/(\d{{1,18}})",
        re.I,
    )
    jobs = list(dict.fromkeys(link.findall(text)))
    if len(jobs) > MAX_JOBS:
        notices.append(f"of {len(jobs)} linked CI jobs the first {MAX_JOBS} are read")
    parts = []
    for job in jobs[:MAX_JOBS]:
        path = f"/repos/{place.slug}/actions/jobs/{job}"
        try:
            data = client.get(path)
            steps = [step for step in data.get("steps") or [] if step.get("conclusion") == "failure"]
            if data["conclusion"] != "failure" or not steps:
                notices.append(f"the linked CI job {job} has no failing step")
                continue
            log = client.text(f"{path}/logs", MAX_LOG)
        except ForgeError as error:
            # It helps, and the task can be done without it.
            notices.append(f"the log of the linked CI job {job} can't be read: {error}")
            continue
        parts += [_told(data, step, log) for step in steps[:2]]
    return parts


def _told(job: Mapping[str, Any], step: Mapping[str, Any], log: str) -> str:
    lines = list(_of_step(step, log)) or [plain(line) for line in log.splitlines()]
    tail = shown("\n".join(lines).strip()[-MAX_TAIL:]).text
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", tail)), default=0))
    name = clean(f"{job['name']}, step {step['name']}").replace("`", "'")
    return f"The end of what the failing CI job {name} printed:\n\n{fence}\n{tail}\n{fence}"


def _of_step(step: Mapping[str, Any], log: str) -> Iterator[str]:
    """The lines that were printed while a step ran, by their times: a log does not say whose they are."""
    if not step.get("started_at") or not step.get("completed_at"):
        return
    # Steps are timed to the second.
    first = datetime.fromisoformat(step["started_at"]).astimezone(UTC)
    last = datetime.fromisoformat(step["completed_at"]).astimezone(UTC) + timedelta(seconds=1)
    for line in log.splitlines():
        if (found := _LINE.match(line)) and f"{first:{_ISO}}" <= found[1] < f"{last:{_ISO}}":
            yield plain(found[2])
