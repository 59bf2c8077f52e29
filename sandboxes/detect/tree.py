"""One pass over a repository's tree: the files that say how it is set up. Nothing of the repository is run."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

LARGEST_MANIFEST = 1 << 20
LARGEST_LOCK = 1 << 25
DEEPEST = 4
"""Folders above a manifest of a package in a monorepo."""
OTHERS = frozenset({"node_modules", "vendor", "testdata", "fixtures", "third_party", ".yarn"})
"""Folders whose manifests are not the project's own."""
ROOT_ONLY = frozenset(
    {"tox.ini", "PKG-INFO", "MANIFEST.in", "noxfile.py", ".python-version", "environment.yml", "environment.yaml",
     "meta.yaml", "conda.yml", "conda.yaml"}
)  # fmt: skip
MANIFESTS = frozenset(
    {"pyproject.toml", "setup.py", "setup.cfg", "Pipfile", "package.json", ".npmrc", ".yarnrc.yml", ".yarnrc",
     "pnpm-workspace.yaml", ".nvmrc", ".node-version", "go.mod", "go.work", "Cargo.toml", "rust-toolchain",
     "rust-toolchain.toml", "pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts",
     "gradle.properties", "gradle-wrapper.properties", "libs.versions.toml", "maven-wrapper.properties"}
)  # fmt: skip
LOCKS = frozenset(
    {"uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "Pipfile.lock", "package-lock.json", "npm-shrinkwrap.json",
     "yarn.lock", "pnpm-lock.yaml", "bun.lock", "go.sum", "go.work.sum", "Cargo.lock", "gradle.lockfile"}
)  # fmt: skip
REQUIREMENTS_NAME = re.compile(r"(requirements|reqs?|deps|dependencies)", re.I)
COMPILED = (".c", ".h", ".cc", ".cpp", ".hpp", ".pyx", ".pxd", ".rs", ".f", ".f90")
VERSION_LINE = re.compile(rb"^\s*(?:__version__|version|VERSION)\s*(?::[^=\n]*)?=.*$", re.M)


@dataclass(frozen=True, slots=True)
class Repository:
    """What one pass over a tree found."""

    names: tuple[str, ...]
    """Path of every file and symlink."""
    manifests: Mapping[str, bytes]
    """The files that say what to install, by path."""
    layout: tuple[str, ...]
    """What an editable install was seen to depend on: package directories, versions, sources to compile."""
    content: str = ""
    """A hash of all files, for set-ups that build what they install from any of them."""

    def text(self, name: str) -> str:
        """A manifest's text; "" where there is none."""
        return self.manifests.get(name, b"").decode("utf-8", "replace")

    def below(self, folder: str) -> Repository:
        """What is in a folder, as if it were the root; "" is the root itself."""
        if not folder:
            return self
        start = f"{folder}/"
        return replace(
            self,
            names=tuple(name.removeprefix(start) for name in self.names if name.startswith(start)),
            manifests={
                name.removeprefix(start): data
                for name, data in self.manifests.items()
                if name.startswith(start)
            },
        )

    def folder_with(self, names: Collection[str], marks: Collection[str] = ()) -> str | None:
        """Where one of these manifests is: the root, else the one folder near it, of several the one that has one of
        the `marks` too; None where there is none, or more than one."""
        if any(name in self.manifests for name in names):
            return ""
        near = [path.rpartition("/") for path in self.manifests if 1 <= path.count("/") <= 2]
        found = {folder for folder, _, name in near if name in names}
        if len(found) > 1:
            found = {
                folder for folder in found if any(f"{folder}/{mark}" in self.manifests for mark in marks)
            }
        return found.pop() if len(found) == 1 else None


def scan(tree_tar: Path) -> Repository:
    """Read a tar of the tree once. Raises tarfile.TarError for a broken one."""
    names: list[str] = []
    manifests: dict[str, bytes] = {}
    layout: set[str] = set()
    content = hashlib.sha256()
    with tarfile.open(tree_tar, "r:", encoding="utf-8", errors="surrogateescape") as tar:
        for member in tar:
            if member.isdir():
                continue
            path = PurePosixPath(member.name)
            name = str(path)
            names.append(name)
            content.update(f"{name}\0{member.linkname}\0{member.size}\0".encode("utf-8", "surrogateescape"))
            if not member.isreg():
                continue
            data = _content(tar, member)
            content.update(data)
            if _is_manifest(path) and len(data) <= (LARGEST_LOCK if path.name in LOCKS else LARGEST_MANIFEST):
                manifests[name] = data
            if path.suffix == ".py":
                layout.add("/".join(path.parts[:-1][:2]) if len(path.parts) > 1 else name)
            if path.suffix in COMPILED:
                layout.add(f"{name} {hashlib.sha256(data).hexdigest()}")
            elif len(data) <= LARGEST_MANIFEST and _may_hold_version(path):
                layout.add(f"{name} {VERSION_LINE.findall(data)!r}")
    return Repository(tuple(names), manifests, tuple(sorted(layout)), content.hexdigest())


def _is_manifest(path: PurePosixPath) -> bool:
    if len(path.parts) == 1 and path.name in ROOT_ONLY:
        return True
    if path.name in MANIFESTS or path.name in LOCKS:
        return len(path.parts) <= DEEPEST + 1 and not OTHERS & set(path.parts)
    # a requirements file may include another one of any name, so all of them count
    near = len(path.parts) <= 3 and path.suffix in (".txt", ".in")
    return near and any(REQUIREMENTS_NAME.search(part) for part in path.parts)


def _may_hold_version(path: PurePosixPath) -> bool:
    return len(path.parts) <= 3 and (
        path.name in ("__init__.py", "__about__.py", "VERSION", "VERSION.txt")
        or "version" in path.stem.lower()
    )


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""
