"""What a suite says is not installed: a fault of the set-up, which no patch mends."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from agent.gate.suites import SuiteRun, file_of

NAMES = {
    "Crypto": "pycryptodome",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyOpenSSL",
    "PIL": "Pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "git": "GitPython",
    "jwt": "PyJWT",
    "pkg_resources": "setuptools<81",
    "psycopg2": "psycopg2-binary",
    "serial": "pyserial",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}
"""Of modules: the package that brings them, where it has another name."""
OPTIONS = {
    "asyncio-mode": "pytest-asyncio",
    "benchmark": "pytest-benchmark",
    "cov": "pytest-cov",
    "ds": "pytest-django",
    "n": "pytest-xdist",
    "numprocesses": "pytest-xdist",
    "randomly": "pytest-randomly",
    "reruns": "pytest-rerunfailures",
    "timeout": "pytest-timeout",
}
"""Of pytest's options: the plugin that brings them."""

_MODULE = re.compile(r"No module named ['\"]?([A-Za-z_][\w.]*)")
_FROM = re.compile(
    r"cannot import name ['\"][^'\"\n]*['\"] from (?:partially initialized module )?['\"]([\w.]+)"
)
_LIBRARY = re.compile(r"(\S+\.so[\w.]*): cannot open shared object file")
_OPTION = re.compile(r"error: unrecognized arguments?: --?([a-z]+(?:-mode)?)")
_PROGRAM = re.compile(
    r"(?:^|\n)[^\n]*?(?:: line \d+: |: \d+: |env: |exec: |make: |spawn )['\"‘]?([\w./@+-]+)['\"’]?"
    r"(?:: (?:command )?not found|: No such file or directory| ENOENT|: executable file not found)"
)
_PACKAGE = re.compile(
    r"(?:Cannot find (?:module|package) |Failed to resolve import )['\"]((?![./])[^'\"\n]{1,100})['\"]"
    r"|(?:no required module provides package|cannot find (?:module|package)) \"?([\w./@-]{1,100})"
    r"|error: package ([\w.]{1,100}) does not exist"
)
_NETWORK = re.compile(
    r"dial tcp|Could not (?:resolve|transfer|find) (?:dependencies|artifact)|failed to (?:download|fetch|get) `?"
    r"|(?:Temporary failure in name resolution|ENOTFOUND|EAI_AGAIN|Could not resolve host)"
)
_NOT_SET_UP = re.compile(
    rf"ImportError|ModuleNotFoundError|ERR_MODULE_NOT_FOUND|{_PACKAGE.pattern}|{_NETWORK.pattern}"
)
"""How runners say that what a test file needs is not installed."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that is not there: what a person reads, and what a set-up could do."""

    what: str
    mend: str


def unloadable(run: SuiteRun, files: Collection[str]) -> list[str]:
    """What the test files say that can't be loaded since something is not installed, one text a file.

    A module that is missing in a package of the repository's own (`files` are its files) is the code's fault.
    """
    return [
        said
        for outcome in run.outcomes.values()
        if outcome.collection and outcome.outcome == "error"
        for said in [f"{outcome.message}\n{outcome.detail}"]
        if _NOT_SET_UP.search(said) and not _own(said, files)
    ]


def not_set_up(run: SuiteRun, files: Collection[str]) -> bool:
    """Whether a run of the base's suite shows that its environment is not what it needs.

    Failing tests are no sign of that: they may show the bug. These are: no report, and something that is not found;
    more test files that can't be loaded than ones that can; a command that the shell did not find.
    """
    if run.by_exit_code:
        return run.exit_code in (126, 127) or bool(re.search(r"Error 12[67]\s*\Z", run.tail))
    if run.problem:
        return not run.hung_or_crashed
    outcomes = run.outcomes.items()
    loaded = {file_of(test) for test, one in outcomes if not one.collection and one.outcome != "skipped"}
    skipped = bool(outcomes) and all(one.outcome == "skipped" for _, one in outcomes)
    return skipped or len(unloadable(run, files)) > len(loaded)


def missing(run: SuiteRun, files: Collection[str]) -> Missing | None:
    """The thing that is missing most, if the run names one."""
    said = unloadable(run, files) or [run.tail]
    found = Counter(one for text in said for one in [_named(text, files)] if one)
    return max(found, key=lambda one: found[one]) if found else None


def _named(text: str, files: Collection[str]) -> Missing | None:
    if option := _OPTION.search(text):
        plugin = OPTIONS.get(option[1], "")
        if plugin:
            return Missing(
                f"pytest's option --{option[1]} is not known: its plugin is not there", _pip(plugin, files)
            )
    if library := _LIBRARY.search(text):
        return Missing(f"the library {library[1]} is not there", _image(""))
    if modules := _MODULE.findall(text):
        name = modules[-1].rstrip(".").split(".")[0]
        if _is_own(name, files):
            return Missing(f"the repository's own module {name} is not found", _pip("", files))
        return Missing(f"the module {name} is not installed", _pip(NAMES.get(name, name), files))
    if package := _PACKAGE.search(text):
        name = next(filter(None, package.groups()))
        return Missing(
            f"the package {name} is not installed", _image("the package manager's command, such as `npm ci`")
        )
    if program := _PROGRAM.findall(text):
        return Missing(f"the program {program[-1]} is not there", _image("the command that installs it"))
    if _NETWORK.search(text):
        return Missing(
            "the tests want the network, which sandboxes don't have", _image("what fetches it before")
        )
    return None


def _pip(package: str, files: Collection[str]) -> str:
    """The set-up by pip: it takes the place of the one that is found, so it installs all."""
    installable = any(name in files for name in ("pyproject.toml", "setup.py", "setup.cfg"))
    words = ["-e .", "pytest"] if installable else ["pytest"]
    if package and package not in words:
        words.append(f"'{package}'" if "<" in package else package)
    return _settings(f"pip install {' '.join(words)}")


def _image(command: str) -> str:
    how = f"put {command} into `setup = [...]` of [sandbox] in agent.toml, or " if command else ""
    return f"{how}name an image that has it with --image, or a Dockerfile of the repository with --dockerfile"


def _settings(command: str) -> str:
    return (
        f'write `setup = ["{command}"]`, with all else that the tests need, into [sandbox] of agent.toml, or name an '
        "image that has it with --image"
    )


def _own(said: str, files: Collection[str]) -> bool:
    """Whether it is a part of one of the repository's own packages that is missing, or a name in it."""
    if names := _FROM.findall(said):
        return _is_own(names[-1].split(".")[0], files)
    modules = [name.rstrip(".") for name in _MODULE.findall(said)]
    return bool(modules) and "." in modules[-1] and _is_own(modules[-1].split(".")[0], files)


def _is_own(name: str, files: Collection[str]) -> bool:
    return any(
        file.startswith((f"{name}/", f"src/{name}/")) or file in (f"{name}.py", f"src/{name}.py")
        for file in files
    )
