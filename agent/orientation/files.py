"""Which files of a tree are worth a model's reading: text that people wrote. Read from blobs, never a work tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agent.git import EXECUTABLE, REGULAR

if TYPE_CHECKING:
    from agent.git import Repository

MAX_FILE = 512 * 1024
"""Bytes. What is longer is data, generated, or meant to be slow."""
MAX_FILES = 20_000
MAX_BYTES = 32 * 1024 * 1024
"""Of all files together."""
MAX_LINE = 5_000
"""Bytes. No person writes longer lines; minifiers do."""

FOLDERS = frozenset(
    {"node_modules", "bower_components", "vendor", "_vendor", "vendored", "third_party", "thirdparty"}
    | {"site-packages", "__pycache__", ".venv", "venv", "dist-packages", ".yarn", "Godeps"}
)
"""Other people's code and what is made by a machine, wherever it lies."""
TOP_FOLDERS = frozenset({"dist", "build", "out", "target"})
"""The same at the root; further down these are names of a product's own."""
LOCKS = frozenset(
    {
        "package-lock.json",
        "npm-shrinkwrap.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "bun.lock",
        "poetry.lock",
        "uv.lock",
    }
    | {"pdm.lock", "Pipfile.lock", "Cargo.lock", "go.sum", "go.work.sum", "composer.lock", "Gemfile.lock"}
    | {
        "gradle.lockfile",
        "flake.lock",
        "mix.lock",
        "Podfile.lock",
        "packages.lock.json",
        ".terraform.lock.hcl",
    }
)
_MADE = re.compile(
    r"[.-]min\.(js|mjs|css)$|\.(map|snap|svg|lock|pb\.go|bundle\.js|po|csv|tsv|ipynb)$|_pb2(_grpc)?\.pyi?$|\.pb\.\w+$"
)
_SAYS_SO = re.compile(
    rb"@generated|(code|file|automatically|auto-?) ?generated\b.{0,80}\bdo not (edit|modify)", re.I | re.S
)
_BINARY = re.compile(
    r"\.(png|jpe?g|gif|webp|ico|bmp|tiff?|pdf|zip|gz|bz2|xz|zst|7z|tar|tgz|whl|egg|jar|war|class|pyc|pyo|so|dylib|dll|exe"
    r"|a|o|lib|bin|dat|db|sqlite3?|mo|ttf|otf|woff2?|eot|mp[34]|wav|ogg|flac|avi|mov|webm|npy|npz|pkl|pickle|parquet)$",
    re.I,
)


def worth_reading(path: str) -> bool:
    """Whether a path may be a text of the repository's own, by its name alone."""
    *folders, name = path.split("/")
    if FOLDERS.intersection(folders) or (folders and folders[0] in TOP_FOLDERS) or name in LOCKS:
        return False
    return not _MADE.search(name) and not _BINARY.search(name)


def is_text(data: bytes) -> bool:
    """Whether a file's bytes are text that a person wrote: not binary, minified, or marked as generated."""
    if b"\0" in data or _SAYS_SO.search(data[:1000]):
        return False
    return all(len(line) <= MAX_LINE for line in data.split(b"\n"))


class Sources:
    """The texts of a tree, in the order of their paths: the same for the same tree."""

    def __init__(self, repository: Repository, tree: str) -> None:
        self._repository = repository
        files = repository.files(tree)
        self.all = len(files)
        """Files that the tree has, links and submodules too."""
        self.entries = {
            path: files[path][1]
            for path in sorted(files)
            if files[path][0] in (REGULAR, EXECUTABLE) and worth_reading(path)
        }

    def read(
        self, wanted: frozenset[str] | None = None, later: Callable[[str], bool] = lambda path: False
    ) -> Iterator[tuple[str, bytes]]:
        """(path, text) of the files with these endings, or of all; at most MAX_FILES and MAX_BYTES of them. Those that
        come `later` stand at the end."""
        paths = [p for p in self.entries if wanted is None or "." + p.rpartition(".")[2].lower() in wanted]
        paths.sort(key=later)
        sizes = self._repository.sizes(self.entries[path] for path in paths)
        count = total = 0
        for path in paths:
            size = sizes[self.entries[path]]
            if size > MAX_FILE:
                continue
            total += size
            if count == MAX_FILES or total > MAX_BYTES:
                return
            data = self._repository.blob(self.entries[path], MAX_FILE)
            if is_text(data):
                count += 1
                yield path, data
