"""What a sandbox is, whoever makes it, and the choice of who does.

All that runs code of repositories or models knows nothing but these protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from sandboxes.commands import Stream
from sandboxes.errors import EngineUnavailable
from sandboxes.types import Completed, Environment, Limits


class Sandbox(Protocol):
    """A running sandbox. Its methods may be used at the same time by several tasks.

    Every command runs as the user 1000 without capabilities or network, on a read-only root, with /workspace, /tmp,
    /run and /home/agent to write to. Once the sandbox has ended, each method raises SandboxDied.
    """

    @property
    def id(self) -> str:
        """What the driver knows it by: a container's id, a process id."""

    @property
    def tree(self) -> str:
        """Id of the tree that /workspace began with; empty when it began empty."""

    async def put_tree(self, tree_tar: Path, into: str = "/workspace") -> int:
        """Unpack a tar into a directory; into an empty /workspace, what the set-up generated there is added.

        Returns the sandbox's clock at the end, in nanoseconds: what changes later has a later status change time.

        Symlinks are laid down as they are and never written through; files in the way are replaced. Raises
        SandboxError for a tar that leaves the directory, holds devices or hard links, or does not fit.
        """

    async def change_tree(self, tree_tar: Path, gone: Sequence[str]) -> int:
        """Make /workspace, as it began, another tree: take `gone` away, then put the files of a tar.

        Returns and raises as put_tree.
        """

    async def put_file(self, path: str, data: bytes) -> None:
        """Write one file of the agent's."""

    async def run(
        self,
        command: str | Sequence[str],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        cwd: str = "/workspace",
        output_limit: int = 1 << 20,
        progress: Callable[[bytes], None] | None = None,
    ) -> Completed:
        """Run a command to its end, a string by bash (sh where there is no bash). stdin is /dev/null.

        `timeout` is in seconds. A command that exceeds it is killed with all its descendants, whatever session
        they are in; if that fails, the whole sandbox is killed. Descendants left in the background by a command
        that ended in time live on, but their output is not waited for. Cancelling leaves the command running
        until the sandbox ends. `progress` is given the output as it comes.
        """

    async def read(self, path: str, limit: int, *, keeper: bool = False) -> bytes:
        """A regular file's content. Raises FileNotFoundError, or ValueError if it is larger than `limit` bytes or no
        regular file. By the `keeper` it is read where no process of a command can trace or kill what reads it."""

    async def program(
        self, text: str, arguments: Sequence[str], source: BinaryIO, limit: int, *, keeper: bool = False
    ) -> tuple[bytes, int, str]:
        """Run a Python program of ours in the toolbox's Python, `source` being its stdin; `keeper` as for `read`.

        Returns (stdout up to `limit` bytes, exit code, first line of stderr).
        """

    def stream(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, *, keeper: bool = False
    ) -> AbstractAsyncContextManager[Stream]:
        """Start a program and talk to it by its stdin and stdout; by the `keeper` no command can stop it. At the end
        of the block its stdin is closed; if it does not end within two seconds, it and its descendants are killed.
        When the sandbox went with it, the block still ends quietly (what happened in it is not to be masked); the
        next call says so."""


class Sandboxes(Protocol):
    """What starts sandboxes: a driver, or spares of one."""

    def sandbox(
        self, environment: Environment, *, run_id: str, limits: Limits | None = None
    ) -> AbstractAsyncContextManager[Sandbox]:
        """A fresh sandbox, removed when the block ends, also by an error or a cancellation."""

    async def cpus(self, limits: Limits) -> float:
        """How many CPUs a sandbox with these limits gets: no more than there are."""


class Driver(Sandboxes, Protocol):
    """What makes environments and sandboxes: a Docker engine, or bubblewrap."""

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
        """What the repository's tests run in, made once and cached by content.

        `tree_tar` is a tar of the repository at the base commit; `image` and `setup` are the user's own image
        and set-up commands; `dockerfile` is a path in the repository, "" for no image of the repository's;
        `tools_dir` holds the sources of the tools. Only this step uses the network.
        Raises ImageUnavailable, SetupFailed, SandboxError.
        """

    async def there(self, environment: Environment, tools_dir: Path) -> bool:
        """Whether an environment of an earlier process, which was not made on an image that the user or the repository
        named, is what `environment` would give for the same tree. Then it is kept from being pruned as that does."""

    def workspace(
        self,
        environment: Environment,
        tree: str,
        write_tar: Callable[[Path], None],
        *,
        log: Callable[[str], None],
    ) -> AbstractAsyncContextManager[Environment]:
        """The environment with a tree in it: until the block ends, /workspace of its sandboxes begins with that,
        and with what the set-up generated there.

        `tree` is the tree's id; `write_tar` writes it as a tar, when it is needed. Raises SandboxError.
        """


async def connect(
    name: str, *, cache: Path, runtime: str | None = None, log: Callable[[str], None]
) -> Driver:
    """The driver of this name; for "auto" a Docker engine where one answers, else bubblewrap, and says so.

    `cache` is where bubblewrap keeps environments; `runtime` is the engine's OCI runtime for sandboxes. Raises
    EngineUnavailable, whose text says how to get one.
    """
    from sandboxes.bubblewrap import Bubblewrap
    from sandboxes.docker import Docker

    if name == "bubblewrap":
        return await Bubblewrap.connect(cache)
    try:
        return await Docker.connect(runtime)
    except EngineUnavailable as error:
        if name == "docker":
            raise
        without = error
    try:
        driver = await Bubblewrap.connect(cache)
    except EngineUnavailable as error:
        raise EngineUnavailable(f"{without}; nor can bubblewrap be used: {error}") from error
    log(f"sandboxes are made by bubblewrap, since there is no Docker engine: {without}")
    return driver
