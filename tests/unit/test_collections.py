"""Bugs of BugsInPy and Defects4J are read from folders of their form, whatever is in them.

The samples are written here: BugsInPy's own files come without a licence.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cases.collections import bugs, missing
from agent.errors import UsageError


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


BUGSINPY = {
    "projects/calc/project.info": 'github_url="https://github.com/o/calc"\nstatus="OK" \n',
    "projects/calc/bugs/10/bug.info": 'python_version="3.8.3"\r\nbuggy_commit_id="de8ca78"\r\n'
    'fixed_commit_id ="e1ee2b0679e5999c993a787606d30e75faaba7a2"\r\ntest_file="tests/test_a.py;tests/b.txt"',
    "projects/calc/bugs/10/run_test.sh": "pytest tests/test_a.py::T::test_one \npython3 -m pytest -q t/test_b.py\n",
    "projects/calc/bugs/10/bug_patch.txt": "",
    "projects/calc/bugs/2/bug.info": 'buggy_commit_id="a1"\nfixed_commit_id="b2"\n',
    "projects/calc/bugs/2/run_test.sh": "python -m unittest -q tests.test_a.T.test_two\n\n'\nrm -rf /\n",
    "projects/calc/bugs/notes.txt": "",
    "projects/here/project.info": 'github_url="../../somewhere"\n',
    "projects/here/bugs/1/bug.info": "\0\n",
}
DEFECTS4J = {
    "framework/projects/Lang/active-bugs.csv": "bug.id,revision.id.buggy,revision.id.fixed,report.id,report.url\n"
    "1,aaaa,bbbb,LANG-747,https://issues.example/LANG-747\n2,cccc\nnone\n",
    "framework/projects/Lang/trigger_tests/1": "--- org.x.math.NumberUtilsTest::TestLang747\n"
    'java.lang.NumberFormatException: For input string: "80"\n\tat org.x.A.b(A.java:684)\n--- org.x.T::testIt\n',
    "framework/core/Project/Lang.pm": 'sub new {\n    my $name = "commons-lang";\n',
}


def test_bugsinpy_is_read_whole_or_a_project_of_it(tmp_path):
    folder = write(tmp_path, BUGSINPY)
    two, ten, nowhere = bugs(folder)
    assert (two.id, two.buggy, two.fixed, two.tests) == ("calc-2", "a1", "b2", ("tests.test_a.T.test_two",))
    assert (ten.id, ten.repo, ten.buggy) == ("calc-10", "https://github.com/o/calc", "de8ca78")
    assert ten.fixed == "e1ee2b0679e5999c993a787606d30e75faaba7a2"
    assert ten.tests == ("tests/test_a.py::T::test_one", "t/test_b.py")
    assert (ten.files, two.files) == (("tests/test_a.py", "tests/b.txt"), ())
    assert (nowhere.repo, nowhere.buggy, nowhere.tests) == ("", "", ())  # no path of this machine
    assert [bug.id for bug in bugs(folder / "projects" / "calc")] == ["calc-2", "calc-10"]


def test_defects4j_is_read_with_the_repository_that_its_own_code_names(tmp_path):
    one, two = bugs(write(tmp_path, DEFECTS4J))
    assert one.id == "Lang-1" and (one.buggy, one.fixed) == ("aaaa", "bbbb")
    assert one.repo == str(tmp_path / "project_repos" / "commons-lang.git")
    assert one.tests == ("org.x.math.NumberUtilsTest::TestLang747", "org.x.T::testIt")
    assert (two.buggy, two.fixed, two.tests) == ("cccc", "", ())
    assert [bug.repo for bug in bugs(tmp_path / "framework/projects/Lang")] == [one.repo, two.repo]


@pytest.mark.parametrize(
    ("named", "seen", "there"),
    [
        ("tests/test_a.py::T::test_one", "tests/test_a.py::T::test_one", True),
        ("tests/test_a.py::test_one", "tests/test_a.py::test_one[1-2]", True),
        ("tests/test_a.py::test_one", "tests/test_a.py::test_one_more", False),
        ("tests.test_a.T.test_two", "tests/test_a.py::T::test_two", True),
        ("tests.test_a.T", "tests/test_a.py::T::test_two", True),
        ("tests/test_a.py", "tests/test_a.py::T::test_two", True),
        ("a.T.test_two", "tests/test_a.py::T::test_two", False),
        ("org.x.NTest::TestLang747", "src/test/java/org/x/NTest.java::TestLang747", True),
        ("org.x.NTest::TestLang747", "src/test/java/org/x/OtherTest.java::TestLang747", False),
    ],
)
def test_a_test_is_known_under_each_runners_name(tmp_path, named, seen, there):
    [bug] = bugs(write(tmp_path, {"project.info": "", "bugs/1/run_test.sh": f"python -m unittest {named}"}))
    assert bug.tests == (named,)
    assert missing(bug, ["tests/other.py::test", seen]) == ([] if there else [named])


def test_a_folder_of_something_else_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="neither BugsInPy nor Defects4J") as fault:
        list(bugs(tmp_path))
    assert "\n" not in str(fault.value)
