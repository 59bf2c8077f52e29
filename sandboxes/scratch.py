"""Temporary folders that name their owner, so that those of a killed process can be told and removed."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
import time
from pathlib import Path

from sandboxes import owner

_PREFIX = "assay-scratch-"
_NAME = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")
_MARKER = ".assay-owner"
_SHORT = "/tmp"  # noqa: S108 (what is made there has a random name, and is this user's alone)
MAX_SHORT = 50
UNSIGNED_SECONDS = 600
"""After which an empty folder without a marker is one whose maker was killed before it could sign it."""


def scratch(*, short: bool = False) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder of this process; it goes when the context or the object ends.

    One that cannot be removed then stops nobody: `stale` finds it later. `short`: a path that leaves room for the name
    of a socket, which may have some hundred bytes in all.
    """
    folder = tempfile.gettempdir()
    if short and len(os.fsencode(folder)) > MAX_SHORT:
        folder = _SHORT
    made = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder, ignore_cleanup_errors=True)
    labels = owner.labels("")
    (Path(made.name) / _MARKER).write_text(json.dumps([labels[owner.PID], labels[owner.BOOT]]))
    return made


def stale() -> list[Path]:
    """Folders of this user that `scratch` made and whose owner is dead beyond doubt.

    Left alone is whatever could be somebody else's: a folder without our marker, unless it is old and empty, or one
    whose owner cannot be seen from here (another boot, or another pid namespace that shares the temporary folder).
    """
    folders = dict.fromkeys((tempfile.gettempdir(), _SHORT))
    return [path for folder in folders for path in Path(folder).glob(f"{_PREFIX}*") if _is_stale(path)]


def _is_stale(path: Path) -> bool:
    try:
        state = path.lstat()
        if not _NAME.fullmatch(path.name) or not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
            return False
        marker = path / _MARKER
        if not any(path.iterdir()):
            return time.time() - state.st_mtime > UNSIGNED_SECONDS
        if not stat.S_ISREG(marker.lstat().st_mode):
            return False
        pid, boot = json.loads(marker.read_bytes())
        return owner.state(str(pid), str(boot)) == "dead"
    except (OSError, ValueError, TypeError, RecursionError):
        return False
