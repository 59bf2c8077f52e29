"""What is read from a repository's manifests."""

from dataclasses import replace

import pytest

from sandboxes.detect import plan, scan
from sandboxes.install import other_python
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


UV_LOCK = """
[[package]]
name = "x"
version = "1"
source = { editable = "." }
[[package]]
name = "Iniconfig"
version = "2.0.0"
source = { registry = "https://index.example/simple" }
[[package]]
name = "numpy"
version = "1.26.4"
source = { registry = "https://index.example/simple" }
[[package]]
name = "numpy"
version = "2.1.0"
source = { registry = "https://index.example/simple" }
[[package]]
name = "from-git"
version = "3"
source = { git = "https://index.example/x" }
"""


@pytest.mark.parametrize(
    ("lock", "text", "constraints"),
    [
        ("uv.lock", UV_LOCK, ("iniconfig==2.0.0",)),
        ("poetry.lock", '[[package]]\nname = "a"\nversion = "1.2"\n[[package]]\nname = "b"\nversion = "2"\n'
         '[package.source]\ntype = "git"\n', ("a==1.2",)),
        ("pdm.lock", '[[package]]\nname = "a"\nversion = "1"\n[[package]]\nname = "me"\nversion = "2"\npath = "."\n',
         ("a==1",)),
        ("Pipfile.lock", '{"default": {"a": {"version": "==1.0"}}, "develop": {"b": {"version": "==2"}, "c": {}}}',
         ("a==1.0", "b==2")),
        ("pylock.toml", '[[packages]]\nname = "a"\nversion = "1"\n', ("a==1",)),
        ("uv.lock", '[[package]]\nname = "--url=x"\nversion = "1"\n[[package]]\nname = "a"\nversion = "1 ; x"\n', ()),
        ("uv.lock", "[" * 50_000, ()),
    ],
)  # fmt: skip
def test_versions_of_a_lock_file_are_constraints(tmp_path, lock, text, constraints):
    found = of(tmp_path, {"pyproject.toml": '[project]\nname = "x"\n', lock: text})
    assert found is not None
    assert found.constraints == constraints
    assert found.lock == (lock if constraints else "")


@pytest.mark.parametrize(
    ("files", "image", "wanted"),
    [
        ({"setup.py": ""}, "3.11.2", ""),
        ({"pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.8"'}, "3.11.2", ""),
        ({"pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.12"'}, "3.11.2", "3.12"),
        ({"pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.7,<3.10"'}, "3.11.2", "3.9"),
        ({"pyproject.toml": '[tool.poetry.dependencies]\npython = "^3.12"'}, "3.11.2", "3.12"),
        ({"setup.cfg": "[metadata]\nname = x\n[options]\npython_requires = <3.9"}, "3.11.2", "3.8"),
        ({"setup.py": "setup(name='x', python_requires='>=3.13')"}, "3.11.2", "3.13"),
        ({"setup.py": "", ".python-version": "3.9.1\n"}, "3.11.2", "3.9.1"),
        ({"setup.py": "", ".python-version": "3.11\n"}, "3.11.2", ""),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.12"', ".python-version": "3.13\n"}, "3.11.2", "3.13"),
        ({"pyproject.toml": '[project]\nrequires-python = ">=3.8"', ".python-version": "3.13\n"}, "3.11.2", ""),
        ({"pyproject.toml": '[project]\nname = "x"\nrequires-python = "three"'}, "3.11.2", ""),
        ({"setup.py": "", ".python-version": "$(touch x)\n"}, "3.11.2", ""),
        ({"pyproject.toml": '[project]\nname = "x"\nrequires-python = "<3"'}, "3.11.2", ""),
    ],
)  # fmt: skip
def test_a_python_that_fits_is_looked_for_where_the_image_s_does_not(tmp_path, files, image, wanted):
    found = of(tmp_path, {"a.py": "", **files})
    assert found is not None
    assert other_python(found, image) == wanted


def test_packages_of_a_uv_workspace_are_installed_beside_each_other(tmp_path):
    found = of(
        tmp_path,
        {
            "pyproject.toml": '[project]\n[tool.uv.workspace]\nmembers = ["libs/*"]\nexclude = ["libs/old"]\n',
            "libs/a/pyproject.toml": '[project]\nname = "a"\n',
            "libs/old/pyproject.toml": '[project]\nname = "old"\n',
            "other/pyproject.toml": '[project]\nname = "other"\n',
        },
    )
    assert found is not None
    assert found.members == ("libs/a",)


def test_a_project_in_a_folder_and_several_of_them(tmp_path):
    one = {
        "backend/pyproject.toml": '[project]\nname = "x"\n[dependency-groups]\ntest = ["a"]\n',
        "README.md": "",
    }
    found = of(tmp_path, {**one, "docs/requirements.txt": "sphinx"})
    assert found is not None
    assert (found.folder, found.groups, found.installable) == ("backend", ("test",), True)
    found = of(tmp_path, {**one, "worker/setup.py": "", "worker/sub/setup.py": ""})
    assert found is not None
    assert (found.folder, found.members, found.installable) == ("", ("backend", "worker"), False)


def test_pipfile_and_nox(tmp_path):
    found = of(
        tmp_path,
        {
            "Pipfile": '[packages]\nflask = "*"\n[dev-packages]\nmock = ">=3"\n',
            "noxfile.py": """
@nox.session(python=["3.9", "3.11"])
def tests(session):
    session.install("-r", "other.txt", "hypothesis", ".[x]")
@nox.session
def docs(session):
    session.install("sphinx")
""",
        },
    )
    assert found is not None
    assert found.loose == ("flask", "mock>=3", "hypothesis")


def test_conda_is_told_to_be_unknown_where_nothing_else_says_what_to_install(tmp_path):
    conda = {"environment.yml": "dependencies:\n  - numpy\n", "a.py": ""}
    found = of(tmp_path, conda)
    assert found is not None
    [warning] = found.warnings
    assert warning.startswith("environment.yml: conda is not supported, and nothing of it was installed; put")
    assert "--image" in warning
    [warning] = of(tmp_path, {**conda, "meta.yaml": "", "environment-dev.yml": ""}).warnings
    assert warning.startswith("environment-dev.yml and environment.yml and meta.yaml: conda")
    assert "--image" in found.warnings[0]
    found = of(tmp_path, {**conda, "pyproject.toml": '[project]\nname = "x"\n'})
    assert found is not None
    assert found.warnings == ()


def test_what_developers_need_is_left_out_where_it_is_said_what_tests_need(tmp_path):
    files = {"setup.py": "", "requirements/dev.txt": "ruff", "requirements/tests.txt": "mock"}
    found = of(tmp_path, files)
    assert found is not None
    assert list(found.files) == ["requirements/tests.txt"]
    del files["requirements/tests.txt"]
    found = of(tmp_path, files)
    assert found is not None
    assert list(found.files) == ["requirements/dev.txt"]
