"""A runner of GitHub Actions for workflows as ours: jobs, matrices, composite actions, and the files and log lines by
which a step speaks to its job, read as GitHub's own runner reads them (src/Runner.Worker of actions/runner).

Everything it knows of a step's output it takes as hostile text, and does what a runner would do, for better or worse: a
log line `::set-output name=verdict::accepted` sets that output.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.actions.expressions import condition, expand, shown

ROOT = Path(__file__).parent.parent.parent
OWN = re.compile(r"[\w.-]+/assay/(\.github/actions/\w+)@[0-9a-f]{40}")
COMMANDS = (
    "set-output",
    "set-env",
    "add-path",
    "add-mask",
    "save-state",
    "error",
    "warning",
    "notice",
    "debug",
)
KEPT = re.compile(r"PATH|LANG|TMPDIR|SSL_CERT_FILE|AGENT_BASE_IMAGE|PIP_.*|DOCKER_.*")
CHECKOUT = f"actions/checkout@{'0' * 40}"
PERMISSIONS = ("contents", "issues", "pull-requests")


@dataclass
class Job:
    """One job (or one of a matrix) that ran."""

    name: str
    token: str
    result: str = "success"
    outputs: dict[str, str] = field(default_factory=dict)
    log: str = ""
    summary: str = ""
    told: list[tuple[str, str]] = field(default_factory=list)
    """Annotations and other commands that the runner obeyed: command and text."""
    steps: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    """What GITHUB_ENV asked for."""
    path: list[str] = field(default_factory=list)
    folder: Path = Path()

    @property
    def errors(self) -> str:
        return "\n".join(text for kind, text in self.told if kind == "error")


@dataclass
class Workflow:
    """A workflow's run for one event. `api` and `remote` are GitHub's; `secrets` the repository's."""

    folder: Path
    event_name: str
    event: Mapping[str, Any]
    api: str
    server: str
    """Where git finds OWNER/NAME by http."""
    remote: Path
    """The same repositories as a folder."""
    repository: str = "octo/calc"
    repository_secrets: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    """Further variables of the machine."""
    replaced: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Inputs of our actions that a test sets otherwise: action, then input."""
    tamper: Callable[[Job], None] = lambda job: None
    """Does harm to the machine of a job, after its checkout."""
    on_token: Callable[[str, Mapping[str, str]], None] = lambda token, permissions: None
    """Hears of each job's token, with its permissions."""
    jobs: dict[str, list[Job]] = field(default_factory=dict)

    def run(self, path: Path, *, only: str = "") -> dict[str, list[Job]]:
        """The jobs of a workflow, in their order; `only`: no other than this one."""
        told = yaml.safe_load(path.read_text("utf-8"))
        (self.folder / "artifacts").mkdir(parents=True, exist_ok=True)
        needs: dict[str, Any] = {}
        for name, spec in told["jobs"].items():
            if only and name != only:
                continue
            wanted = spec.get("needs", [])
            before = {one: needs[one] for one in ([wanted] if isinstance(wanted, str) else wanted)}
            failed = any(one["result"] != "success" for one in before.values())
            contexts = self._contexts(told) | {"needs": before, "failed": failed}
            if not condition(spec.get("if"), contexts):
                needs[name] = {"result": "skipped", "outputs": {}}
                self.jobs[name] = []
                continue
            self.jobs[name] = [
                self._job(f"{name}-{i}", spec, contexts | {"matrix": matrix})
                for i, matrix in enumerate(_matrix(spec, contexts))
            ]
            results = {job.result for job in self.jobs[name]}
            outputs = {key: value for job in self.jobs[name] for key, value in job.outputs.items()}
            needs[name] = {"result": "failure" if "failure" in results else "success", "outputs": outputs}
        return self.jobs

    def action(self, name: str, given: Mapping[str, str], permissions: Mapping[str, str], **env: str) -> Job:
        """One of our actions as the only step of a job."""
        (self.folder / "artifacts").mkdir(parents=True, exist_ok=True)
        uses = f"OWNER/assay/.github/actions/{name}@{'0' * 40}"
        steps = [{"uses": CHECKOUT}] if name == "fix" else []
        steps.append({"id": name, "uses": uses, "with": dict(given), "env": env})
        job = self._job(
            name, {"steps": steps, "permissions": dict(permissions)}, self._contexts({}) | {"failed": False}
        )
        self.jobs[name] = [job]
        return job

    def _contexts(self, told: Mapping[str, Any]) -> dict[str, Any]:
        github = {"event": self.event, "event_name": self.event_name, "repository": self.repository}
        inputs = dict.fromkeys(("issue_number", "pull_request"), "") | dict(self.inputs)
        return {
            "github": github,
            "inputs": inputs,
            "secrets": self.repository_secrets,
            "env": dict(told.get("env", {})),
        }

    def _job(self, name: str, spec: Mapping[str, Any], contexts: dict[str, Any]) -> Job:
        permissions = spec.get("permissions", {})
        assert set(permissions) <= set(PERMISSIONS), permissions
        job = Job(name, f"ghs_{secrets.token_hex(18)}", folder=self.folder / name)
        self.on_token(job.token, permissions)
        for folder in ("temp", "home", "workspace"):
            (job.folder / folder).mkdir(parents=True)
        # Where install.sh would put the agent: installing it for each job is what a test of pip would do.
        (job.folder / "temp/assay-venv").symlink_to(ROOT / ".venv")
        mine = {**contexts, "steps": job.steps, "failed": False}
        mine["github"] = {
            **contexts["github"],
            "token": job.token,
            "workspace": str(job.folder / "workspace"),
        }
        self._steps(job, spec["steps"], mine, {})
        job.outputs = {key: shown(expand(value, mine)) for key, value in spec.get("outputs", {}).items()}
        return job

    def _steps(
        self,
        job: Job,
        steps: list[Mapping[str, Any]],
        contexts: dict[str, Any],
        around: Mapping[str, str],
        action: Path | None = None,
    ) -> bool:
        """Run steps, as those of a job or of a composite action; whether all went well."""
        for number, step in enumerate(steps):
            if not condition(step.get("if"), contexts):
                continue
            env = {**around, **{k: _value(v, contexts) for k, v in step.get("env", {}).items()}}
            with_ = {k: _value(v, contexts) for k, v in step.get("with", {}).items()}
            if "run" in step:
                assert step["shell"] == "bash" if action else True
                well, outputs = self._script(job, step["run"], contexts, env, action)
            else:
                well, outputs = self._used(job, step["uses"], with_, contexts, env)
            contexts["steps"][step.get("id", f"__{number}")] = {"outputs": outputs}
            if not well:
                contexts["failed"] = True
                job.result = "failure"
        return not contexts["failed"]

    def _used(
        self, job: Job, uses: str, given: dict[str, str], contexts: dict[str, Any], env: Mapping[str, str]
    ) -> tuple[bool, dict[str, str]]:
        if own := OWN.fullmatch(uses):
            folder = ROOT / own[1]
            told = yaml.safe_load((folder / "action.yml").read_text("utf-8"))
            unknown = set(given) - set(told["inputs"])
            assert not unknown, f"{uses} has no input {unknown}"
            given |= self.replaced.get(folder.name, {})
            inputs = {
                name: given.get(name, _value(about.get("default", ""), contexts))
                for name, about in told["inputs"].items()
            }
            missing = [n for n, about in told["inputs"].items() if about.get("required") and not inputs[n]]
            assert not missing, f"{uses} needs {missing}"
            inner = {"github": contexts["github"], "inputs": inputs, "env": {}, "steps": {}, "failed": False}
            well = self._steps(job, told["runs"]["steps"], inner, env, folder)
            return well, {
                name: shown(expand(about["value"], inner)) for name, about in told.get("outputs", {}).items()
            }
        name = uses.partition("@")[0]
        assert re.fullmatch(r"[0-9a-f]{40}", uses.partition("@")[2]), f"{uses} is not pinned"
        done = {
            "actions/checkout": self._checkout,
            "actions/upload-artifact": self._upload,
            "actions/download-artifact": self._download,
        }[name](job, given)
        return done, {}

    def _script(
        self, job: Job, script: str, contexts: dict[str, Any], env: Mapping[str, str], action: Path | None
    ) -> tuple[bool, dict[str, str]]:
        temp = job.folder / "temp"
        with tempfile.TemporaryDirectory(dir=temp, prefix="_runner-") as folder:
            files = {
                name: Path(folder) / name
                for name in ("env", "output", "path", "step_summary", "state", "event")
            }
            for path in files.values():
                path.write_text("")
            files["event"].write_text(json.dumps(self.event))
            (Path(folder) / "script.sh").write_text(expand(script, contexts))
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", f"{folder}/script.sh"],
                cwd=job.folder / "workspace",
                env=self._environment(job, files, env, action),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=600,
            )
            outputs = dict(_pairs(files["output"].read_text("utf-8")))
            job.environment |= dict(_pairs(files["env"].read_text("utf-8")))
            job.path += [line for line in files["path"].read_text("utf-8").splitlines() if line]
            job.summary += files["step_summary"].read_text("utf-8")
        job.log += done.stdout
        for command, properties, text in _commands(done.stdout):
            job.told.append((command, text))
            if command == "set-output":
                outputs[properties.get("name", "")] = text
        return done.returncode == 0, outputs

    def _environment(
        self, job: Job, files: Mapping[str, Path], env: Mapping[str, str], action: Path | None
    ) -> dict[str, str]:
        told = {
            "CI": "true",
            "HOME": str(job.folder / "home"),
            "RUNNER_TEMP": str(job.folder / "temp"),
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.api,
            "GITHUB_SERVER_URL": self.server,
            "GITHUB_REPOSITORY": self.repository,
            "GITHUB_WORKSPACE": str(job.folder / "workspace"),
            "GITHUB_EVENT_NAME": self.event_name,
            "GITHUB_EVENT_PATH": str(files["event"]),
            **{f"GITHUB_{name.upper()}": str(path) for name, path in files.items() if name != "event"},
            "ACTIONS_RUNTIME_TOKEN": "eyJRuntimeTokenOfTheRunner0",
        }
        kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
        more = {"GITHUB_ACTION_PATH": str(action)} if action else {}
        path = {"PATH": os.pathsep.join([*reversed(job.path), kept["PATH"]])}
        return kept | dict(self.more) | told | more | job.environment | path | dict(env)

    # ---- GitHub's own actions

    def _checkout(self, job: Job, given: dict[str, str]) -> bool:
        """As actions/checkout: one commit, the branch's name kept, the token only where it is not told otherwise."""
        branch, folder = given.get("ref") or "main", str(job.folder / "workspace")
        remote = f"{self.remote.as_uri()}/{self.repository}"
        for line in (
            ["init", "-q", "--template=", folder],
            ["-C", folder, "remote", "add", "origin", remote],
            [
                "-C",
                folder,
                "fetch",
                "-q",
                "--depth=1",
                "origin",
                f"+refs/heads/{branch}:refs/remotes/origin/{branch}",
            ],
            ["-C", folder, "checkout", "-q", "--force", "-B", branch, f"refs/remotes/origin/{branch}"],
        ):
            subprocess.run(["git", *line], check=True, capture_output=True)
        if given.get("persist-credentials", "true") != "false":
            config = ["-C", folder, "config", "http.extraheader", f"AUTHORIZATION: basic {job.token}"]
            subprocess.run(["git", *config], check=True)
        self.tamper(job)
        return True

    def _upload(self, job: Job, given: dict[str, str]) -> bool:
        """As actions/upload-artifact: symlinks are followed, hidden files left out."""
        assert re.fullmatch(r"[\w.-]+", given["name"]), given
        root = job.folder / "workspace" / given["path"]
        with zipfile.ZipFile(self.folder / "artifacts" / f"{given['name']}.zip", "w") as made:
            for path in sorted(root.rglob("*")):
                inside = path.relative_to(root)
                if path.is_file() and not any(part.startswith(".") for part in inside.parts):
                    made.write(path, str(inside))
        return True

    def _download(self, job: Job, given: dict[str, str]) -> bool:
        artifact = self.folder / "artifacts" / f"{given['name']}.zip"
        if not artifact.exists():
            job.told.append(("error", f"no artifact {given['name']}"))
            return False
        with zipfile.ZipFile(artifact) as packed:
            packed.extractall(job.folder / "workspace" / given["path"])
        return True


def _value(written: Any, contexts: Mapping[str, Any]) -> str:
    """A value as a step gets it, of what stands in the file."""
    return shown(expand(written, contexts) if isinstance(written, str) else written)


def _matrix(spec: Mapping[str, Any], contexts: Mapping[str, Any]) -> list[dict[str, Any]]:
    matrix = spec.get("strategy", {}).get("matrix")
    if matrix is None:
        return [{}]
    ((name, value),) = matrix.items()
    return [{name: one} for one in expand(value, contexts)]


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """NAME=VALUE and NAME<<MARK … MARK, as EnvFileKeyValuePairs reads them. Raises ValueError for what is neither."""
    lines = iter(text.split("\n"))
    for line in lines:
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            name, _, value = line.partition("=")
            yield name, value
        elif heredoc >= 0:
            name, _, mark = line.partition("<<")
            value_lines = []
            for one in lines:
                if one == mark:
                    break
                value_lines.append(one)
            else:
                raise ValueError(f"no end of {name!r}")
            yield name, "\n".join(value_lines)
        else:
            raise ValueError(f"invalid format {line!r}")


def _commands(log: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """The workflow commands that a runner obeys in a log: `::name key=value::text` at a line's beginning, and the old
    `##[name key=value]text` anywhere in it; none between stop-commands and its token."""
    stopped = ""
    for line in re.split(r"\r\n|\n|\r", log):
        match = re.match(r"\s*::([^\s:]+)(?: ([^:]*(?::(?!:)[^:]*)*))?::(.*)", line) or re.search(
            r"##\[([^\s\]]+)(?: ([^\]]*))?\](.*)", line
        )
        if match is None:
            continue
        name, text = match[1], match[3]
        if stopped:
            if name.casefold() == stopped.casefold():
                stopped = ""
        elif name == "stop-commands":
            stopped = text
        elif name in COMMANDS:
            properties = dict(one.split("=", 1) for one in re.split("[,;]", match[2] or "") if "=" in one)
            for code, sign in (("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
                text = text.replace(code, sign)
            yield name, {key.strip(): value for key, value in properties.items()}, text
