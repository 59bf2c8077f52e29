"""Wall time of a bubblewrap sandbox's start, and of a tool call in it, beside `bwrap ... true`, in one run.

    python -m tests.benchmarks.bubblewrap [STARTS [CALLS]]

A start is that of a sandbox of a ready environment, until a command can be run in it, and its end is timed apart. The
tool is `read_file` on a file of one line; every call goes the whole way: MCP client on the host, one stream, server in
the sandbox, and back. Prints medians in milliseconds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio
import anyio.to_thread

from agent.environment import TOOLS
from agent.toolbox import open_toolbox
from agent.types import ToolCall
from sandboxes.bubblewrap import Bubblewrap
from tests.docker.sandbox_tools import tar_of

PLAIN = ["bwrap", "--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink"]
PLAIN += ["usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev", "/usr/bin/true"]


async def measure(starts: int, calls: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"start": [], "end": [], "bwrap true": [], "command": [], "tool call": []}
    with tempfile.TemporaryDirectory() as folder:
        tar = tar_of(Path(folder) / "tree.tar", {"file": b"line\n"})
        driver = await Bubblewrap.connect(Path(folder) / "cache")
        environment = await driver.environment(
            tar, tools_dir=TOOLS, log=lambda text: print(text, file=sys.stderr)
        )
        for _ in range(starts):
            began = time.perf_counter()
            await anyio.to_thread.run_sync(lambda: subprocess.run(PLAIN, check=True))
            times["bwrap true"].append(time.perf_counter() - began)
            began = time.perf_counter()
            async with driver.sandbox(environment, run_id="benchmark") as sandbox:
                times["start"].append(time.perf_counter() - began)
                began = time.perf_counter()
                await sandbox.run(["/usr/bin/true"], timeout=60)
                times["command"].append(time.perf_counter() - began)
                began = time.perf_counter()
            times["end"].append(time.perf_counter() - began)
        async with driver.sandbox(environment, run_id="benchmark") as sandbox:
            await sandbox.put_tree(tar)
            async with open_toolbox(sandbox, test_command="python -m pytest") as toolbox:
                call = ToolCall("c", "read_file", {"path": "file"})
                await toolbox.call(call, timeout=60)
                for _ in range(calls):
                    began = time.perf_counter()
                    result = await toolbox.call(call, timeout=60)
                    times["tool call"].append(time.perf_counter() - began)
                    assert not result.is_error, result.text
    return times


def main() -> None:
    starts, calls = [int(word) for word in [*sys.argv[1:], "30", "1000"][:2]]
    for what, seconds in anyio.run(measure, starts, calls).items():
        print(f"{what}: median {statistics.median(seconds) * 1000:.2f} ms of {len(seconds)}")


if __name__ == "__main__":
    main()
