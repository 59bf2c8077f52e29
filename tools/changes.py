"""The tools `diff` and `submit`, and the base that changes are measured against."""

from __future__ import annotations

import base64
import os
import re
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from tools.text import counted, cut_middle, readable, safe
from tools.tool import Call, Result, Tool, ToolError

if TYPE_CHECKING:
    from tools.workspace import Workspace

MAX_PATCH = 10 * 1024 * 1024
"""Bytes of a patch. More is no repair but a file that should not be there."""
MAX_NEW_FILE = 5 * 1024 * 1024
"""Bytes of one untracked file."""
MAX_WATCHED = 20_000
"""Files and directories that are looked at to tell whether anything changed; where there are more, git is faster."""
SETTLED_NS = 50_000_000
"""A file's status change time is a clock's that ticks every 10 ms at most: within a tick, two changes look the same."""

# Whatever .gitattributes say, files are taken as the bytes that they are.
ATTRIBUTES = "* -text !eol !crlf !ident !filter !working-tree-encoding !diff !whitespace\n"
# Left behind by running tests; nobody adds such files to mend a bug.
EXCLUDED = "__pycache__/\n*.py[co]\n.pytest_cache/\n.mypy_cache/\n.ruff_cache/\n.hypothesis/\n.coverage\n"
# The model's own .git can't reach this repository, but its process could write here too: nothing may run commands.
HARDENED = (  # noqa: SIM905 (reads as a command line)
    "-c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.attributesFile=/dev/null -c core.autocrlf=false "
    "-c core.excludesFile=/dev/null -c core.fileMode=true -c core.symlinks=true -c gc.auto=0 -c core.looseCompression=1"
).split()
DIFF = (  # noqa: SIM905
    "diff --cached --binary --full-index --no-ext-diff --no-textconv --no-renames --no-color "
    "--ignore-submodules=all --src-prefix=a/ --dst-prefix=b/ HEAD --"
).split()
OWN_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
[user]
\tname = agent
\temail = agent@localhost
"""


class Restored(NamedTuple):
    """What a restoration did."""

    changes: Sequence[tuple[str, bytes]]
    """Status (A restored, D removed, M or T put back) and path of each file."""
    left: Sequence[bytes]
    """Files that were ignored before and no longer are."""


class Base:
    """The workspace as it was at the start: one commit in a git directory of our own, outside the workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._git_dir = Path(workspace.private, "base")
        self._complete = Path(workspace.private, "base-is-complete")
        self._index = self._git_dir / "index.now"
        self._lock = threading.Lock()
        self._theirs = os.fsencode(Path(workspace.root, ".git"))
        self._last: tuple[dict[bytes, tuple[int, ...]], bytes] | None = None
        """A state of the workspace, and the patch that it is."""
        self._begun = False
        self._done = threading.Event()
        self._error = ""

    def begin(self) -> None:
        """Record the workspace in the background, unless an earlier server did."""
        with self._lock:
            if not self._begun:
                self._begun = True
                threading.Thread(target=self._record, daemon=True).start()

    def wait(self) -> None:
        """Return when the base is recorded; nothing may change the workspace before. Raises ToolError."""
        if not self._done.is_set():
            self.begin()
            self._done.wait()
        if self._error:
            raise ToolError(f"the workspace could not be recorded: {self._error}")

    def patch(self, call: Call) -> bytes:
        """What changed since, as `git apply` takes it, with new files unless ignored. Raises ToolError."""
        self.wait()
        with self._lock:
            state = self._state()
            if state is not None and self._last is not None and self._last[0] == state:
                return self._last[1]
            patch = self._git(DIFF, self._now(call), call)
            self._last = (state, patch) if state is not None else None
            return patch

    def _state(self) -> dict[bytes, tuple[int, ...]] | None:
        """Status of everything in the workspace but the model's own repository: equal only where nothing changed, since
        nobody sets a status change time. None where there is too much, or something changed just now."""
        state: dict[bytes, tuple[int, ...]] = {}
        latest = time.time_ns() - SETTLED_NS
        left = [os.fsencode(self._workspace.root)]
        try:
            while left:
                with os.scandir(left.pop()) as entries:
                    for entry in entries:
                        status = entry.stat(follow_symlinks=False)
                        if status.st_ctime_ns > latest or len(state) == MAX_WATCHED:
                            return None
                        state[entry.path] = (
                            status.st_ctime_ns,
                            status.st_ino,
                            status.st_size,
                            status.st_mode,
                        )
                        if entry.is_dir(follow_symlinks=False) and entry.path != self._theirs:
                            left.append(entry.path)
        except OSError:  # it is being changed
            return None
        state.pop(self._theirs, None)
        return state

    def tree(self, call: Call) -> str:
        """The workspace as it is now, without what `patch` leaves out: a git tree of ours. Raises ToolError."""
        self.wait()
        with self._lock:
            return self._tree(call)

    def start(self) -> str:
        """The tree of the start. Raises ToolError."""
        self.wait()
        return self._git(["rev-parse", "HEAD^{tree}"], None, Call()).decode().strip()

    def restore(self, tree: str) -> Restored:
        """Make the workspace what it was when `tree` gave this tree; what is ignored now stays as it is.

        Git unlinks a symlink that stands where a directory belongs, and writes nothing through it. Raises ToolError
        when not all could be put back.
        """
        self.wait()
        call = Call()  # half a restoration helps nobody, so it goes on when the client waits no longer
        with self._lock:
            before = self._tree(call)
            try:
                # Into the index of what is here now: what that has and the tree has not is removed.
                self._git(["read-tree", "--reset", "-u", tree], self._index, call)
                fault = ""
            except ToolError as error:
                fault = f": {error}"
            after = self._tree(call)
            done, left = self._changes(before, after, call), self._changes(tree, after, call)
            extra = {name for status, name in self._changes(tree, before, call) if status == "A"}
        # What the restored .gitignore no longer covers appears, and was not ours to remove; the rest is a fault.
        missed = [name for status, name in left if status != "A" or name in extra]
        if missed:
            names = ", ".join(map(readable, missed[:10]))
            raise ToolError(
                f"{counted(len(missed), 'file')} could not be put back ({names}){fault}; see `diff`"
            )
        return Restored(done, [name for _, name in left])

    def _now(self, call: Call) -> Path:
        """An index of the workspace as it is now."""
        # One that was killed may have left its lock; whoever holds ours is the only one to use it.
        Path(f"{self._index}.lock").unlink(missing_ok=True)
        # With its time: git compares it with the files' to tell which it must read.
        shutil.copy2(self._git_dir / "index", self._index)
        self._git(["add", "-u", "--", "."], self._index, call)
        self._add(["--exclude-standard"], self._index, call)
        return self._index

    def _tree(self, call: Call) -> str:
        return self._git(["write-tree"], self._now(call), call).decode().strip()

    def _changes(self, old: str, new: str, call: Call) -> list[tuple[str, bytes]]:
        """Status (A, D, M or T) and path of each file that differs between two trees."""
        said = self._git(
            ["diff-tree", "-r", "-z", "--no-renames", "--name-status", old, new, "--"], None, call
        )
        fields = said.split(b"\0")[:-1]
        return [(fields[i].decode(), fields[i + 1]) for i in range(0, len(fields), 2)]

    def _record(self) -> None:
        call = Call()
        try:
            if not self._complete.exists():
                shutil.rmtree(self._git_dir, ignore_errors=True)
                self._git(["init", "--quiet", "--template="], None, call)
                info = self._git_dir / "info"
                info.mkdir(exist_ok=True)
                (info / "attributes").write_text(ATTRIBUTES)
                (info / "exclude").write_text(EXCLUDED)
                self._add([], self._git_dir / "index", call)
                who = ["-c", "user.name=agent", "-c", "user.email=agent@localhost"]
                commit = ["commit", "--quiet", "--allow-empty", "--no-verify", "--no-gpg-sign", "-m", "base"]
                self._git([*who, *commit], None, call)
                self._give_model_a_repository()
                self._complete.touch()
        except (ToolError, OSError) as error:
            self._error = str(error)
        finally:
            self._done.set()

    def _add(self, options: Sequence[str], index: Path, call: Call) -> None:
        """Add all files that the index does not have. A repository inside (its path ends with a slash) is left out."""
        listed = self._git(["ls-files", "-z", "--others", *options], index, call).split(b"\0")
        names = [name for name in listed if name and not name.endswith(b"/")]
        if options:
            root = os.fsencode(self._workspace.root)
            for name in names:
                size = os.lstat(os.path.join(root, name)).st_size  # noqa: PTH118 (bytes)
                if size > MAX_NEW_FILE:
                    raise ToolError(
                        f"the new file {readable(name)!r} has {size} bytes, too many for a patch; remove it or move it "
                        "to /tmp"
                    )
        if names:
            list_file = Path(self._workspace.private, "names")
            list_file.write_bytes(b"\0".join(names) + b"\0")
            with list_file.open("rb") as stdin:
                self._git(["update-index", "--add", "-z", "--stdin"], index, call, stdin)

    def _give_model_a_repository(self) -> None:
        """Make `git status` and the like work in the workspace; the objects are borrowed from ours."""
        theirs = Path(self._workspace.root, ".git")
        if os.path.lexists(theirs):
            return
        head = self._git(["rev-parse", "HEAD"], None, Call()).decode()
        for name in ("objects/info", "refs/heads", "info"):
            (theirs / name).mkdir(parents=True)
        (theirs / "HEAD").write_text("ref: refs/heads/main\n")
        (theirs / "refs/heads/main").write_text(head)
        (theirs / "config").write_text(OWN_CONFIG)
        (theirs / "info/exclude").write_text(EXCLUDED)
        (theirs / "info/attributes").write_text(ATTRIBUTES)
        (theirs / "objects/info/alternates").write_text(f"{self._git_dir}/objects\n")
        shutil.copy2(self._git_dir / "index", theirs / "index")

    def _git(
        self, arguments: Sequence[str], index: Path | None, call: Call, stdin: IO[bytes] | None = None
    ) -> bytes:
        """What git printed. Raises ToolError with what it said when it failed."""
        out, error = bytearray(), bytearray()

        def keep(data: bytes) -> None:
            if len(out) <= MAX_PATCH:
                out.extend(data)

        env = {k: v for k, v in self._workspace.environment.items() if not k.startswith("GIT_")}
        env |= {
            "GIT_DIR": str(self._git_dir),
            "GIT_WORK_TREE": self._workspace.root,
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_EXEC_PATH": "/opt/toolbox/libexec/git-core",
            "LC_ALL": "C",
        }
        if index is not None:
            env["GIT_INDEX_FILE"] = str(index)
        git = self._workspace.program("git")
        if not git.startswith("/opt/toolbox/"):
            del env["GIT_EXEC_PATH"]
        finished = self._workspace.processes.run(
            [git, *HARDENED, *arguments],
            cwd=self._workspace.root,
            env=env,
            timeout=300,
            call=call,
            write=keep,
            write_error=error.extend,
            stdin=stdin,
        )
        if finished.exit_code:
            raise ToolError(f"git {arguments[0]}: {cut_middle(readable(bytes(error)).strip(), 2000)}")
        if finished.exit_code is None:
            raise ToolError(f"git {arguments[0]} was stopped after {finished.seconds:.0f} s")
        if len(out) > MAX_PATCH:
            raise ToolError(
                f"git {arguments[0]} printed more than {MAX_PATCH >> 20} MB; remove what does not belong to a repair"
            )
        return bytes(out)


def _diff(workspace: Workspace, call: Call, _: dict[str, Any]) -> Result:
    patch = workspace.base.patch(call)
    data: dict[str, Any]
    try:
        data = {"patch": patch.decode(), "encoding": "utf-8"}
    except UnicodeDecodeError:
        data = {"patch": base64.b64encode(patch).decode(), "encoding": "base64"}
    whole = readable(patch)
    text = cut_middle(whole) if patch else "no changes: the workspace is as it was at the start"
    if len(text) < len(whole):
        text += "\n[to see what was cut: `git diff -- PATH` in the shell, a file at a time]"
    return Result(text, data)


def _submit(workspace: Workspace, call: Call, arguments: dict[str, Any]) -> Result:
    give_up = arguments.get("give_up", False)
    if not give_up:
        patch = workspace.base.patch(call)
        if not patch:
            raise ToolError(
                "nothing to submit: the workspace is as it was at the start. Make the change first, or submit with "
                "give_up=true and say in the summary what you ruled out"
            )
        files = len(re.findall(rb"^diff --git ", patch, re.MULTILINE))
        text = f"submitted: a patch of {files} file{'s' if files != 1 else ''}"
    else:
        text = "gave up"
    return Result(safe(text), {"submitted": True, "give_up": give_up})


TOOLS = [
    Tool(
        "diff",
        "Show what you changed: the patch of the workspace against the base commit, with new files (ignored ones and "
        "caches left out). This is what `submit` hands in.",
        _diff,
    ),
    Tool(
        "submit",
        "End your work and hand in the patch that `diff` shows. Call it once, when the tests are green. If you "
        "can't find a fix, call it with give_up=true.",
        _submit,
        {
            "summary": {
                "type": "string",
                "description": "what you changed, or with give_up what you ruled out",
            },
            "give_up": {"type": "boolean", "description": "true when there is no fix to hand in"},
        },
        ("summary",),
    ),
]
