"""The environment of a repository: an image in which its tests run, made once and cached by content.

A set-up runs the repository's own code (setup.py, build hooks) with network, so it runs hardened like a sandbox, as
an ordinary user; only /opt/env is kept of what it writes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from sandboxes import inside
from sandboxes.commands import GENERATED, TOOLBOX, TOOLS
from sandboxes.containers import AGENT, agent_tmpfs, container, new_name
from sandboxes.detect import Plan, Repository, plan, scan
from sandboxes.docker import BUSYBOX, Sandbox
from sandboxes.engine import Engine
from sandboxes.errors import SandboxError, SetupFailed
from sandboxes.hostnet import HostNetwork
from sandboxes.images import SYSTEM_PATH, commit, ensure_base_image, ensure_image, image_config
from sandboxes.install import Installer
from sandboxes.locks import exclusively
from sandboxes.toolbox import ensure_toolbox
from sandboxes.toolchains import CERTIFICATES, ensure_toolchains
from sandboxes.types import Environment, Limits

RECIPE = 2
"""To be raised when the same repository should be set up anew."""
TIME_LIMIT = 1200
LIMITS = Limits(memory_mb=8192, pids=1024, tmp_mb=4096, lifetime_seconds=TIME_LIMIT + 300)
ENV = "/opt/env"
LABEL = "assay.environment"
NPMRC = "/run/npmrc"
CERTIFICATE_VARIABLES = (
    "SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
)  # fmt: skip


async def prepare(
    engine: Engine,
    tree_tar: Path,
    *,
    image: str | None,
    setup: Sequence[str] | None,
    tools_dir: Path,
    log: Callable[[str], None],
) -> Environment:
    """See Docker.environment."""
    base = await ensure_base_image(engine, log)
    toolbox, tools = await ensure_toolbox(engine, base, tools_dir, log)
    source = await ensure_image(engine, image, log) if image else base
    try:
        repository = await anyio.to_thread.run_sync(scan, tree_tar)
    except (OSError, tarfile.TarError) as error:
        raise SandboxError(f"cannot read the repository's tar: {error}") from error
    found = plan(repository) if not image and setup is None else None
    host = await anyio.to_thread.run_sync(HostNetwork.read)
    if found is not None:
        source = await ensure_toolchains(engine, source, found.toolchains, toolbox, host, log)
    config = await image_config(engine, source)
    path = next((item[5:] for item in config.get("Env") or () if item.startswith("PATH=")), SYSTEM_PATH)
    if found is None and not setup:
        summary = f"{image} as it is" if image else "no set-up: no language was found that has one"
        digest = _digest(source)
        return Environment(source, toolbox, tools, path, digest=digest, summary=summary)

    digest = _digest(
        RECIPE, source, setup, found and asdict(found), host.public, repository.layout,
        {name: hashlib.sha256(data).hexdigest() for name, data in repository.manifests.items()},
        repository.content if found and found.builds else "",
    )  # fmt: skip
    tag = "assay-env:" + digest.removeprefix("sha256:")[:32]
    cached = await _cached(engine, tag)
    if cached is None:
        async with exclusively(tag.replace(":", "-"), log):
            cached = await _cached(engine, tag)
            if cached is None:
                job = _Setup(engine, source, path, toolbox, tools, host, log)
                await job.run(tree_tar, repository, found, list(setup or ()), tag)
                cached = await _cached(engine, tag)
    if cached is None:
        raise SandboxError("the image of the environment was removed while it was made")
    made, kept = cached
    return Environment(
        image=made,
        toolbox=toolbox,
        tools=tools,
        path=kept["path"],
        variables=kept["variables"],
        digest=digest,
        summary=kept["summary"],
        warnings=tuple(kept["warnings"]),
    )


def _digest(*parts: Any) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


async def _cached(engine: Engine, tag: str) -> tuple[str, dict[str, Any]] | None:
    """The image of this tag, and what was noted with it."""
    from docker.errors import ImageNotFound

    try:
        found = await engine.call(engine.api.inspect_image, tag)
    except ImageNotFound:
        return None
    return str(found["Id"]), json.loads(found["Config"]["Labels"][LABEL])


class _Setup:
    """One set-up, from a container to an image."""

    def __init__(
        self,
        engine: Engine,
        source: str,
        path: str,
        toolbox: str,
        tools: str,
        host: HostNetwork,
        log: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._source = source
        self._path = path
        self._volumes = {toolbox: (TOOLBOX, "ro"), tools: (TOOLS, "ro")}
        self._host = host
        self._log = log

    async def run(
        self, tree_tar: Path, repository: Repository, found: Plan | None, commands: list[str], tag: str
    ) -> None:
        """Set up and commit. Raises SetupFailed."""
        path = f"{ENV}/bin:{self._path}"
        async with container(
            self._engine,
            self._source,
            name=new_name(),
            run_id="setup",
            command=[BUSYBOX, "sleep", str(LIMITS.lifetime_seconds)],
            limits=LIMITS,
            environment={"PATH": path, "HOME": "/home/agent", "LANG": "C.UTF-8"},
            tmpfs={**agent_tmpfs(LIMITS), "/var/tmp": "rw,nosuid,nodev,size=64m,mode=1777"},  # noqa: S108
            volumes=self._volumes,
            network="bridge",
            read_only=False,
            directories=_directories(),
        ) as container_id:
            sandbox = Sandbox(self._engine, container_id)
            await sandbox.put_tree(tree_tar)
            variables = dict(self._host.variables)
            if self._host.certificates:
                await sandbox.put_file(CERTIFICATES, self._host.certificates)
                variables |= dict.fromkeys(CERTIFICATE_VARIABLES, CERTIFICATES)
            if self._host.npmrc:
                await sandbox.put_file(NPMRC, self._host.npmrc)
                variables["npm_config_userconfig"] = NPMRC
            installer = Installer(sandbox, variables, self._host.masked, self._log, TIME_LIMIT)
            # the user's commands are given one too, for whatever they install with pip
            has_venv = (found is None or found.python is not None) and await installer.make_venv(
                system_packages=found is None, must=found is not None, plan=found.python if found else None
            )
            if found is not None:
                await installer.install_all(found)
            for command in commands:
                await installer.command(command)
            generated = await self._finish(sandbox, repository)
            warnings = list(installer.warnings)
            if found is not None and found.python and found.python.compiles and generated:
                warnings.append(
                    "extension modules were compiled at the set-up: a patch to their sources has no effect"
                )
            for warning in warnings:
                self._log(f"warning: {warning}")
            path = path if has_venv or found else self._path
            kept = {
                "path": path,
                "variables": {
                    **({"VIRTUAL_ENV": ENV} if has_venv else {}),
                    **(found.variables if found else {}),
                },
                "summary": "; ".join(installer.summary),
                "warnings": warnings,
            }
            labels = {LABEL: json.dumps(kept)}
            await commit(self._engine, container_id, tag, kind="environment", path=path, labels=labels)

    async def _finish(self, sandbox: Sandbox, repository: Repository) -> int:
        """Keep the generated files in the image; returns their number."""
        request = json.dumps({"tree": repository.names, "secrets": self._host.secrets}).encode() + b"\n"
        output, code, error = await sandbox.program(
            inside.source("finish_setup"), ["/workspace", ENV, GENERATED], io.BytesIO(request), 1 << 16
        )
        if code != 0:
            raise SetupFailed(f"the set-up could not be finished: {error or f'exit code {code}'}")
        result = json.loads(output)
        if result["leaks"]:
            raise SetupFailed(
                f"the set-up wrote the credentials of the package index into {result['leaks'][0]!r}; "
                "an image with credentials is not kept"
            )
        return int(result["generated"])


def _directories() -> bytes:
    """The places of the agent's user, as a tar: an image of the user's does not have them."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name in ("opt/env", "workspace", "home/agent"):
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            member.uid, member.gid = (int(number) for number in AGENT.split(":"))
            tar.addfile(member)
    return target.getvalue()
