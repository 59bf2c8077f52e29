"""Runs a suite whose runner is not pytest, and turns what the runner tells into one JUnit report.

Started in the repository's folder by the command line that tools/suite.py makes, with a request as JSON on standard
input: {"command": COMMAND, "report": FILE, "ids": [ID, ...]}. What the runner prints goes on to standard output, and
its exit code is the exit code. Where nothing can be told of any test there is no report.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools import report, runners, scripts
from tools.shell import shell_program

MAX_OUTPUT = 64 * 1024 * 1024
"""Bytes of output that are kept to be read: the first half and the last."""
MAX_LINE = 1024 * 1024


def main() -> None:
    request = json.load(sys.stdin)
    sys.exit(run(str(request["command"]), str(request["report"]), tuple(request["ids"])))


def run(command: str, target: str, ids: tuple[str, ...]) -> int:
    """Run the suite in the current folder; returns the exit code."""
    root = Path.cwd()
    folder = Path(target + ".d")
    folder.mkdir(mode=0o700)
    try:
        line, found = scripts.resolved(command, lambda path: (root / path).read_text("utf-8"))
    except scripts.NoScript as error:
        print(error, flush=True)  # so that nothing can be told of any test
        return 1
    runner = found.runner if found else runners.EXIT_CODE
    if found:
        (folder / "ids.json").write_text(json.dumps(ids), encoding="utf-8")
        line = runners.prepared(line, found, str(folder), runners.Wanted(ids, root))
    script = folder / "command"
    # In a file, since thousands of paths don't fit on a command line of the system.
    script.write_text(line, encoding="utf-8", errors="surrogateescape")
    began = time.time()
    output = _Kept()
    code = _execute(script, report.visible(runner), output)
    told = report.Told(
        command, folder, root, root / (found.folder if found else ""), began, code, output.value()
    )
    cases = report.cases(runner, told)
    names = {test for test in ids if "::" in test}
    if len(names) == len(ids) and ids and runner in runners.SELECTS:
        # Many runners take files only; what else is in them was not asked for.
        cases = [case for case in cases if case.collection or _asked(case.id, names)]
    if cases:
        report.write(cases, Path(target))
    return code


def _asked(test: str, names: set[str]) -> bool:
    return any(
        test == name or test.startswith((f"{name}/", f"{name}::", f"{name} > ", f"{name}[")) for name in names
    )


class _Kept:
    """Output up to a limit: its start and its end."""

    def __init__(self) -> None:
        self._start = bytearray()
        self._end = bytearray()

    def add(self, data: bytes) -> None:
        half = MAX_OUTPUT // 2
        room = half - len(self._start)
        self._start += data[:room] if room > 0 else b""
        self._end += data[max(room, 0) :]
        if len(self._end) > 2 * half:
            del self._end[:-half]

    def value(self) -> bytes:
        return bytes(self._start + self._end[-MAX_OUTPUT // 2 :])


def _execute(script: Path, visible: Callable[[bytes], bytes], output: _Kept) -> int:
    """Run it to its end; what it left running in the background is not waited for."""
    process = subprocess.Popen(
        [*shell_program(), str(script)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    pipe = process.stdout.fileno()
    os.set_blocking(pipe, False)
    line = bytearray()

    def take(data: bytes) -> None:
        output.add(data)
        line.extend(data)
        end = line.rfind(b"\n") + 1 if len(line) < MAX_LINE else len(line)
        if end:
            _print(b"".join(map(visible, bytes(line[:end]).splitlines(keepends=True))))
            del line[:end]

    def read() -> bool:
        """Take what is there now; False when there is nothing."""
        try:
            data = os.read(pipe, 1 << 16)
        except BlockingIOError:
            return False
        take(data)
        return bool(data)

    while process.poll() is None:
        if select.select([pipe], [], [], 0.05)[0] and not read():
            process.wait()  # it closed its output
    for _ in range(64):  # what is in the pipe is at most this much; a background job may go on writing
        if not read():
            break
    _print(visible(bytes(line)))
    code = process.returncode
    return code if code >= 0 else 128 - code


def _print(data: bytes) -> None:
    stream: Any = sys.stdout.buffer
    stream.write(data)
    stream.flush()
