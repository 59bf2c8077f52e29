"""Lay a folder of Gradle's caches that it can write to, from one that is only read: what Gradle never changes is
linked, the rest, locks and indexes, is copied.

    python3 -I lay_gradle.py KEPT HOME
"""

import os
import shutil
import sys
from pathlib import Path

WHOLE = {("wrapper", "dists"): 4, ("jdks",): 1}
"""Where unpacked programs lie -> how deep; they are linked as a whole."""


def unchanged(name: Path) -> bool:
    """Whether Gradle only reads this file: what it downloaded, and libraries that it made."""
    return name.suffix == ".jar" or any(part.startswith("files-") for part in name.parts)


def lay(kept: Path, home: Path) -> None:
    new = home.with_name(f"{home.name}.{os.getpid()}")
    for folder, folders, names in os.walk(kept):
        here = Path(folder)
        inner = here.relative_to(kept)
        (new / inner).mkdir(parents=True)
        if any(inner.parts[: len(top)] == top and len(inner.parts) == depth for top, depth in WHOLE.items()):
            for name in folders:
                (new / inner / name).symlink_to(here / name)
            folders.clear()
        for name in names:
            if unchanged(inner / name):
                (new / inner / name).symlink_to(here / name)
            else:
                shutil.copy2(here / name, new / inner / name)
    try:
        new.rename(home)
    except OSError:
        if not home.is_dir():  # else another call was faster
            raise
        shutil.rmtree(new)


if __name__ == "__main__":
    lay(Path(sys.argv[1]), Path(sys.argv[2]))
