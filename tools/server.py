"""The MCP server that runs inside a sandbox, over standard input and output, with the standard library alone.

Started with its configuration as JSON in the environment variable AGENT_TOOLS:
{"workspace": DIRECTORY, "test_command": COMMAND, "scratch": DIRECTORY}. It ends, and all that it started with it,
when its input ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
import warnings
from typing import IO, Any

from tools import changes, checkpoints, files, finding, protocol, running, shell
from tools.text import nearest, safe
from tools.tool import Call, Result, Tool, ToolError
from tools.workspace import Workspace

TOOLS = {
    tool.name: tool
    for tool in (
        *shell.TOOLS,
        *files.TOOLS,
        *finding.TOOLS,
        *running.TOOLS,
        *checkpoints.TOOLS,
        *changes.TOOLS,
    )
}
MAX_LINE = 32 * 1024 * 1024
"""Bytes of one message from the client."""


class Server:
    """Reads requests in one thread and runs each tool call in a thread of its own."""

    def __init__(self, workspace: Workspace, wire_in: IO[bytes], wire_out: IO[bytes]) -> None:
        self._workspace = workspace
        self._in = wire_in
        self._out = wire_out
        self._lock = threading.Lock()
        self._calls: dict[Any, Call] = {}
        self._listed = [tool.listed() for tool in TOOLS.values()]

    def serve(self) -> None:
        """Answer until the input ends."""
        while line := self._in.readline(MAX_LINE):
            if not line.endswith(b"\n") and len(line) == MAX_LINE:
                while (rest := self._in.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                    pass
                self._send(protocol.failure(None, protocol.INVALID_REQUEST, "the message is too long"))
            elif line.strip():
                self._receive(line)

    def _receive(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            self._send(protocol.failure(None, protocol.PARSE_ERROR, "not JSON"))
            return
        method = message.get("method") if isinstance(message, dict) else None
        params = message.get("params") or {} if isinstance(message, dict) else {}
        if not isinstance(method, str) or not isinstance(params, dict):
            if not (isinstance(message, dict) and ("result" in message or "error" in message)):
                self._send(protocol.failure(None, protocol.INVALID_REQUEST, "not a JSON-RPC request"))
        elif "id" not in message:
            if method == "notifications/cancelled":
                self._cancel(params.get("requestId"))
        elif isinstance(message["id"], str | int):
            self._request(message["id"], method, params)
        else:
            self._send(protocol.failure(None, protocol.INVALID_REQUEST, "an id is a string or a number"))

    def _request(self, request_id: Any, method: str, params: dict[str, Any]) -> None:
        try:
            modern = protocol.is_modern(params)
        except ValueError as version:
            data = {"supported": [protocol.MODERN, *protocol.LEGACY], "requested": str(version)}
            self._send(
                protocol.failure(
                    request_id,
                    protocol.UNSUPPORTED_VERSION,
                    f"protocol version {version} is not supported",
                    data,
                )
            )
            return
        if method == "tools/call":
            if not isinstance(params.get("name"), str):
                self._send(protocol.failure(request_id, protocol.INVALID_PARAMS, "tools/call needs a name"))
                return
            call = Call()
            self._calls[request_id] = call
            arguments = (request_id, call, params, modern)
            threading.Thread(target=self._call, args=arguments, daemon=True).start()
            return
        result = protocol.answer(method, params, self._listed, modern=modern)
        if result is None:
            self._send(
                protocol.failure(request_id, protocol.METHOD_NOT_FOUND, f"there is no method {method}")
            )
        else:
            self._send(protocol.success(request_id, result, modern=modern))

    def _call(self, request_id: Any, call: Call, params: dict[str, Any], modern: bool) -> None:
        result = run_tool(self._workspace, call, params["name"], params.get("arguments"))
        self._calls.pop(request_id, None)
        if not call.cancelled.is_set():
            self._send(protocol.success(request_id, protocol.tool_result(result), modern=modern))

    def _cancel(self, request_id: object) -> None:
        call = self._calls.get(request_id) if isinstance(request_id, str | int) else None
        if call is not None:
            call.cancelled.set()

    def _send(self, message: protocol.Message) -> None:
        data = protocol.encoded(message)
        with self._lock:
            try:
                self._out.write(data)
                self._out.flush()
            except OSError:
                os.kill(os.getpid(), signal.SIGTERM)  # nobody listens any more


def run_tool(workspace: Workspace, call: Call, name: str, arguments: object) -> Result:
    """Run one tool. Whatever goes wrong becomes an error result: the server outlives its tools."""
    tool: Tool | None = TOOLS.get(name)
    try:
        if tool is None:
            near = nearest(name, TOOLS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise ToolError(f"there is no tool {name!r}{hint} The tools are {', '.join(TOOLS)}.")
        good = tool.checked({} if arguments is None else arguments)
        if tool.changes:
            workspace.base.wait()
        return tool.run(workspace, call, good)
    except ToolError as error:
        return Result(safe(str(error)), None, is_error=True)
    except Exception as error:
        traceback.print_exc()
        return Result(safe(f"{name} failed inside: {type(error).__name__}: {error}"), None, is_error=True)


def main() -> None:
    """Serve until the input ends or SIGTERM comes, then kill all that was started."""
    # The wire is a private copy: whatever prints to file 1 goes to the errors, whatever reads file 0 reads nothing.
    wire_out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    wire_in = os.fdopen(os.dup(0), "rb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    warnings.simplefilter("ignore")  # of code that is parsed, not run
    try:
        config = json.loads(os.environ["AGENT_TOOLS"])
        workspace = Workspace(config["workspace"], config["scratch"], config["test_command"])
    except (KeyError, ValueError, TypeError, OSError) as error:
        sys.exit(f"AGENT_TOOLS holds no usable configuration: {type(error).__name__}: {error}")
    workspace.processes.adopt_orphans()

    def stop(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    code = 0
    try:
        workspace.base.begin()
        Server(workspace, wire_in, wire_out).serve()
    except SystemExit:
        pass
    except Exception:
        traceback.print_exc()
        code = 1
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    workspace.processes.end_all()
    os._exit(code)  # threads that still wait for a process are of no use now
