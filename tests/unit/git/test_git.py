"""What `agent.git` promises: exact trees from hostile repositories, and a repository untouched after it."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest

from agent.errors import EnvironmentFault, UsageError
from agent.git import PatchError, Repository
from agent.git_blobs import BlobTooLarge
from tests.unit.git.tools import (
    ROOT,
    commit,
    contents,
    git,
    head,
)


def test_git_is_dead_and_writes_nothing_more_once_its_caller_is_interrupted(tmp_path: Path) -> None:
    program = """
import os, signal, sys, threading, time
from pathlib import Path
from agent.git_command import call
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    call(["sh", "-c", "while :; do echo x >> written; sleep 0.01; done & wait"], b"", Path.cwd(), dict(os.environ))
except KeyboardInterrupt:
    size = os.stat("written").st_size
    time.sleep(0.2)
    sys.exit(0 if size and os.stat("written").st_size == size else "it still writes")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0


# ---- names


def test_a_revision_becomes_a_full_commit_id(project: Path, repository: Repository) -> None:
    git(project, "tag", "-a", "-m", "t", "v1")
    expected = git(project, "rev-parse", "HEAD")
    assert repository.resolve("HEAD") == repository.resolve("v1") == repository.resolve("main") == expected


@pytest.mark.parametrize("rev", ["nowhere", "--all", "-h", "HEAD:a.py", "", "HEAD..HEAD", "a\x1b[31m"])
def test_what_is_no_commit_is_a_usage_error_of_one_printable_line(repository: Repository, rev: str) -> None:
    with pytest.raises(UsageError, match="is not a commit") as caught:
        repository.resolve(rev)
    assert str(caught.value).isprintable()


def test_a_folder_without_a_repository_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a git repository"):
        Repository(tmp_path)
    with pytest.raises(UsageError, match="not a directory"):
        Repository(tmp_path / "absent")
    with pytest.raises(UsageError, match="name too long"):
        Repository("x" * 5000)
    with pytest.raises(UsageError, match="is empty"):
        Repository("")


def test_a_repository_without_a_commit_is_told_what_it_lacks(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with (
        Repository(tmp_path) as repository,
        pytest.raises(UsageError, match="no commit yet: commit something"),
    ):
        repository.resolve("HEAD")


def test_a_folder_that_is_gone_is_not_called_a_missing_git(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Repository(project) as repository:
        tree = head(repository)
        shutil.rmtree(project)
        with pytest.raises(EnvironmentFault, match="is gone"):
            repository.resolve("HEAD")
        shutil.rmtree(repository._temporary.name)
        with pytest.raises(EnvironmentFault, match="is gone"):
            repository.blob(tree)
    project.mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFault, match="git is not installed"):
        Repository(project)
    monkeypatch.chdir(project)
    project.rmdir()
    with pytest.raises(UsageError, match="current folder is gone"):
        Repository(".")


def test_variables_of_the_caller_do_not_redirect_git(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.bare")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "nonsense")
    with Repository(project) as repository:
        assert set(repository.files(head(repository))) == {"a.py", "sub/b.txt"}


# ---- kinds of repositories


def test_bare_worktree_shallow_subfolder_and_odd_names_all_work(project: Path, tmp_path: Path) -> None:
    commit(project, {"a.py": b"more\n"})
    git(tmp_path, "clone", "-q", "--bare", str(project), "bare.git")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{project}", "shallow")
    git(project, "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    odd = tmp_path / 'a"b\\c:d #ü'
    shutil.copytree(project, odd)
    expected = git(project, "rev-parse", "HEAD^{tree}")
    for path in (tmp_path / "bare.git", tmp_path / "shallow", tmp_path / "linked", project / "sub", odd):
        with Repository(path) as repository:
            assert head(repository) == expected
            assert contents(repository, expected)["a.py"] == b"more\n"
            made = repository.create_branch("fix", expected, repository.resolve("HEAD"), "m")
        assert git(path, "rev-parse", "fix") == made
        assert git(path, "fsck", "--strict", "--no-dangling") == ""
        git(project, "branch", "-D", "fix") if path in (tmp_path / "linked", project / "sub") else None


def test_the_sha256_object_format_works(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "x")
    commit(tmp_path / "x", {"a": b"1\n"})
    with Repository(tmp_path / "x") as repository:
        tree = head(repository)
        changed = repository.with_files(tree, {"a": None, "b": ("100644", repository.add_blob(b"2\n"))})
        assert len(tree) == len(changed) == 64
        assert repository.apply(tree, repository.diff(tree, changed)) == changed


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository to another owner")
def test_a_repository_of_another_owner_is_read(project: Path) -> None:
    for path in [project, *project.rglob("*")]:
        os.chown(path, 12345, 12345)
    with Repository(project) as repository:
        assert repository.resolve("HEAD")


# ---- trees


def test_hostile_content_is_stored_and_exported_byte_for_byte(project: Path, tmp_path: Path) -> None:
    """Attributes and configuration that would change bytes on a checkout or in `git archive` do nothing."""
    files = {
        ".gitattributes": b"*.txt text eol=crlf ident\nid.txt export-subst\nhidden export-ignore\n",
        "id.txt": b"$Id$ $Format:%H$\n",
        "hidden": b"kept\n",
        "crlf.txt": b"a\r\nb\r\n",
        "-rf": b"not an option\n",
        "caf\u00e9 \u2603/x y.py": b"# \xff\xfe\n",
        'q"uote\\\t\n': b"q\n",
        "bin": bytes(range(256)),
        "big": b"z" * 300_000,
    }
    git(project, "config", "core.autocrlf", "false")
    for name, data in files.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_bytes(data)
    records = []
    for name in files:
        sha = git(project, "hash-object", "-w", "--no-filters", "--", name)
        records.append(f"100644 {sha}\t{name}".encode())
    raw = git(project, "hash-object", "-w", "--no-filters", "a.py")
    records += [b"100755 " + raw.encode() + b"\tlatin-\xe9", b"120000 " + raw.encode() + b"\tlink"]
    records.append(b"160000 " + git(project, "rev-parse", "HEAD").encode() + b"\tvendored/lib")
    git(project, "update-index", "-z", "--index-info", data=b"\0".join(records) + b"\0")
    tree = git(project, "write-tree")
    git(project, "config", "core.autocrlf", "true")
    git(project, "config", "filter.evil.smudge", "touch /tmp/never")
    with Repository(project) as repository:
        repository.write_tar(tree, tmp_path / "tree.tar")
        repository.write_tar(tree, tmp_path / "again.tar")
    assert (tmp_path / "tree.tar").read_bytes() == (tmp_path / "again.tar").read_bytes()
    with tarfile.open(tmp_path / "tree.tar", errors="surrogateescape") as tar:
        members = {member.name: member for member in tar}
        for name, data in files.items():
            extracted = tar.extractfile(members[name])
            assert extracted is not None and extracted.read() == data, name
            assert members[name].mode == 0o644
    assert members["latin-\udce9"].mode == 0o755
    assert members["link"].issym() and members["link"].linkname == "one\ntwo\nthree\n"
    assert members["vendored/lib"].isdir()
    assert {member.uid for member in members.values()} == {1000}


def test_replace_refs_and_grafts_show_nobody_another_tree(project: Path) -> None:
    real = git(project, "rev-parse", "HEAD")
    fake = commit(project, {"a.py": b"forged\n"})
    git(project, "replace", real, fake)
    with Repository(project) as repository:
        assert (
            contents(repository, repository.tree_of(repository.resolve(real)))["a.py"] == b"one\ntwo\nthree\n"
        )


@pytest.mark.parametrize("name", ["..", ".git", ".GIT", "."])
def test_a_tree_with_names_no_checkout_may_hold_is_refused(
    project: Path, repository: Repository, name: str
) -> None:
    inner = git(project, "mktree", data=f"100644 blob {git(project, 'rev-parse', 'HEAD:a.py')}\tx\n".encode())
    raw = f"40000 {name}\0".encode() + bytes.fromhex(inner)
    tree = git(project, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", data=raw)
    with pytest.raises(EnvironmentFault, match="no checkout may hold"):
        repository.files(tree)


def test_a_tree_where_a_link_is_also_a_folder_is_refused(project: Path, repository: Repository) -> None:
    blob = git(project, "rev-parse", "HEAD:a.py")
    inner = git(project, "mktree", data=f"100644 blob {blob}\tx\n".encode())
    raw = b"120000 out\0" + bytes.fromhex(blob) + b"40000 out\0" + bytes.fromhex(inner)
    tree = git(project, "hash-object", "-w", "-t", "tree", "--literally", "--stdin", data=raw)
    with pytest.raises(EnvironmentFault, match="both as a file and as a folder"):
        repository.files(tree)


def test_a_blob_longer_than_the_limit_is_refused_and_the_next_one_read(repository: Repository) -> None:
    large, small = repository.add_blob(b"x" * 5000), repository.add_blob(b"small")
    with pytest.raises(BlobTooLarge, match="5000 bytes") as caught:
        repository.blob(large, limit=100)
    assert (caught.value.sha, caught.value.size, caught.value.limit) == (large, 5000, 100)
    with pytest.raises(EnvironmentFault, match="no blob"):
        repository.blob("0" * 40)
    assert repository.blob(small) == b"small"


# ---- patches


def test_a_patch_goes_there_and_back_exactly(repository: Repository) -> None:
    """Binary, CRLF, no newline at the end, mode, link, rename, odd names: `apply(diff)` is the identity."""
    tree = head(repository)
    base = repository.with_files(
        tree,
        {
            "crlf.txt": ("100644", repository.add_blob(b"a\r\nb\r\nc\r\nd\n")),
            "bin": ("100644", repository.add_blob(bytes(range(256)) * 50)),
            "old name": ("100644", repository.add_blob(b"moved\n" * 20)),
            "end": ("100644", repository.add_blob(b"no newline")),
        },
    )
    changed = repository.with_files(
        base,
        {
            "crlf.txt": ("100644", repository.add_blob(b"a\r\nB\r\nc\r\nd\n")),
            "bin": ("100644", repository.add_blob(bytes(range(256)) * 49 + b"\0\r\n")),
            "old name": None,
            "new \u00fc\tname\n": ("100644", repository.add_blob(b"moved\n" * 20)),
            "end": ("100644", repository.add_blob(b"no newline  \t")),
            "a.py": ("100755", repository.files(base)["a.py"][1]),
            "-rf": ("120000", repository.add_blob(b"a.py")),
            "sub/b.txt": None,
        },
    )
    assert repository.apply(base, repository.diff(base, changed)) == changed
    assert repository.apply(changed, repository.diff(changed, base)) == base


def test_a_rename_patch_as_git_writes_it_applies(project: Path, repository: Repository) -> None:
    before = repository.resolve("HEAD")
    git(project, "mv", "a.py", "moved.py")
    after = commit(project, {})
    patch = git(project, "diff", "-M", before, after).encode() + b"\n"
    assert b"rename to" in patch
    assert repository.apply(repository.tree_of(before), patch) == repository.tree_of(after)


CONTEXT = b"--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,3 @@\n %s\n-two\n+2\n three\n"


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"just words\n", "No valid patches"),
        (CONTEXT % b"ONE", "patch does not apply"),
        (b"--- a/../out\n+++ b/../out\n@@ -0,0 +1 @@\n+x\n", "invalid path"),
        (b"--- /dev/null\n+++ b/../../etc/cron.d/x\n@@ -0,0 +1 @@\n+x\n", "invalid path"),
        (b"--- /dev/null\n+++ b/.git/hooks/post-checkout\n@@ -0,0 +1 @@\n+x\n", "invalid path"),
        (b"--- /dev/null\n+++ b//etc/passwd\n@@ -0,0 +1 @@\n+x\n", "invalid path"),
        (b"--- /dev/null\n+++ b/a.py\n@@ -0,0 +1 @@\n+x\n", "already exists"),
        (CONTEXT % b"one" + b"--- a/absent\n+++ b/absent\n@@ -1 +1 @@\n-x\n+y\n", "absent"),
    ],
)
def test_a_patch_that_is_not_exact_is_refused_whole(
    repository: Repository, patch: bytes, reason: str
) -> None:
    with pytest.raises(PatchError, match=reason) as caught:
        repository.apply(head(repository), patch)
    assert str(caught.value).isprintable()


def test_a_reason_advises_no_flag_of_git(repository: Repository) -> None:
    with pytest.raises(PatchError) as caught:
        repository.apply(head(repository), b"just words\n")
    assert str(caught.value) == "No valid patches in input"


def binary_patch(name: str, size: int) -> bytes:
    """A patch of a new file of zeros: a thousandth of its size."""
    packed = zlib.compress(bytes(size), 9)
    lines = []
    for at in range(0, len(packed), 52):
        part = packed[at : at + 52]
        count = chr(ord("A") + len(part) - 1) if len(part) <= 26 else chr(ord("a") + len(part) - 27)
        lines.append(count.encode() + base64.b85encode(part, pad=True))
    sha = hashlib.sha1(f"blob {size}\0".encode() + bytes(size)).hexdigest()
    start = f"diff --git a/{name} b/{name}\nnew file mode 100644\nindex {'0' * 40}..{sha}\nGIT binary patch\n"
    return f"{start}literal {size}\n".encode() + b"\n".join(lines) + b"\n\nliteral 0\nHcmV?d00001\n\n"


def test_a_patch_that_unpacks_to_far_more_than_itself_is_refused(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = head(repository)
    monkeypatch.setattr("agent.git.MAX_UNPACKED", 3_000_000)
    made = repository.apply(tree, binary_patch("a", 2_000_000))
    assert repository.diff(tree, made)
    with pytest.raises(PatchError, match="unpacks to 4000001 bytes; the limit is 3000000"):
        repository.apply(tree, binary_patch("a", 2_000_000) + binary_patch("b", 2_000_001))
    monkeypatch.setattr("agent.git.MAX_UNPACKED", 20)
    how = "diff --git a/a.py b/{1}\nsimilarity index 100%\n{0} from a.py\n{0} to {1}\n"
    assert repository.apply(tree, how.format("rename", "moved").encode())
    with pytest.raises(PatchError, match="unpacks to 28 bytes"):
        repository.apply(tree, "".join(how.format("copy", f"copy{n}") for n in range(2)).encode())
    monkeypatch.setattr("agent.git.APPLY_MEMORY", 64 << 20)
    with pytest.raises(PatchError, match=r"unpacks to more than \d+ bytes of memory"):
        repository.apply(tree, binary_patch("a", 128 << 20))


def test_a_patch_writes_through_no_link(repository: Repository) -> None:
    linked = repository.with_files(head(repository), {"out": ("120000", repository.add_blob(b"/etc"))})
    with pytest.raises(PatchError):
        repository.apply(linked, b"--- /dev/null\n+++ b/out/cron\n@@ -0,0 +1 @@\n+x\n")
