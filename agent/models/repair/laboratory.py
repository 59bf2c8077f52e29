"""The host's side of the laboratory: the scripts of in_sandbox/, their jobs and results.

`Laboratory` works through the ordinary tools, as a model must; agent/spectrum.py, which has a sandbox of its own, uses
the functions.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
import zlib
from importlib.resources import files
from typing import Any

from agent.models.repair.turns import Steps, Turn

SCRIPTS = ("repair_lab.py", "repair_observe.py", "repair_trial.py", "repair_patch.py", "repair_fork.py")
CHUNK = 24_000
"""Characters of a result that one call fetches; the shell tool cuts at 30,000."""
MAX_CHUNKS = 60
MAX_RESULT = 64 * 1024 * 1024
"""Bytes of a result, unpacked."""
ADDOPTS = "-p no:randomly --capture=sys --continue-on-collection-errors"


class LabError(Exception):
    """The laboratory can't work in this repository; the text says why."""


class Laboratory:
    """Runs the project's own test command with the laboratory's plugin in it."""

    def __init__(self, test_command: str, mark: str) -> None:
        """`mark` tells the laboratory's folder from others'. Raises LabError when this is no pytest command."""
        if not runs_pytest(test_command):
            raise LabError(f"local/repair works with pytest only, and the test command is {test_command!r}")
        self._command = test_command
        self._installed = False
        digest = hashlib.sha256(mark.encode()).hexdigest()[:12]
        self._folder = f"/tmp/repair-{digest}"  # noqa: S108 (inside the sandbox)

    @property
    def removal(self) -> str:
        """The command that takes the laboratory away."""
        return f"rm -rf {self._folder}"

    def run(self, job: dict[str, Any], text: str) -> Steps[Any]:
        """Run one job and return its result, which is yet to be checked. Raises LabError when there is none."""
        calls: list[tuple[str, dict[str, Any]]] = []
        if not self._installed:
            for name, content in scripts().items():
                calls.append(("write_file", {"path": f"{self._folder}/{name}", "content": content}))
            self._installed = True
        calls.append(("write_file", {"path": f"{self._folder}/job", "content": packed(job)}))
        most = job["seconds"] + 2 * job.get("suite_limit", 60) + 60
        calls.append(("shell", {"command": self._shell(job), "timeout": round(min(most, 1800))}))
        results = yield Turn(text, calls)
        failed = next((r for r in results if r.is_error), None)
        if failed is not None:
            raise LabError(f"{failed.name} failed: {failed.text[:300]}")
        size, got = _chunk(results[-1].text)
        while len(got) < size:
            missing = range(len(got), min(size, CHUNK * MAX_CHUNKS), CHUNK)[:12]
            if not missing:
                raise LabError("the result is too long")
            fetch: list[tuple[str, dict[str, Any]]] = [
                ("shell", {"command": self._fetch(start)}) for start in missing
            ]
            before = len(got)
            for result in (yield Turn("Read more of the laboratory's result.", fetch)):
                got += _chunk(result.text)[1]
            if len(got) == before:
                raise LabError("the result could not be read")
        return unpacked(got)

    def _shell(self, job: dict[str, Any]) -> str:
        folder = self._folder
        return "\n".join(
            [
                f"rm -f {folder}/out",
                command(self._command, folder, disk=bool(job.get("disk"))),
                f"[ -s {folder}/out ] || tail -c 1500 {folder}/log",
                self._fetch(0),
            ]
        )

    def _fetch(self, start: int) -> str:
        out = f"cat {self._folder}/out 2>/dev/null | tr -d '\\n'"
        piece = f"tail -c +{start + 1} | head -c {CHUNK} | fold -w 1000"
        return f"echo; echo @@@ $({out} | wc -c); {out} | {piece}; echo; echo @@@"


def _chunk(text: str) -> tuple[int, str]:
    """The whole result's size and the piece of it in a shell's output. Raises LabError."""
    match = re.search(r"^@@@ *(\d+)\n(.*?)^@@@$", text, re.MULTILINE | re.DOTALL)
    if match is None or match[1] == "0":
        shown = " ".join(text[: match.start()].split())[-600:] if match else text[-600:]
        raise LabError(f"pytest did not start as the search needs it: {shown}")
    return int(match[1]), re.sub(r"\s", "", match[2])


def runs_pytest(test_command: str) -> bool:
    return re.search(r"\b(pytest|py\.test)\b", test_command) is not None


def scripts() -> dict[str, str]:
    """The scripts by their names; all are needed, in one folder."""
    folder = files("agent.models.repair.in_sandbox")
    return {name: folder.joinpath(name).read_text("utf-8") for name in SCRIPTS}


def command(test_command: str, folder: str, *, disk: bool = False) -> str:
    """Shell commands that do the job in `folder`, where the scripts are, and leave its result there as `out`.

    They run the project's own test command with the laboratory's plugin in it, from the workspace; what it prints goes
    to `log`. With `disk`, which says that the job edits files, no byte code is written.
    """
    return "\n".join(
        [
            "(",
            f'export REPAIR_JOB={folder}/job REPAIR_OUT={folder}/out REPAIR_ROOT="$PWD"',
            f"export PYTEST_PLUGINS=repair_lab PYTHONPATH={folder}${{PYTHONPATH:+:$PYTHONPATH}}",
            f"export PYTHONDONTWRITEBYTECODE={'1' if disk else ''} PYTHONPYCACHEPREFIX={folder}/bytecode",
            "export PYTHONHASHSEED=0",
            f'export PYTEST_ADDOPTS="$PYTEST_ADDOPTS -o cache_dir={folder}/cache {ADDOPTS}"',
            test_command,
            f") > {folder}/log 2>&1 < /dev/null",
        ]
    )


def packed(job: dict[str, Any]) -> str:
    """A job as the file of that name holds it."""
    text = base64.b64encode(zlib.compress(json.dumps(job).encode())).decode()
    return "\n".join(text[i : i + 1000] for i in range(0, len(text), 1000)) + "\n"


def unpacked(result: str | bytes) -> Any:
    """What the file of a result holds. Raises LabError."""
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(base64.b64decode(result), MAX_RESULT)
        if unpacker.unconsumed_tail:
            raise LabError("the result is too large")
        return json.loads(text)
    except (ValueError, RecursionError, zlib.error) as error:
        raise LabError(f"the result is broken: {error}") from error


def quoted(path: str) -> str:
    return shlex.quote(path)
