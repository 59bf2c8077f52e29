"""What a build is sent."""

import io
import re
import tarfile

import pytest
from docker.utils.build import PatternMatcher
from hypothesis import given
from hypothesis import strategies as st

from sandboxes.devcontainer import Build, NotUsable
from sandboxes.dockerfile import CERTIFICATES, NAME, OURS, ignoring, own_lines, with_marks, write_context
from tests.docker.sandbox_tools import tar_of

MARK = OURS[0]
FILES = {
    "Dockerfile": b"FROM x\n",
    ".dockerignore": b"secret\n*.log\n!keep.log\n",
    "a.py": b"1",
    "secret/b": b"2",
    "x.log": b"3",
    "keep.log": b"4",
    "sub/Dockerfile": b"FROM y\n",
    "sub/c.py": b"5",
}


def context(tmp_path, build, files=FILES, certificates=b"", links=None):
    target = io.BytesIO()
    key, _ = write_context(tar_of(tmp_path / "tree.tar", files, links), build, certificates, target)
    target.seek(0)
    with tarfile.open(fileobj=target, encoding="utf-8", errors="surrogateescape") as tar:
        found = {m.name: tar.extractfile(m).read() if m.isreg() else m.linkname.encode() for m in tar}
    return key, found


def test_a_context_holds_what_the_ignore_file_leaves(tmp_path):
    _, found = context(tmp_path, Build("Dockerfile"))
    assert set(found) == {
        "Dockerfile",
        ".dockerignore",
        "a.py",
        "keep.log",
        "sub/Dockerfile",
        "sub/c.py",
        NAME,
    }
    assert found[NAME] == b"FROM x\n" + MARK.encode() + b"\n\n"


def test_a_context_may_be_a_folder_and_the_dockerfile_outside_of_it(tmp_path):
    _, found = context(tmp_path, Build("Dockerfile", "sub"), certificates=b"PEM")
    assert set(found) == {"Dockerfile", "c.py", NAME, CERTIFICATES}
    assert found[NAME].startswith(b"FROM x\n")


def test_names_that_are_no_utf_8_and_links_go_through_as_they_are(tmp_path):
    odd = {"Dockerfile": b"FROM x", "a\nb": b"1", "c\udcff": b"2", "--flag": b"3", "d" * 200 + "/e": b"4"}
    links = {"out": "/etc/passwd", "up": "../../x", NAME: "/etc/shadow", f"{CERTIFICATES}/x": "/y"}
    _, found = context(tmp_path, Build("Dockerfile"), odd, links=links)
    assert set(found) == {*odd, "out", "up", NAME}
    assert (found["out"], found["up"]) == (b"/etc/passwd", b"../../x")
    assert found[NAME].startswith(b"FROM x")


def test_the_key_follows_what_the_image_is_made_from_and_nothing_else(tmp_path):
    def key(build=None, **files):
        more = {name.replace("_", "."): data for name, data in files.items()}
        return context(tmp_path, build or Build("Dockerfile"), {**FILES, **more})[0]

    assert key() == key(x_log=b"another") == key(secret=b"another")
    others = [
        key(a_py=b"2"), key(Dockerfile=b"FROM z\n"), key(Build("Dockerfile", target="t")), key(new=b""),
        key(Build("Dockerfile", args={"A": "1"})), key(Build("Dockerfile", "sub")), key(Build("sub/Dockerfile")),
    ]  # fmt: skip
    assert len({key(), *others}) == len(others) + 1


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (Build("nowhere"), "the commit has no nowhere"),
        (Build("Dockerfile", "nowhere"), "the commit has no folder nowhere"),
        (Build("link"), "link is no regular file"),
    ],
)
def test_a_build_that_cannot_be_is_refused(tmp_path, build, said):
    with pytest.raises(NotUsable, match=said):
        context(tmp_path, build, links={"link": "/etc/passwd"})


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nRUN x\n",
        "# syntax=docker/dockerfile:1\n# escape=`\nARG V=1\nfrom a`\n  AS b\nRUN x `\n  FROM no\nCOPY --from=b c d",
        "FROM a AS b\r\nRUN x \\\r\n# comment\r\n\r\n  FROM no\r\nFROM b\r\n",
        "FROM \\\n  # comment \\\n  a\nRUN echo \\\nFROM no\n",
    ],
)
def test_each_stage_is_marked_and_no_other_line(text):
    marked = with_marks(text, certificates=False).split("\n")
    assert [line for line in marked if line != MARK] == [*text.split("\n"), ""]
    before = [marked[at - 1].strip(" \r") for at, line in enumerate(marked) if line == MARK]
    stages = {"FROM a", "AS b", "FROM a AS b", "FROM b", "a"}
    assert before and set(before) <= stages
    assert len(before) == len(re.findall(r"(?im)^from (?!no)", text))


def test_a_line_s_number_in_a_fault_is_that_of_the_repository_s_file():
    marked = with_marks("FROM a\nRUN x\nFROM b\nNOPE\n", certificates=True)
    line = marked.split("\n").index("NOPE") + 1
    assert own_lines(f"parse error line {line}: unknown", marked) == "parse error line 4: unknown"
    assert own_lines("no such thing", marked) == "no such thing"


@pytest.mark.parametrize(
    ("patterns", "left_out", "kept"),
    [
        ("a", ["a", "a/b"], ["b/a", "ab"]),
        ("/a/", ["a/b"], ["b"]),
        ("**/a", ["a", "b/a", "b/c/a/d"], ["b"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["a/b"]),
        ("*/x", ["a/x"], ["x", "a/b/x"]),
        ("*.md\n!README.md", ["x.md"], ["README.md", "a/x.md"]),
        ("# a\n\n  b  ", ["b"], ["# a", "a"]),
        ("a/../b", ["b"], ["a"]),
        ("[^a].txt", ["b.txt"], ["a.txt"]),
        ("**\n!src", ["a", "b/c"], ["src", "src/x"]),
    ],
)
def test_patterns_leave_out_what_docker_leaves_out(patterns, left_out, kept):
    ignored = ignoring(patterns.encode())
    assert [path for path in [*left_out, *kept] if ignored(path)] == left_out


# not `**`: of the folders above a path the client looks at one alone, and leaves the others to its walk
part = st.sampled_from(["a", "b", "*", "a*", "?", ".."])
paths = st.lists(st.sampled_from(["a", "b", "ab", "c"]), min_size=1, max_size=4).map("/".join)


lines = st.builds(
    lambda n, p: n + "/".join(p), st.sampled_from(["", "!"]), st.lists(part, min_size=1, max_size=3)
)


@given(st.lists(lines, max_size=4), paths)
def test_patterns_mean_what_they_mean_to_the_docker_client(patterns, path):
    theirs = PatternMatcher([p for p in patterns if p.strip("!")])
    assert ignoring("\n".join(patterns).encode())(path) == theirs.matches(path)


def test_patterns_that_are_made_to_be_slow_end(tmp_path):
    assert not ignoring(b"*a" * 40 + b"b\n" + b"**/" * 500 + b"x")("a" * 250 + "/c" * 500)
    with pytest.raises(NotUsable, match="more than 1000 patterns"):
        ignoring(b"x\n" * 2000)
