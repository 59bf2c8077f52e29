"""Git on the host, for repositories that nobody vouches for: plumbing only, in an object store of our own.

Every command but four runs in a temporary bare repository whose `alternates` names the user's objects. So no
hook, filter, fsmonitor, attribute or replace ref of the user's repository can act, and nothing in it changes:
not its index, its working tree, its refs, nor its objects. The four that must see the repository itself are
`rev-parse` (names to ids), `remote get-url`, and, for `create_branch` alone, `unpack-objects` and `update-ref`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from agent.errors import EnvironmentFault, UsageError
from agent.git_blobs import Blobs
from agent.git_command import c_quoted, call, environment, printable, reason, without_flags
from agent.scratch import scratch

MAX_BLOB = 64 * 1024 * 1024
"""Bytes of a blob that is read into memory."""

MAX_UNPACKED = 256 * 1024 * 1024
"""Bytes of all files that a patch makes or changes. A binary patch of some KB can unpack to gigabytes, and so can one
that copies."""

APPLY_MEMORY = 4 * MAX_UNPACKED
"""Bytes that `git apply` may allocate: it holds what it unpacks up to three times over."""

MTIME = 1_000_000_000
"""Time stamp of every file in a tar: the same tree gives the same bytes (zip knows no year before 1980)."""

REGULAR = "100644"
GITLINK = "160000"
SYMLINK = "120000"
EXECUTABLE = "100755"

Entry = tuple[str, str]
"""Mode (six octal digits, as git writes it) and object id of one file."""


@dataclass(frozen=True, slots=True)
class Commit:
    id: str
    parents: tuple[str, ...]
    message: str


class PatchError(UsageError):
    """The patch does not apply; the text says so with git's reason."""


class Repository:
    """A user's repository, to read and to build trees upon. A context manager: new objects go when it ends.

    `path` may be a work tree (or a folder in it), a linked worktree, a bare repository or a shallow clone.
    Raises UsageError when there is no repository, EnvironmentFault when git is missing or fails.
    """

    def __init__(self, path: str | Path) -> None:
        if not str(path):
            raise UsageError("the repository's path is empty: name a git repository")
        try:
            self.path = Path(path).absolute()
        except OSError:
            raise UsageError("the current folder is gone: change to one that is there") from None
        try:
            there = self.path.is_dir()
        except OSError as error:
            raise UsageError(
                f"{printable(str(path))[:200]}: {error.strerror}: name a git repository"
            ) from None
        if not there:
            raise UsageError(f"{self.path} is not a directory: name a git repository")
        if "\n" in str(self.path):
            raise UsageError(f"{printable(str(self.path))}: the path holds a line break; rename the folder")
        self._temporary = scratch()
        self._own = Path(self._temporary.name)
        self._blobs = Blobs(self._own, self.path)
        self._trees: dict[str, Mapping[str, Entry]] = {}
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        # The user asked for this repository, whoever owns it, and nothing in it is executed.
        (self._own / "trusting").write_text("[safe]\n\tdirectory = *\n", encoding="utf-8")
        where = ["rev-parse", "--path-format=absolute", "--git-common-dir", "--show-object-format"]
        done = self._theirs([*where, "--git-path", "objects"])
        if done.returncode:
            raise UsageError(f"{self.path} is not a git repository: {reason(done.stderr)}")
        common, self.object_format, objects = done.stdout.decode("utf-8", "surrogateescape").split("\n")[:3]
        self.git_dir = Path(common)
        init = ["init", "--quiet", "--bare", "--template=", f"--object-format={self.object_format}"]
        self._git([*init, str(self._own / "repo")], at=self._own)
        alternates = self._own / "repo/objects/info/alternates"
        alternates.parent.mkdir(parents=True, exist_ok=True)
        alternates.write_bytes(c_quoted(objects) + b"\n")

    def __enter__(self) -> Repository:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop all objects that were made here. May be called twice."""
        self._blobs.close()
        self._temporary.cleanup()

    # ---- names and trees

    def resolve(self, rev: str) -> str:
        """The commit id that `rev` names. Raises UsageError when it names none."""
        done = self._theirs(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}"])
        commit = done.stdout.decode("ascii", "replace").strip()
        if done.returncode or not commit:
            any_commit = self._theirs(["rev-list", "--all", "--max-count=1"])
            if not any_commit.returncode and not any_commit.stdout.strip():
                raise UsageError(f"{self.path} has no commit yet: commit something first")
            raise UsageError(
                f"{printable(rev)!r} is not a commit of {self.path}: name a branch, tag or commit id"
            )
        return commit

    def tree_of(self, commit: str) -> str:
        """The tree id of a commit id (or of a tree id)."""
        return self._git(["rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}"]).decode().strip()

    def files(self, tree: str) -> Mapping[str, Entry]:
        """Every file of a tree, path -> (mode, id); bytes that are not UTF-8 stand as surrogates.

        Raises EnvironmentFault for a tree with names that no checkout may hold ("..", ".git").
        """
        if tree in self._trees:
            return self._trees[tree]
        found: dict[str, Entry] = {}
        for record in self._git(["ls-tree", "-r", "-z", "--full-tree", tree]).split(b"\0"):
            if record:
                meta, _, name = record.partition(b"\t")
                mode, _, sha = meta.decode("ascii").split(" ")
                found[_checked(name.decode("utf-8", "surrogateescape"))] = (mode, sha)
        for path in found:
            parent = path
            while parent := parent.rpartition("/")[0]:
                if parent in found:
                    raise EnvironmentFault(
                        f"a tree holds {printable(parent)!r} both as a file and as a folder"
                    )
        self._trees[tree] = found
        return found

    def blob(self, sha: str, limit: int = MAX_BLOB) -> bytes:
        """A blob's bytes. Raises BlobTooLarge when there are more than `limit`, EnvironmentFault when it is missing
        or not a blob."""
        return self._blobs.read(sha, limit)

    def add_blob(self, data: bytes) -> str:
        """Store bytes, exactly; their id."""
        return self._git(["hash-object", "-w", "--no-filters", "--stdin"], data).decode().strip()

    def empty_tree(self) -> str:
        """The tree without files, put into the store."""
        return self._git(["hash-object", "-w", "-t", "tree", "--stdin"]).decode().strip()

    def with_files(self, tree: str, changes: Mapping[str, Entry | None]) -> str:
        """The tree with some files put (mode, id) or removed (None)."""
        if not changes:
            return tree
        zero = "0" * len(tree)
        records = []
        for path, entry in sorted(changes.items()):
            mode, sha = entry or ("0", zero)
            records.append(f"{mode} {sha}\t{path}".encode("utf-8", "surrogateescape"))
        with self._index(tree) as index:
            self._git(["update-index", "-z", "--index-info"], b"\0".join(records) + b"\0", index=index)
            return self._git(["write-tree"], index=index).decode().strip()

    def apply(self, tree: str, patch: bytes) -> str:
        """The tree with `patch` applied exactly: no fuzz, no three-way merge, no partial result.

        Raises PatchError with git's reason, also for a patch without any change, and for one that unpacks to more
        than MAX_UNPACKED.
        """
        if not patch.strip():
            raise PatchError("the patch is empty")
        with self._index(tree) as index:
            command = ["apply", "--cached", "--whitespace=nowarn", "-"]
            done = self._run(command, patch, index=index, memory=APPLY_MEMORY)
            if done.returncode and b"ut of memory" in done.stderr:
                raise PatchError(
                    f"a binary patch unpacks to more than {APPLY_MEMORY} bytes of memory; the limit for its files is "
                    f"{MAX_UNPACKED}"
                )
            if done.returncode:
                raise PatchError(without_flags(reason(done.stderr)))
            made = self._git(["write-tree"], index=index).decode().strip()
        if (size := self._new_bytes(tree, made)) > MAX_UNPACKED:
            raise PatchError(f"the patch unpacks to {size} bytes; the limit is {MAX_UNPACKED}")
        return made

    def patch_lines(self, patch: bytes) -> dict[str, tuple[int, int]]:
        """The files that a patch names, with the lines that it adds and removes (0 of what is no text).

        Raises PatchError for what is no patch, or one that renames or copies, whose sources git does not list.
        """
        if not patch.strip():
            raise PatchError("the patch is empty")
        if re.search(rb"(?m)^(rename|copy) (from|to) ", patch):
            raise PatchError("the patch renames or copies files; make it with --no-renames")
        done = self._run(["apply", "--numstat", "-z", "-"], patch, memory=APPLY_MEMORY)
        if done.returncode:
            raise PatchError(without_flags(reason(done.stderr)))
        records = (record.split(b"\t", 2) for record in done.stdout.split(b"\0") if record)
        return {
            _checked(name.decode("utf-8", "surrogateescape")): (int(added), int(removed))
            if added != b"-"
            else (0, 0)
            for added, removed, name in records
        }

    def _new_bytes(self, before: str, after: str) -> int:
        """Bytes of the files that one tree has and another has not, or has fewer copies of, whatever their names."""
        old, new = (
            Counter(sha for mode, sha in self.files(tree).values() if mode != GITLINK)
            for tree in (before, after)
        )
        added = new - old
        sizes = self.sizes(added)
        return sum(sizes[sha] * times for sha, times in added.items())

    def sizes(self, shas: Iterable[str]) -> dict[str, int]:
        """Bytes of objects, by id; 0 for one that is missing."""
        wanted = list(dict.fromkeys(shas))
        if not wanted:
            return {}
        asked = "".join(f"{sha}\n" for sha in wanted).encode()
        told = self._git(["cat-file", "--batch-check=%(objectsize)"], asked).splitlines()
        return {sha: int(size) if size.isdigit() else 0 for sha, size in zip(wanted, told, strict=True)}

    def diff(self, tree_a: str, tree_b: str, paths: Iterable[str] = ()) -> bytes:
        """The patch from one tree to another; `apply` takes it back exactly. `paths` narrows it."""
        command = ["diff-tree", "-r", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff"]
        command += ["--no-textconv", tree_a, tree_b, "--"]
        return self._git([*command, *paths])

    def write_tar(self, tree: str, dest: Path, only: Collection[str] | None = None) -> None:
        """Write the files of a tree as stored to a tar at `dest`, or `only` these; submodules become empty folders."""
        with tarfile.open(
            dest, "w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
        ) as tar:
            folders: set[str] = set()
            for path, (mode, sha) in self.files(tree).items():
                if only is not None and path not in only:
                    continue
                for folder in _parents(path):
                    if folder not in folders:
                        folders.add(folder)
                        tar.addfile(_tarinfo(folder, tarfile.DIRTYPE, 0o755))
                if mode == GITLINK:
                    tar.addfile(_tarinfo(path, tarfile.DIRTYPE, 0o755))
                elif mode == SYMLINK:
                    link = _tarinfo(path, tarfile.SYMTYPE, 0o777)
                    link.linkname = self.blob(sha, 4096).decode("utf-8", "surrogateescape")
                    tar.addfile(link)
                else:
                    info = _tarinfo(path, tarfile.REGTYPE, 0o755 if mode == EXECUTABLE else 0o644)
                    with self._blobs.stream(sha) as (stream, info.size):
                        tar.addfile(info, stream)

    # ---- the user's repository

    def history(self, commit: str) -> Iterator[Commit]:
        """The commits that lead to a commit id, newest first, merges left out. A shallow clone ends where it ends."""
        found = self._theirs(["rev-list", "--no-merges", "--parents", "--end-of-options", commit])
        if found.returncode:
            raise EnvironmentFault(f"git rev-list failed in {self.path}: {reason(found.stderr)}")
        for line in found.stdout.decode("ascii").splitlines():
            commit, *parents = line.split()
            text = self._git(["cat-file", "commit", commit]).decode("utf-8", "replace")
            yield Commit(commit, tuple(parents), text.partition("\n\n")[2])

    def work_tree(self) -> Path:
        """The root of the work tree. Raises UsageError for a bare repository."""
        done = self._theirs(["rev-parse", "--path-format=absolute", "--show-toplevel"])
        if done.returncode:
            raise UsageError(f"{self.path} has no work tree: name a clone with its files")
        return Path(done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n"))

    def remote_url(self, name: str) -> str | None:
        """Where a remote is, by the repository's own configuration; None when there is no such remote."""
        done = self._theirs(["remote", "get-url", "--", name])
        return None if done.returncode else done.stdout.decode("utf-8", "replace").rstrip("\n")

    def dirty(self) -> bool:
        """Whether the work tree holds changes or new files that HEAD has not. A bare repository has none."""
        where = ["rev-parse", "--path-format=absolute", "--show-toplevel", "--git-path", "index"]
        done = self._theirs(where)
        if done.returncode:
            return False
        root, index, *_ = done.stdout.decode("utf-8", "surrogateescape").split("\n")
        own = self._own / "repo"
        (own / "HEAD").write_text(self.resolve("HEAD") + "\n", encoding="ascii")
        # Copies, under our own configuration: git status would otherwise run the repository's clean filters.
        for source in [Path(index), *self.git_dir.glob("sharedindex.*"), self.git_dir / "info/exclude"]:
            if source.is_file():
                target = own / "info/exclude" if source.name == "exclude" else own / source.name
                target.parent.mkdir(exist_ok=True)
                shutil.copy2(source, target)
        command = [f"--work-tree={root}", "status", "--porcelain", "-z", "--ignore-submodules=all"]
        return bool(self._git(command, index=own / "index"))

    def check_branch(self, name: str) -> None:
        """Raises UsageError when `name` is not a branch name, or stands in the way of a branch that exists."""
        checked = self._run(["check-ref-format", "--branch", name])
        if checked.returncode or checked.stdout.decode("utf-8", "replace").strip() != name:
            raise UsageError(f"{printable(name)!r} is not a branch name")
        ref = f"refs/heads/{name}"
        for taken in (
            self._theirs(["for-each-ref", "--format=%(refname)", "refs/heads"]).stdout.decode().split("\n")
        ):
            if taken == ref:
                raise UsageError(f"branch {name} exists already: name another one")
            if taken and (ref.startswith(f"{taken}/") or taken.startswith(f"{ref}/")):
                there = taken.removeprefix("refs/heads/")
                raise UsageError(f"branch {name} can't be made beside branch {there}: name another one")

    def create_branch(self, name: str, tree: str, parent: str, message: str) -> str:
        """Commit `tree` upon `parent` as the new branch `name` of the user's repository; the commit id.

        The only call that writes there: objects and one ref, never the index or the work tree.
        A branch that this very call made before is left as it is: whoever was killed after it goes on.
        Raises UsageError when the name is taken or not a branch name.
        """
        ref = f"refs/heads/{name}"
        if (made := self._is_commit_of(ref, tree, parent, message)) is not None:
            return made
        self.check_branch(name)
        commit = self._git(["commit-tree", "-p", parent, "-F", "-", tree], message.encode()).decode().strip()
        listed = self._git(["ls-tree", "-r", "-t", "-z", "--full-tree", tree])
        wanted = [commit, tree, *(line.split()[2].decode() for line in listed.split(b"\0") if line)]
        store = self._own / "repo/objects"
        new = [sha for sha in dict.fromkeys(wanted) if (store / sha[:2] / sha[2:]).is_file()]
        pack = self._git(["pack-objects", "--stdout", "--quiet"], "".join(f"{sha}\n" for sha in new).encode())
        for command, data in (
            (["unpack-objects", "-q"], pack),
            (["update-ref", "--create-reflog", "-m", "assay: branch", ref, commit, "0" * len(commit)], b""),
        ):
            done = self._theirs(command, data)
            if done.returncode:
                raise UsageError(f"branch {name} cannot be made: {reason(done.stderr)}")
        return commit

    def _is_commit_of(self, ref: str, tree: str, parent: str, message: str) -> str | None:
        """The commit that `ref` of the user's repository points to, if it is of this content."""
        done = self._theirs(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"])
        if done.returncode:
            return None
        commit = done.stdout.decode("ascii").strip()
        text = self._git(["cat-file", "commit", commit]).decode("utf-8", "replace")
        head, _, said = text.partition("\n\n")
        same = head.startswith(f"tree {tree}\nparent {parent}\nauthor ") and said == message
        return commit if same else None

    # ---- running git

    def _theirs(self, command: list[str], data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run git in the user's own repository, hooks and fsmonitor off."""
        harmless = ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
        variables = {**environment(self._own), "GIT_CONFIG_GLOBAL": str(self._own / "trusting")}
        return call(["git", *harmless, *command], data, self.path, variables)

    def _run(
        self,
        command: list[str],
        data: bytes = b"",
        index: Path | None = None,
        at: Path | None = None,
        memory: int | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        variables = environment(self._own)
        if at is None:
            variables["GIT_DIR"] = str(self._own / "repo")
        if index is not None:
            variables["GIT_INDEX_FILE"] = str(index)
        line = ["git", "-c", "core.attributesFile=/dev/null", *command]
        if memory is not None:  # of what it allocates; packs that it maps do not count
            line = ["/bin/sh", "-c", f'ulimit -d {memory >> 10} 2>/dev/null; exec "$@"', "sh", *line]
        return call(line, data, at or self._own, variables)

    def _git(
        self, command: list[str], data: bytes = b"", index: Path | None = None, at: Path | None = None
    ) -> bytes:
        done = self._run(command, data, index, at)
        if done.returncode:
            verb = next(word for word in command if not word.startswith("-"))
            raise EnvironmentFault(f"git {verb} failed in {self.path}: {reason(done.stderr)}")
        return done.stdout

    def _index(self, tree: str) -> _Index:
        return _Index(self, tree, self._own)


class _Index:
    """A temporary index that holds a tree."""

    def __init__(self, repository: Repository, tree: str, folder: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="index-", dir=folder)
        self._path = Path(self._folder.name) / "index"
        self._repository, self._tree = repository, tree

    def __enter__(self) -> Path:
        self._repository._git(["read-tree", self._tree], index=self._path)
        return self._path

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def _checked(path: str) -> str:
    for part in path.split("/"):
        if part in ("", ".", "..") or part.lower() == ".git":
            raise EnvironmentFault(f"a tree holds a path that no checkout may hold: {printable(path)!r}")
    return path


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _tarinfo(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.mtime, info.uid, info.gid = kind, mode, MTIME, 1000, 1000
    return info
