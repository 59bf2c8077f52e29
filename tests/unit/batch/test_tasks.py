"""Task lines from all that a batch may be given, the bad ones with what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.batch.tasks import TaskLine, is_url, of_shard, read_tasks, url_fault
from agent.errors import UsageError


def read(folder: Path, *lines: object) -> list[TaskLine]:
    path = folder / "tasks.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return read_tasks(str(path), "/default", ["local/repair"])


def test_a_line_holds_all_that_the_contract_names(tmp_path):
    [line] = read(
        tmp_path,
        {
            "id": "a",
            "repo": "sub/repo",
            "base": "v1",
            "issue": "broken",
            "issue_number": 7,
            "test": "make check",
            "image": "python:3.12",
            "setup": ["pip install -e ."],
            "fail_to_pass": ["tests/test_x.py::test_y"],
            "test_patch": "diff --git",
            "case": {"gold_patch": "x"},
        },
    )
    assert line == TaskLine(
        "a",
        str(tmp_path / "sub/repo"),
        "v1",
        "broken",
        7,
        "make check",
        "python:3.12",
        ("pip install -e .",),
        ("tests/test_x.py::test_y",),
        "diff --git",
        ("local/repair",),
        {"gold_patch": "x"},
    )


def test_what_is_left_out_has_defaults_and_blank_lines_are_passed_over(tmp_path):
    lines = read(tmp_path, {"id": "a", "issue": "x", "test": None}, "", {"id": "b", "issue_number": 3})
    assert [(line.id, line.repo, line.base, line.fault) for line in lines] == [
        ("a", "/default", "HEAD", ""),
        ("b", "/default", "HEAD", ""),
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"id": "a", "issue": "x", "bse": "v1"}, "unknown key 'bse'; did you mean base?"),
        ({"id": "a", "issue": 3}, "issue must be the issue's text"),
        ({"id": "a", "issue_number": True}, "issue_number must be a number"),
        ({"id": "a", "issue": "x", "setup": "pip install"}, "setup must be a list of commands"),
        ({"id": "a", "issue": "x", "fail_to_pass": [""]}, "fail_to_pass must be a list of test ids"),
        ({"id": "a", "issue": " \n"}, "the issue's text is empty"),
        ({"id": "a", "issue": "x" * (1 << 20) + "y"}, "longer than"),
        ({"id": "a"}, "it names no issue"),
        ({"issue": "x"}, "it has no id"),
        ({"id": 7, "issue": "x"}, "id must be a text"),
        ({"id": "a", "issue": "x", "repo": "a\0b"}, "repo holds characters"),
        ({"id": "a", "issue": "x", "base": "\ud800"}, "base holds characters"),
        ({"id": "a\ud800", "issue": "x"}, "id holds characters"),
        ({"id": "a", "issue": "x", "fail_to_pass": ["t\0"]}, "fail_to_pass holds characters"),
        ("[1]", "is no JSON object"),
        ('{"id": ', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_bad_line_says_what_is_wrong_and_takes_no_other_with_it(tmp_path, line, told):
    bad, good = read(tmp_path, line, {"id": "good", "issue": "x"})
    assert told in bad.fault and bad.fault.startswith("line 1")
    assert not good.fault


def test_an_issue_with_broken_characters_is_taken_without_them(tmp_path):
    [line] = read(tmp_path, {"id": "a", "issue": "a\ud800b\0c\r\n"})
    assert line.issue == "a\ufffdb\ufffdc\n" and not line.fault


def test_nothing_to_do_is_told_at_once(tmp_path):
    with pytest.raises(UsageError, match="no task in it"):
        read(tmp_path)
    with pytest.raises(UsageError, match="No such file"):
        read_tasks(str(tmp_path / "nowhere"), "/default")


def test_a_folder_holds_issues_or_checkouts_with_theirs(tmp_path):
    (tmp_path / "one.md").write_text("first\r\nsecond")
    (tmp_path / "empty.txt").write_text(" ")
    (tmp_path / "notes.rst").write_text("no issue")
    (tmp_path / "case").mkdir()
    (tmp_path / "case.issue.md").write_text("broken")
    (tmp_path / "case.test.patch").write_text("diff")
    (tmp_path / "lonely.issue.md").write_text("its checkout is not there")
    lines = {line.id: line for line in read_tasks(str(tmp_path), "/default")}
    assert set(lines) == {"one", "empty", "case", "lonely.issue"}
    assert (lines["one"].repo, lines["one"].issue) == ("/default", "first\nsecond")
    assert "empty" in lines["empty"].fault
    assert (lines["case"].repo, lines["case"].test_patch) == (str(tmp_path / "case"), "diff")
    assert (lines["lonely.issue"].repo, lines["lonely.issue"].test_patch) == ("/default", None)


def test_what_github_s_search_answered(tmp_path):
    def item(**more: object) -> dict[str, object]:
        return {"repository_url": "https://api.github.com/repos/o/n.x", "number": 5, "title": "t", **more}

    path = tmp_path / "found.json"
    items = [
        item(body="b\r\n"),
        item(number=6, body=None),
        item(number=7, repository_url="https://ghe.example/api/v3/repos/o/n"),
        item(number=8, pull_request={"url": "x"}),
        item(number=9, repository_url="https://evil.example/x y"),
        "nonsense",
    ]
    path.write_text(json.dumps({"total_count": 6, "items": items}, indent=2))
    lines = read_tasks(str(path), "/default")
    assert [(line.id, line.repo, line.issue) for line in lines[:3]] == [
        ("o__n.x-5", "https://github.com/o/n.x", "# t\n\nb\n"),
        ("o__n.x-6", "https://github.com/o/n.x", "# t\n\n"),
        ("o__n-7", "https://ghe.example/o/n", "# t\n\n"),
    ]
    assert "pull request" in lines[3].fault
    assert all("no issue" in line.fault for line in lines[4:])


def test_shards_are_all_tasks_and_each_once():
    lines = [TaskLine(str(number), "/r") for number in range(11)]
    shards = [of_shard(lines, f"{number}/4") for number in range(1, 5)]
    assert sorted(int(line.id) for shard in shards for line in shard) == list(range(11))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    for bad in ("0/4", "5/4", "1", "a/b", "1/0"):
        with pytest.raises(UsageError, match="write K/N"):
            of_shard(lines, bad)


def test_urls_are_told_from_paths_and_what_git_may_not_speak_is_refused():
    assert all(map(is_url, ["https://h/o/n", "git@github.com:o/n.git", "ext://x", "file:///r"]))
    assert not any(map(is_url, ["/r", "./a:b", "../r", "a/b", "C:\\r", "ext::sh -c x"]))
    for fine in ("https://h/o/n", "ssh://git@h/o/n", "git@h:o/n", "file:///r"):
        assert not url_fault(fine)
    for bad in ("ext://x", "https://user:pw@h/x", "https://token@h/x", "https://h/a b", "https://h/\x1b[2J"):
        assert url_fault(bad)
        assert "pw" not in url_fault(bad) and "token" not in url_fault(bad) and "\x1b" not in url_fault(bad)
