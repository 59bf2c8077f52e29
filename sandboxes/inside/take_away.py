"""Take files away from a directory, and the folders that they leave empty.

    python3 -I -c SOURCE ROOT < NAMES

NAMES are relative paths with zero bytes between them; a symlink goes, not what it points to. What is gone already is
fine. The first line of stderr says what went wrong.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path


def take_away(root: Path, name: str) -> None:
    path = root / name
    with suppress(FileNotFoundError, NotADirectoryError):
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):  # a submodule's folder, in which the set-up may have put something
                path.rmdir()
        else:
            path.unlink()
    for folder in path.parents:
        if folder == root:
            return
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return


def main() -> int:
    try:
        for name in os.fsdecode(sys.stdin.buffer.read()).split("\0"):
            take_away(Path(sys.argv[1]), name)
    except OSError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
