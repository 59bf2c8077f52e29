"""Cases from the histories of published packages: python -m tests.benchmarks.mined_cases --folder DIR PACKAGE...

For each package a git repository is made of its last source releases, one commit each, whose message is what the
release adds to its change log; `agent cases from-git` then looks for fixes in it. Prints how many commits are
candidates and how many of these are verified. A package's sdists come by `pip download`, which may run its build's code
on this machine.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from packaging.version import Version

from tests.docker.project import command, environment, git

CHANGES = re.compile(r"(?i)(docs/)?(changelog|changes|history|news|releases?)(\.(md|rst|txt))?")
MAX_MESSAGE = 6_000


def releases(name: str, most: int) -> list[str]:
    """The last final releases, oldest first."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "index", "versions", name, "--no-color"],
        capture_output=True,
        text=True,
        check=True,
    )
    listed = re.search(r"^Available versions: (.*)$", done.stdout, re.M)
    assert listed, done.stdout
    found = sorted(map(Version, listed[1].split(", ")))
    return [str(version) for version in found if not version.is_prerelease][-most:]


def unpacked(name: str, version: str, folder: Path) -> Path | None:
    """The source release as a folder; None where there is none."""
    target = folder / f"{name}-{version}"
    if not target.exists():
        made = folder / f"{name}-{version}.part"
        shutil.rmtree(made, ignore_errors=True)
        command = [
            *[sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"],
            "-d",
        ]
        done = subprocess.run([*command, str(made), f"{name}=={version}"], capture_output=True, text=True)
        archives = list(made.glob("*")) if made.is_dir() else []
        if done.returncode or not archives:
            print(f"{name} {version}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            return None
        shutil.unpack_archive(archives[0], made / "tree", filter="data")
        [inner] = (made / "tree").iterdir()
        inner.rename(target)
        shutil.rmtree(made)
    return target


def changes_of(tree: Path) -> list[str]:
    files = [p for p in sorted(tree.rglob("*")) if CHANGES.fullmatch(str(p.relative_to(tree)))]
    return [
        line for path in files if path.is_file() for line in path.read_text(errors="replace").splitlines()
    ]


def history(name: str, versions: list[str], folder: Path) -> Path:
    """A repository with a commit for each release."""
    repo = folder / "repositories" / name
    shutil.rmtree(repo, ignore_errors=True)
    repo.mkdir(parents=True)
    git(repo, "init", "-q", "-b", "main")
    said: set[str] = set()
    for version in versions:
        tree = unpacked(name, version, folder)
        if tree is None:
            continue
        for old in repo.iterdir():
            if old.name != ".git":
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        shutil.copytree(
            tree, repo, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.egg-info", "PKG-INFO", ".git")
        )
        lines = changes_of(tree)
        new = "\n".join(line for line in lines if line not in said)[:MAX_MESSAGE]
        said |= set(lines)
        git(repo, "add", "-A", "-f")
        git(repo, "commit", "-q", "--allow-empty", "-m", f"What {name} {version} mends\n\n{new}")
    return repo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="+")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--releases", type=int, default=12)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    folder = given.folder.absolute()
    print("| package | commits | candidates | verified | minutes |\n| --- | --- | --- | --- | --- |")
    for name in given.packages:
        began = time.monotonic()
        repo = history(name, releases(name, given.releases), folder)
        commits = len(git(repo, "rev-list", "HEAD").split())
        out = folder / f"{name}.jsonl"
        out.unlink(missing_ok=True)
        line = command("cases", "from-git", str(repo), "--out", str(out))
        done = subprocess.run(line, env=environment(folder), cwd=folder, stderr=subprocess.PIPE, text=True)
        (folder / f"{name}.log").write_text(done.stderr)
        tried = sum(line.startswith(("case ", "  no ")) for line in done.stderr.splitlines())
        verified = [json.loads(line) for line in out.read_text().splitlines()]
        minutes = (time.monotonic() - began) / 60
        print(f"| {name} | {commits} | {tried} | {len(verified)} | {minutes:.1f} |", flush=True)


if __name__ == "__main__":
    main()
