"""Task lines: what a batch is to do, read from JSONL, a folder, or a file that GitHub's search answered.

A line of JSONL, all but `id` optional (`repo` is that of the whole batch where a line names none):

    {"id", "repo": PATH or URL, "base", "issue": TEXT, "issue_number", "test", "image", "setup": [COMMAND],
     "fail_to_pass": [TEST_ID], "test_patch": TEXT, "case": {…}}

`test_patch` are hidden tests as a patch; `case` is for whoever evaluates, and not read here. A line may be an instance
of the SWE-bench family instead. A folder holds issues as `NAME.md` or `NAME.txt`, or checkouts NAME with their issue in
`NAME.issue.md` and hidden tests in `NAME.test.patch`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.batch.instances import is_instance, task_of
from agent.errors import UsageError
from agent.text import printable

MAX_FILE = 1 << 30
"""Bytes of a file of tasks."""
MAX_ISSUE = 1 << 20
"""Bytes of an issue's text, as for `agent fix`."""


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One task of a batch, as it was given."""

    id: str
    repo: str
    """A path, absolute, or a URL."""
    base: str = "HEAD"
    issue: str | None = None
    issue_number: int | None = None
    test: str | None = None
    image: str | None = None
    setup: tuple[str, ...] | None = None
    fail_to_pass: tuple[str, ...] = ()
    test_patch: str | None = None
    models: tuple[str, ...] = ()
    """The ladder; empty for what the repository or the keys say."""
    case: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""
    """Why it can't be run: one line that names the mend. Empty where it can."""

    @property
    def providers(self) -> frozenset[str]:
        """Whose models it may ask."""
        return frozenset(spec.partition("/")[0] for spec in self.models) - {"local", "scripted"}


def read_tasks(source: str, repo: str, models: Sequence[str] = (), *, images: bool = False) -> list[TaskLine]:
    """The tasks of a file or folder, in their order; bad ones with their `fault`. `repo` is for those that name none;
    with `images`, instances of a benchmark have the image that it made for them.

    Raises UsageError when there is nothing to read at all.
    """
    path = Path(source)
    try:
        found = list(_of_folder(path, repo) if path.is_dir() else _of_file(path, repo, images))
    except OSError as error:
        raise UsageError(f"{source}: {error.strerror or error}; name a file or folder of tasks") from error
    if not found:
        raise UsageError(f"{source}: no task in it; see `agent batch --help` for what it may hold")
    return [replace(line, models=tuple(models)) for line in _once(found)]


def is_url(repo: str) -> bool:
    """Whether a repository is to be cloned: `scheme://…`, or scp's `user@host:path`."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", repo) or re.match(r"[\w.-]+@[\w.-]+:(?!/*$)", repo))


PROTOCOLS = "https:http:ssh:git:file"
"""What git may speak; `ext::` would run any command."""


def url_fault(url: str) -> str:
    """Why git may not be given a URL; empty where it may."""
    if any(not c.isprintable() or c.isspace() for c in url) or url.startswith("-"):
        return f"repo {printable(url)[:200]!r} is no URL: write https://HOST/OWNER/NAME"
    if "://" in url:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            return f"repo {url[:200]!r} is no URL: {error}"
        if parts.scheme not in PROTOCOLS.split(":"):
            return f"repo {url[:200]!r}: git may use {', '.join(PROTOCOLS.split(':'))} here"
        if parts.password or (parts.username and parts.scheme.startswith("http")):
            return "repo: a URL with a secret in it ends up in logs and results; use git's credential helper"
    return ""


def of_shard(lines: Sequence[TaskLine], shard: str) -> list[TaskLine]:
    """The tasks of part K of N, `K/N`, counted from 1: each N-th. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", shard)
    number, of = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= of:
        raise UsageError(f"--shard {shard}: write K/N with K from 1 to N, such as 2/8")
    return list(lines[number - 1 :: of])


def _once(lines: Iterable[TaskLine]) -> Iterator[TaskLine]:
    """Each id once: a second one of that name could not be told from the first in the results."""
    seen: set[str] = set()
    for line in lines:
        if line.id in seen:
            number = 2
            while f"{line.id} ({number})" in seen:
                number += 1
            twice = f"the id {line.id!r} stands there twice: give each task its own"
            line = TaskLine(f"{line.id} ({number})", line.repo, fault=line.fault or twice)
        seen.add(line.id)
        yield line


def _of_file(path: Path, repo: str, images: bool) -> Iterator[TaskLine]:
    if path.stat().st_size > MAX_FILE:
        raise UsageError(f"{path}: longer than {MAX_FILE} bytes; split it")
    data = path.read_bytes()
    if (items := _search_items(data)) is not None:
        yield from (_of_search(number, item) for number, item in enumerate(items, 1))
        return
    for number, text in enumerate(data.split(b"\n"), 1):
        if text.strip():
            yield _of_line(number, text, repo, path.absolute().parent, images)


def _of_line(number: int, text: bytes, repo: str, folder: Path, images: bool) -> TaskLine:
    name = f"line {number}"
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        return TaskLine(name, repo, fault=f"line {number} is not JSON: {error}")
    if not isinstance(data, dict):
        return TaskLine(name, repo, fault=f'line {number} is no JSON object: write {{"id": …}}')
    data = task_of(data, images=images) if is_instance(data) else data
    given = data.get("id")
    name = given[:200] if isinstance(given, str) and given.strip() and _encodable(given) else name
    where = data.get("repo")
    where = repo if where is None else where if isinstance(where, str) and _encodable(where) else ""
    fault = _fault(data)
    if is_url(where):
        fault = fault or url_fault(where)
        where = re.sub(r"://[^/]*@", "://", where) if fault else where
    elif where:
        where = str(folder / where)
    if fault:
        return TaskLine(name, where, fault=f"line {number}: {fault}")
    lists: dict[str, Any] = {key: tuple(data[key]) for key in _LISTS if data.get(key) is not None}
    plain: dict[str, Any] = {key: data[key] for key in _PLAIN if data.get(key) is not None}
    if "issue" in plain:
        plain["issue"] = _text(plain["issue"])
    return TaskLine(name, where, **plain, **lists)


_LISTS = ("setup", "fail_to_pass")
_PLAIN = ("base", "issue", "issue_number", "test", "image", "test_patch", "case")
_KEYS: Mapping[str, tuple[type, str]] = {
    "id": (str, "a text"),
    "repo": (str, "a path or URL"),
    "base": (str, "a commit, branch or tag"),
    "issue": (str, "the issue's text"),
    "issue_number": (int, "a number"),
    "test": (str, "a command"),
    "image": (str, "the name of an image"),
    "setup": (list, "a list of commands"),
    "fail_to_pass": (list, "a list of test ids"),
    "test_patch": (str, "a patch as text"),
    "case": (dict, "an object"),
}


def _fault(data: Mapping[str, Any]) -> str:
    """What is wrong with a line, or nothing."""
    for key, value in data.items():
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(_KEYS)}"
            return f"unknown key {key[:80]!r}; {hint}"
        kind, said = _KEYS[key]
        if value is None and key != "id":
            continue
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"{key} must be {said}"
        if isinstance(value, list) and not all(isinstance(one, str) and one.strip() for one in value):
            return f"{key} must be {said}"
        texts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
        if key != "issue" and not all(map(_encodable, texts)):
            return f"{key} holds characters that can't be passed on: a NUL, or half of a pair"
    if not str(data.get("id") or "").strip():
        return "it has no id: give each task its own"
    if data.get("issue") is None and data.get("issue_number") is None:
        return "it names no issue: give its text as `issue`, or its `issue_number`"
    if data.get("image") == "":
        return "its image has no name: write one, or leave `image` (of SWE-bench Pro: `dockerhub_tag`) out"
    issue = data.get("issue")
    if issue is not None and not issue.strip():
        return "the issue's text is empty; describe the bug in it"
    if issue is not None and len(_text(issue).encode()) > MAX_ISSUE:
        return f"the issue's text is longer than {MAX_ISSUE} bytes; give the part that describes the bug"
    return ""


def _encodable(text: str) -> bool:
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


def _text(given: str) -> str:
    """An issue's text as it can be passed on."""
    whole = given.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\r\n", "\n").replace("\0", "\ufffd")


def _of_folder(folder: Path, repo: str) -> Iterator[TaskLine]:
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".md", ".txt") or not path.is_file():
            continue
        checkout = folder / path.name.removesuffix(".issue.md")
        own = path.name.endswith(".issue.md") and checkout.is_dir()
        line = TaskLine(checkout.name if own else path.stem, str(checkout.absolute()) if own else repo)
        if path.stat().st_size > MAX_ISSUE:
            yield replace(line, fault=f"{path}: longer than {MAX_ISSUE} bytes; keep what describes the bug")
            continue
        text = _text(path.read_bytes().decode("utf-8", "replace"))
        tests = checkout.with_name(f"{checkout.name}.test.patch")
        hidden = tests.read_bytes().decode("utf-8", "surrogateescape") if own and tests.is_file() else None
        fault = "" if text.strip() else f"{path}: the issue's text is empty; describe the bug in it"
        yield replace(line, issue=text, test_patch=hidden, fault=fault)


_API = re.compile(r"https?://([\w.:-]+)/(api/v3/)?repos/([\w.-]+)/([\w.-]+)")


def _search_items(data: bytes) -> list[Any] | None:
    """The items of an answer of GitHub's search for issues; None for another file."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    items = found.get("items") if isinstance(found, dict) else None
    return items if isinstance(items, list) else None


def _of_search(number: int, item: Any) -> TaskLine:
    """One issue that the search found. Its text is in the file; nothing is asked of GitHub."""
    item = item if isinstance(item, dict) else {}
    where = _API.fullmatch(str(item.get("repository_url")))
    issue, title, body = item.get("number"), item.get("title"), item.get("body")
    if where is None or type(issue) is not int or not isinstance(title, str):
        return TaskLine(f"item {number}", "", fault=f"item {number} is no issue of GitHub's search")
    host = "github.com" if where[1] == "api.github.com" else where[1]
    line = TaskLine(f"{where[3]}__{where[4]}-{issue}", f"https://{host}/{where[3]}/{where[4]}")
    if item.get("pull_request"):
        return replace(line, fault="it is a pull request, not an issue; search with `is:issue`")
    text = _text(f"# {title}\n\n{body if isinstance(body, str) else ''}")
    return replace(line, issue=text[: MAX_ISSUE // 4], issue_number=issue)
