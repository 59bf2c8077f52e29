"""The patch of the workspace, proved with git apply on a copy of the base."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.tool import Call, Result
from tools.workspace import Workspace

Use = Callable[..., Result]


def patch_of(result: Result) -> bytes:
    assert result.data is not None
    text = result.data["patch"]
    return base64.b64decode(text) if result.data["encoding"] == "base64" else text.encode()


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    found = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = (-1, os.fsencode(path.readlink()))
        elif path.is_file() and not name.startswith(".git/"):
            found[name] = (path.stat().st_mode & 0o111, path.read_bytes())
    return found


@pytest.fixture
def base(root: Path, tmp_path: Path, workspace: Workspace) -> Path:
    """A copy of the workspace as it was at the start; the workspace has some of everything."""
    for name, data in {
        "a.py": b"one\ntwo\n",
        "crlf.txt": b"a\r\nb\r\n",
        "blob": b"\x00\x01\xff" * 50,
        "latin": b"caf\xe9\n",
        ".gitattributes": b"* text=auto eol=lf\n*.py filter=evil diff=evil\nlatin working-tree-encoding=UTF-16\n",
        ".gitignore": b"ignored/\n*.log\n",
        "ignored/tracked.txt": b"tracked though ignored\n",
        "sub/deep/f": b"f\n",
        "-rf": b"dash\n",
        'odd "name"\n\té': b"odd\n",
        "no-newline": b"x",
        "empty": b"",
    }.items():
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "link").symlink_to("a.py")
    (root / "script").write_bytes(b"#!/bin/sh\n")
    (root / "script").chmod(0o755)
    workspace.base.wait()
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    return copy


def applied(base: Path, patch: bytes) -> dict[str, tuple[int, bytes]]:
    env = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "init", "-q"], cwd=base, env=env, check=True)
    (base / ".git/info/attributes").write_text("* -text !eol !filter !working-tree-encoding !diff\n")
    subprocess.run(["git", "apply", "-"], cwd=base, env=env, input=patch, check=True)
    return snapshot(base)


def test_an_untouched_workspace_has_no_changes(good: Use, base: Path) -> None:
    result = good("diff")
    assert result.text.startswith("no changes")
    assert result.data == {"patch": "", "encoding": "utf-8"}


def test_every_kind_of_change_applies_exactly(good: Use, root: Path, base: Path) -> None:
    (root / "a.py").write_bytes(b"one\nzwei\n")
    (root / "crlf.txt").write_bytes(b"a\r\nc\r\n")
    (root / "blob").write_bytes(b"\x00\x02\xff" * 40)
    (root / "ignored/tracked.txt").write_bytes(b"changed\n")
    (root / "sub/deep/f").unlink()
    (root / "-rf").write_bytes(b"dash dash\n")
    (root / 'odd "name"\n\té').rename(root / "renamed")
    (root / "no-newline").write_bytes(b"x\n")
    (root / "script").chmod(0o644)
    (root / "link").unlink()
    (root / "link").symlink_to("/etc/passwd")
    (root / "new/dir").mkdir(parents=True)
    (root / "new/dir/file").write_bytes(b"new\r\n")
    (root / "empty").unlink()
    (root / "empty").mkdir()
    (root / "empty/now-a-directory").write_bytes(b"")
    assert applied(base, patch_of(good("diff"))) == snapshot(root)


def test_text_of_other_encodings_comes_as_base64(good: Use, root: Path, base: Path) -> None:
    (root / "latin").write_bytes(b"th\xe9\n")
    result = good("diff")
    assert result.data is not None
    assert result.data["encoding"] == "base64"
    assert applied(base, patch_of(result)) == snapshot(root)


def test_ignored_files_and_caches_are_left_out(good: Use, root: Path, base: Path) -> None:
    for name in ["x.log", "ignored/new", "__pycache__/a.cpython-311.pyc", "sub/b.pyc", ".pytest_cache/v/x"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    assert good("diff").data == {"patch": "", "encoding": "utf-8"}


def test_repositories_inside_are_left_out(good: Use, root: Path, base: Path) -> None:
    command = (
        "set -e; git init -q nested; cd nested; echo x > f; git add f; "
        "git -c user.name=a -c user.email=b commit -qm x; cd ..\n"
        "git init -q empty-nested; git init -q sub; echo more >> sub/deep/f"
    )
    assert good("shell", command=f"({command})").data["exit_code"] == 0  # type: ignore[index]
    patch = patch_of(good("diff"))
    assert b"sub/deep/f" in patch
    assert b"nested" not in patch
    assert b"160000" not in patch


def test_the_models_own_git_can_not_bend_the_patch(good: Use, root: Path, base: Path, tmp_path: Path) -> None:
    owned = tmp_path / "owned"
    good(
        "shell",
        command=f"""
        git config core.fsmonitor 'touch {owned} #'; git config filter.evil.clean 'touch {owned}; echo evil'
        git config diff.external 'touch {owned}'; git config diff.evil.textconv 'touch {owned}'
        git config core.hooksPath {root}/hooks; git config core.autocrlf true
        mkdir hooks; printf '#!/bin/sh\\ntouch {owned}\\n' > hooks/post-index-change; chmod +x hooks/*
        """,
    )
    (root / "a.py").write_bytes(b"changed\r\n")
    patch = patch_of(good("diff"))
    assert not owned.exists()
    assert b"+changed\r\n" in patch
    good(
        "shell",
        command="git add -A; git commit -qm mine; git gc -q; git reset -q --hard HEAD; git checkout -q -b other",
    )
    assert patch_of(good("diff")) == patch
    shutil.rmtree(root / ".git")
    assert patch_of(good("diff")) == patch


def test_the_model_has_a_repository_of_its_own(good: Use, root: Path, base: Path) -> None:
    result = good(
        "shell",
        command="git log --format=%s; git status --porcelain; echo more >> a.py; git diff --stat | head -1",
    )
    assert result.text.startswith("base\n a.py | 1 +")


def test_a_git_directory_that_is_there_is_left_alone(root: Path, workspace: Workspace) -> None:
    (root / ".git").mkdir()
    (root / ".git/mine").touch()
    (root / "f").write_text("1\n")
    workspace.base.wait()
    assert [p.name for p in (root / ".git").iterdir()] == ["mine"]
    (root / "f").write_text("2\n")
    assert b"-1\n+2\n" in workspace.base.patch(Call())


def test_edits_of_the_same_size_at_once_are_seen(good: Use, root: Path) -> None:
    (root / "a.py").write_text("x < 1\n")
    good("edit_file", path="a.py", old="<", new=">")
    assert b"+x > 1" in patch_of(good("diff"))
    good("edit_file", path="a.py", old=">", new="<")
    assert patch_of(good("diff")) == b""


def test_the_base_survives_a_new_server(good: Use, root: Path, base: Path, tmp_path: Path) -> None:
    (root / "a.py").write_text("changed\n")
    patch = patch_of(good("diff"))
    again = Workspace(str(root), str(tmp_path / "scratch"), "pytest")
    assert again.base.patch(Call()) == patch


def test_a_git_that_was_killed_stands_in_nobodys_way(
    good: Use, root: Path, base: Path, tmp_path: Path
) -> None:
    (tmp_path / "scratch/.agent-tools/base/index.now.lock").touch()
    (root / "a.py").write_text("changed\n")
    assert b"+changed\n" in patch_of(good("diff"))


def test_files_too_large_for_a_patch_are_named(use: Use, root: Path, base: Path) -> None:
    (root / "core.1234").write_bytes(os.urandom(6 * 1024 * 1024))
    result = use("diff")
    assert result.is_error
    assert "core.1234" in result.text
    assert "remove it" in result.text
    (root / "core.1234").unlink()
    for n in range(4):
        (root / f"part{n}").write_bytes(os.urandom(4 * 1024 * 1024))
    assert "more than 10 MB" in use("diff").text


def test_escapes_in_file_contents_are_shown_safely(good: Use, root: Path, base: Path) -> None:
    (root / "a.py").write_bytes(b"\x1b[2Jgone\n" * 5000)
    result = good("diff")
    assert "\x1b" not in result.text
    assert len(result.text) < 35_000
    assert "characters cut" in result.text
    assert patch_of(result).count(b"\x1b[2Jgone") == 5000


# --- submit


def test_submit_ends_the_work(good: Use, root: Path, base: Path) -> None:
    (root / "a.py").write_text("fixed\n")
    result = good("submit", summary="mended")
    assert result.data == {"submitted": True, "give_up": False}
    assert result.text == "submitted: a patch of 1 file"


def test_nothing_is_no_submission(use: Use, base: Path) -> None:
    result = use("submit", summary="done")
    assert result.is_error
    assert result.data is None
    assert "give_up=true" in result.text
    assert use("submit", summary="no idea", give_up=True).data == {"submitted": True, "give_up": True}
    assert "'summary' is missing" in use("submit").text


def test_a_change_that_keeps_size_and_time_is_seen_after_a_patch_was_taken(good: Use, root: Path) -> None:
    path = root / "a.py"
    path.write_text("one\n")
    good("diff")
    path.write_text("two\n")
    (root / "new").mkdir()
    for text in ("six\n", "ten\n"):
        time.sleep(0.1)  # from now on nothing changes, and it may be known without looking into files
        before = path.stat()
        assert patch_of(good("diff")) == patch_of(good("diff"))
        path.write_text(text)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert f"+{text.strip()}".encode() in patch_of(good("diff"))
    time.sleep(0.1)
    good("diff")
    (root / "new/b.txt").write_text("b\n")
    assert b"new/b.txt" in patch_of(good("diff"))
