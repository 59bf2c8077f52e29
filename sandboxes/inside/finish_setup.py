"""After a set-up: keep what it generated in the workspace, and see that it kept no secret.

    python3 -I -c SOURCE WORKSPACE ENVIRONMENT TARGET
stdin: one line of JSON, {"tree": [path of every file of the repository], "secrets": [text]}
stdout: JSON, {"generated": number of files in TARGET, "leaks": [path of a file that holds a secret]}
"""

import json
import os
import stat
import sys
import tarfile
from collections.abc import Container, Iterator
from pathlib import Path

# caches, and copies of the sources that a build leaves behind: they would be collected as tests
LEFT_OUT = {"__pycache__", ".git", ".pytest_cache", ".mypy_cache", ".tox", ".nox", ".venv"}
BUILD_COPIES = ("build/lib", "build/bdist.", "build/temp.")
LARGEST = 1 << 29


def files(top: Path, left_out: Container[str] = ()) -> Iterator[Path]:
    """All that is below a directory but directories; symlinks are not followed."""
    for folder, folders, names in os.walk(top):
        here = Path(folder)
        folders[:] = [name for name in folders if name not in left_out]
        yield from (here / name for name in folders if (here / name).is_symlink())
        yield from (here / name for name in names)


def generated(workspace: Path, tree: set[str]) -> list[Path]:
    found, size = [], 0
    for path in files(workspace, LEFT_OUT):
        name = str(path.relative_to(workspace))
        mode = path.lstat()
        if name in tree or name.startswith(BUILD_COPIES):
            continue
        if stat.S_ISREG(mode.st_mode) or stat.S_ISLNK(mode.st_mode):
            found.append(path)
            size += mode.st_size
    if size > LARGEST:
        raise SystemExit(
            f"the set-up generated {size >> 20} MB in the repository; at most {LARGEST >> 20} are kept"
        )
    return found


def holds(path: Path, secrets: list[bytes]) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    kept = b""
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            window = kept + chunk
            if any(secret in window for secret in secrets):
                return True
            kept = window[-1024:]
    return False


def main() -> None:
    workspace, environment, target = map(Path, sys.argv[1:])
    request = json.loads(sys.stdin.readline())
    found = generated(workspace, set(request["tree"]))
    target.unlink(missing_ok=True)
    if found:
        with tarfile.open(target, "w", encoding="utf-8", errors="surrogateescape", dereference=False) as tar:
            for path in sorted(found):
                member = tar.gettarinfo(path, str(path.relative_to(workspace)))
                if member.islnk():  # another name of a file that is in already
                    member.type, member.linkname, member.size = tarfile.REGTYPE, "", path.lstat().st_size
                member.uid = member.gid = 1000
                if member.isreg():
                    with path.open("rb") as source:
                        tar.addfile(member, source)
                else:
                    tar.addfile(member)
    secrets = [secret.encode() for secret in request["secrets"]]
    leaks = [str(path) for path in (*found, *files(environment)) if secrets and holds(path, secrets)]
    json.dump({"generated": len(found), "leaks": leaks[:5]}, sys.stdout)


if __name__ == "__main__":
    main()
