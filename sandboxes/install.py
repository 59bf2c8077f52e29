"""The steps of a set-up inside its container: the virtual environment, pip, the user's commands."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence

from sandboxes.detect import Plan
from sandboxes.driver import Sandbox
from sandboxes.errors import SetupFailed

PIP = "/opt/env/bin/python -m pip --disable-pip-version-check --no-input --no-color --no-cache-dir"
INSTALL = f"{PIP} install --progress-bar off"
LOOSE = "/tmp/requirements.txt"  # noqa: S108
# without the project installed, its modules have to be found some other way
FALLBACK_PATH = (
    "/opt/env/bin/python -c \"import sysconfig; open(sysconfig.get_path('purelib') + '/workspace.pth', 'w')"
    ".write('/workspace/src\\n/workspace\\n')\""
)


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
        self.summary = ""

    async def make_venv(self, *, system_packages: bool, must: bool) -> bool:
        """Make the virtual environment /opt/env with the image's Python; False if the image has none."""
        self._log("making a virtual environment")
        option = " --system-site-packages" if system_packages else ""
        failure = await self._run(f"python3 -m venv{option} /opt/env")
        if failure is None:
            return True
        if must:
            raise SetupFailed("the base image's Python makes no virtual environment", failure)
        self.warnings.append("no virtual environment: the image has no python3 with venv")
        return False

    async def install_python(self, plan: Plan) -> None:
        """Install the project editable, its test requirements, and pytest."""
        self._variables |= dict.fromkeys(
            ("SETUPTOOLS_SCM_PRETEND_VERSION", "PBR_VERSION", "PDM_BUILD_SCM_VERSION"), plan.version
        )
        self.warnings += plan.warnings
        self._log("installing pip and pytest")
        if (failure := await self._run(f"{INSTALL} --upgrade pip pytest")) is not None:
            raise SetupFailed(f"pip could not install pytest: {telling(failure)}", failure)

        project = ["-e", _with_extras(plan.extras)] if plan.installable else []
        groups = [["--group", name] for name in plan.groups]
        files = [["-r", name] for name in plan.files]
        if plan.loose:
            await self._sandbox.put_file(LOOSE, "\n".join(plan.loose).encode())
        loose = ["-r", LOOSE] if plan.loose else []
        wanted = [*project, *(word for words in (*groups, *files) for word in words), *loose]
        self.summary = self._describe(plan)
        if not wanted:
            return
        self._log(f"installing {self.summary}")
        # at once: one resolution that fits all. Where that fails, one thing after the other.
        if await self._run(f"{INSTALL} {shlex.join([*wanted, 'pytest'])}") is None:
            return
        self._log("that failed as a whole; installing one thing after the other")
        if plan.installable:
            await self._install_project(plan)
        for words in groups:
            await self._try(words)
        for name, requirements in plan.files.items():
            if not await self._try(["-r", name]):
                for requirement in requirements:
                    await self._try([requirement])
        for requirement in plan.loose:
            await self._try([requirement])
        if (failure := await self._run(f"{INSTALL} pytest")) is not None:
            raise SetupFailed(f"pip could not install pytest: {telling(failure)}", failure)

    async def command(self, command: str) -> None:
        """Run one of the user's set-up commands."""
        self.summary = "the given set-up commands"
        self._log(f"running {command}")
        if (failure := await self._run(command)) is not None:
            raise SetupFailed(f"the set-up command `{command}` failed: {telling(failure)}", failure)

    async def _install_project(self, plan: Plan) -> None:
        failure = await self._run(f"{INSTALL} -e .")
        if failure is None:
            for extra in plan.extras:
                await self._try(["-e", f".[{extra}]"])
            return
        self.warnings.append(
            f"the project itself could not be installed ({telling(failure)}); only its dependencies are, "
            "and its modules are found by path"
        )
        for requirement in plan.dependencies:
            await self._try([requirement])
        if (failure := await self._run(FALLBACK_PATH)) is not None:
            raise SetupFailed(f"the workspace could not be put on the path: {telling(failure)}", failure)

    async def _try(self, words: Sequence[str]) -> bool:
        """Install something that may be missing; False, and a warning, when that fails."""
        if (failure := await self._run(f"{INSTALL} {shlex.join(words)}")) is not None:
            self.warnings.append(f"could not install {' '.join(words)}: {telling(failure)}")
        return failure is None

    async def _run(self, command: str) -> str | None:
        """Run a command in /workspace: None when it succeeds, else the last lines of its output."""
        left = self._deadline - time.monotonic()
        done = await self._sandbox.run(
            command, timeout=max(left, 1), env=self._variables, output_limit=1 << 17
        )
        log = clean(self._masked(done.output.decode("utf-8", "replace")))
        if done.timed_out:
            raise SetupFailed(f"the set-up took too long, in `{self._masked(command)}`", log)
        return None if done.exit_code == 0 else log or f"exit code {done.exit_code}"

    def _describe(self, plan: Plan) -> str:
        parts = [f"the project{_with_extras(plan.extras)[1:]}"] if plan.installable else []
        parts += [f"group {name}" for name in plan.groups]
        parts += plan.files
        if plan.loose:
            parts.append(f"{len(plan.loose)} more requirement{'s' if len(plan.loose) > 1 else ''}")
        return ", ".join([*parts, "pytest"])


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
    errors = [line for line in lines if re.match(r"(error|fatal)\b|E:|\w*(Error|Exception)\b", line, re.I)]
    return (errors or lines or ["no output"])[-1][:300]
