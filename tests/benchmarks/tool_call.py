"""Wall time of a tool call over the open stream, beside `docker exec CONTAINER true`, in one run.

    python -m tests.benchmarks.tool_call [CALLS]

Prints both medians in milliseconds and their ratio. The tool is `read_file` on a file of one line; every call goes the
whole way: MCP client on the host, one stream, server in the sandbox, and back.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio

from agent.environment import TOOLS
from agent.git import Repository
from agent.toolbox import open_toolbox
from agent.types import ToolCall
from sandboxes.docker import Docker
from tests.docker.project import make_project


async def measure(calls: int) -> tuple[list[float], list[float]]:
    docker = await Docker.connect()
    with tempfile.TemporaryDirectory() as folder, Repository(make_project(Path(folder))) as repository:
        tar = Path(folder) / "base.tar"
        repository.write_tar(repository.tree_of(repository.resolve("HEAD")), tar)
        environment = await docker.environment(
            tar, tools_dir=TOOLS, log=lambda text: print(text, file=sys.stderr)
        )
        async with docker.sandbox(environment, run_id="benchmark") as sandbox:
            await sandbox.put_tree(tar)
            async with open_toolbox(sandbox, test_command="python -m pytest") as toolbox:
                call = ToolCall("c", "read_file", {"path": "conftest.py"})
                await toolbox.call(call, timeout=60)
                ours, theirs = [], []
                for number in range(calls):
                    started = time.perf_counter()
                    result = await toolbox.call(call, timeout=60)
                    ours.append(time.perf_counter() - started)
                    assert not result.is_error, result.text
                    if number % 20 == 0:  # interleaved, so that both see the same machine
                        started = time.perf_counter()
                        command = ["docker", "exec", sandbox.id, "/opt/toolbox/bin/busybox", "true"]
                        await anyio.to_thread.run_sync(lambda c=command: subprocess.run(c, check=True))
                        theirs.append(time.perf_counter() - started)
    return ours, theirs


def main() -> None:
    ours, theirs = anyio.run(measure, int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
    tool, engine = statistics.median(ours) * 1000, statistics.median(theirs) * 1000
    print(f"tool call: median {tool:.2f} ms of {len(ours)}")
    print(f"docker exec true: median {engine:.2f} ms of {len(theirs)}")
    print(f"ratio: {tool / engine:.4f}")


if __name__ == "__main__":
    main()
