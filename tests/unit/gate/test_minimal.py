"""Any choice of a patch's hunks is a patch that git takes exactly, and only hunks that can go are taken away."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from itertools import chain, combinations
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.gate.minimal import Hunk, hunks, unneeded, without
from agent.gate.policy import changes
from agent.git import PatchError, Repository
from tests.unit.git.tools import commit, git

quick = settings(
    deadline=None, derandomize=True, max_examples=60, suppress_health_check=list(HealthCheck), database=None
)
Files = Mapping[str, bytes | None]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    return root


@pytest.fixture(scope="module")
def store() -> Iterator[Repository]:
    """A repository whose only use is its objects."""
    with tempfile.TemporaryDirectory() as folder:
        git(Path(folder), "init", "-q", "-b", "main")
        with Repository(folder) as repository:
            yield repository


def numbered(count: int, end: bytes = b"\n") -> list[bytes]:
    return [b"line %d%s" % (n, end) for n in range(1, count + 1)]


def subsets(count: int) -> Iterator[frozenset[int]]:
    return map(frozenset, chain.from_iterable(combinations(range(count), n) for n in range(count + 1)))


def by_hand(base: bytes, kept: list[Hunk]) -> bytes:
    """What hunks do to a file, by the line numbers of the base that they had at first."""
    lines = re.findall(rb"[^\n]*\n|[^\n]+", base)
    for hunk in reversed(kept):
        head, *body = re.findall(rb"[^\n]*\n|[^\n]+", hunk.text)
        match = re.match(rb"@@ -(\d+)(?:,(\d+))? ", head)
        assert match
        start, count = int(match[1]), int(match[2] or b"1")
        start -= count > 0
        new: list[bytes] = []
        old: list[bytes] = []
        last = b""
        for line in body:
            if line[:1] == b"\\":
                for side in (new, old):
                    if side and side[-1] == last:
                        side[-1] = last.removesuffix(b"\n")
                continue
            last = line[1:]
            if line[:1] in b" +":
                new.append(last)
            if line[:1] in b" -":
                old.append(last)
        lines[start : start + count] = new
    return b"".join(lines)


def tree_with(repository: Repository, tree: str, files: Files) -> str:
    entries = {
        path: None if data is None else ("100644", repository.add_blob(data)) for path, data in files.items()
    }
    return repository.with_files(tree, entries)


def empty_tree(repository: Repository) -> str:
    return git(repository.path, "hash-object", "-w", "-t", "tree", "--stdin")


def check_every_choice(repository: Repository, base: str, patch: bytes, only: int = 99) -> list[Hunk]:
    """Apply choices of hunks, and compare with what each does alone (by hand within one file)."""
    found = hunks(patch)
    everything = frozenset(range(len(found)))
    files = repository.files(base)
    alone: dict[int, dict[str, object]] = {}
    for number, hunk in enumerate(found):
        if not hunk.what.startswith("@@"):
            tree = repository.apply(base, without(patch, everything - {number}))
            alone[number] = dict(changes(files, repository.files(tree)))
    assert without(patch, ()) == patch
    assert without(patch, everything) == b""
    for dropped in list(subsets(len(found)))[: 2**only]:
        kept = sorted(everything - dropped)
        if not kept:
            continue
        tree = repository.apply(base, without(patch, dropped))
        expected: dict[str, object] = dict(files)
        for number in kept:
            if number in alone:
                expected |= alone[number]
        expected = {path: entry for path, entry in expected.items() if entry is not None}
        for path in {found[number].path for number in kept if number not in alone}:
            parts = [found[number] for number in kept if found[number].path == path]
            mode, sha = files[path]
            expected[path] = (mode, repository.add_blob(by_hand(repository.blob(sha), parts)))
        assert repository.files(tree) == expected
    return found


def edit(lines: list[bytes], *changes: tuple[int, bytes]) -> bytes:
    """Lines with some (by number, from 1) replaced."""
    put = dict(changes)
    return b"".join(put.get(number, line) for number, line in enumerate(lines, 1))


# ---- exactness


@quick
@given(data=st.data())
def test_any_choice_of_hunks_applies_exactly(store: Repository, data: st.DataObject) -> None:
    end = data.draw(st.sampled_from([b"\n", b"\r\n"]))
    # Few different lines: a hunk would also fit in other places if its numbers were not right.
    line = st.sampled_from(
        [b"a", b"b", b"", b"+", b"-- x", b"@@ -1 +1 @@", b"diff --git a/f b/f", b"\xff\x00"[:1]]
    )
    base = data.draw(st.lists(line, min_size=30, max_size=60))
    after: list[bytes] = []
    for each in base:
        what = data.draw(st.sampled_from(["same"] * 14 + ["gone", "other", "more"]))
        after += {"same": [each], "gone": [], "other": [b"new"], "more": [b"1", b"2", each, b"3"]}[what]
    texts = [end.join(each) + data.draw(st.sampled_from([b"", end])) for each in (base, after)]
    first = tree_with(store, empty_tree(store), {"f": texts[0], "z": b"z\n"})
    second = tree_with(store, first, {"f": texts[1], "z": b"other\n"})
    patch = store.diff(first, second)
    found = hunks(patch)
    everything = frozenset(range(len(found)))
    assert patch.endswith(b"".join(hunk.text for hunk in found if hunk.path == "z"))
    for dropped in data.draw(st.lists(st.sets(st.sampled_from(sorted(everything))), min_size=1, max_size=4)):
        kept = [found[number] for number in sorted(everything - dropped)]
        if kept:
            files = store.files(store.apply(first, without(patch, dropped)))
            for path, text in (("f", texts[0]), ("z", b"z\n")):
                wanted = by_hand(text, [hunk for hunk in kept if hunk.path == path])
                assert store.blob(files[path][1]) == wanted


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lines_that_are_gone_shift_what_follows(store: Repository, end: bytes) -> None:
    lines = numbered(60, end)
    after = edit(lines, (3, b""), (20, b"x" + end + b"y" + end), (40, b"z" + end), (60, b"last"))
    first = tree_with(store, empty_tree(store), {"a.py": b"".join(lines)})
    patch = store.diff(first, tree_with(store, first, {"a.py": after}))
    found = check_every_choice(store, first, patch)
    assert [hunk.path for hunk in found] == ["a.py"] * 4
    alone = without(patch, {0, 1})
    assert b"@@ -37,7 +37,7 @@" in alone
    assert b"@@ -57,4 +57,4 @@" in alone


def test_hunks_that_would_fit_elsewhere_stay_where_they_were(store: Repository) -> None:
    block = [b"{\n", b"  one\n", b"  two\n", b"  three\n", b"  four\n", b"  five\n", b"}\n"]
    lines = block * 12
    after = edit(lines, (3, b"".join(block)), (32, b"  2\n"), (60, b"  2\n"))
    first = tree_with(store, empty_tree(store), {"f": b"".join(lines)})
    check_every_choice(store, first, store.diff(first, tree_with(store, first, {"f": after})))


def test_every_kind_of_change(project: Path) -> None:
    lines = numbered(40)
    base = commit(
        project,
        {
            "edited.py": b"".join(lines),
            "old name.py": b"".join(numbered(30, b" of the one\n")),
            "source.py": b"".join(numbered(30, b" of the other\n")),
            "run.sh": b"#!/bin/sh\n",
            "gone.py": b"gone\n",
            "empty.py": b"",
            "picture": b"\x00\x01" * 50,
            "gr\u00fc\u00df e.py": b"".join(lines[:30]),
            'a "quoted\\name"\t.py': b"".join(lines[:30]),
        },
    )
    (project / "edited.py").write_bytes(edit(lines, (2, b"two\n"), (38, b"")))
    (project / "old name.py").rename(project / "new  name.py")
    (project / "new  name.py").write_bytes(edit(numbered(30, b" of the one\n"), (15, b"moved\n")))
    copied = edit(numbered(30, b" of the other\n"), (15, b"copied\n"))
    (project / "copy.py").write_bytes(copied)
    (project / "source.py").write_bytes(edit(numbered(30, b" of the other\n"), (2, b"x\n"), (28, b"y\n")))
    (project / "run.sh").chmod(0o755)
    (project / "gone.py").unlink()
    (project / "empty.py").chmod(0o755)
    (project / "fresh.py").write_bytes(b"no newline")
    (project / "nothing.py").write_bytes(b"")
    (project / "picture").write_bytes(b"\x00\x02" * 60)
    (project / "photo").write_bytes(bytes(range(256)) * 5)
    for name in ("gr\u00fc\u00df e.py", 'a "quoted\\name"\t.py'):
        (project / name).write_bytes(edit(lines[:30], (1, b"first\n"), (29, b"last\n")))
    git(project, "add", "-A")
    command = ["diff", "--cached", "--binary", "-M", "-C", "HEAD"]
    with Repository(project) as repository:
        # Not git(): it strips.
        patch = repository._theirs(command).stdout
        found = check_every_choice(repository, repository.tree_of(base), patch, only=7)
    paths = [hunk.path for hunk in found]
    single = {
        "new  name.py",
        "copy.py",
        "run.sh",
        "gone.py",
        "empty.py",
        "fresh.py",
        "nothing.py",
        "picture",
        "photo",
    }
    double = {"edited.py", "source.py", "gr\u00fc\u00df e.py", 'a "quoted\\name"\t.py'}
    assert {path: paths.count(path) for path in paths} == dict.fromkeys(single, 1) | dict.fromkeys(double, 2)
    whole = {hunk.path: hunk.what for hunk in found if not hunk.what.startswith("@@")}
    assert whole["run.sh"] == "old mode 100644"
    assert whole["picture"] == "GIT binary patch"
    assert whole["new  name.py"] == "rename from old name.py"
    assert whole["gone.py"].startswith("deleted file")


def test_an_edit_with_a_new_mode_is_one(project: Path) -> None:
    base = commit(project, {"run.sh": b"".join(numbered(40))})
    (project / "run.sh").write_bytes(edit(numbered(40), (2, b"x\n"), (38, b"y\n")))
    (project / "run.sh").chmod(0o755)
    head = commit(project, {"other": b"1\n"})
    with Repository(project) as repository:
        patch = repository.diff(repository.tree_of(base), repository.tree_of(head))
        assert len(check_every_choice(repository, repository.tree_of(base), patch)) == 2


def test_what_only_goes_together_is_one_hunk(project: Path) -> None:
    """A file that becomes a folder, a link, and two files that change places."""
    one, two = b"".join(numbered(90, b" one\n")), b"".join(numbered(90, b" two\n"))
    base = commit(project, {"x": b"a file\n", "link": b"text\n", "one": one, "two": two, "edited": one})
    for name in ("x", "link"):
        (project / name).unlink()
    (project / "link").symlink_to("one")
    (project / "one").rename(project / "three")
    (project / "two").rename(project / "one")
    (project / "three").rename(project / "two")
    commit(project, {"x/y": b"below\n", "edited": edit(numbered(90, b" one\n"), (2, b"x\n"), (20, b"y\n"))})
    with Repository(project) as repository:
        patch = repository._theirs(["diff", "--binary", "-M", "-B", base, "HEAD"]).stdout
        assert b"rename from one" in patch
        found = check_every_choice(repository, repository.tree_of(base), patch)
    assert [hunk.path for hunk in found].count("edited") == 2
    assert len(found) == 3
    assert b"".join(hunk.text for hunk in found if hunk.path != "edited").count(b"diff --git") == 6


def test_two_parts_on_the_same_file_are_one_hunk(store: Repository) -> None:
    lines = numbered(10)
    first = tree_with(store, empty_tree(store), {"f": b"".join(lines), "g": b"g\n"})
    second = tree_with(store, first, {"f": edit(lines, (5, b"five\n"))})
    third = tree_with(store, second, {"f": edit(lines, (5, b"5\n"), (6, b"6\n")), "g": b"G\n"})
    patch = store.diff(first, second) + store.diff(second, third)
    with pytest.raises(PatchError):
        store.apply(first, store.diff(second, third))
    assert len(check_every_choice(store, first, patch)) == 2


def test_a_patch_in_a_mail_and_one_without_git_headers(store: Repository) -> None:
    lines = numbered(60)
    first = tree_with(store, empty_tree(store), {"f": b"".join(lines), "g": b"".join(lines)})
    after = edit(lines, (3, b""), (20, b"x\ny\n"), (40, b"-- a rule\n"))
    patch = store.diff(first, tree_with(store, first, {"f": after, "g": after}))
    mail = b"From: someone\nSubject: [PATCH]\n\n---\n f | 2 +-\n\n" + patch + b"-- \n2.39.5\n\n"
    assert len(check_every_choice(store, first, mail)) == 6
    assert without(mail, {0}).startswith(b"From: someone\n")
    plain = re.sub(rb"(?m)^(diff --git|index) .*\n", b"", patch)
    assert [hunk.path for hunk in check_every_choice(store, first, plain)] == ["f"] * 3 + ["g"] * 3


@quick
@given(data=st.data())
def test_nothing_is_too_odd_to_be_read(data: st.DataObject) -> None:
    pieces = [
        *(
            b"diff --git a/f b/f\n",
            b"--- a/f\n",
            b"+++ b/f\n",
            b"@@ -1,2 +1,2 @@\n",
            b" a\n",
            b"-b\n",
            b"+c\n",
        ),
        *(
            b"\\ No newline at end of file\n",
            b"@@ -1 +1,999999999 @@\n",
            b"GIT binary patch\n",
            b"\n",
            b"\xff",
        ),
        *(
            b'+++ "b/\\9\\77',
            b"rename to \n",
            b"diff --git \n",
            b"new file mode 100644\n",
            b"+++ /dev/null\n",
        ),
    ]
    patch = b"".join(data.draw(st.lists(st.sampled_from(pieces) | st.binary(max_size=9), max_size=20)))
    found = hunks(patch)
    assert sum(len(hunk.text) for hunk in found) <= len(patch)
    for number in range(len(found)):
        assert len(without(patch, {number})) <= len(patch)
    assert without(patch, range(len(found))) in (b"", patch)


def test_a_huge_patch_is_read_in_one_go() -> None:
    binary = b"GIT binary patch\nliteral 1\n" + b"zabcdefgh\n" * 200_000
    many = b"".join(
        b"diff --git a/%d b/%d\nold mode 100644\nnew mode 100755\n" % (n, n) for n in range(30_000)
    )
    patch = b"diff --git a/f b/f\n" + binary + many
    assert len(hunks(patch)) == 30_001
    assert without(patch, range(1, 30_001)) == b"diff --git a/f b/f\n" + binary


# ---- what is idle


def hunk_of(store: Repository, path: str, before: str, after: str) -> Hunk:
    first = tree_with(store, empty_tree(store), {path: before.encode()})
    (found,) = hunks(store.diff(first, tree_with(store, first, {path: after.encode()})))
    return found


MODULE = 'def f(x):\n    """Say.\n\n    It says more\n    and more.\n    """\n    # why\n    y = x\n\n    return "#"\n'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# why", "# because"),
        ("    # why\n", ""),
        ("\n\n    return", "\n    return"),
        ("It says more", "It says: x = 1"),
        ('"""Say.', '"""Tell.'),
        ('and more.\n    """', 'and more."""'),
        ("y = x", "y = x  "),
    ],
)
def test_comments_docstrings_and_blanks_are_idle(store: Repository, old: str, new: str) -> None:
    assert hunk_of(store, "a.py", MODULE, MODULE.replace(old, new)).idle


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("y = x", "y = 1"),
        ('return "#"', 'return "# "'),
        ("    y = x", "        y = x"),
        ("# why", "why()"),
        ("def f(x):", "def f(x, y):"),
        ("y = x", 'y = """x"""'),
    ],
)
def test_code_is_not_idle(store: Repository, old: str, new: str) -> None:
    assert not hunk_of(store, "a.py", MODULE, MODULE.replace(old, new)).idle


def test_other_languages(store: Repository) -> None:
    assert hunk_of(store, "README.md", "a\n", "b\n").idle
    assert hunk_of(store, "a.js", "f();\n// a\n", "f();\n// b\n").idle
    assert hunk_of(store, "a.js", "f( x );\n", "f(x);\n").idle
    assert not hunk_of(store, "a.js", "f();\n", "g();\n").idle


# ---- what is not needed


def patch_of(count: int, idle: tuple[int, ...] = ()) -> bytes:
    """A patch of so many hunks; the idle ones change a comment."""
    parts = [b"diff --git a/f.py b/f.py\n--- a/f.py\n+++ b/f.py\n"]
    for n in range(count):
        mark = b"# " if n in idle else b""
        parts.append(b"@@ -%d +%d @@\n-%sold %d\n+%snew %d\n" % (10 * n + 1, 10 * n + 1, mark, n, mark, n))
    return b"".join(parts)


def search(
    count: int, needed: set[int], *, fixed: tuple[int, ...] = (), idle: tuple[int, ...] = (), tries: int = 12
) -> tuple[frozenset[int], list[frozenset[int]]]:
    """What `unneeded` finds, and what it asked about: the hunks that were left out."""
    patch = patch_of(count, idle)
    asked: list[frozenset[int]] = []

    async def still_good(candidate: bytes) -> bool:
        kept = {int(number) for number in re.findall(rb"\+.*new (\d+)", candidate)}
        asked.append(frozenset(range(count)) - kept)
        return needed <= kept

    async def main() -> frozenset[int]:
        return await unneeded(patch, fixed, still_good, tries)

    return anyio.run(main), asked


@pytest.mark.parametrize("count", range(1, 9))
def test_all_that_is_not_needed_goes(count: int) -> None:
    for needed in subsets(count):
        gone, asked = search(count, set(needed), tries=200)
        assert gone == frozenset(range(count)) - (needed or gone ^ frozenset(range(count)))
        assert not needed or len(gone) == count - len(needed)
        assert len(asked) == len(set(asked))
        assert all(0 < len(dropped) < count for dropped in asked)
        assert not gone or gone in asked


@pytest.mark.parametrize("tries", [0, 1, 3, 12])
def test_no_more_questions_than_allowed(tries: int) -> None:
    for needed in ({7}, {0, 39}, set(range(0, 40, 2))):
        gone, asked = search(40, needed, tries=tries)
        assert len(asked) <= tries
        assert not gone & needed
        assert bool(gone) <= (gone in asked)


def test_one_needed_hunk_of_many_is_found_within_a_dozen_questions() -> None:
    assert search(30, {17})[0] >= frozenset(range(15))
    assert search(5, {3})[0] == {0, 1, 2, 4}
    assert search(8, {5})[0] == {0, 1, 2, 3, 4, 6, 7}


def test_idle_hunks_are_asked_about_first_and_together() -> None:
    gone, asked = search(9, set(range(9)) - {2, 6}, idle=(2, 6))
    assert gone == asked[0] == {2, 6}


def test_few_are_tried_all_at_once() -> None:
    gone, asked = search(5, {0, 4}, fixed=(0, 4))
    assert (gone, len(asked)) == ({1, 2, 3}, 1)


def test_fixed_hunks_stay() -> None:
    for fixed in [(0,), (1, 3), (0, 1, 2, 3)]:
        gone, asked = search(4, {2}, fixed=fixed)
        assert gone == {0, 1, 3} - set(fixed)
        assert not any(dropped & set(fixed) for dropped in asked)


def test_what_becomes_needless_later_goes_too() -> None:
    """An import (0) that only an unneeded call (5) needs: neither half, but one after the other."""
    patch = patch_of(6)

    async def still_good(candidate: bytes) -> bool:
        kept = {int(number) for number in re.findall(rb"\+new (\d+)", candidate)}
        return {1, 2, 3, 4} <= kept and (5 not in kept or 0 in kept)

    async def main() -> frozenset[int]:
        return await unneeded(patch, (), still_good, 40)

    assert anyio.run(main) == {0, 5}


def test_neighbours_that_only_go_together() -> None:
    patch = patch_of(6)

    async def still_good(candidate: bytes) -> bool:
        kept = {int(number) for number in re.findall(rb"\+new (\d+)", candidate)}
        return {0, 1, 4, 5} <= kept and (2 in kept) == (3 in kept)

    async def main() -> frozenset[int]:
        return await unneeded(patch, (), still_good, 40)

    assert anyio.run(main) == {2, 3}


def test_faults_are_passed_on() -> None:
    async def still_good(candidate: bytes) -> bool:
        raise OSError("the engine is gone")

    async def main() -> frozenset[int]:
        return await unneeded(patch_of(3), (), still_good)

    with pytest.raises(OSError, match="engine"):
        anyio.run(main)
