"""Temporary folders that name their process, so that those of a killed one can be told and removed."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

_NAME = re.compile(r"assay-(\d+)-")


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder of this process; it goes when the context or the object ends."""
    return tempfile.TemporaryDirectory(prefix=f"assay-{os.getpid()}-")


def stale() -> list[Path]:
    """Folders of this user's processes that live no more. A reused process id hides one until that process ends."""
    found = []
    for path in Path(tempfile.gettempdir()).glob("assay-*-*"):
        match = _NAME.match(path.name)
        if match and not Path(f"/proc/{match[1]}").exists() and _ours(path):
            found.append(path)
    return found


def _ours(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.getuid() and path.is_dir() and not path.is_symlink()
    except FileNotFoundError:
        return False
