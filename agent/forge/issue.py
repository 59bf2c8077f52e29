"""An issue with its comments as a task's text: as it stands, or as it stood when somebody set the label.

GitHub's API gives no earlier text that could be relied on (`UserContentEdit.diff` is "a summary of the changes"), but
it tells when a text was last edited. So comments that were written or edited since are left out, and an issue whose
own text was edited since is refused: nobody who may start a run has read it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from agent.errors import UsageError
from agent.forge.ci_logs import failing_logs
from agent.forge.client import Client, Missing
from agent.forge.hidden import shown, told
from agent.forge.remote import IssueRef

MAX_COMMENTS = 1000
MAX_SAID = 100_000
"""Characters of all comments together; the issue's own text has at most 65,536."""

_EDITS = """
query($owner: String!, $name: String!, $number: Int!, $since: DateTime) {
  repository(owner: $owner, name: $name) {
    issue(number: $number) {
      lastEditedAt
      timelineItems(first: 1, since: $since, itemTypes: [RENAMED_TITLE_EVENT]) {
        nodes { ... on RenamedTitleEvent { createdAt previousTitle } }
      }
    }
  }
}
"""


@dataclass(frozen=True, slots=True)
class Issue:
    """What a model is told of an issue, and what a person should know of how that came about."""

    ref: IssueRef
    text: str
    notices: tuple[str, ...]


@dataclass
class _Reading:
    hidden: Counter[str] = field(default_factory=Counter)
    notices: list[str] = field(default_factory=list)

    def seen(self, text: str | None) -> str:
        """A text without what it hides, which is counted."""
        found = shown(text or "")
        self.hidden += found.hidden
        return found.text.strip()


def parse_time(text: str) -> datetime:
    """--as-of's time, ISO 8601 with a zone. Raises UsageError."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise UsageError(f"--as-of {text[:80]}: write a time with its zone, such as 2026-11-30T08:00:00Z")
    return time.astimezone(UTC)


def read_issue_of(client: Client, ref: IssueRef, as_of: datetime | None = None) -> Issue:
    """The issue, as it stood at `as_of` where that is given.

    Raises UsageError when there is no such issue, when it is a pull request, or was edited since then; ForgeError when
    GitHub can't be asked.
    """
    path = f"/repos/{ref.place.slug}/issues/{ref.number}"
    try:
        data = client.get(path)
    except Missing as missing:
        raise UsageError(f"no issue {ref.number} in {ref.place.slug}: {missing}") from missing
    if "pull_request" in data:
        raise UsageError(
            f"{ref.place.slug}#{ref.number} is a pull request, not an issue: name the issue that it is for"
        )
    reading = _Reading()
    title = data["title"] if as_of is None else _title_then(client, ref, data, as_of)
    parts = [f"# {' '.join(reading.seen(title).split())}", reading.seen(data["body"])]
    comments = _comments(client, path, as_of, reading)
    parts += comments
    parts += failing_logs(client, ref.place, "\n".join([parts[1], *comments]), reading.notices)
    text = "\n\n".join(part for part in parts if part)
    if removed := told(reading.hidden):
        text += f"\n\n[Removed from this text, since people who read the issue don't see it: {removed}.]"
        reading.notices.append(f"removed from the issue, since people don't see it: {removed}")
    return Issue(ref, text + "\n", tuple(reading.notices))


def _title_then(client: Client, ref: IssueRef, data: Mapping[str, Any], as_of: datetime) -> str:
    """The title at that time; raises UsageError when the text was edited, or the issue made, since."""
    if _time(data["created_at"]) > as_of:
        raise UsageError(f"--as-of {as_of:%Y-%m-%dT%H:%M:%SZ}: issue {ref.number} was not there yet")
    answer = client.query(
        _EDITS,
        owner=ref.place.owner,
        name=ref.place.name,
        number=ref.number,
        since=as_of.isoformat().replace("+00:00", "Z"),
    )
    issue = answer["repository"]["issue"]
    edited = issue["lastEditedAt"]
    # Times are whole seconds: what was edited in the same one may be what nobody has read.
    if edited is not None and _time(edited) >= as_of:
        raise UsageError(
            f"issue {ref.number} was edited at {edited}, after {as_of:%Y-%m-%dT%H:%M:%SZ} (--as-of): read it again, "
            "and set the label anew"
        )
    renamed = [one for one in issue["timelineItems"]["nodes"] if _time(one["createdAt"]) >= as_of]
    return str(renamed[0]["previousTitle"] if renamed else data["title"])


def _comments(client: Client, path: str, as_of: datetime | None, reading: _Reading) -> list[str]:
    """The comments in their order, each with who wrote it and when."""
    told_of: list[str] = []
    left = Counter[str]()
    size, items = 0, list(client.pages(f"{path}/comments", MAX_COMMENTS + 1))
    for item in items[:MAX_COMMENTS]:
        made, edited = _time(item["created_at"]), _time(item["updated_at"])
        if as_of is not None and made >= as_of:
            left["made since then"] += 1
            continue
        if as_of is not None and edited >= as_of:
            left["edited since then"] += 1
            continue
        who = (item["user"] or {}).get("login", "somebody whose account is gone")
        body = reading.seen(item["body"])
        if not body:
            continue
        one = f"Comment of {who} ({item['author_association'].lower()}, {item['created_at']}):\n\n{body}"
        if size + len(one) > MAX_SAID:
            left[f"beyond {MAX_SAID:,} characters"] += 1
            continue
        size += len(one)
        told_of.append(one)
    if len(items) > MAX_COMMENTS:
        reading.notices.append(f"only the first {MAX_COMMENTS} comments of the issue are read")
    reading.notices += [f"comments left out, {why}: {number}" for why, number in sorted(left.items())]
    return told_of


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def without_hidden(text: str) -> tuple[str, tuple[str, ...]]:
    """The same for an issue's text from a file: with a word on what was removed, and the notices."""
    reading = _Reading()
    seen = reading.seen(text)
    if not (removed := told(reading.hidden)):
        return text, ()
    said = f"removed from the issue, since people don't see it: {removed}"
    return f"{seen}\n\n[Removed from this text, since people who read it don't see it: {removed}.]\n", (said,)
