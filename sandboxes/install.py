"""The steps of a set-up inside its sandbox: the virtual environment, pip, other languages, the user's commands."""

from __future__ import annotations

import itertools
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence

from packaging.specifiers import SpecifierSet

from sandboxes.detect import Part, Plan, PythonPlan, Step
from sandboxes.driver import Sandbox
from sandboxes.errors import SetupFailed

PIP = "/opt/env/bin/python -m pip --disable-pip-version-check --no-input --no-color --no-cache-dir"
INSTALL = f"{PIP} install --progress-bar off"
LOOSE = "/tmp/requirements.txt"  # noqa: S108
CONSTRAINTS = "/tmp/constraints.txt"  # noqa: S108
# without the project installed, its modules have to be found some other way
FALLBACK_PATH = (
    "/opt/env/bin/python -c \"import os, sysconfig; open(sysconfig.get_path('purelib') + '/workspace.pth', 'w')"
    ".write(f'{os.getcwd()}/src\\n{os.getcwd()}\\n')\""
)
PRINT_VERSION = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
OTHER_PYTHON = "/opt/env/other-python"
GET_PYTHON = (
    "python3 -m venv /tmp/uv && /tmp/uv/bin/python -m pip install -q --disable-pip-version-check uv && "
    "export UV_PYTHON_INSTALL_DIR=/opt/env/pythons && /tmp/uv/bin/uv python install -q --no-bin {wanted} && "
    "ln -s $(/tmp/uv/bin/uv python find --managed-python {wanted}) " + OTHER_PYTHON
)
NPM = re.compile(r"npm (?:error|ERR!) (.*)")
FIRST = (re.compile(r"\[ERROR\] "), re.compile(r".*\bERR_PNPM_\w+"), re.compile(r"➤ YN(?!0000)\d{4}: .*"))
"""Lines of Maven, pnpm and yarn, of which the first says most."""
GRADLES = "* What went wrong:"
LONGEST_TOLD = 80
"""Characters of a command that is told as it is."""
PYTHONS = range(8, 16)
"""Minor versions of Python 3 that uv may be asked for."""


class Installer:
    """Runs the steps in one container. What may fail becomes a warning, what may not raises SetupFailed."""

    def __init__(
        self,
        sandbox: Sandbox,
        variables: Mapping[str, str],
        masked: Callable[[str], str],
        log: Callable[[str], None],
        seconds: float,
    ) -> None:
        self._sandbox = sandbox
        self._variables = dict(variables)
        self._masked = masked
        self._log = log
        self._deadline = time.monotonic() + seconds
        self.warnings: list[str] = []
        self.summary: list[str] = []

    async def make_venv(self, *, system_packages: bool, must: bool, plan: PythonPlan | None = None) -> bool:
        """Make the virtual environment /opt/env with a Python that fits; False if the image has none.

        Where the image's own Python is not what the plan asks for, uv is asked for another one.
        """
        python = await self._fitting(plan) if plan else "python3"
        self._log("making a virtual environment")
        option = " --system-site-packages" if system_packages else ""
        failure = await self._run(f"{python} -m venv{option} /opt/env")
        if failure is None:
            return True
        if must:
            raise SetupFailed("the base image's Python makes no virtual environment", failure)
        self.warnings.append("no virtual environment: the image has no python3 with venv")
        return False

    async def _fitting(self, plan: PythonPlan) -> str:
        """The program of a Python that the project runs with, as far as there is one."""
        done = await self._sandbox.run(["python3", "-I", "-c", PRINT_VERSION], timeout=60)
        version = done.output.decode("utf-8", "replace").strip()
        if done.exit_code != 0 or not (wanted := other_python(plan, version)):
            return "python3"
        asked = f"Python {plan.requires_python or plan.python}"
        self._log(f"the project asks for {asked}, the image has {version}: asking uv for {wanted}")
        failure = await self._run(GET_PYTHON.format(wanted=wanted), seconds=300)
        if failure is None:
            self.summary.append(f"Python {wanted} (by uv)")
            return OTHER_PYTHON
        self.warnings.append(
            f"the project asks for {asked} and the image has {version}; uv could not get another one "
            f"({telling(failure)}), so {version} it is: name an image that has it, such as --image "
            f"python:{wanted}, or a base image by AGENT_BASE_IMAGE"
        )
        return "python3"

    async def install_all(self, plan: Plan) -> None:
        """Set up each language. The tests are taken for Python's where there is Python, else for those of the first."""
        if plan.python:
            await self.install_python(plan.python)
        for number, part in enumerate(plan.parts):
            await self.install(part, needed=plan.python is None and number == 0)

    async def install_python(self, plan: PythonPlan) -> None:
        """Install the project editable, its test requirements, and pytest."""
        self._variables |= dict.fromkeys(
            ("SETUPTOOLS_SCM_PRETEND_VERSION", "PBR_VERSION", "PDM_BUILD_SCM_VERSION"), plan.version
        )
        self.warnings += plan.warnings
        self._log("installing pip and pytest")
        if (failure := await self._run(f"{INSTALL} --upgrade pip pytest")) is not None:
            raise SetupFailed(f"pip could not install pytest: {telling(failure)}", failure)

        project = ["-e", _with_extras(plan.extras)] if plan.installable else []
        project += [word for member in plan.members for word in ("-e", f"./{member}")]
        groups = [["--group", name] for name in plan.groups]
        files = [["-r", name] for name in plan.files]
        if plan.loose:
            await self._sandbox.put_file(LOOSE, "\n".join(plan.loose).encode())
        loose = ["-r", LOOSE] if plan.loose else []
        wanted = [*project, *(word for words in (*groups, *files) for word in words), *loose]
        self.summary.append(said := described(plan))
        if not wanted:
            return
        self._log(f"installing {said}")
        # at once: one resolution that fits all. Where that fails, one thing after the other.
        if await self._at_once(plan, wanted):
            return
        self._log("that failed as a whole; installing one thing after the other")
        if plan.installable:
            await self._install_project(plan)
        for member in plan.members:
            await self._try(plan, ["-e", f"./{member}"])
        for words in groups:
            await self._try(plan, words)
        for name, requirements in plan.files.items():
            if not await self._try(plan, ["-r", name]):
                for requirement in requirements:
                    await self._try(plan, [requirement])
        for requirement in plan.loose:
            await self._try(plan, [requirement])
        if (failure := await self._run(f"{INSTALL} pytest")) is not None:
            raise SetupFailed(f"pip could not install pytest: {telling(failure)}", failure)

    async def _at_once(self, plan: PythonPlan, wanted: Sequence[str]) -> bool:
        """Install all that is wanted together: in the versions of the lock file, else in any that fit."""
        install = f"{INSTALL} {shlex.join([*wanted, 'pytest'])}"
        if plan.constraints:
            await self._sandbox.put_file(CONSTRAINTS, "\n".join(plan.constraints).encode())
            failure = await self._run(f"{install} -c {CONSTRAINTS}", folder=plan.folder)
            if failure is None:
                return True
            self.warnings.append(
                f"the versions of {plan.lock} could not be installed ({telling(failure)}): others are, that fit"
            )
        return await self._run(install, folder=plan.folder) is None

    async def install(self, part: Part, *, needed: bool) -> None:
        """Do the steps of a language. Where one fails without which the tests can't run, SetupFailed is raised if the
        language is `needed`; else that is a warning, and the language is left as it is."""
        self.warnings += part.warnings
        variables = {**part.variables, **part.while_set_up, **self._variables}
        for step in part.steps:
            if not await self._step(part, step, variables, needed):
                return
        if part.summary:
            self.summary.append(part.summary)

    async def _step(self, part: Part, step: Step, variables: Mapping[str, str], needed: bool) -> bool:
        """False when the steps after it make no sense."""
        self._log(step.what)
        failures: list[str] = []
        for command in step.tries:
            failure = await self._run(command, folder=part.folder, variables=variables, seconds=step.seconds)
            if failure is None:
                if failures:
                    lost, first = step.lost[len(failures) - 1], step.tries[0]
                    said = step.what if len(first) > LONGEST_TOLD else f"`{first}`"
                    self.warnings.append(f"{said} failed ({telling(failures[0])}): {lost}")
                return True
            failures.append(failure)
            if command != step.tries[-1]:
                self._log("that failed; trying otherwise")
        # what the first try says is about the project as it is
        told = f"{part.language}: {step.what} failed: {telling(failures[0])}"
        if not step.needed:
            self.warnings.append(told)
            return True
        if needed:
            raise SetupFailed(f"{told}; {part.mend}", failures[0])
        self.warnings.append(f"{told}; {part.mend}")
        return False

    async def command(self, command: str) -> None:
        """Run one of the user's set-up commands."""
        self.summary = ["the given set-up commands"]
        self._log(f"running {command}")
        if (failure := await self._run(command)) is not None:
            raise SetupFailed(f"the set-up command `{command}` failed: {telling(failure)}", failure)

    async def _install_project(self, plan: PythonPlan) -> None:
        failure = await self._run(f"{INSTALL} -e .", folder=plan.folder)
        if failure is None:
            for extra in plan.extras:
                await self._try(plan, ["-e", f".[{extra}]"])
            return
        self.warnings.append(
            f"the project itself could not be installed ({telling(failure)}); only its dependencies are, "
            "and its modules are found by path"
        )
        for requirement in plan.dependencies:
            await self._try(plan, [requirement])
        if (failure := await self._run(FALLBACK_PATH, folder=plan.folder)) is not None:
            raise SetupFailed(f"the workspace could not be put on the path: {telling(failure)}", failure)

    async def _try(self, plan: PythonPlan, words: Sequence[str]) -> bool:
        """Install something that may be missing; False, and a warning, when that fails."""
        failure = await self._run(f"{INSTALL} {shlex.join(words)}", folder=plan.folder)
        if failure is not None:
            self.warnings.append(f"could not install {' '.join(words)}: {telling(failure)}")
        return failure is None

    async def _run(
        self,
        command: str,
        *,
        folder: str = "",
        variables: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> str | None:
        """Run a command in a folder of the workspace: None when it succeeds, else the last lines of its output.

        Longer than `seconds` is a failure; longer than what is left for the whole set-up raises SetupFailed.
        """
        left = max(self._deadline - time.monotonic(), 1)
        done = await self._sandbox.run(
            command,
            timeout=min(left, seconds or left),
            env=variables or self._variables,
            cwd=f"/workspace/{folder}".rstrip("/"),
            output_limit=1 << 17,
        )
        log = clean(self._masked(done.output.decode("utf-8", "replace")))
        if done.timed_out and self._deadline - time.monotonic() < 1:
            raise SetupFailed(f"the set-up took too long, in `{self._masked(command)}`", log)
        if done.timed_out:
            return f"{log}\nerror: it took longer than {seconds:.0f} s".strip()
        return None if done.exit_code == 0 else log or f"exit code {done.exit_code}"


def described(plan: PythonPlan) -> str:
    """What is installed by a plan, in a few words."""
    where = f" in {plan.folder}" if plan.folder else ""
    parts = [f"the project{where}{_with_extras(plan.extras)[1:]}"] if plan.installable else []
    if plan.members:
        parts.append(f"{len(plan.members)} packages of the repository")
    parts += [f"group {name}" for name in plan.groups]
    parts += plan.files
    if plan.loose:
        parts.append(f"{len(plan.loose)} more requirement{'s' if len(plan.loose) > 1 else ''}")
    return ", ".join([*parts, "pytest"]) + (f", by {plan.lock}" if plan.lock else "")


def other_python(plan: PythonPlan, version: str) -> str:
    """The version of Python to look for, as `3.12`; "" where the image's own `version` will do."""
    minor = int(version.split(".")[1])
    if not plan.requires_python:
        asked = plan.python.split(".")[:2]
        return "" if not plan.python or asked == ["3", str(minor)] else plan.python
    fits = SpecifierSet(plan.requires_python)
    if fits.contains(version, prereleases=True):
        return ""
    if plan.python and fits.contains(plan.python):
        return plan.python
    # the nearest one, in its last release
    fitting = [number for number in PYTHONS if fits.contains(f"3.{number}.99")]
    return f"3.{min(fitting, key=lambda number: abs(number - minor))}" if fitting else ""


def _with_extras(extras: Sequence[str]) -> str:
    return f".[{','.join(extras)}]" if extras else "."


def clean(text: str) -> str:
    """The last lines of a log, without what would steer a terminal."""
    text = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", text)
    lines = ("".join(c for c in line if c.isprintable() or c == "\t") for line in text.split("\n"))
    return "\n".join([line for line in lines if line.strip()][-40:])


def telling(log: str) -> str:
    """The one line of a failed command's log that says most."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if npm := [hit for line in lines if (hit := NPM.fullmatch(line))]:
        # what follows the code says what it means, and only then comes advice
        said = [hit[1] for hit in npm if not hit[1].startswith(("code ", "path ", "A complete log"))]
        return f"npm error {said[0] if said else npm[0][1]}"[:300]
    if GRADLES in lines:
        return _shortened(_gradles(lines[lines.index(GRADLES) + 1 :]))
    for first in FIRST:
        if matching := [line for line in lines if first.match(line)]:
            return _shortened(matching[0].removesuffix(" -> [Help 1]"))
    errors = [line for line in lines if re.match(r"(error|fatal)\b|E:|\w*(Error|Exception)\b", line, re.I)]
    return (errors or lines or ["no output"])[-1][:300]


def _gradles(lines: Sequence[str]) -> str:
    """What went wrong with a build of Gradle's: what it could not do, and the innermost cause."""
    said = list(itertools.takewhile(lambda line: not line.startswith("* "), lines)) or ["it did not say what"]
    causes = [line.removeprefix("> ") for line in said if line.startswith("> ")] or said[:1]
    return causes[0].rstrip(".") + (f" ({causes[-1].rstrip('.')})" if len(causes) > 1 else "")


def _shortened(line: str) -> str:
    """A line that says first what could not be done, and last why."""
    return line if len(line) <= 300 else f"{line[:150]} … {line[-147:]}"
