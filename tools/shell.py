"""The `shell` tool: one shell that keeps its directory, variables and functions from call to call."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.processes import Output
from tools.text import safe
from tools.tool import Call, Result, Tool, ToolError
from tools.workspace import TOOLBOX

if TYPE_CHECKING:
    from tools.workspace import Workspace

DEFAULT_TIMEOUT = 120
MAX_TIMEOUT = 3600
NEW_SHELL = "A new shell was started in {}: variables, functions and background jobs of the old one are lost."


class _Session:
    """A shell process that reads one line per command from its standard input.

    The shell writes commands' output to fd 7 and tells the end of each on fd 8. Commands have neither: they can't
    keep the output from us by redirecting the shell's own, nor tell an end (which also takes the call's nonce).
    """

    def __init__(self, workspace: Workspace, cwd: str) -> None:
        self._workspace = workspace
        self.cwd = cwd
        self._output, output = os.pipe()
        self._control, control = os.pipe()
        try:
            self.process = workspace.processes.start(
                [*shell_program(), "-s"],
                cwd=cwd,
                env=workspace.environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=control,
            )
        except OSError as error:
            os.close(self._output)
            os.close(self._control)
            raise ToolError(f"no shell can be started: {error}") from error
        finally:
            os.close(output)
            os.close(control)
        self._send("exec 7>&1 8>&2 >/dev/null 2>&1")
        os.set_blocking(self._output, False)

    def run(self, file: str, output: Output, timeout: float, call: Call) -> tuple[int | None, bool]:
        """Run the commands in `file`. Returns the exit code (None when stopped early) and whether the shell lives."""
        nonce = os.urandom(8).hex()
        line = (
            f". {shlex.quote(file)} </dev/null >&7 2>&7 7>&- 8>&-; command printf '%s %s\\n' {nonce} $? >&8"
        )
        deadline = time.monotonic() + timeout
        self._send(line)
        told = b""
        fds = [self._control, self._output]
        while time.monotonic() < deadline and not call.cancelled.is_set():
            ready = select.select(fds, [], [], 0.05)[0]
            if self._output in ready and not self._read(output):
                fds.remove(self._output)
            if self._control in ready:
                data = os.read(self._control, 4096)
                told += data
                if not data:  # the shell ended, or became another program by `exec`
                    fds.remove(self._control)
                *lines, told = told.split(b"\n")
                for words in map(bytes.split, lines):
                    if len(words) == 2 and words[0] == nonce.encode():
                        self._drain(output)
                        self._find_directory()
                        return int(words[1]), True
            if self.process.poll() is not None:
                self._drain(output)
                return self.process.returncode, False
        self._find_directory()
        self.end()
        self._drain(output)
        return None, False

    def _send(self, line: str) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # a shell killed between two calls is noticed by its end
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def _find_directory(self) -> None:
        with contextlib.suppress(OSError):
            self.cwd = str(Path(f"/proc/{self.process.pid}/cwd").readlink())

    def _read(self, output: Output) -> bool:
        """Take what is there; False at the end."""
        try:
            data = os.read(self._output, 1 << 16)
        except BlockingIOError:
            return True
        output.write(data)
        return bool(data)

    def _drain(self, output: Output) -> None:
        # All that the command wrote is in the pipe. A background job may go on writing: at most some pipes full.
        for _ in range(64):
            if not select.select([self._output], [], [], 0)[0] or not self._read(output):
                break

    def end(self) -> None:
        self._workspace.processes.end(self.process)

    def close(self) -> None:
        self.end()
        if self.process.stdin:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        os.close(self._output)
        os.close(self._control)


def shell_program() -> list[str]:
    """The command of bash, or of a plain shell where there is no bash."""
    bash = shutil.which("bash")
    if bash:
        return [bash, "--norc", "--noprofile"]
    busybox = f"{TOOLBOX}/busybox"
    return [busybox, "sh"] if os.access(busybox, os.X_OK) else ["/bin/sh"]


class Shell:
    """The session of a workspace: started when first needed, and again after its end."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._session: _Session | None = None
        self._lock = threading.Lock()
        self._cwd = workspace.root

    def run(self, command: str, timeout: float, call: Call) -> Result:
        """Run `command` in the session, one at a time."""
        with self._lock:
            if self._session is None:
                cwd = self._cwd if Path(self._cwd).is_dir() else self._workspace.root
                self._session = _Session(self._workspace, cwd)
            return self._run(self._session, command, timeout, call)

    def _run(self, session: _Session, command: str, timeout: float, call: Call) -> Result:
        file = Path(self._workspace.private, "command")
        try:
            _store(file, command)
        except OSError as error:
            raise ToolError(f"the command could not be stored ({error}); is {file.parent} full?") from error
        output = Output(self._workspace.private)
        began = time.monotonic()
        exit_code, alive = session.run(str(file), output, timeout, call)
        seconds = time.monotonic() - began
        self._workspace.processes.collect()
        if not alive:
            session.close()
            self._session = None
        self._cwd = session.cwd
        text = output.text().rstrip("\n") or "(no output)"
        place = self._workspace.shown(self._cwd)
        if exit_code is None:
            text += (
                f"\n[timed out after {timeout:g} s; the command and all that it started were killed. "
                f"{NEW_SHELL.format(safe(self._cwd))} A longer `timeout`, or running in the background with output "
                "to a file, gives more time.]"
            )
        elif not alive:
            text += (
                f"\n[exit code {exit_code}; the command ended the shell. {NEW_SHELL.format(safe(self._cwd))}]"
            )
        else:
            text += f"\n[exit code {exit_code}, {seconds:.1f} s{'' if place == '.' else f', now in {place}'}]"
        data = {
            "exit_code": exit_code,
            "timed_out": exit_code is None,
            "restarted": not alive,
            "cwd": self._cwd,
            "seconds": round(seconds, 3),
            "bytes": output.total,
            "output_file": output.saved,
        }
        return Result(text, data)


def _store(file: Path, command: str) -> None:
    """Write the command down, if need be in the place of saved outputs. Raises OSError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)  # a command may have cleared /tmp
        file.write_text(command + "\n", encoding="utf-8")
    except OSError:
        saved = list(file.parent.glob("output-*.txt"))
        if not saved:
            raise
        for output in saved:  # no space is left, and these are what we took of it
            output.unlink(missing_ok=True)
        file.write_text(command + "\n", encoding="utf-8")


def _shell_tool(workspace: Workspace, call: Call, arguments: dict[str, Any]) -> Result:
    command = arguments["command"]
    if "\0" in command:
        raise ToolError("a command can't hold a NUL character")
    return workspace.shell.run(command, arguments.get("timeout", DEFAULT_TIMEOUT), call)


TOOLS = [
    Tool(
        "shell",
        "Run a command in the sandbox's bash session, which keeps directory, variables and functions from call to "
        "call. There is no network, no terminal, and standard input is empty. Returns the output (stdout and "
        "stderr together) and the exit code; long output is cut in the middle and saved to a file that read_file "
        "can show. A command that takes longer than `timeout` seconds is killed with all that it started. To edit "
        "files prefer edit_file, to run tests run_tests.",
        _shell_tool,
        {
            "command": {"type": "string", "description": "bash code; may have several lines"},
            "timeout": {
                "type": "number",
                "minimum": 0.1,
                "maximum": MAX_TIMEOUT,
                "description": f"seconds, {DEFAULT_TIMEOUT} if not given",
            },
        },
        ("command",),
        changes=True,
    )
]
