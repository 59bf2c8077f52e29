"""What is read from a repository's manifests."""

from dataclasses import replace

import pytest

from sandboxes.detect import plan, scan
from tests.docker.sandbox_tools import tar_of


def whole(tmp_path, files):
    return plan(scan(tar_of(tmp_path / "tree.tar", {name: text.encode() for name, text in files.items()})))


def of(tmp_path, files):
    found = whole(tmp_path, files)
    return found and found.python


def test_a_tree_without_python_has_no_plan(tmp_path):
    assert whole(tmp_path, {"main.c": "int main;", "README.md": ""}) is None


def test_bare_python_files_get_pytest_alone(tmp_path):
    found = of(tmp_path, {"a.py": "", "test_a.py": ""})
    assert found is not None
    assert not found.installable
    assert (found.extras, found.groups, dict(found.files), found.loose) == ((), (), {}, ())


def test_pyproject_extras_and_groups_that_are_about_tests(tmp_path):
    found = of(
        tmp_path,
        {
            "pyproject.toml": """
[project]
name = "x"
dependencies = ["click>=8", "tomli; python_version < '3.11'"]
[project.optional-dependencies]
tests = []
docs = []
Dev = []
[dependency-groups]
testing = []
lint = []
""",
            "PKG-INFO": "Metadata-Version: 2.1\nName: x\nVersion: 4.8.1\n\nVersion: 9 in the text",
        },
    )
    assert found is not None
    assert found.installable
    assert found.extras == ("tests",)
    assert found.groups == ("testing",)
    assert found.dependencies == ("click>=8", "tomli; python_version < '3.11'")
    assert found.version == "4.8.1"


def test_poetry_groups_become_requirements(tmp_path):
    found = of(
        tmp_path,
        {
            "pyproject.toml": """
[tool.poetry]
name = "x"
[tool.poetry.dependencies]
python = "^3.8"
a = "^1.2.3"
b = "~1.2"
c = "*"
d = {version = "^0.3", extras = ["x"]}
e = {git = "https://example.com/e.git"}
f = "1.0"
g = ">=1,<2"
h = {version = "1", optional = true}
i = "^1 || ^2"
[tool.poetry.group.test.dependencies]
pytest = "^8.0"
[tool.poetry.group.docs.dependencies]
sphinx = "*"
[tool.poetry.dev-dependencies]
mock = "*"
"""
        },
    )
    assert found is not None
    assert found.loose == ("mock", "pytest>=8.0,<9")
    assert found.dependencies == (
        "a>=1.2.3,<2",
        "b>=1.2,<1.3",
        "c",
        "d[x]>=0.3,<0.4",
        "f==1.0",
        "g>=1,<2",
        "i",
    )


def test_other_tools_tables(tmp_path):
    found = of(
        tmp_path,
        {
            "pyproject.toml": """
[tool.pdm.dev-dependencies]
test = ["a"]
[tool.hatch.envs.hatch-test]
extra-dependencies = ["b"]
[tool.hatch.envs.docs]
dependencies = ["mkdocs"]
[tool.uv]
dev-dependencies = ["c"]
[tool.tox.env_run_base]
deps = ["d"]
extras = ["odd"]
dependency_groups = ["g"]
"""
        },
    )
    assert found is not None
    assert found.loose == ("a", "b", "c", "d")
    assert (found.extras, found.groups) == (("odd",), ("g",))


def test_setup_py_and_setup_cfg(tmp_path):
    found = of(
        tmp_path,
        {
            "setup.py": """
from setuptools import setup
TESTS = ["nose2", "mock"]
setup(name="x", tests_require=TESTS, extras_require={"test": TESTS, 'docs': ["sphinx"]})
""",
            "setup.cfg": """
[options]
install_requires =
    six
    # a comment
[options.extras_require]
testing = pytest-cov
fast = numpy
""",
        },
    )
    assert found is not None
    assert found.extras == ("testing", "test")
    assert found.loose == ("nose2", "mock")
    assert found.dependencies == ("six",)


def test_tox_deps_without_conditions_of_other_environments(tmp_path):
    found = of(
        tmp_path,
        {
            "setup.py": "",
            "tox.ini": """
[testenv]
deps =
    pytest
    -r{toxinidir}/ci/needs.txt
    -rrequirements/lint.txt
    py27: mock
    test: hypothesis  # comment
    {env:ODD}
    .
    --pre
extras = full, more
[testenv:docs]
deps = sphinx
""",
            "ci/needs.txt": "x",
            "requirements/lint.txt": "y",
        },
    )
    assert found is not None
    assert found.loose == ("pytest", "hypothesis")
    assert found.extras == ("full", "more")
    # a file of another folder is no manifest that is read, so it is left out
    assert list(found.files) == ["requirements/lint.txt"]


@pytest.mark.parametrize(
    "tox",
    [
        "deps =\n  .[extra]\n  -e .[a,b]  # all of it\n  -rneeds/requirements.txt\n",
        "deps =\n  tests: -e {toxinidir}[extra, a]\n  --editable=./[b]\n  -r needs/requirements.txt\n",
        "deps =\n  -r{toxinidir}/needs/requirements.txt\nextras =\n  extra\n  a, b\n",
    ],
)
@pytest.mark.parametrize("where", ["tox.ini", "legacy_tox_ini"])
def test_the_project_s_own_extras_in_tox(tmp_path, tox, where):
    pyproject = '[project]\nname = "x"\n'
    files = {"needs/requirements.txt": "mock\n"}
    if where == "tox.ini":
        files["tox.ini"] = f"[tox]\nenvlist = py\n[testenv]\n{tox}commands = pytest\n"
    else:
        pyproject += f'[tool.tox]\nlegacy_tox_ini = """\n[testenv]\n{tox}"""\n'
    found = of(tmp_path, {**files, "pyproject.toml": pyproject})
    assert found is not None
    assert found.extras == ("extra", "a", "b")
    assert dict(found.files) == {"needs/requirements.txt": ("mock",)}
    assert found.loose == ()


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("requirements-test.txt", True),
        ("requirements_dev.txt", True),
        ("test-requirements.txt", True),
        ("dev_requirements.txt", True),
        ("requirements/tests.txt", True),
        ("requirements/test-requirements.txt", True),
        ("tests/requirements.txt", True),
        ("requirements.txt", False),
        ("requirements-docs.txt", False),
        ("requirements/base.txt", False),
        ("notes/test.txt", False),
        ("a/b/requirements-test.txt", False),
        ("test.txt", False),
    ],
)
def test_requirements_files_of_an_installable_project(tmp_path, name, counts):
    found = of(tmp_path, {"setup.py": "", name: "pytest-mock==1 # why\n-r other.txt\n"})
    assert found is not None
    assert dict(found.files) == ({name: ("pytest-mock==1",)} if counts else {})


def test_requirements_txt_counts_where_nothing_is_installable(tmp_path):
    found = of(tmp_path, {"app.py": "", "requirements.txt": "flask"})
    assert found is not None
    assert dict(found.files) == {"requirements.txt": ("flask",)}


def test_hostile_manifests_are_no_options_and_no_crash(tmp_path):
    found = of(
        tmp_path,
        {
            "pyproject.toml": "[" * 50_000,
            "setup.cfg": "no section\n\0",
            "setup.py": "(" * 5_000,
            "tox.ini": "[testenv]\ndeps =\n  --index-url https://evil\n  $(touch x)\n  a b/../c\n  ok\n",
        },
    )
    assert found is not None
    assert found.loose == ("ok",)
    assert found.extras == ()
    assert any("pyproject.toml cannot be read" in warning for warning in found.warnings)


def test_the_layout_follows_what_an_editable_install_depends_on(tmp_path):
    files = {"setup.py": b"", "pkg/__init__.py": b"__version__ = '1'\nx = 1\n", "pkg/fast.c": b"int a;"}

    def layout(**changed):
        return scan(tar_of(tmp_path / "tree.tar", {**files, **changed})).layout

    before = layout()
    assert layout(**{"pkg/__init__.py": b"__version__ = '1'\nx = 2\n"}) == before
    assert layout(**{"pkg/other.py": b""}) == before
    assert layout(**{"pkg/__init__.py": b"__version__ = '2'\n"}) != before
    assert layout(**{"pkg/fast.c": b"int b;"}) != before
    assert layout(**{"pkg2/__init__.py": b""}) != before
    found = plan(scan(tar_of(tmp_path / "tree.tar", files)))
    assert found is not None
    assert found.python is not None
    assert found.python.compiles
    assert replace(found.python, compiles=False) == of(tmp_path, {"setup.py": "", "pkg/__init__.py": ""})
