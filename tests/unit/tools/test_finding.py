"""Searching contents and names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.tool import Result

Use = Callable[..., Result]


@pytest.fixture
def tree(root: Path) -> Path:
    for name, text in {
        "src/a.py": "import os\ndef needle():\n    return 1\n\n\n\nneedle()\n",
        "src/b.txt": "Needle in text\n",
        ".hidden/c.py": "needle hidden\n",
        "ignored/d.py": "needle ignored\n",
        ".gitignore": "ignored/\n*.log\n",
        "x.log": "needle log\n",
        "bin": "needle \0 binary\n",
        "odd name\x1b.py": "needle\n",
    }.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return root


def test_hits_are_grouped_by_file(good: Use, tree: Path) -> None:
    result = good("search", pattern="needle")
    assert result.text == (
        "4 matches in 3 files\n"
        "src/a.py\n  2: def needle():\n  7: needle()\n"
        ".hidden/c.py\n  1: needle hidden\n"
        "odd name\\x1b.py\n  1: needle"
    )
    assert result.data == {"matches": 4, "files": 3, "shown": 4}


def test_the_ways_to_narrow_and_widen(good: Use, tree: Path) -> None:
    assert good("search", pattern="needle", path="src").data == {"matches": 2, "files": 1, "shown": 2}
    assert good("search", pattern="needle", path=str(tree / "src/a.py")).text.startswith(
        "2 matches in 1 file\nsrc/a.py\n"
    )
    assert good("search", pattern="NEEDLE", ignore_case=True, glob="*.txt").text == (
        "1 match in 1 file\nsrc/b.txt\n  1: Needle in text"
    )
    context = good("search", pattern=r"needle\(\)", path="src", context=1).text
    assert context.endswith(
        "src/a.py\n  1- import os\n  2: def needle():\n  3-     return 1\n  --\n  6- \n  7: needle()"
    )


def test_what_is_left_out_is_counted(good: Use, root: Path) -> None:
    (root / "many").write_text("hit\n" * 500)
    result = good("search", pattern="hit", max_results=3)
    assert result.text.startswith("500 matches in 1 file; 3 are shown, 497 left out")
    assert result.text.count("\n  ") == 3
    (root / "many").write_text(("hit" + "x" * 5000 + "\n") * 500)
    result = good("search", pattern="hit", max_results=1000)
    assert len(result.text) < 40_000
    assert "left out" in result.text


def test_what_matters_comes_first_and_no_file_crowds_out_the_others(good: Use, root: Path) -> None:
    (root / "tests").mkdir()
    (root / "CHANGES.md").write_text("frobnicate was mended\n" * 40)
    (root / "tests/test_a.py").write_text("    assert frobnicate() == 1\n" * 40)
    (root / "a_user.py").write_text("    frobnicate()\n" * 40)
    (root / "lib.py").write_text("x = 1\ndef frobnicate():\n    return 1\n")
    found = good("search", pattern="frobnicate", max_results=20)
    files = [line for line in found.text.split("\n")[1:-1] if not line.startswith("  ")]
    assert files == ["lib.py", "a_user.py", "tests/test_a.py", "CHANGES.md"]
    assert found.text.startswith("121 matches in 4 files; 16 are shown, 105 left out")
    assert found.text.endswith("left out: a_user.py (35), tests/test_a.py (35), CHANGES.md (35)")
    assert found.data == {"matches": 121, "files": 4, "shown": 16}


def test_no_hit_is_no_error(good: Use, tree: Path) -> None:
    assert good("search", pattern="absent").text == "no match for 'absent' in ."


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"pattern": "("}, "escape each"),
        ({"pattern": "(?=x)"}, "look-around"),
        ({"pattern": "x", "path": "scr"}, "no file 'scr'"),
        ({"pattern": "x", "glob": "["}, "glob"),
        ({"pattern": "x", "glob": "a\0"}, "NUL"),
        ({"pattern": "x", "context": -1}, "from 0 to 20"),
        ({"pattern": "x", "max_results": 1.5}, "must be an integer"),
        ({"pattern": "x", "ignore_case": "yes"}, "must be a boolean, not a string"),
        ({"pattern": ["x"]}, "must be a string, not an array"),
    ],
)
def test_faults_teach(use: Use, tree: Path, arguments: dict[str, object], said: str) -> None:
    result = use("search", **arguments)
    assert result.is_error
    assert said in result.text


@pytest.mark.parametrize("pattern", ["-rf", "--files", "-e", "--pre=touch owned"])
def test_patterns_are_never_options(good: Use, root: Path, pattern: str) -> None:
    (root / "f").write_text(f"a {pattern} b\n")
    assert good("search", pattern=pattern).data == {"matches": 1, "files": 1, "shown": 1}
    assert not (root / "owned").exists()


def test_configuration_of_the_repository_is_not_read(
    good: Use, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "rc").write_text("--pre=/bin/false\n--no-such-option\n")
    monkeypatch.setenv("RIPGREP_CONFIG_PATH", str(root / "rc"))
    (root / "f").write_text("hit\n")
    assert good("search", pattern="hit").data == {"matches": 1, "files": 1, "shown": 1}


# --- find_files


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        ({"pattern": "*.py"}, [".hidden/c.py", "odd name\\x1b.py", "src/a.py"]),
        ({"pattern": "src/*"}, ["src/a.py", "src/b.txt"]),
        ({"pattern": "./src/**/*.py"}, ["src/a.py"]),
        ({"pattern": "a.py"}, ["src/a.py"]),
        ({"pattern": "*", "path": "src"}, ["src/a.py", "src/b.txt"]),
        ({"pattern": "A.P"}, ["src/a.py"]),
        ({"pattern": "nothing"}, []),
    ],
)
def test_files_are_found_by_glob(good: Use, tree: Path, arguments: dict[str, str], files: list[str]) -> None:
    result = good("find_files", **arguments)
    assert result.data == {"files": files, "total": len(files)}
    for name in files:
        assert name in result.text


def test_what_is_in_git_is_never_found(good: Use, tree: Path) -> None:
    good("shell", command="git status && echo needle > .git/needle")
    found = good("find_files", pattern="*").data
    assert found is not None
    assert "src/b.txt" in found["files"]
    assert not [name for name in found["files"] if name.startswith(".git/")]
    assert ".git/" not in good("search", pattern="needle", glob="*").text


def test_a_pattern_may_be_absolute(good: Use, tree: Path) -> None:
    assert good("find_files", pattern=f"{tree.resolve()}/src/*.py").data == {
        "files": ["src/a.py"],
        "total": 1,
    }


def test_many_files_are_counted(good: Use, root: Path) -> None:
    for n in range(250):
        (root / f"f{n:03}").touch()
    result = good("find_files", pattern="f*")
    assert result.text.startswith("250 files; the first 200 are shown")
    assert result.text.endswith("f199")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"pattern": "*", "path": "src/a.py"}, "is a file"),
        ({"pattern": "*", "path": "nope"}, "no file 'nope'"),
        ({"pattern": ""}, "not a pattern"),
        ({"pattern": "[z-a"}, "glob"),
    ],
)
def test_find_faults_teach(use: Use, tree: Path, arguments: dict[str, str], said: str) -> None:
    result = use("find_files", **arguments)
    assert result.is_error
    assert said in result.text
