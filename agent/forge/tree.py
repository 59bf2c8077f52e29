"""An accepted patch as git objects on GitHub, made from the base commit as GitHub has it: no clone, no push.

Of the base only the folders and files that the patch names are fetched. The patch is applied to them here, by git's
plumbing in a repository of our own; each new file goes up as a blob, then a tree upon the base's.
"""

from __future__ import annotations

import base64
import os
import subprocess
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from agent.config import Settings, repository_settings
from agent.errors import AgentError, Refused
from agent.forge.client import Client, ForgeError, Missing
from agent.forge.secret_text import found_in
from agent.gate.paths import refusal
from agent.git import EXECUTABLE, REGULAR, Entry, PatchError, Repository
from agent.scratch import scratch
from agent.text import printable

MAX_FILES = 300
"""Files that a patch may touch: each is a request or two."""
SETTINGS = ("agent.toml", "pyproject.toml")


@dataclass(frozen=True, slots=True)
class Change:
    """What a patch makes of the base commit, not yet on GitHub."""

    base: str
    base_tree: str
    new: Mapping[str, tuple[str, bytes] | None]
    """Path -> mode and bytes, or None where the file goes."""
    lines: Mapping[str, tuple[int, int]]
    """Path -> lines added and removed."""
    settings: Settings
    """What the base commit's own agent.toml says."""


def changed(client: Client, slug: str, base: str, patch: bytes, secrets: Sequence[str]) -> Change:
    """The patch applied to the base commit as GitHub has it.

    Raises Refused when it does not apply, touches what no patch may, or brings a secret.
    """
    try:
        base_tree = client.get(f"/repos/{slug}/git/commits/{base}")["tree"]["sha"]
    except Missing as missing:
        raise Refused(f"the base commit {base} is not in {slug}: {missing}") from missing
    with _repository(base) as repository:
        try:
            lines = repository.patch_lines(patch)
        except AgentError as error:  # no patch, or one with a path that no checkout may hold
            raise Refused(f"{error}") from error
        for path in lines:
            if reason := _forbidden(path):
                raise Refused(f"the patch touches {printable(path)[:200]}: {reason}")
        if len(lines) > MAX_FILES:
            raise Refused(f"the patch touches {len(lines)} files; the limit is {MAX_FILES}")
        fetched = _Base(client, slug, base_tree, repository)
        before = repository.with_files(repository.empty_tree(), fetched.files([*lines, *SETTINGS]))
        try:
            after = repository.apply(before, patch)
        except PatchError as error:
            raise Refused(f"the patch does not apply to {base}: {error}") from error
        new = _new_files(repository, before, after, secrets)
        return Change(base, base_tree, new, lines, repository_settings(repository, before))


def commit_tree(client: Client, slug: str, change: Change) -> str:
    """Put the changed files on GitHub; the id of the tree with them. May be done again: git objects are named by
    their content."""
    entries: list[dict[str, Any]] = []
    for path, entry in change.new.items():
        one: dict[str, Any] = {"path": path, "mode": REGULAR, "type": "blob", "sha": None}
        if entry is not None:
            content = base64.b64encode(entry[1]).decode("ascii")
            blob = client.post(
                f"/repos/{slug}/git/blobs", {"content": content, "encoding": "base64"}, repeatable=True
            )
            one |= {"mode": entry[0], "sha": blob["sha"]}
        entries.append(one)
    tree = client.post(
        f"/repos/{slug}/git/trees", {"base_tree": change.base_tree, "tree": entries}, repeatable=True
    )
    return str(tree["sha"])


@dataclass
class _Base:
    """The base commit's files, fetched as they are asked for."""

    client: Client
    slug: str
    root: str
    repository: Repository
    folders: dict[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def files(self, paths: Sequence[str]) -> dict[str, Entry]:
        """Those of these files that are there, their blobs put into the repository."""
        found: dict[str, Entry] = {}
        for path in dict.fromkeys(paths):
            entry = self._entry(path)
            if entry is None:
                continue
            if entry["type"] != "blob":
                raise Refused(f"{printable(path)[:200]} is a folder or a submodule of the base commit")
            if self.repository.add_blob(self._blob(entry["sha"])) != entry["sha"]:
                raise ForgeError(f"GitHub gave another content for {printable(path)[:200]} than its id says")
            found[path] = (entry["mode"], entry["sha"])
        return found

    def _entry(self, path: str) -> Mapping[str, Any] | None:
        folder, _, name = path.rpartition("/")
        return (self._folder(folder) or {}).get(name)

    def _folder(self, path: str) -> Mapping[str, Mapping[str, Any]] | None:
        """What a folder holds by name; None when it is not there."""
        if path in self.folders:
            return self.folders[path]
        sha = self.root
        if path:
            entry = self._entry(path)
            if entry is None:
                return None
            if entry["type"] != "tree":
                raise Refused(f"{printable(path)[:200]} is no folder of the base commit")
            sha = entry["sha"]
        listing = self.client.get(f"/repos/{self.slug}/git/trees/{sha}")
        if listing["truncated"]:
            raise ForgeError(
                f"GitHub does not list all of the folder {printable(path)[:200] or '/'}: it is too large"
            )
        self.folders[path] = {entry["path"]: entry for entry in listing["tree"]}
        return self.folders[path]

    def _blob(self, sha: str) -> bytes:
        blob = self.client.get(f"/repos/{self.slug}/git/blobs/{sha}")
        if blob["encoding"] != "base64":
            raise ForgeError(f"GitHub gave a blob in an unknown encoding: {blob['encoding']!r}")
        return base64.b64decode(blob["content"])


def _new_files(
    repository: Repository, before: str, after: str, secrets: Sequence[str]
) -> dict[str, tuple[str, bytes] | None]:
    """Mode and bytes of what differs between two trees. Raises Refused for links, and for secrets in new lines."""
    old, made = repository.files(before), repository.files(after)
    new: dict[str, tuple[str, bytes] | None] = {}
    for path in sorted({*old, *made}):
        if old.get(path) == made.get(path):
            continue
        if {entry[0] for entry in (old.get(path), made.get(path)) if entry} - {REGULAR, EXECUTABLE}:
            raise Refused(f"the patch changes {printable(path)[:200]}, a symbolic link or a submodule")
        kept = set(repository.blob(old[path][1]).splitlines()) if path in old else set()
        has = repository.blob(made[path][1]) if path in made else b""
        added = [line for line in has.splitlines() if line not in kept]
        if kind := found_in(b"\n".join(added).decode("utf-8", "replace"), secrets):
            raise Refused(f"a new line of {printable(path)[:200]} looks like a secret ({kind})")
        new[path] = (made[path][0], has) if path in made else None
    return new


def _forbidden(path: str) -> str | None:
    """Why no published patch may touch this path, or None."""
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in path):
        return "its name holds characters that nobody sees"
    if any(part.casefold().startswith(".git") for part in path.split("/")):
        return "what belongs to git and GitHub, workflows among it, is changed by people alone"
    return refusal(path)


@contextmanager
def _repository(base: str) -> Iterator[Repository]:
    """An empty repository of our own, of the base commit's object format."""
    with scratch() as folder:
        form = "sha256" if len(base) == 64 else "sha1"
        init = ["git", "init", "--quiet", "--bare", "--template=", f"--object-format={form}", folder]
        nothing = {"PATH": os.environ.get("PATH", os.defpath), "HOME": folder, "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(init, check=True, capture_output=True, env=nothing)
        with Repository(folder) as repository:
            yield repository
