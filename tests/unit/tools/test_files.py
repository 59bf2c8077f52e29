"""Reading, editing and writing files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tools.tool import Result

Use = Callable[..., Result]


# --- read_file


def test_lines_are_numbered(good: Use, root: Path) -> None:
    (root / "a.txt").write_text("one\n\ttwo\n\nfour\n")
    result = good("read_file", path="a.txt")
    assert result.text == "     1\tone\n     2\t\ttwo\n     3\t\n     4\tfour"
    assert result.data == {"start": 1, "end": 4, "lines": 4}


def test_a_range_of_lines(good: Use, root: Path) -> None:
    (root / "a.txt").write_text("".join(f"l{n}\n" for n in range(1, 11)))
    assert good("read_file", path="a.txt", start=4, end=5).text == (
        "     4\tl4\n     5\tl5\n[lines 4-5 of 10]"
    )
    assert good("read_file", path=str(root / "a.txt"), start=9, end=99).text == (
        "     9\tl9\n    10\tl10\n[lines 9-10 of 10]"
    )


@pytest.mark.parametrize(("line", "last"), [("x\n", 2000), ("y" * 99 + "\n", 280)])
def test_long_files_are_capped_and_the_rest_is_told(good: Use, root: Path, line: str, last: int) -> None:
    (root / "a.txt").write_text(line * 5000)
    text = good("read_file", path="a.txt").text
    told = re.search(r"\[lines 1-(\d+) of 5000; go on with start=(\d+)\]$", text)
    assert told is not None
    assert int(told[1]) == int(told[2]) - 1 == pytest.approx(last, abs=5)
    assert f"\n{told[1]:>6}\t" in text
    assert good("read_file", path="a.txt", start=int(told[2])).text.startswith(f"{told[2]:>6}\t")


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"", "[the file is empty]"),
        (b"no end", "     1\tno end\n[no newline at its end]"),
        (b"a\r\nb\r\n", "     1\ta\n     2\tb\n[its lines end with CRLF; edit_file takes and keeps that]"),
        (b"\x7fELF\0\0\1", "[f is a binary file of 7 bytes]"),
        (b"\x1b[2J\x07\n", "     1\t\\x1b[2J\\x07"),
        (b"caf\xe9\n", "     1\tcaf\ufffd\n[not all of it is valid UTF-8; what is not is shown as \ufffd]"),
        (b"x" * 2005 + b"\n", "     1\t" + "x" * 2000 + " [... 5 more characters in this line]"),
    ],
)
def test_odd_contents(good: Use, root: Path, content: bytes, shown: str) -> None:
    (root / "f").write_bytes(content)
    assert good("read_file", path="f").text == shown


def test_what_can_not_be_read_says_what_can(use: Use, root: Path) -> None:
    (root / "pkg").mkdir()
    (root / "pkg/parser.py").write_text("x\n")
    os.mkfifo(root / "pipe")
    for arguments, said in [
        ({"path": "pkg"}, "is a directory; list it with find_files"),
        ({"path": "parser.py"}, "did you mean 'pkg/parser.py'?"),
        ({"path": "pkg/pasrer.py"}, "did you mean 'pkg/parser.py'?"),
        ({"path": "pkg/parser.py/x"}, "there is no file"),
        ({"path": "zzz"}, "find_files finds names"),
        ({"path": "pipe"}, "no regular file"),
        ({"path": ""}, "not a path"),
        ({"path": "a\0"}, "not a path"),
        ({"path": "pkg/parser.py", "start": 9}, "has 1 line; there is no line 9"),
        ({"path": "pkg/parser.py", "start": 3, "end": 2}, "before 'start'"),
        ({"path": "pkg/parser.py", "start": 0}, "at least 1"),
        ({"path": "x" * 5000}, "can't be read"),
    ]:
        result = use("read_file", **arguments)
        assert result.is_error
        assert said in result.text


def test_a_symlink_may_be_read_wherever_it_leads(good: Use, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("out\n")
    (root / "link").symlink_to(tmp_path / "outside")
    assert "out" in good("read_file", path="link").text


# --- edit_file


def test_an_edit_replaces_the_one_place(good: Use, root: Path) -> None:
    (root / "a.py").write_text("a = 1\nb = 2\nc = 3")
    (root / "a.py").chmod(0o751)
    result = good("edit_file", path="a.py", old="b = 2", new="b = 20\nbb = 21")
    assert (root / "a.py").read_text() == "a = 1\nb = 20\nbb = 21\nc = 3"
    assert (root / "a.py").stat().st_mode & 0o7777 == 0o751
    assert result.data is not None
    told = {key: result.data[key] for key in ("path", "replacements", "line", "syntax_error")}
    assert told == {"path": "a.py", "replacements": 1, "line": 2, "syntax_error": False}
    assert "     3\tbb = 21" in result.text
    assert [p.name for p in root.iterdir() if p.name.startswith(".agent")] == []


def test_several_places_are_refused_with_their_lines(use: Use, root: Path) -> None:
    (root / "a.py").write_text("x\ny\nx\n\nx\n")
    result = use("edit_file", path="a.py", old="x\n", new="z\n")
    assert result.is_error
    assert "3 times" in result.text
    assert "lines 1, 3, 5" in result.text
    assert (root / "a.py").read_text() == "x\ny\nx\n\nx\n"
    done = use("edit_file", path="a.py", old="x\n", new="z\n", replace_all=True)
    assert done.data is not None
    assert done.data["replacements"] == 3
    assert (root / "a.py").read_text() == "z\ny\nz\n\nz\n"


@pytest.mark.parametrize(
    ("content", "old", "new", "after"),
    [
        (b"a\r\nb\r\nc\r\n", "a\nb", "a\nx\nb", b"a\r\nx\r\nb\r\nc\r\n"),
        (b"a\r\nb\r\n", "b", "b\nc", b"a\r\nb\r\nc\r\n"),
        (b"a\r\nb\r\n", "a\r\nb", "z", b"z\r\n"),
        (b"a\nb\n", "a\r\nb", "a\r\nc", b"a\nc\n"),
        (b"a\nb\nc\nd\r\n", "b", "b\nx", b"a\nb\nx\nc\nd\r\n"),
        (b"a\r\nb\r\nc\r\nd\ne\n", "d\ne", "d\nx", b"a\r\nb\r\nc\r\nd\nx\n"),
        (b"caf\xe9 a\n\xff\n", "a\n", "b\n", b"caf\xe9 b\n\xff\n"),
        (b"\xef\xbb\xbfa\n", "a", "b", b"\xef\xbb\xbfb\n"),
        (b"keep\nlast", "keep\n", "", b"last"),
    ],
)
def test_bytes_that_are_not_edited_stay(
    good: Use, root: Path, content: bytes, old: str, new: str, after: bytes
) -> None:
    (root / "f").write_bytes(content)
    good("edit_file", path="f", old=old, new=new)
    assert (root / "f").read_bytes() == after


SOURCE = "class A:\n\tdef one(self):\n\t\treturn 1\n\n\tdef two(self):\n\t\treturn 2  \n\nend = True\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def one(self):\n\treturn 1\n", "x", ["line of the file begins with 1 tab more than that of `old`"]),
        (
            "    def two(self):\n        return 2",
            "x",
            ["nly whitespace differs: the file has tabs", "     5\t\tdef two"],
        ),
        ("\tdef two(self):\n\t\treturn 2\n\nend", "x", ["nly whitespace at the ends of lines", "     6\t"]),
        ("     5\t\tdef two(self):", "x", ["line numbers"]),
        ("\tdef to(self):\n\t\treturn 2", "x", ["The nearest lines are", "     5\t\tdef two(self):"]),
        ("return 3", "end = True", ["already in the file"]),
        ("completely different", "x", ["read the file again"]),
    ],
)
def test_text_that_is_not_there_shows_the_nearest(
    use: Use, root: Path, old: str, new: str, said: list[str]
) -> None:
    (root / "a.py").write_text(SOURCE)
    result = use("edit_file", path="a.py", old=old, new=new)
    assert result.is_error
    assert "nothing was changed" in result.text
    for words in said:
        assert words in result.text
    assert (root / "a.py").read_text() == SOURCE


def test_edits_that_mean_nothing_are_refused(use: Use, root: Path) -> None:
    (root / "a").write_text("a\n")
    for arguments, said in [
        ({"path": "a", "old": "", "new": "x"}, "write_file"),
        ({"path": "a", "old": "a", "new": "a"}, "nothing would change"),
        ({"path": "b", "old": "a", "new": "c"}, "no file 'b'"),
        ({"path": "a", "old": "a"}, "'new' is missing"),
        ({"path": "a", "old": "a", "new": "\ud800"}, "lone surrogate"),
    ]:
        result = use("edit_file", **arguments)
        assert result.is_error
        assert said in result.text
    assert (root / "a").read_text() == "a\n"


def test_a_new_syntax_error_is_told(good: Use, root: Path) -> None:
    (root / "a.py").write_text("def f():\n    return 1\n")
    broken = good("edit_file", path="a.py", old="return 1", new="return (1")
    assert "WARNING: this edit made a syntax error: line 2" in broken.text
    assert "WARNING" not in good("edit_file", path="a.py", old="(1", new="((1").text, "it was broken before"
    assert "WARNING" not in good("edit_file", path="a.py", old="((1", new="2").text
    assert "WARNING" in good("write_file", path="b.py", content="x = \n").text
    assert "WARNING" not in good("write_file", path="b.txt", content="x = \n").text


@pytest.mark.parametrize("tool", ["edit_file", "write_file"])
def test_nothing_outside_the_workspace_is_written(use: Use, root: Path, tmp_path: Path, tool: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("safe\n")
    (root / "dir").symlink_to(outside)
    (root / "file").symlink_to(outside / "f")
    more = {"old": "safe", "new": "bad"} if tool == "edit_file" else {"content": "bad"}
    for path in ["../outside/f", str(outside / "f"), "dir/f", "file", "dir/../outside/f"]:
        result = use(tool, path=path, **more)
        assert result.is_error
        assert "outside the workspace" in result.text
    assert (outside / "f").read_text() == "safe\n"
    assert list(outside.iterdir()) == [outside / "f"]


def test_a_symlink_inside_stays_a_link(good: Use, root: Path) -> None:
    (root / "real").write_text("a\n")
    (root / "link").symlink_to("real")
    good("edit_file", path="link", old="a", new="b")
    assert (root / "link").is_symlink()
    assert (root / "real").read_text() == "b\n"


# --- write_file


def test_write_creates_and_overwrites(good: Use, root: Path) -> None:
    created = good("write_file", path="new/deep/f.txt", content="a\nb")
    assert (root / "new/deep/f.txt").read_text() == "a\nb"
    assert created.data is not None
    told = {key: created.data[key] for key in ("path", "created", "syntax_error")}
    assert told == {"path": "new/deep/f.txt", "created": True, "syntax_error": False}
    (root / "new/deep/f.txt").chmod(0o700)
    again = good("write_file", path=str(root / "new/deep/f.txt"), content="")
    assert again.text == "overwrote new/deep/f.txt, which had 2 lines: now 0 lines"
    assert (root / "new/deep/f.txt").read_text() == ""
    assert (root / "new/deep/f.txt").stat().st_mode & 0o777 == 0o700


def test_edits_tell_which_text_they_found_and_left(good: Use, root: Path) -> None:
    (root / "a.py").write_bytes(b"\xffa\r\n")
    made = good("write_file", path="b.py", content="x\n").data or {}
    there = good("edit_file", path="b.py", old="x", new="y").data or {}
    back = good("write_file", path="b.py", content="x\n").data or {}
    assert made["before"] is None
    assert made["after"] == there["before"] == back["after"] != there["after"] == back["before"]
    (root / "b.py").write_text("z\n")
    assert (good("edit_file", path="b.py", old="z", new="y").data or {})["after"] == there["after"]
    raw = good("edit_file", path="a.py", old="a\n", new="b\n").data or {}
    assert (raw["before"], raw["after"]) == tuple(sha256(b).hexdigest() for b in (b"\xffa\r\n", b"\xffb\r\n"))


def test_where_no_file_can_be_written(use: Use, root: Path) -> None:
    (root / "dir").mkdir()
    (root / "file").touch()
    for path, said in [("dir", "is a directory"), ("file/x", "can't be made"), ("", "not a path")]:
        result = use("write_file", path=path, content="x")
        assert result.is_error
        assert said in result.text


def test_names_that_look_like_options(good: Use, root: Path) -> None:
    good("write_file", path="-rf", content="x\n")
    assert "     1\tx" in good("read_file", path="-rf").text
    good("edit_file", path="-rf", old="x", new="y")
    assert "-rf\n  1: y" in good("search", pattern="y", path="-rf").text
    assert good("find_files", pattern="-rf").text == "1 file\n-rf"
