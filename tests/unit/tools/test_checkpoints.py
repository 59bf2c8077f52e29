"""The tool `undo`: which state it goes back to, and that this state is exactly what was tested."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.tools.test_changes import patch_of, snapshot
from tools.tool import Result
from tools.workspace import Workspace

Use = Callable[..., Result]
Run = Callable[..., dict[str, Any]]
WORDS = {"p": "", "f": "<failure/>", "e": '<error message="collection failure"/>', "s": "<skipped/>"}


@pytest.fixture
def run(good: Use, root: Path, workspace: Workspace) -> Run:
    """Put the workspace in a state, which has the outcomes that are told, and run its tests: `run("one", a="f")`."""
    workspace.test_command = "cat report.xml > {junit}"
    (root / "state.txt").write_text("start\n")
    workspace.base.wait()

    def run(code: str, **outcomes: str) -> dict[str, Any]:
        cases = (
            f'<testcase classname="" name="{name.replace("__", "::")}" file="">{WORDS[word]}</testcase>'
            for name, word in outcomes.items()
        )
        (root / "report.xml").write_text(f"<testsuite>{''.join(cases)}</testsuite>")
        (root / "state.txt").write_text(f"{code}\n")
        return data(good("run_tests"))

    return run


def data(result: Result) -> dict[str, Any]:
    assert result.data is not None
    return dict(result.data)


def code(root: Path) -> str:
    return (root / "state.txt").read_text().strip()


# --- which state


def test_what_made_things_worse_is_taken_back(good: Use, run: Run, root: Path) -> None:
    run("red", a="f", b="p")
    run("worse", a="f", b="f")
    result = good("undo")
    assert code(root) == "red"
    assert data(result)["failing"] == ["a"]
    assert result.text == (
        "back at checkpoint 1 (1 of 2 tests failed there)\nfailing there: a\nput back: report.xml, state.txt\n"
        "What you had is checkpoint 2: undo with to=2 brings it back."
    )


def test_edits_that_were_not_tested_are_taken_back_first(good: Use, run: Run, root: Path) -> None:
    run("red", a="f")
    run("green", a="p")
    (root / "state.txt").write_text("untested\n")
    assert data(good("undo"))["checkpoint"] == 2
    assert code(root) == "green"
    assert good("diff").data["patch"].count("+green") == 1  # type: ignore[index]


def test_again_goes_one_further_back_and_at_last_to_the_start(
    good: Use, use: Use, run: Run, root: Path
) -> None:
    run("one", a="f")
    run("two", a="f")
    run("three", a="f")
    seen = []
    for _ in range(3):
        good("undo")
        seen.append(code(root))
    assert seen == ["two", "one", "start"]
    assert good("diff").text.startswith("no changes")
    result = use("undo")
    assert result.is_error
    assert result.text.startswith("nothing to undo: the workspace is as it was at the start. There are\n")
    assert "checkpoint 2 (1 of 1 test failed there)" in result.text


def test_states_that_an_earlier_one_beats_are_passed_over(good: Use, run: Run, root: Path) -> None:
    run("red", a="f", b="p", c="p")
    run("bad", a="f", b="f", c="p")
    run("worse", a="f", b="f", c="f")
    good("undo")
    assert code(root) == "red"


def test_a_state_that_mends_one_and_breaks_another_is_not_beaten(good: Use, run: Run, root: Path) -> None:
    run("red", a="f", b="p")
    run("other", a="p", b="f")
    run("both", a="f", b="f")
    good("undo")
    assert code(root) == "other"


def test_only_tests_that_ran_in_both_are_compared(good: Use, run: Run, root: Path) -> None:
    run("all", a="f", b="p", c="p")
    run("few", a="p")
    run("new test", a="p", new="f")
    run("broken", a="f", b="p")
    good("undo")
    assert code(root) == "new test"


@pytest.mark.parametrize("before", [{"t__a": "f", "t__b": "p"}, {"t__a": "f"}])
def test_a_file_that_can_not_be_loaded_is_worse(
    good: Use, run: Run, root: Path, before: dict[str, str]
) -> None:
    run("red", **before)
    run("typo", t="e")
    (root / "state.txt").write_text("untested\n")
    good("undo")
    assert code(root) == "red"


def test_skipped_tests_and_a_test_that_a_second_run_found_well_are_no_worse(
    good: Use, run: Run, root: Path
) -> None:
    run("one", a="p", b="p")
    run("two", a="s", b="p")
    (root / "state.txt").write_text("untested\n")
    assert data(good("undo"))["checkpoint"] == 2
    good("undo", to=0)


def test_a_later_run_on_the_same_state_is_right(
    good: Use, workspace: Workspace, root: Path, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    workspace.test_command = f"test -e {flag}"
    flag.touch()
    (root / "state.txt").write_text("start\n")
    assert data(good("run_tests"))["checkpoint"] == 0
    (root / "state.txt").write_text("one\n")
    flag.unlink()
    assert data(good("run_tests"))["checkpoint"] == 1  # it fails by chance
    flag.touch()
    assert data(good("run_tests"))["checkpoint"] == 1
    (root / "state.txt").write_text("untested\n")
    good("undo")
    assert code(root) == "one"


def test_work_after_an_undo_goes_on_from_there(good: Use, run: Run, root: Path) -> None:
    run("one", a="f")
    run("dead end", a="f")
    good("undo")
    run("two", a="f")
    good("undo")
    assert code(root) == "one"
    good("undo", to=2)
    assert code(root) == "dead end"


def test_what_undo_took_back_can_be_had_again(good: Use, run: Run, root: Path) -> None:
    run("one", a="f")
    (root / "state.txt").write_text("untested\n")
    (root / "new").write_text("new\n")
    before = data(good("undo"))["before"]
    assert not (root / "new").exists()
    result = good("undo", to=before)
    assert code(root) == "untested"
    assert (root / "new").read_text() == "new\n"
    assert data(result)["restored"] == ["new"]


def test_without_a_run_it_goes_back_to_the_start(good: Use, run: Run, root: Path) -> None:
    (root / "state.txt").write_text("changed\n")
    result = good("undo")
    assert code(root) == "start"
    assert result.text.startswith("back at checkpoint 0, the start (not tested)\nput back: state.txt\n")


@pytest.mark.parametrize(
    ("to", "said"), [(9, "there is no checkpoint 9; there are\n"), (1, "at checkpoint 1.")]
)
def test_a_number_that_leads_nowhere(use: Use, run: Run, to: int, said: str) -> None:
    run("one", a="f")
    result = use("undo", to=to)
    assert result.is_error
    assert said in result.text
    assert "checkpoint 0, the start (not tested)\ncheckpoint 1 (1 of 1 test failed there)" in result.text


def test_a_run_without_outcomes_is_no_checkpoint(use: Use, good: Use, run: Run, root: Path) -> None:
    run("one", a="f")
    (root / "state.txt").write_text("two\n")
    (root / "report.xml").write_text("no report")
    assert data(use("run_tests"))["checkpoint"] is None
    good("undo")
    assert code(root) == "one"


# --- exactly that state


def test_the_state_is_what_was_tested_not_what_the_tests_left(
    good: Use, workspace: Workspace, root: Path
) -> None:
    workspace.test_command = f"{sys.executable} -m pytest"
    (root / "test_a.py").write_text(
        "def test_a():\n    open('left', 'w').write('x')\n    open('state.txt', 'w').write('by the test')\n"
    )
    (root / "state.txt").write_text("start\n")
    workspace.base.wait()
    (root / "state.txt").write_text("mine\n")
    result = good("run_tests")
    assert "\n[checkpoint 1]" in result.text
    assert code(root) == "by the test"
    assert data(good("undo"))["removed"] == ["left"]
    assert code(root) == "mine"


@pytest.fixture
def mixed(root: Path, workspace: Workspace) -> dict[str, tuple[int, bytes]]:
    """A workspace with some of everything, some of it changed since the start, and its tests run: the snapshot."""
    workspace.test_command = "true"
    for name, content in {
        "a.py": b"one\ntwo\n",
        "crlf.txt": b"a\r\nb\r\n",
        "blob": b"\x00\x01\xff" * 50,
        ".gitattributes": b"* text=auto eol=lf\n*.py filter=evil\n",
        ".gitignore": b"ignored/\n*.log\n",
        "ignored/tracked.txt": b"tracked though ignored\n",
        "sub/deep/f": b"f\n",
        "sub/g": b"g\n",
        "-rf": b"dash\n",
        ":(top)x": b"magic\n",
        'odd "name"\n\té\\': b"odd\n",
        "empty": b"",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / os.fsdecode(b"latin-\xe9")).write_bytes(b"caf\xe9\n")
    (root / "link").symlink_to("a.py")
    (root / "dangling").symlink_to("/nowhere/at all")
    (root / "script").write_bytes(b"#!/bin/sh\n")
    (root / "script").chmod(0o755)
    workspace.base.wait()
    (root / "a.py").write_bytes(b"edited\r\n")
    (root / "new\u2028file").write_bytes(b"new\n")
    (root / "-rf").unlink()
    return snapshot(root)


def test_every_kind_of_change_is_taken_back_exactly(
    good: Use, root: Path, mixed: dict[str, tuple[int, bytes]]
) -> None:
    mixed = snapshot(root)
    good("run_tests")
    (root / "a.py").unlink()
    (root / "crlf.txt").write_bytes(b"a\nb\n")
    (root / "blob").write_bytes(b"\x00")
    (root / ".gitattributes").unlink()
    (root / "ignored/tracked.txt").unlink()
    shutil.rmtree(root / "sub")
    (root / "sub").write_text("a file where a folder was")
    (root / "-rf").write_bytes(b"made again\n")
    (root / ":(top)x").write_bytes(b"x")
    (root / 'odd "name"\n\té\\').rename(root / "renamed")
    (root / os.fsdecode(b"latin-\xe9")).unlink()
    (root / "new\u2028file").write_bytes(b"changed\n")
    (root / "link").unlink()
    (root / "link").write_text("no link")
    (root / "dangling").unlink()
    (root / "script").chmod(0o644)
    (root / "empty").unlink()
    (root / "empty").mkdir()
    (root / "empty/now-a-directory").touch()
    (root / "-x").write_text("x")
    (root / "more/dirs").mkdir(parents=True)
    (root / "more/dirs/f").write_text("x")
    result = good("undo")
    assert snapshot(root) == mixed
    assert not (root / "more").exists()
    assert {"-rf", "-x", "renamed", "more/dirs/f", "empty/now-a-directory", "sub"} == set(
        data(result)["removed"]
    )
    assert {"sub/deep/f", "sub/g", "a.py", "ignored/tracked.txt", "latin-\ufffd", "new\\u2028file"} <= {
        *data(result)["restored"], *data(result)["put_back"]
    }  # fmt: skip


def test_going_to_the_start_and_back_is_exact(
    good: Use, root: Path, mixed: dict[str, tuple[int, bytes]]
) -> None:
    good("run_tests")
    patch = patch_of(good("diff"))
    good("undo")
    assert good("diff").data == {"patch": "", "encoding": "utf-8"}
    good("undo", to=1)
    assert snapshot(root) == mixed
    assert patch_of(good("diff")) == patch


def test_ignored_files_and_repositories_inside_are_left_alone(
    good: Use, root: Path, mixed: dict[str, tuple[int, bytes]]
) -> None:
    good("run_tests")
    kept = ["x.log", "ignored/new", "__pycache__/a.cpython-311.pyc", "sub/b.pyc", ".pytest_cache/v/x"]
    for name in kept:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    assert good("shell", command="git init -q nested && printf x > nested/f").data["exit_code"] == 0  # type: ignore[index]
    (root / "a.py").write_text("changed\n")
    assert data(good("undo"))["removed"] == []
    assert all((root / name).read_text() == "x" for name in [*kept, "nested/f"])


def test_files_that_the_restored_gitignore_no_longer_covers_stay_and_are_named(
    good: Use, root: Path, mixed: dict[str, tuple[int, bytes]]
) -> None:
    good("run_tests")
    (root / ".gitignore").write_text("*.gen\n")
    (root / "x.gen").write_text("x")
    assert "left, though no longer ignored: x.gen\n" in good("undo").text
    assert (root / "x.gen").exists()


def test_the_models_own_git_is_left_alone(good: Use, root: Path, mixed: dict[str, tuple[int, bytes]]) -> None:
    def own() -> dict[str, bytes]:
        return {str(p.relative_to(root)): p.read_bytes() for p in (root / ".git").rglob("*") if p.is_file()}

    good("run_tests")
    good(
        "shell",
        command="git add -A; git commit -qm mine; echo more >> a.py; git add -A; touch .git/index.lock",
    )
    before = own()
    good("undo")
    assert own() == before
    assert (root / "a.py").read_bytes() == b"edited\r\n"
    shutil.rmtree(root / ".git")
    (root / ".git").write_text("gitdir: /nowhere\n")
    (root / "a.py").write_text("changed\n")
    good("undo")
    assert (root / ".git").read_text() == "gitdir: /nowhere\n"


# --- hostile workspaces


@pytest.mark.parametrize("target", ["same", "other"])
def test_a_folder_replaced_by_a_symlink_leads_nothing_out(
    good: Use, root: Path, tmp_path: Path, mixed: dict[str, tuple[int, bytes]], target: str
) -> None:
    good("run_tests")
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "g").write_bytes(b"g\n" if target == "same" else b"not yours\n")
    (outside / "deep/f").write_bytes(b"f\n" if target == "same" else b"not yours\n")
    (outside / "victim").write_bytes(b"x")
    before = snapshot(outside)
    shutil.rmtree(root / "sub")
    (root / "sub").symlink_to(outside)
    (root / "a.py").unlink()
    (root / "a.py").symlink_to(outside / "victim")
    good("undo")
    assert snapshot(outside) == before
    assert not (root / "sub").is_symlink()
    assert snapshot(root) == mixed
    # And the other way round: the state with the symlinks.
    good("undo", to=2)
    assert (root / "sub").is_symlink()
    assert snapshot(outside) == before


def test_a_file_made_under_a_symlink_is_not_removed_there(
    good: Use, root: Path, tmp_path: Path, run: Run
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    run("one", a="f")
    (root / "new").mkdir()
    (root / "new/f").write_text("f")
    run("two", a="f")
    shutil.rmtree(root / "new")
    (root / "new").symlink_to(outside)
    (outside / "f").write_text("f")
    good("undo", to=1)
    assert (outside / "f").read_text() == "f"
    assert not os.path.lexists(root / "new")


def test_nothing_in_the_workspace_makes_git_run_commands(
    good: Use, root: Path, tmp_path: Path, run: Run
) -> None:
    owned = tmp_path / "owned"
    run("one", a="f")
    good(
        "shell",
        command=f"""
        git config core.fsmonitor 'touch {owned} #'; git config core.hooksPath {root}/hooks
        git config filter.evil.smudge 'touch {owned}; cat'; git config filter.evil.clean 'touch {owned}; cat'
        echo '* filter=evil ident text eol=crlf working-tree-encoding=UTF-16' > .gitattributes
        mkdir hooks; printf '#!/bin/sh\\ntouch {owned}\\n' > hooks/post-index-change
        cp hooks/post-index-change hooks/post-checkout; chmod +x hooks/*
        """,
    )
    good("undo")
    good("undo", to=2)
    assert not owned.exists()
    assert code(root) == "one"


def test_too_large_a_file_is_named_and_the_tests_run_all_the_same(
    use: Use, good: Use, root: Path, run: Run
) -> None:
    (root / "core.1").write_bytes(os.urandom(6 * 1024 * 1024))
    run("one", a="f")
    assert "[no checkpoint for undo: the new file 'core.1' has " in good("run_tests").text
    assert "core.1" in use("undo").text
    (root / "core.1").unlink()
    good("undo")
    assert code(root) == "start"


# --- a new server


def test_checkpoints_outlive_the_server(run: Run, root: Path, tmp_path: Path) -> None:
    from tools.server import run_tool
    from tools.tool import Call

    run("one", a="f", b="p")
    run("worse", a="f", b="f")
    again = Workspace(str(root), str(tmp_path / "scratch"), "true")
    result = run_tool(again, Call(), "undo", {})
    assert not result.is_error, result.text
    assert code(root) == "one"
    third = Workspace(str(root), str(tmp_path / "scratch"), "true")
    assert "checkpoint 0, the start" in run_tool(third, Call(), "undo", {}).text
    assert code(root) == "start"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("0.json", "{}"),
        ("1.json", '{"tree": "--output=x", "parent": 0}'),
        ("1.json", '{"tree": "' + "0" * 40 + '", "parent": 1}'),
        ("current", "-1"),
        ("current", "[]"),
    ],
)
def test_records_that_something_spoilt_leave_the_start(
    run: Run, root: Path, tmp_path: Path, file: str, content: str
) -> None:
    from tools.server import run_tool
    from tools.tool import Call

    run("one", a="f")
    (tmp_path / "scratch/.agent-tools/checkpoints" / file).write_text(content)
    again = Workspace(str(root), str(tmp_path / "scratch"), "true")
    result = run_tool(again, Call(), "undo", {})
    assert not result.is_error, result.text
    assert data(result)["checkpoint"] == 0
    assert code(root) == "start"
