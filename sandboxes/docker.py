"""Docker sandboxes: a hardened container, files in and out of it, commands and byte streams.

Every command runs as uid 1000 without capabilities or network, on a read-only root; what is writable lives in
memory and is bounded. Nothing of the host is mounted but the read-only toolbox.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from sandboxes import inside
from sandboxes.commands import PYTHON, TOOLBOX, TOOLS, Commands, Execution
from sandboxes.containers import (
    AGENT,
    KEEPER,
    Begun,
    affordable_cpus,
    agent_tmpfs,
    container,
    new_name,
)
from sandboxes.engine import Engine, ExecStream
from sandboxes.errors import SandboxDied, SandboxError
from sandboxes.locks import Kept
from sandboxes.types import Environment, Limits

if TYPE_CHECKING:
    from sandboxes.layers import Layers

BUSYBOX = f"{TOOLBOX}/bin/busybox"
ROOM = 32
"""Processes and threads that the engine needs to start one."""
PODMANS = {
    "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "/workspace",
}  # fmt: skip
"""There /workspace is root's, as all places in memory, and git would refuse it."""
# the image's own bash, else its sh, else the toolbox's
SHELL = f"""for shell in /bin/bash /usr/bin/bash /usr/local/bin/bash /bin/sh; do
[ -x $shell ] && exec $shell "$@"
done
exec {BUSYBOX} sh "$@\""""


class Docker:
    """A Docker engine that gives sandboxes."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._log: Callable[[str], None] | None = None
        self._kept = Kept()
        self._layers: dict[str, Layers] = {}

    @classmethod
    async def connect(cls, runtime: str | None = None) -> Docker:
        """Connect to the user's engine. `runtime` is its OCI runtime for containers, such as runsc.

        Raises EngineUnavailable, whose text says how to get one, also for a runtime that the engine does not have.
        """
        engine = await Engine.connect()
        await engine.use_runtime(runtime)
        return cls(engine)

    async def environment(
        self,
        tree_tar: Path,
        *,
        image: str | None = None,
        dockerfile: str | None = None,
        setup: Sequence[str] | None = None,
        tools_dir: Path,
        log: Callable[[str], None],
    ) -> Environment:
        """An image in which the repository's tests run, made once and cached by content.

        `tree_tar` is a tar of the repository at the base commit; `image` and `setup` are the user's own image
        and set-up commands; `dockerfile` is a path in the repository, "" for no image of the repository's;
        `tools_dir` holds the sources of the tools. Only this step uses the network. What it makes is kept from being
        pruned as long as this object lives. Raises ImageUnavailable, SetupFailed, SandboxError.
        """
        from docker.errors import APIError

        from sandboxes.environment import prepare

        self._log = log
        try:
            return await prepare(
                self.engine,
                tree_tar,
                image=image,
                dockerfile=dockerfile,
                setup=setup,
                tools_dir=tools_dir,
                log=log,
                kept=self._kept,
            )
        except APIError as error:
            raise SandboxError(f"the Docker engine failed: {error.explanation or error}") from error

    async def there(self, environment: Environment, tools_dir: Path) -> bool:
        """See Driver.there."""
        from docker.errors import APIError

        from sandboxes.environment import there

        try:
            return await there(self.engine, environment, tools_dir, self._kept)
        except APIError:
            return False

    @asynccontextmanager
    async def workspace(
        self,
        environment: Environment,
        tree: str,
        write_tar: Callable[[Path], None],
        *,
        log: Callable[[str], None],
    ) -> AsyncIterator[Environment]:
        """See Driver.workspace. No sandbox copies the tree."""
        from docker.errors import APIError

        from sandboxes.layers import layers

        try:
            async with layers(self.engine, environment, tree, write_tar, log) as over:
                name = secrets.token_hex(8)
                self._layers[name] = over
                try:
                    yield replace(environment, workspace=name)
                finally:
                    del self._layers[name]
        except APIError as error:
            raise SandboxError(f"the Docker engine failed: {error.explanation or error}") from error

    @asynccontextmanager
    async def sandbox(
        self, environment: Environment, *, run_id: str, limits: Limits | None = None
    ) -> AsyncIterator[Sandbox]:
        """A fresh sandbox, removed when the block ends, also by an error or a cancellation."""
        limits = limits or Limits()
        cpus = await affordable_cpus(self.engine, limits)
        if cpus < limits.cpus and self._log is not None:
            self._log(
                f"the Docker engine has {cpus:g} CPUs, so sandboxes get these instead of {limits.cpus:g}"
            )
            self._log = None  # once
        variables = {
            "PATH": environment.path,
            "HOME": "/home/agent",
            "LANG": "C.UTF-8",
            **environment.variables,
        }
        if await self.engine.is_podman():
            variables |= PODMANS
        start = partial(self._started, environment, variables, run_id, limits)
        over = self._layers.get(environment.workspace)
        async with AsyncExitStack() as stack:
            if over is None:
                yield Sandbox(self.engine, await stack.enter_async_context(start(Begun())))
            else:
                yield await over.begin(stack, start, limits)

    def _started(
        self,
        environment: Environment,
        variables: Mapping[str, str],
        run_id: str,
        limits: Limits,
        begun: Begun,
    ) -> AbstractAsyncContextManager[str]:
        return container(
            self.engine,
            environment.image,
            name=new_name(),
            run_id=run_id,
            command=[BUSYBOX, "sleep", str(limits.lifetime_seconds)],
            limits=limits,
            environment=variables,
            tmpfs=agent_tmpfs(limits, workspace=not begun.mounts),
            volumes={
                environment.toolbox: (TOOLBOX, "ro"),
                environment.tools: (TOOLS, "ro"),
                **begun.volumes,
            },
            mounts=begun.mounts,
        )

    async def cpus(self, limits: Limits) -> float:
        """How many CPUs a sandbox with these limits gets."""
        return await affordable_cpus(self.engine, limits)


class Sandbox(Commands):
    """A running container. Its methods may be used at the same time by several tasks."""

    def __init__(self, engine: Engine, container_id: str, user: str = AGENT, *, tree: str = "") -> None:
        super().__init__(container_id, (BUSYBOX, "sh", "-c", SHELL, "sh"), tree)
        self._engine = engine
        self._user = user

    @asynccontextmanager
    async def start(
        self,
        argv: Sequence[str],
        *,
        marker: str = "",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: bool = False,
        keeper: bool = False,
    ) -> AsyncIterator[Execution]:
        """See Commands.start."""
        variables = dict(env or {})
        if marker:
            name, _, value = marker.partition("=")
            variables[name] = value
        exec_id = await self._engine.exec_create(
            self.id, argv, user=KEEPER if keeper else self._user, env=variables, cwd=cwd, stdin=stdin
        )
        async with AsyncExitStack() as stack:
            try:
                stream = await stack.enter_async_context(self._engine.exec_start(exec_id))
            except SandboxDied:
                raise
            except SandboxError as error:
                if await self.ended():  # its end came between the two, which the engine tells in many ways
                    raise SandboxDied("the sandbox ended while a command was started in it") from error
                raise
            yield _Exec(self, self._engine, exec_id, stream, marker)

    async def ended(self) -> bool:
        """Whether the container is gone, or goes within a second: the engine tells of its processes first."""
        from docker.errors import NotFound

        for _ in range(20):
            try:
                state = (await self._engine.call(self._engine.api.inspect_container, self.id))["State"]
            except NotFound:
                return True
            if not state["Running"]:
                return True
            await anyio.sleep(0.05)
        return False


class _Exec:
    """One exec of the engine."""

    def __init__(
        self, sandbox: Sandbox, engine: Engine, exec_id: str, stream: ExecStream, marker: str
    ) -> None:
        self._sandbox = sandbox
        self._engine = engine
        self._id = exec_id
        self._marker = marker
        self.receive = stream.receive
        self.send = stream.send
        self.send_eof = stream.send_eof

    async def running(self) -> bool:
        """Whether the command still runs."""
        return (await self._engine.exec_state(self._id))[0]

    async def exit_code(self) -> int:
        """Wait for the command's end. Raises SandboxDied if the container went with it."""
        pause = 0.005
        while True:
            running, code = await self._engine.exec_state(self._id)
            if not running:
                if code is None:
                    raise SandboxDied("the sandbox ended while a command was running in it")
                return code
            await anyio.sleep(pause)
            pause = min(pause * 2, 0.5)

    async def kill(self, *, whole_sandbox: bool = True) -> None:
        """Kill the command and its descendants; failing that (one that wiped its own environment cannot be found), the
        container."""
        from docker.errors import APIError

        with anyio.CancelScope(shield=True):
            try:
                if await self._kill():
                    return
                async with self._room():
                    if await self._kill():
                        return
            except SandboxDied:
                return
            except (APIError, SandboxError):
                pass  # there is nothing to kill with: the container goes
            if whole_sandbox:
                await self._engine.call(_kill_container, self._engine, self._sandbox.id)

    async def _kill(self) -> bool:
        """Whether a program in the container found the processes, killed them, and the command ended, in 5 seconds."""
        with anyio.move_on_after(5):
            program = [*PYTHON, inside.source("kill_marked"), self._marker]
            async with self._sandbox.start(program) as killer:
                while (await killer.receive())[1]:
                    pass
                if await killer.exit_code() != 0:
                    return False
            await self.exit_code()  # which the engine tells when all output is through
            return True
        return False

    @asynccontextmanager
    async def _room(self) -> AsyncIterator[None]:
        """Let the container have a few more processes: where a command left it none, the engine can start nothing."""
        engine, name = self._engine, self._sandbox.id
        limit = (await engine.call(engine.api.inspect_container, name))["HostConfig"]["PidsLimit"] or 0
        if limit <= 0:
            yield
            return
        await engine.call(_limit_processes, engine, name, limit + ROOM)
        try:
            yield
        finally:
            await engine.call(_limit_processes, engine, name, limit)


def _limit_processes(engine: Engine, container_id: str, number: int) -> None:
    """docker-py's own update_container does not know this limit. Raises SandboxError."""
    api = engine.api
    url = f"{api.base_url}/v{api.api_version}/containers/{container_id}/update"
    response = api.post(url, json={"PidsLimit": number}, timeout=30)
    if not response.ok:
        raise SandboxError(f"the engine did not change a limit: {response.reason}")


def _kill_container(engine: Engine, container_id: str) -> None:
    from docker.errors import APIError

    try:
        engine.api.kill(container_id)
    except APIError as error:
        if error.status_code not in (404, 409):
            raise
