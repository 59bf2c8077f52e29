"""Repositories for the tests of `agent.git`, made by git itself."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from agent.git import Repository

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{who}_{key}": "t@example.invalid"
        for who in ("AUTHOR", "COMMITTER")
        for key in ("NAME", "EMAIL")
    },
}


def git(at: Path, *command: str, data: bytes = b"") -> str:
    done = subprocess.run(
        ["git", *command], cwd=at, env=ENVIRONMENT, input=data, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def commit(at: Path, files: dict[str, bytes], message: str = "change") -> str:
    for name, data in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_bytes(data)
    git(at, "add", "-A", "-f")
    git(at, "commit", "-q", "--allow-empty", "-m", message)
    return git(at, "rev-parse", "HEAD")


def fingerprint(root: Path) -> dict[str, str]:
    """Kind, mode, modification time and content of everything below `root`, `.git` included."""
    found = {}
    for folder, folders, names in os.walk(root):
        for name in [*folders, *names]:
            path = Path(folder) / name
            state = path.lstat()
            content = b""
            if path.is_symlink():
                content = os.fsencode(path.readlink())
            elif path.is_file():
                content = path.read_bytes()
            key = f"{state.st_mode:o} {state.st_mtime_ns} {hashlib.sha256(content).hexdigest()}"
            found[str(path.relative_to(root))] = key
    return found


def dirty(path: Path) -> bool:
    with Repository(path) as repository:
        return repository.dirty()


def make_project(folder: Path) -> Path:
    root = folder / "project"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    commit(root, {"a.py": b"one\ntwo\nthree\n", "sub/b.txt": b"b\n"})
    return root


def head(repository: Repository) -> str:
    return repository.tree_of(repository.resolve("HEAD"))


def contents(repository: Repository, tree: str) -> dict[str, bytes]:
    return {path: repository.blob(sha) for path, (_, sha) in repository.files(tree).items()}
