"""The answers of a run: a line each in answers.jsonl, on the disk as they come; answers.csv as the grader takes it."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.atlas.loop import Answer
from agent.batch.folder import taken
from agent.errors import EnvironmentFault, UsageError
from agent.result import write_atomically

SCHEMA = 1


class Folder:
    """A context manager; one run has it at a time. `digests` are the tasks', by id. Raises UsageError for a folder that
    is in use, that holds answers and is not to be resumed, or that has those of another model or of other questions."""

    def __init__(self, path: Path, run: str, model: str, digests: Mapping[str, str], *, resume: bool) -> None:
        self.path = path
        self.run = run
        """What the ledger counts the answers' money under: the first run's, when it is resumed."""
        self.answers: dict[str, Answer] = {}
        self._lines = path / "answers.jsonl"
        self._lock = taken(path, "another run works on it; name another folder")
        try:
            self._take(model, digests, resume)
        except BaseException:
            self._lock.close()
            raise

    def _take(self, model: str, digests: Mapping[str, str], resume: bool) -> None:
        if self._lines.exists():
            self._read(model, digests, resume)
        head = {"schema": SCHEMA, "run": self.run, "model": model}
        # anew, so that a line that was torn is gone
        write_atomically(self._lines, b"".join(map(_line, (head, *map(asdict, self.answers.values())))))
        self._file = self._lines.open("ab", buffering=0)

    def _read(self, model: str, digests: Mapping[str, str], resume: bool) -> None:
        *lines, _torn = self._lines.read_bytes().split(b"\n")
        try:
            head = json.loads(lines[0]) if lines else {"schema": SCHEMA, "run": self.run, "model": model}
            run, of = str(head["run"]), (head["schema"], head["model"])
            found = [Answer(**json.loads(line)) for line in lines[1:]] if of[0] == SCHEMA else []
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UsageError(
                f"{self._lines}: no answers of this agent: {error}; name another folder"
            ) from error
        if of[0] != SCHEMA:
            raise UsageError(f"{self._lines}: of another version of this agent; name another folder")
        if found and not resume:
            raise UsageError(f"--out {self.path}: it holds answers: --resume goes on, or name another folder")
        if not resume:
            return
        if found and of[1] != model:
            raise UsageError(f"--out {self.path}: it holds the answers of {of[1]}; name another folder")
        for one in found:
            if digests.get(one.task, one.digest) != one.digest:
                raise UsageError(
                    f"--out {self.path}: task {one.task!r} was another question then; name another folder"
                )
        self.run = run
        self.answers = {one.task: one for one in found}

    def add(self, answer: Answer) -> None:
        """Write an answer, on the disk when this returns. Raises EnvironmentFault when the disk takes no more."""
        line, end = _line(asdict(answer)), self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(end)
            raise EnvironmentFault(
                f"--out {self.path}: {error.strerror}; make room there, and --resume goes on"
            ) from error
        self.answers[answer.task] = answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        try:
            write_atomically(self.path / "answers.csv", _csv(self.answers.values()))
        finally:
            self._lock.close()


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _csv(answers: Iterable[Answer]) -> bytes:
    """In the columns of MCP Atlas's `run_eval.py`; what begins with ERROR: its grader counts as no answer."""
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(("task_id", "raw_conversation_history", "response"))
    for one in answers:
        rows.writerow((one.task, json.dumps(one.messages), one.response or f"ERROR: {one.fault}"))
    return text.getvalue().encode("utf-8", "backslashreplace")
