"""Make a git repository with a real bug in it, from the package index.

    python examples/prepare_bug.py FOLDER

FOLDER/repo becomes tinydb 4.8.1, as published, with the tests of 4.8.2, of which one fails. FOLDER/issue.md describes
the bug. The releases are taken by name, version and hash, through pip and whatever index it is configured for.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

BUGGY = ("tinydb==4.8.1", "sha256:09c4c6a239da9be676b948f1f28074cffd1cf08e7af920c1df50424cc8bee8d6")
FIXED = ("tinydb==4.8.2", "sha256:f7dfc39b8d7fda7a1ca62a8dbb449ffd340a117c1206b68c50b1a481fb95181d")

ISSUE = """\
# LRUCache.set() does not update an existing key

`cache.set("a", 1); cache.set("a", 2); cache["a"]` still gives 1: setting a key that is already in the `LRUCache` only
refreshes its position. The value has to be replaced.
"""


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    repo = folder / "repo"
    if repo.exists():
        raise SystemExit(f"{repo} exists already: remove it, or name another folder")
    download(BUGGY, folder / "buggy").rename(repo)
    fixed = download(FIXED, folder / "fixed")
    shutil.rmtree(repo / "tests")
    shutil.copytree(fixed / "tests", repo / "tests")
    shutil.rmtree(folder / "fixed")
    shutil.rmtree(folder / "buggy")
    (folder / "issue.md").write_text(ISSUE, "utf-8")
    git = ["git", "-C", str(repo), "-c", "user.name=example", "-c", "user.email=example@localhost"]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "add", "-A", "-f"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "tinydb 4.8.1 with the tests of 4.8.2"], check=True)


def download(release: tuple[str, str], folder: Path) -> Path:
    """The unpacked source of one release, of exactly the bytes that the hash names."""
    folder.mkdir()
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{release[0]} --hash={release[1]}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps"]
    options = ["--no-binary", ":all:", "--require-hashes", "-d", str(folder), "-r", str(requirement)]
    subprocess.run([*pip, *options], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    return unpacked


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
