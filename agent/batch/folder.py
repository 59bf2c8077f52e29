"""The folder of a batch: one line a task in results.jsonl, flushed as it ends; predictions.jsonl from the same lines.

A driver that is killed loses at most the line it was writing, which counts as not written: the task is run again. One
driver at a time holds the folder's lock; the kernel drops it when the process ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from agent.batch.drive import SCHEMA, Result
from agent.batch.predictions import json_line, prediction, prediction_files
from agent.errors import UsageError
from agent.result import write_atomically

UNDONE = ("crash", "invalid")
"""What is no end of a task: it is run again when the batch is resumed, as it is given then."""


class Folder:
    """A context manager; one driver has it at a time. Raises UsageError for a folder that is in use, that holds results
    and is not to be resumed, or that is not a batch's.

    Without `predict` it keeps no predictions: what runs are of one case, and which of them a grader is to have, is
    known elsewhere.
    """

    def __init__(self, path: Path, *, resume: bool, predict: bool = True) -> None:
        self.path = path
        self._predict = predict
        self._lock = taken(path, "another batch works on it; wait for it, or name another folder")
        try:
            self._take(resume)
        except BaseException:
            self._lock.close()
            raise

    def _take(self, resume: bool) -> None:
        lines = self.path / "results.jsonl"
        if lines.exists() and not resume:
            raise UsageError(
                f"--out {self.path}: it holds the results of a batch: --resume goes on with it, or name another folder"
            )
        self.id = self._batch_id()
        self.results = {result.id: result for result in read_results(lines) if result.status not in UNDONE}
        # What is undone goes, and what was torn, so that each task has one line.
        write_results(self.path, self.results.values(), predict=self._predict)
        self._results = (self.path / "results.jsonl").open("ab")
        self._predictions = (self.path / "predictions.jsonl").open("ab") if self._predict else None

    def _batch_id(self) -> str:
        """What the ledger counts this batch's money under, today and when it is resumed."""
        path = self.path / "batch.json"
        try:
            data = json.loads(path.read_bytes())
            if data["schema"] != SCHEMA:
                raise UsageError(f"{path}: of another version of this agent; name another folder")
            return str(data["id"])
        except FileNotFoundError:
            made = secrets.token_hex(8)
            write_atomically(path, json.dumps({"schema": SCHEMA, "id": made}).encode() + b"\n")
            return made
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}: can't be read: {error}; name another folder") from error

    def add(self, result: Result) -> None:
        """Write a result, on the disk when this returns. Raises OSError."""
        self.results[result.id] = result
        _append(self._results, asdict(result))
        if self._predictions and (predicted := prediction(result)) is not None:
            _append(self._predictions, predicted)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._results.close()
        try:
            if self._predictions:
                self._predictions.close()
                _write_predictions(self.path, self.results.values())
        finally:
            self._lock.close()


def taken(path: Path, busy: str) -> IO[bytes]:
    """The lock of an output folder, which is made if it isn't there; `busy` is told when another process has it.
    Raises UsageError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / ".lock").open("ab")
    except OSError as error:
        raise UsageError(f"--out {path}: {error.strerror}; name a folder that can be written") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise UsageError(f"--out {path}: {busy}") from None
    return lock


def read_results(path: Path) -> list[Result]:
    """The results of a file, the last one of each task. A torn last line is passed over; raises UsageError for any
    other that is none. A file that isn't there has none."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found: dict[str, Result] = {}
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            result = Result(**json.loads(line))
        except (ValueError, TypeError, RecursionError) as error:
            if number == len(lines):
                break
            raise UsageError(f"{path}, line {number}: no result of this agent: {error}") from error
        found[result.id] = result
    return list(found.values())


def write_results(folder: Path, results: Iterable[Result], *, predict: bool = True) -> None:
    """The results, and unless there are to be none the predictions, anew, each file whole or not at all."""
    results = list(results)
    write_atomically(folder / "results.jsonl", b"".join(json_line(asdict(result)) for result in results))
    if predict:
        _write_predictions(folder, results)
    else:
        (folder / "predictions.jsonl").unlink(missing_ok=True)


def _write_predictions(folder: Path, results: Iterable[Result]) -> None:
    for name, data in prediction_files(results).items():
        write_atomically(folder / name, data)


def merged(folders: Iterable[Path]) -> list[Result]:
    """The results of several batches, each task once. Raises UsageError where two have other results for one task, or
    where there is none."""
    found: dict[str, tuple[Result, Path]] = {}
    for folder in folders:
        path = folder / "results.jsonl"
        if not path.is_file():
            raise UsageError(f"{folder}: it has no results.jsonl; name folders of `agent batch --out`")
        for result in read_results(path):
            other, where = found.get(result.id, (result, folder))
            if other.status in UNDONE:
                other = result
            elif result.status not in UNDONE and other != result:
                raise UsageError(
                    f"{where} and {folder} have different results for {result.id!r}; leave one out"
                )
            found[result.id] = (other, where)
    return [result for result, _ in found.values()]


def _append(file: IO[bytes], data: Mapping[str, Any]) -> None:
    file.write(json_line(data))
    file.flush()
    os.fsync(file.fileno())
