"""What the failing tests execute, what other tests execute, and how they fail.

Runs in the sandbox, on Python 3.8 and later.
"""
# ruff: noqa: PTH118, PTH123, PTH206

from __future__ import annotations

import contextlib
import inspect
import json
import os
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Set

import repair_fork  # type: ignore[import-not-found]

MAX_SOURCES = 40
MAX_SOURCE = 400_000

TEST_FOLDERS = {"tests", "test", "testing", "site-packages", ".venv", "venv", ".tox", ".nox", "node_modules"}


class OutOfTime(BaseException):
    """Raised within a traced test that takes too long."""


class Product:
    """Which files are the product's: those of `paths`, else Python in the workspace that is no test nor installed."""

    def __init__(self, root: str, paths: Optional[List[str]] = None) -> None:
        self.root = os.path.realpath(root) + os.sep
        self._paths = None if paths is None else set(paths)
        self._known: Dict[str, Optional[str]] = {}

    def path(self, filename: str) -> Optional[str]:
        """The path within the workspace, or None for all other files."""
        if filename not in self._known:
            self._known[filename] = self._look(filename)
        return self._known[filename]

    def _look(self, filename: str) -> Optional[str]:
        full = os.path.realpath(filename)
        if not full.startswith(self.root) or not full.endswith(".py"):
            return None
        path = full[len(self.root) :]
        if self._paths is not None:
            return path if path in self._paths else None
        *folders, name = path.split(os.sep)
        if TEST_FOLDERS.intersection(folders) or name in ("conftest.py", "setup.py", "noxfile.py"):
            return None
        if name.startswith("test_") or name.endswith("_test.py") or name == "tests.py":
            return None
        return path


class Tracer:
    """Lines of the product that run between `start` and `stop`."""

    def __init__(self, product: Product, seconds: float) -> None:
        self.product = product
        self.end = time.monotonic() + seconds
        self.lines: Dict[str, Set[int]] = {}
        self._ticks = 0

    def start(self, seconds: float) -> None:
        self.lines = {}
        self.end = time.monotonic() + seconds
        threading.settrace(self._call)
        sys.settrace(self._call)

    def stop(self) -> Dict[str, List[int]]:
        sys.settrace(None)
        threading.settrace(None)
        return {path: sorted(lines) for path, lines in self.lines.items()}

    def _call(self, frame: Any, event: str, arg: Any) -> Any:
        path = self.product.path(frame.f_code.co_filename)
        if path is None:
            return None
        lines = self.lines.setdefault(path, set())
        lines.add(frame.f_lineno)

        def line(frame: Any, event: str, arg: Any) -> Any:
            if event == "line":
                lines.add(frame.f_lineno)
                self._ticks += 1
                if self._ticks % 2048 == 0 and time.monotonic() > self.end:
                    raise OutOfTime
            return line

        return line


def observe(items: Dict[str, Any], job: Dict[str, Any], run_items: Callable[..., Any]) -> None:
    """Write {"missing", "plain", "failing", "lines", "sources", …} as the result.

    A wanted id may be that of a file, a class or a test without its parameters; the job's "product" names the files to
    observe, where it has one.
    """
    product = Product(job["root"], job.get("product"))
    chosen = {one: None for name in job["wanted"] for one in _meant(name, items)}
    wanted = [items[one] for one in chosen]
    named = items if job["known"] is None else job["known"]
    known = [items[one] for one in named if one in items and one not in chosen]
    end = time.monotonic() + job["seconds"]
    result: Dict[str, Any] = {
        "python": list(sys.version_info[:3]),
        "missing": [one for one in job["wanted"] if one not in items],
        "collected": len(items),
        "startup": job["startup"],
        "modules": _third_party(product),
    }
    each = max(2.0, min(20.0, job["seconds"] / 6))
    failing: Dict[str, Any] = {}

    def plain(say: Callable[[str], None]) -> None:
        spawned: List[str] = []
        sys.addaudithook(lambda event, args: spawned.append(event) if event in SPAWNS else None)
        started = [0.0]

        def before(item: Any) -> None:
            started[0] = time.monotonic()

        def after(item: Any, failure: Any) -> None:
            entry = _failure(item, failure, product)
            entry["seconds"] = round(time.monotonic() - started[0], 4)
            entry["spawns"] = bool(spawned)
            say(json.dumps(entry))

        run_items(wanted, after, before)

    def traced(chosen: List[Any]) -> Callable[[Callable[[str], None]], None]:
        def work(say: Callable[[str], None]) -> None:
            tracer = Tracer(product, each)
            began = time.monotonic()

            def after(item: Any, failure: Any) -> bool:
                lines = tracer.stop()
                spent = time.monotonic() - began
                say(json.dumps({"id": item.nodeid, "ok": failure is None, "lines": lines, "spent": spent}))
                return bool(time.monotonic() > end)

            run_items(chosen, after, lambda item: tracer.start(each))

        return work

    lines: Dict[str, Dict[int, List[int]]] = {}
    passed: List[str] = []
    touched: Dict[str, Dict[str, List[int]]] = {}
    seen: List[Dict[str, Any]] = []
    ran = 0
    tasks: List[Any] = [
        (0, plain, each * 2),
        (1, traced(wanted), each * 3),
        (2, traced(known), max(1.0, end - time.monotonic())),
    ]
    for child in repair_fork.run_all(iter(tasks), repair_fork.workers()):
        for text in child.said:
            if text.startswith("crash"):
                result.setdefault("crashes", []).append(text)
                continue
            entry = json.loads(text)
            if child.key == 0:
                failing[entry["id"]] = entry
                continue
            if child.key == 2:
                result["known_seconds"], ran = entry["spent"], ran + 1
                if not entry["ok"]:
                    continue
            if child.key == 2:
                passed.append(entry["id"])
            if child.key == 2 or not entry["ok"]:
                touched[entry["id"]] = entry["lines"]
            seen.append(entry)
    for entry in seen:
        # Of a wanted test the run without the tracer tells whether it fails.
        ok = failing.get(entry["id"], entry)["ok"]
        for path, numbers in entry["lines"].items():
            counts = lines.setdefault(path, {})
            for number in numbers:
                counts.setdefault(number, [0, 0])[ok] += 1
    _keep(touched)
    result["failing"] = failing
    result["passed"] = passed
    result["known_seconds"] = result.get("known_seconds", 0.0) / max(1, ran) * len(known)
    result["hanging"] = [item.nodeid for item in wanted if item.nodeid not in failing]
    result["tests"] = {item.nodeid: _test_source(item) for item in wanted}
    hit = {path: counts for path, counts in lines.items() if any(failed for failed, _ in counts.values())}
    result["lines"] = {p: [[n, f, q] for n, (f, q) in sorted(c.items()) if f] for p, c in hit.items()}
    result["sources"] = _sources(job["root"], hit)
    repair_fork.write_result(result)


def _meant(name: str, items: Dict[str, Any]) -> List[str]:
    if name in items:
        return [name]
    return [one for one in items if one.startswith((name + "::", name + "[", name + "/"))]


def _keep(touched: Dict[str, Dict[str, List[int]]]) -> None:
    """Keep which test runs which line for the trials: an edit elsewhere can't change a test's outcome."""
    with open(os.environ["REPAIR_OUT"] + ".lines", "w", encoding="utf-8") as file:
        json.dump(touched, file)


SPAWNS = {"subprocess.Popen", "os.posix_spawn", "os.exec", "os.system"}


def _failure(item: Any, failure: Any, product: Product) -> Dict[str, Any]:
    entry: Dict[str, Any] = {"id": item.nodeid, "ok": failure is None}
    if isinstance(failure, str):
        entry.update(kind=failure, message="", test_line=0, frames=[])
    elif failure is not None:
        frames = [(product.path(path), line) for path, line in failure.frames]
        entry.update(kind=failure.kind, message=failure.message, test_line=failure.test_line)
        entry["frames"] = [frame for frame in frames if frame[0]]
    return entry


def _test_source(item: Any) -> str:
    """The test function's text and what its parameters are, as ingredients for repairs."""
    text = ""
    with contextlib.suppress(OSError, TypeError, AttributeError):
        text = inspect.getsource(item.obj)[:6000]
    callspec = getattr(item, "callspec", None)
    if callspec is not None:
        text += "\n# parameters\n" + "".join(
            "%s = %s\n" % (name, repr(value)[:500]) for name, value in sorted(callspec.params.items())
        )
    return text


def _third_party(product: Product) -> List[str]:
    names = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and not os.path.realpath(file).startswith(product.root) and not name.startswith("repair_"):
            names.append(name)
    return names


def _sources(root: str, hit: Dict[str, Any]) -> Dict[str, str]:
    """The files that failing tests ran, most of their own lines first; only UTF-8 text of moderate size."""
    texts: Dict[str, str] = {}
    for path in sorted(hit, key=lambda p: -len(hit[p]))[:MAX_SOURCES]:
        try:
            with open(os.path.join(root, path), "rb") as file:
                data = file.read(MAX_SOURCE + 1)
            if len(data) <= MAX_SOURCE and not data.startswith(b"\xef\xbb\xbf"):
                texts[path] = data.decode("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
    return texts
