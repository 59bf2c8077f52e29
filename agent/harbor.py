"""Assay as an agent of Harbor, on which Terminal-Bench 2 and others run: `harbor run --agent agent.harbor:Assay …`.

Harbor grades what an agent left in the task's environment; Assay works in sandboxes of its own, and what comes of it is
a patch with proof. So the files of the folder that the environment begins in are copied out, `agent fix` runs on them
beside Harbor with the instruction as the issue, in sandboxes made of a snapshot of the environment, and what an
accepted patch changes is put back. A task that is not about these files (start a server, find a flag) is none for it.

It needs Harbor (Python 3.12 or newer) and Assay in one environment of Python.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from harbor.agents.base import BaseAgent
from harbor.agents.capabilities import AgentCapabilities
from harbor.environments.base import BaseEnvironment
from harbor.models.agent.context import AgentContext

from agent.config import home

FLAGS = (
    "attempts",
    "best_of",
    "budget",
    "context",
    "fail_to_pass",
    "minutes",
    "test",
    "thinking",
    "tokens",
    "turns",
)
"""Of `agent fix`, as `--agent-kwarg NAME=VALUE`."""
DELIVERED = ("accepted", "needs_review")
NO_WORD = ("environment", "interrupted", "model_error")
"""Endings that say nothing of the model: Harbor is to count them as errors, not as wrong answers."""
AGENT = (sys.executable, "-P", "-m", "agent")
GRACE_SECONDS = 60.0
"""For a run that is cancelled, to remove its sandboxes."""
SECONDS = 600
GIT = ("-c", "core.hooksPath=/dev/null", "-c", "user.name=harbor", "-c", "user.email=harbor@localhost")


class Assay(BaseAgent):
    capabilities = AgentCapabilities(atif=True)

    def __init__(self, logs_dir: Path, model_name: str | None = None, **kwargs: Any) -> None:
        self._flags = {name: kwargs.pop(name) for name in FLAGS if name in kwargs}
        super().__init__(logs_dir, model_name, **kwargs)

    @staticmethod
    def name() -> str:
        return "assay"

    def version(self) -> str | None:
        return version("assay")

    async def setup(self, environment: BaseEnvironment) -> None:
        """Nothing is installed in the environment."""

    async def run(self, instruction: str, environment: BaseEnvironment, context: AgentContext) -> None:
        folder = str((await environment.exec("pwd")).stdout or "").strip()
        if PurePosixPath(folder).parent == PurePosixPath(folder):
            raise RuntimeError(
                f"the task's environment begins in {folder!r}, which is no folder of its own: Assay works on the files "
                "of one, so name it as `workdir` in task.toml, or take another agent"
            )
        with tempfile.TemporaryDirectory(prefix="assay-harbor-") as scratch:
            repo, patch = Path(scratch) / "repo", Path(scratch) / "patch.diff"
            await environment.download_dir_with_exclusions(
                source_dir=folder, target_dir=repo, exclude=[".git"]
            )
            await asyncio.to_thread(_commit, repo)
            async with _snapshot(environment, folder) as image:
                if image is None:
                    self.logger.warning(
                        "no image of this engine: the sandboxes are set up from the files alone"
                    )
                result = await self._fixed(instruction, repo, patch, image, context)
            if result["status"] in NO_WORD:
                raise RuntimeError(f"assay: {result['status']}: {result['error']}")
            if result["status"] in DELIVERED:
                await _put_back(environment, folder, repo, patch)

    async def _fixed(
        self, instruction: str, repo: Path, patch: Path, image: str | None, context: AgentContext
    ) -> dict[str, Any]:
        """The result of `agent fix`, which the context is told of, and whose files are kept in the trial's logs."""
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in self._flags.items()]
        flags += [f"--model={self.model_name}"] if self.model_name else []
        flags += [f"--image={image}"] if image else []
        given = ["fix", "--issue", "-", "--repo", str(repo), "--output", str(patch), "--json", *flags]
        variables = {**os.environ, **self.extra_env}
        said, log = self.logs_dir / "assay.json", self.logs_dir / "assay.log"
        result = None
        try:
            with said.open("wb") as stdout, log.open("wb") as stderr:
                code = await _program([*AGENT, *given], variables, instruction.encode(), stdout, stderr)
        finally:  # also when Harbor ends it: what it cost until then is known
            if said.is_file() and said.stat().st_size:
                result = self._kept(json.loads(said.read_bytes()), variables)
                _tell(context, result)
        if result is None:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise RuntimeError(f"assay: exit code {code}: {lines[-1] if lines else 'it said nothing'}")
        return result

    def _kept(self, result: dict[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
        run = home(variables) / "runs" / str(result["run_id"])
        shutil.copytree(run, self.logs_dir / "assay", dirs_exist_ok=True)
        trajectory = self.logs_dir / "trajectory.json"
        command = [*AGENT, "export", str(result["run_id"]), "--format", "atif", "--output", str(trajectory)]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=SECONDS)
        if done.returncode:
            self.logger.warning(f"the run has no trajectory: {done.stderr.strip()[-500:]}")
        return result


async def _program(
    command: Sequence[str], variables: Mapping[str, str], stdin: bytes, stdout: Any, stderr: Any
) -> int:
    """Run a program; its exit code. Cancelled, it is given time to clean up."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        env=variables,
        start_new_session=True,
    )
    try:
        await process.communicate(stdin)
    except asyncio.CancelledError:
        process.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), GRACE_SECONDS)
        raise
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    return int(process.returncode or 0)


def _tell(context: AgentContext, result: Mapping[str, Any]) -> None:
    usage = result["usage"]
    context.n_cache_tokens = usage["cache_read"]
    context.n_input_tokens = usage["input"] + usage["cache_read"] + usage["cache_write"]
    context.n_output_tokens = usage["output"]
    context.cost_usd = result["cost_usd"]
    told = ("run_id", "status", "error", "context_growth")
    context.metadata = {**{key: result[key] for key in told}, "attempts": len(result["attempts"])}


def _commit(repo: Path) -> None:
    """The files as they are, as the commit to begin with."""
    _git(repo, "init", "--quiet", "--template=")
    _git(repo, "add", "--all")
    _git(repo, *GIT, "commit", "--quiet", "--allow-empty", "--message", "as the task begins")


def _git(repo: Path, *arguments: str) -> bytes:
    """Without the user's configuration: its filters and hooks are not for a stranger's files."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    variables = {**own, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-C", str(repo), *arguments]
    done = subprocess.run(command, capture_output=True, env=variables, timeout=SECONDS)
    if done.returncode:
        raise RuntimeError(f"git failed: {done.stderr.decode(errors='replace').strip()[:500]}")
    return done.stdout


@asynccontextmanager
async def _snapshot(environment: BaseEnvironment, folder: str) -> AsyncIterator[str | None]:
    """The name of an image of the environment as it is now, with a label that names its folder; None where this
    machine's engine has no container of it."""
    host = str((await environment.exec("cat /etc/hostname")).stdout or "").strip()
    image = await asyncio.to_thread(_snapshot_of, host, folder)
    try:
        yield image
    finally:
        if image is not None:
            await asyncio.to_thread(_forget, image)


def _snapshot_of(host: str, folder: str) -> str | None:
    import docker
    from docker.errors import DockerException

    try:
        container = docker.from_env().containers.get(host)
    except DockerException:
        return None
    if not str(container.id).startswith(host):  # another one that bears the name
        return None
    name = f"assay-harbor:{host}"
    container.commit(*name.split(":"), conf={"Labels": {"assay.checkout": folder}})
    return name


def _forget(image: str) -> None:
    import docker

    docker.from_env().images.remove(image, force=True)


async def _put_back(environment: BaseEnvironment, folder: str, repo: Path, patch: Path) -> None:
    """What the patch changes, in the environment's folder, as its user's."""
    packed, gone = await asyncio.to_thread(_changed, repo, patch)
    place = "/tmp/.assay"  # noqa: S108 (in the environment)
    await environment.upload_file(packed, f"{place}.tar")
    await environment.upload_file(gone, f"{place}.gone")
    # A folder may be where a file was, so what goes goes first.
    command = f"xargs -0 -r rm -f -- < {place}.gone && tar -xf {place}.tar --no-same-owner"
    done = await environment.exec(command, cwd=folder, timeout_sec=SECONDS)
    await environment.exec(f"rm -f {place}.tar {place}.gone", user="root")
    if done.return_code:
        raise RuntimeError(f"the patch could not be put into the environment: {done.stderr or done.stdout}")


def _changed(repo: Path, patch: Path) -> tuple[Path, Path]:
    """A tar of what is new or other with the patch, and a file of the names of what is gone, a NUL after each."""
    _git(repo, "apply", "--index", "--whitespace=nowarn", str(patch))

    def told(which: str) -> list[str]:
        names = _git(
            repo, "diff", "--cached", "--name-only", "--no-renames", f"--diff-filter={which}", "-z", "HEAD"
        )
        return [os.fsdecode(name) for name in names.split(b"\0") if name]

    packed, gone = patch.with_name("changed.tar"), patch.with_name("gone")
    with tarfile.open(packed, "w") as tar:
        for name in told("d"):
            tar.add(repo / name, name, recursive=False)
    gone.write_bytes(b"".join(os.fsencode(name) + b"\0" for name in told("D")))
    return packed, gone
