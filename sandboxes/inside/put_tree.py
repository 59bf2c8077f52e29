"""Unpack a tar from stdin into a directory; then, with a second argument, fill in files of that other tar.

    python3 -I -c SOURCE INTO [GENERATED]

Symlinks are laid down as they are, whatever they point to, and never written through: what is in the way of a
directory or a file is replaced. Files of GENERATED never replace anything. The clock at the end goes to stdout, in
nanoseconds; the first line of stderr says what went wrong.
"""

import errno
import os
import shutil
import sys
import tarfile
import time
from pathlib import Path
from typing import IO

REFUSED = 3


class Refused(Exception):
    pass


def parts(name: str) -> tuple[str, ...]:
    found = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in found:
        raise Refused(f"the tar holds a path outside the tree: {name!r}")
    return found


def make_directory(path: Path, keep: bool) -> bool:
    """Make one directory, not its parents. False when something else is there and is to be kept."""
    try:
        path.mkdir(0o755)
    except FileExistsError:
        if path.is_dir() and not path.is_symlink():
            return True
        if keep:
            return False
        path.unlink()
        path.mkdir(0o755)
    return True


def clear(path: Path) -> None:
    """Take away what is in the way of a file."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def put(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Lay down one symlink or file where nothing is."""
    if member.issym():
        path.symlink_to(member.linkname)
    elif member.isreg():
        source = tar.extractfile(member)
        assert source is not None
        mode = 0o755 if member.mode & 0o100 else 0o644
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as target:
            shutil.copyfileobj(source, target, 1 << 18)
    else:
        raise Refused(f"the tar holds {member.name!r}, which is no file, directory or symlink")


def unpack(stream: IO[bytes], into: Path, keep: bool) -> None:
    made: set[tuple[str, ...]] = set()
    with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape") as tar:
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # else all of 100,000 stay in memory
            names = parts(member.name)
            folders = names if member.isdir() else names[:-1]
            blocked = False
            for depth in range(1, len(folders) + 1) if folders not in made else ():
                if folders[:depth] not in made:
                    blocked = not make_directory(into.joinpath(*folders[:depth]), keep)
                    if blocked:
                        break
                    made.add(folders[:depth])
            if blocked or member.isdir() or not names:
                continue
            path = into.joinpath(*names)
            if os.path.lexists(path):
                if keep:
                    continue
                clear(path)
                made.clear()
            put(tar, member, path)


def main() -> int:
    into = Path(sys.argv[1])
    os.umask(0o022)
    try:
        into.mkdir(parents=True, exist_ok=True)
        unpack(sys.stdin.buffer, into, keep=False)
        if len(sys.argv) > 2 and Path(sys.argv[2]).exists():
            with Path(sys.argv[2]).open("rb") as generated:
                unpack(generated, into, keep=True)
    except Refused as error:
        print(error, file=sys.stderr)
        return REFUSED
    except tarfile.TarError as error:
        print(f"the tar is broken: {error}", file=sys.stderr)
        return REFUSED
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        print("no space left" if full else f"{type(error).__name__}: {error}", file=sys.stderr)
        return REFUSED
    print(time.time_ns())
    return 0


if __name__ == "__main__":
    sys.exit(main())
