"""The place that the tools work in: its paths, the environment of its commands, what runs and what it was at first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tools.processes import Processes
from tools.text import nearest, safe
from tools.tool import ToolError

if TYPE_CHECKING:
    from tools.changes import Base
    from tools.checkpoints import Checkpoints
    from tools.shell import Shell

TOOLBOX = "/opt/toolbox/bin"
MAX_LISTED = 20_000
"""Files looked at to find a name like a mistaken one."""


class Workspace:
    def __init__(self, root: str, scratch: str, test_command: str) -> None:
        """`root` is what the model works on, `scratch` a directory for what the tools keep. Raises OSError."""
        from tools.changes import Base
        from tools.checkpoints import Checkpoints
        from tools.shell import Shell

        self.root = os.path.realpath(root)
        self.writable = [self.root, os.path.realpath("/tmp"), os.path.realpath(scratch)]  # noqa: S108
        self.private = str(Path(scratch) / ".agent-tools")
        Path(self.private).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.test_command = test_command
        self.environment = command_environment()
        self.processes = Processes()
        self.shell: Shell = Shell(self)
        self.base: Base = Base(self)
        self.checkpoints: Checkpoints = Checkpoints(self)

    def resolve(self, path: str) -> str:
        """The absolute path that the model means. Raises ToolError."""
        if not path or "\0" in path:
            raise ToolError(f"not a path: {path!r}")
        return os.path.normpath(Path(self.root, path))

    def resolve_for_writing(self, path: str) -> str:
        """The real place of a file to write: in the workspace or under /tmp, also behind symlinks. Raises ToolError."""
        lexical = self.resolve(path)
        real = os.path.realpath(Path(self.root, path))
        if not any(Path(real).is_relative_to(place) for place in self.writable):
            leads = f" leads to {real}, which" if real != lexical else ""
            raise ToolError(
                f"{path!r}{leads} is outside the workspace {self.root}; write there or under /tmp"
            )
        return real

    def shown(self, path: str) -> str:
        """A path as the model should write it: relative where it lies in the workspace."""
        if path == self.root:
            return "."
        inside = path.startswith(self.root + "/")
        return safe(path[len(self.root) + 1 :] if inside else path)

    def missing(self, path: str) -> ToolError:
        """The error for a path that does not exist, with the names that are nearest to it."""
        wanted, directory = Path(path).name, self.shown(os.path.dirname(self.resolve(path)))  # noqa: PTH120
        same_name: list[str] = []
        beside: dict[str, str] = {}
        names: dict[str, str] = {}
        for file in self.files():
            place, _, name = file.rpartition("/")
            if name == wanted:
                same_name.append(file)
            if (place or ".") == directory:
                beside[name] = file
            names.setdefault(name, file)
        near = (
            same_name[:5]
            or [beside[name] for name in nearest(wanted, beside)]
            or [names[name] for name in nearest(wanted, names)]
        )
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "; find_files finds names"
        return ToolError(f"there is no file {path!r}{hint}")

    def files(self) -> Iterator[str]:
        """Paths relative to the root, at most MAX_LISTED, without what no one edits."""
        left = MAX_LISTED
        for directory, directories, files in os.walk(self.root):
            directories[:] = sorted(
                d for d in directories if d not in (".git", "node_modules", "__pycache__")
            )
            for name in sorted(files):
                yield self.shown(f"{directory}/{name}")
                left -= 1
                if not left:
                    return

    def program(self, name: str) -> str:
        """The path of `git` or `rg`, the toolbox's own first. Raises ToolError."""
        own = f"{TOOLBOX}/{name}"
        found = own if os.access(own, os.X_OK) else shutil.which(name)
        if not found:
            raise ToolError(f"this sandbox has no {name}")
        return found


def command_environment() -> dict[str, str]:
    """The environment of commands: the server's own, made quiet for a reader that is no terminal."""
    environment = {k: v for k, v in os.environ.items() if k not in ("AGENT_TOOLS", "AGENT_LD_PRELOAD")}
    if preload := os.environ.get("AGENT_LD_PRELOAD"):  # taken from our own Python alone
        environment["LD_PRELOAD"] = preload
    if b"\0LC_CTYPE=" not in b"\0" + Path("/proc/self/environ").read_bytes():
        environment.pop("LC_CTYPE", None)  # set by our own Python where there is no locale
    environment.update(
        PAGER="cat",
        GIT_PAGER="cat",
        GIT_TERMINAL_PROMPT="0",
        TERM="dumb",
        # Stale byte code would hide an edit made within the same second that keeps the file's size.
        PYTHONDONTWRITEBYTECODE="1",
        # Else what a script prints and the trace of its failure arrive out of order.
        PYTHONUNBUFFERED="1",
    )
    return environment
