"""What the gate does with each part of a patch, before anything is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.gate import policy
from agent.gate.paths import Paths, programs_of
from agent.gate.policy import Intake, examine
from agent.git import Repository
from tests.unit.git.tools import commit, git

BASE = {
    "calc.py": b"def clamp(x):\n    return x\n",
    "pkg/mod.py": b"x = 1\n",
    "pkg/data.txt": b"data\n",
    "tests/test_calc.py": b"from calc import clamp\n\n\ndef test_one(low):\n    assert clamp(1) == 1\n",
    "tests/conftest.py": b"import pytest\n\n\n@pytest.fixture\ndef low():\n    return 1\n",
    "tests/data/expected.json": b"{}\n",
    "tests/helper.py": b"def helper():\n    return 1\n",
    "pyproject.toml": b'[project]\nname = "x"\n\n[tool.pytest.ini_options]\naddopts = "-q"\n',
    "setup.cfg": b"[metadata]\nname = x\n\n[tool:pytest]\ntestpaths = tests\n",
    "README.md": b"# x\n",
    "link": b"pkg/mod.py",
}
NEW_TEST = b"\n\ndef test_two():\n    assert clamp(2) == 2\n"
FIX = {"calc.py": b"def clamp(x):\n    return min(x, 3)\n"}
Change = dict[str, bytes | tuple[str, bytes] | None]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "-q")
    commit(root, BASE)
    with Repository(root) as repository:
        yield repository


def changed(repository: Repository, tree: str, change: Change) -> str:
    files = {}
    for path, new in change.items():
        mode, data = new if isinstance(new, tuple) else ("100644", new)
        files[path] = None if data is None else (mode, repository.add_blob(data))
    return repository.with_files(tree, files)


def taken(repository: Repository, change: Change, hidden: Change | None = None) -> Intake:
    tree = repository.tree_of(repository.resolve("HEAD"))
    files = repository.files(changed(repository, tree, hidden or {}))
    own = policy.changes(repository.files(tree), files)
    return examine(repository, tree, changed(repository, tree, change), own)


REFUSED: list[tuple[str, Change, str]] = [
    ("nothing", {}, "changes nothing"),
    ("tests only", {"tests/test_new.py": b"def test_x(): pass\n"}, "no product code"),
    (
        "docs only",
        {"README.md": b"# y\n", "docs/conf.py": b"x = 1\n", "CHANGES.txt": b"x"},
        "no product code",
    ),
    ("comments only", {"calc.py": b"# why\ndef clamp(x):\n    return (x)\n"}, "nothing but comments"),
    (
        "comments and a test",
        {"calc.py": BASE["calc.py"] + b"# x\n", "tests/test_n.py": b"1\n"},
        "no product code",
    ),
    ("workflow", {**FIX, ".github/workflows/ci.yml": b"x"}, "CI file"),
    ("other CI", {**FIX, ".gitlab-ci.yml": b"x"}, "CI file"),
    ("git modules", {**FIX, ".gitmodules": b"x"}, "what git does"),
    ("git attributes", {**FIX, "pkg/.gitattributes": b"* filter=x"}, "what git does"),
    ("the gate's file", {**FIX, "agent.toml": b"[gate]\n"}, "gate's own policy"),
    (
        "the gate's table",
        {**FIX, "pyproject.toml": BASE["pyproject.toml"] + b'\n[tool.agent.gate]\ntest = "true"\n'},
        "gate's own policy",
    ),
    ("broken pyproject", {**FIX, "pyproject.toml": b"[project\n"}, "cannot be parsed"),
    ("absolute link", {**FIX, "pkg/l": ("120000", b"/etc/passwd")}, "leaves the repository"),
    ("link upwards", {**FIX, "pkg/l": ("120000", b"../../x")}, "leaves the repository"),
    (
        "link through a link",
        {**FIX, "a/b": ("120000", b"../pkg"), "a/c": ("120000", b"b/../../x")},
        "leaves the repository",
    ),
    ("links in a circle", {**FIX, "p": ("120000", b"q"), "q": ("120000", b"p")}, "leaves the repository"),
    ("start-up hook", {**FIX, "sitecustomize.py": b"x = 1\n"}, "start-up"),
    ("path file", {**FIX, "pkg/x.pth": b"import evil\n"}, "start-up"),
    ("a runner of its own", {**FIX, "pytest.py": b"x = 1\n"}, "test runner"),
    ("a runner in src", {**FIX, "src/_pytest/main.py": b"x = 1\n"}, "test runner"),
]


@pytest.mark.parametrize(
    ("change", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_refused(repository: Repository, change: Change, reason: str) -> None:
    (refusal, *_) = taken(repository, change).refused
    assert reason in refusal


def test_submodules_are_refused(repository: Repository) -> None:
    tree = repository.tree_of(repository.resolve("HEAD"))
    link = repository.with_files(tree, {"calc.py": ("160000", repository.resolve("HEAD"))})
    assert examine(repository, tree, link).refused == ("calc.py: a patch may not change a submodule",)
    assert "submodule" in examine(repository, link, tree).refused[0]


PRODUCT: list[Change] = [
    FIX,
    {"pkg/mod.py": None},
    {"pkg/mod.py": ("100755", BASE["pkg/mod.py"])},
    {"pkg/data.txt": b"other\n"},
    {"pyproject.toml": BASE["pyproject.toml"].replace(b'"x"', b'"y"')},
    {"setup.cfg": BASE["setup.cfg"].replace(b"= x", b"= y")},
    {"requirements.txt": b"x\n"},
    {"pkg/l": ("120000", b"../calc.py")},
    {"pkg/testing.py": b"def helper(): ...\n"},
    {"pkg/test/runner.py": b"def run(): ...\n"},
]


@pytest.mark.parametrize("change", PRODUCT, ids=lambda change: ",".join(change))
def test_product(repository: Repository, change: Change) -> None:
    intake = taken(repository, change)
    assert intake == Intake(intake.paths, product=tuple(change))


OWN: list[Change] = [
    {"tests/test_new.py": b"def test_x(): pass\n"},
    {"pkg/test_mod.py": b"def test_x(): pass\n"},
    {"tests/data/new.json": b"{}\n"},
    {"tests/test_calc.py": BASE["tests/test_calc.py"] + NEW_TEST},
    {"tests/conftest.py": BASE["tests/conftest.py"] + b"\n\n@pytest.fixture\ndef high():\n    return 3\n"},
    {"tests/helper.py": BASE["tests/helper.py"] + b"\n\ndef other():\n    return 3\n"},
    {"tests/sub/__init__.py": b"", "tests/sub/test_x.py": b"def test_x(): pass\n"},
    {"tests/sub/conftest.py": b"import pytest\n\n\n@pytest.fixture\ndef high():\n    return 3\n"},
]


@pytest.mark.parametrize("change", OWN, ids=lambda change: ",".join(change))
def test_the_patchs_own_tests(repository: Repository, change: Change) -> None:
    intake = taken(repository, {**FIX, **change})
    assert set(intake.additive) == set(change)
    assert (intake.product, intake.refused, intake.lost, dict(intake.set_aside)) == (("calc.py",), (), (), {})


SET_ASIDE: list[Change] = [
    {"tests/test_calc.py": BASE["tests/test_calc.py"].replace(b"== 1", b"== 2")},
    {"tests/test_calc.py": BASE["tests/test_calc.py"] + b"def ("},
    {"tests/test_calc.py": ("100755", BASE["tests/test_calc.py"])},
    {"tests/helper.py": b"def helper():\n    return 2\n"},
    {"tests/helper.py": None},
    {"tests/helper.py": ("120000", b"test_calc.py")},
    {"tests/data/expected.json": b"[]\n"},
    {"tests/data/expected.json": None},
    {"tests/conftest.py": None},
    {"tests/conftest.py": b"import pytest\n\n\n@pytest.fixture(autouse=True)\ndef low():\n    return 1\n"},
    {"conftest.py": b"import pytest\n\n\n@pytest.fixture\ndef low():\n    return 2\n"},
    {"conftest.py": b"def pytest_runtest_makereport(item, call): ...\n"},
    {"tests/__init__.py": b"import calc\n\ncalc.clamp = lambda x: x\n"},
    {"pytest.ini": b"[pytest]\naddopts = --deselect tests\n"},
    {"tox.ini": b"[pytest]\n"},
    {"pyproject.toml": BASE["pyproject.toml"].replace(b'"-q"', b'"-q -k nothing"')},
    {"pyproject.toml": None},
    {"setup.cfg": BASE["setup.cfg"].replace(b"= tests", b"= nowhere")},
    {"sub/setup.cfg": b"[tool:pytest]\naddopts = -k nothing\n"},
]


@pytest.mark.parametrize("change", SET_ASIDE, ids=lambda change: ",".join(change))
def test_judged_with_the_version_of_the_base(repository: Repository, change: Change) -> None:
    intake = taken(repository, {**FIX, **change})
    assert set(intake.set_aside) == set(change)
    assert (intake.product, intake.refused, intake.lost, dict(intake.additive)) == (("calc.py",), (), (), {})


LOST: list[tuple[Change, str]] = [
    ({"tests/test_calc.py": None}, "tests/test_calc.py is deleted or renamed"),
    ({"tests/test_calc.py": None, "tests/test_b.py": BASE["tests/test_calc.py"]}, "deleted or renamed"),
    ({"tests/test_calc.py": b""}, "tests/test_calc.py::test_one is deleted or renamed"),
    (
        {"tests/test_calc.py": BASE["tests/test_calc.py"].replace(b"test_one", b"test_uno")},
        "::test_one is deleted or renamed",
    ),
    (
        {"tests/test_calc.py": BASE["tests/test_calc.py"].replace(b"def ", b"@pytest.mark.skip\ndef ")},
        "::test_one gets a skip or xfail mark",
    ),
    ({"tests": ("120000", b"pkg")}, "tests/test_calc.py is deleted or renamed"),
]


@pytest.mark.parametrize(("change", "line"), LOST)
def test_tests_taken_away(repository: Repository, change: Change, line: str) -> None:
    (lost,) = taken(repository, {**FIX, **change}).lost
    assert line in lost


def test_files_of_the_hidden_tests_are_the_gates_alone(repository: Repository) -> None:
    hidden: Change = {"tests/test_calc.py": BASE["tests/test_calc.py"] + NEW_TEST, "tests/conftest.py": b""}
    weaker = BASE["tests/test_calc.py"].replace(b"== 1", b"== 2")
    intake = taken(repository, {**FIX, "tests/test_calc.py": weaker, "tests/conftest.py": None}, hidden)
    assert intake == Intake(intake.paths, product=("calc.py",))
    (lost,) = taken(repository, {**FIX, "tests/test_calc.py": None}, hidden).lost
    assert "deleted" in lost
    renamed = {"tests/test_calc.py": BASE["tests/test_calc.py"].replace(b"test_one", b"test_uno")}
    assert not taken(repository, {**FIX, **renamed}, renamed).lost
    assert taken(repository, {**FIX, **renamed}, hidden).lost


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("tests/x.py", "test"),
        ("a/tests/data/x.bin", "test"),
        ("src/test_x.py", "test"),
        ("src/x_test.py", "test"),
        ("app/tests.py", "test"),
        ("web/button.test.tsx", "test"),
        ("pkg/x_test.go", "test"),
        ("test/support/x.py", "test"),
        ("django/test/client.py", "product"),
        ("src/testing.py", "product"),
        ("latest/x.py", "product"),
        ("checks/check_x.py", "test"),
        ("conftest.py", "config"),
        ("a/b/conftest.py", "config"),
        ("tox.ini", "config"),
        ("docs/x.py", "docs"),
        ("pkg/notes.rst", "docs"),
        ("LICENSE", "docs"),
        ("newsletter.py", "product"),
        ("pkg/docs/x.py", "product"),
        ("pkg/table.txt", "product"),
        (".github/workflows/x.yml", "control"),
        (".github/CONTRIBUTING.md", "docs"),
    ],
)
def test_kinds_of_paths(path: str, kind: str) -> None:
    paths = Paths(["test/test_a.py", "django/test/client.py"], ["check_*.py"])
    assert paths.kind(path) == kind


@pytest.mark.parametrize(
    "settings",
    [
        {"pytest.ini": b"[pytest]\npython_files = check_*.py test_*.py\n"},
        {"setup.cfg": b"[tool:pytest]\npython_files =\n    test_*.py\n    check_*.py\naddopts = -q\n"},
        {"pyproject.toml": b'[tool.pytest.ini_options]\npython_files = ["check_*.py"]\n'},
        {"pyproject.toml": b'[tool.pytest.ini_options]\npython_files = "check_*.py"\n'},
    ],
)
def test_patterns_of_test_files_come_from_the_base(tmp_path: Path, settings: dict[str, bytes]) -> None:
    git(tmp_path, "init", "-q")
    commit(tmp_path, {**settings, "calc.py": b"x = 1\n", "check_a.py": b"def test_a(): pass\n"})
    with Repository(tmp_path) as repository:
        intake = taken(repository, {"calc.py": b"x = 2\n", "check_a.py": None, "check_b.py": b""})
    assert intake.product == ("calc.py",)
    assert set(intake.additive) == {"check_b.py"}
    assert intake.lost == ("check_a.py is deleted or renamed",)


def test_a_file_made_huge_is_the_patchs_fault(repository: Repository) -> None:
    base = repository.tree_of(repository.resolve("HEAD"))
    huge = changed(repository, base, {"calc.py": b"#" * (65 * 1024 * 1024)})
    assert examine(repository, base, huge).refused == (
        "calc.py: it has 68157440 bytes; the limit is 67108864",
    )


@pytest.mark.parametrize(
    ("command", "programs"),
    [
        ("make check", {"Makefile", "sub/Makefile", "more.mk", "deep.sh"}),
        ("CI=1 ./run.sh && sh ./ci/lint.sh answer.txt", {"run.sh", "ci/lint.sh"}),
        ("python -X dev run.py --all", {"run.py"}),
        ("timeout 60 bash -e -o pipefail ./run.sh", {"run.sh"}),
        ("cd ci && ./lint.sh", {"ci/lint.sh"}),
        ("python -m run", {"run.py"}),
        ("make -C sub -f other.txt", {"Makefile", "sub/Makefile", "more.mk", "other.txt", "deep.sh"}),
        ("python run.py answer.txt", {"run.py"}),
        ("sqlfluff lint answer.txt", set()),
        ("python -m pytest tests", set()),
    ],
)
def test_what_a_test_command_runs_is_known(command: str, programs: set[str]) -> None:
    texts = dict.fromkeys(["more.mk", "run.sh", "run.py", "ci/lint.sh", "answer.txt", "sub/Makefile"], "")
    texts |= {"Makefile": "check:\n\t@sh deep.sh answer.txt 'x\n", "deep.sh": "./deep.sh\n", "other.txt": ""}
    texts["Makefile"] = "check:\n\t@sh deep.sh answer.txt\n\techo 'unclosed\n"
    assert programs_of([command], texts, texts.__getitem__) == programs


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("tests/calc.py", True),
        ("tests/pkg/__init__.py", True),
        ("tests/json.py", True),
        ("tests/other.py", False),
        ("tests/mod.py", False),
        ("tests/pkg/test_mod.py", False),
        ("tests/test_pkg.py", False),
    ],
)
def test_a_new_file_beside_the_tests_may_not_be_imported_instead_of_the_product(
    repository: Repository, path: str, refused: bool
) -> None:
    intake = taken(repository, {**FIX, path: b"x = 2\n"})
    assert bool(intake.refused) == refused
