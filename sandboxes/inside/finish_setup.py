"""After a set-up: keep what it generated in the workspace, and see that it kept no secret.

What is large and only read moves into the environment, so that no sandbox's start has to copy it: packages of Node,
and what Cargo compiled. Symlinks stand for it in the workspace.

    python3 -I -c SOURCE WORKSPACE ENVIRONMENT TARGET
stdin: one line of JSON, {"tree": [path of every file of the repository], "secrets": [text]}
stdout: JSON, {"generated": number of files in TARGET, "leaks": [path of a file that holds a secret]}
"""

import json
import os
import shutil
import stat
import sys
import tarfile
from collections.abc import Container, Iterator
from pathlib import Path

# caches, and copies of the sources that a build leaves behind: they would be collected as tests
LEFT_OUT = {"__pycache__", ".git", ".pytest_cache", ".mypy_cache", ".tox", ".nox", ".venv"}
BUILD_COPIES = ("build/lib", "build/bdist.", "build/temp.")
CARGO = ("build", "deps", ".fingerprint")
LARGEST = 1 << 29


def files(top: Path, left_out: Container[str] = ()) -> Iterator[Path]:
    """All that is below a directory but directories; symlinks are not followed."""
    for folder, folders, names in os.walk(top):
        here = Path(folder)
        folders[:] = [name for name in folders if name not in left_out]
        yield from (here / name for name in folders if (here / name).is_symlink())
        yield from (here / name for name in names)


def node_modules(workspace: Path, tree: set[str]) -> list[Path]:
    """The folders of that name that a package manager made, but none inside another."""
    kept = {str(folder) for name in tree for folder in Path(name).parents if folder.name == "node_modules"}
    found = []
    for folder, folders, _ in os.walk(workspace):
        here = Path(folder)
        if "node_modules" in folders:
            path = here / "node_modules"
            if not path.is_symlink() and str(path.relative_to(workspace)) not in kept:
                found.append(path)
        folders[:] = [name for name in folders if name != "node_modules" and name not in LEFT_OUT]
    return found


def move_packages(workspace: Path, environment: Path, tree: set[str]) -> None:
    """Move each node_modules to the same place below another folder. Node looks for a package from where a file really
    is, so all must keep their places among each other; what they link to in the repository is linked to by its full
    path. Each becomes a folder of links, so that tools can still put their caches beside the packages."""
    moved = {
        path: environment / "workspace" / path.relative_to(workspace)
        for path in node_modules(workspace, tree)
    }
    for path, target in moved.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        for link in [found for found in files(target) if found.is_symlink()]:
            was = path / link.relative_to(target)
            to = Path(os.path.normpath(was.parent / link.readlink()))
            inside = workspace in to.parents and not any(
                other == to or other in to.parents for other in moved
            )
            if inside and not link.readlink().is_absolute():
                link.unlink()
                link.symlink_to(to)
    for path, target in moved.items():
        path.mkdir()
        for entry in target.iterdir():
            (path / entry.name).symlink_to(entry)


def move_compiled(workspace: Path, environment: Path, tree: set[str]) -> None:
    """Move what Cargo compiled of the dependencies, and link each file of it: Cargo writes its own beside them.

    What may hold the repository's own packages as well is removed: a patch would be tested as if it were not there."""
    for path in [*workspace.glob("target"), *workspace.glob("*/target"), *workspace.glob("*/*/target")]:
        name = path.relative_to(workspace)
        if not (path / "CACHEDIR.TAG").is_file() or any(one.startswith(f"{name}/") for one in tree):
            continue
        if not (path / ".dependencies").is_file():
            shutil.rmtree(path)
            continue
        target = environment / "workspace" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        for folder in [profile / kind for profile in target.iterdir() for kind in CARGO]:
            for file in files(folder):
                link = path / file.relative_to(target)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file)


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
    tree = set(request["tree"])
    move_packages(workspace, environment, tree)
    move_compiled(workspace, environment, tree)
    found = generated(workspace, tree)
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
