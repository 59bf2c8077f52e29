"""The environment of a repository: an image in which its tests run, made once and cached by content.

A set-up runs the repository's own code (setup.py, build hooks) with network, so it runs hardened like a sandbox, as
an ordinary user; only /opt/env is kept of what it writes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from sandboxes import inside
from sandboxes.checkouts import ensure_linked
from sandboxes.commands import GENERATED, TOOLBOX, TOOLS
from sandboxes.containers import AGENT, agent_tmpfs, container, new_name, written
from sandboxes.detect import Plan, Repository, plan, scan
from sandboxes.disk import Disk, bounded
from sandboxes.docker import BUSYBOX, Sandbox
from sandboxes.dockerfile import CERTIFICATE_VARIABLES
from sandboxes.driver import Sandbox as AnySandbox
from sandboxes.engine import Engine
from sandboxes.errors import ImageUnavailable, SandboxError, SetupFailed
from sandboxes.hostnet import HostNetwork
from sandboxes.images import (
    SYSTEM_PATH,
    base_image_tag,
    commit,
    ensure_base_image,
    find_image,
    image_config,
)
from sandboxes.install import Installer
from sandboxes.locks import Kept, exclusively
from sandboxes.prune import bound, mark_used, prune
from sandboxes.source import Offer, best_offer, check_volumes, ensure_source
from sandboxes.toolbox import ensure_toolbox, toolbox_volumes
from sandboxes.toolchains import CERTIFICATES, ensure_toolchains
from sandboxes.types import Environment, Limits
from sandboxes.volumes import complete

RECIPE = 2
"""To be raised when the same repository should be set up anew."""
TIME_LIMIT = 1200
LIMITS = Limits(memory_mb=8192, pids=1024, tmp_mb=4096, lifetime_seconds=TIME_LIMIT + 300)
ENV = "/opt/env"
LABEL = "assay.environment"
NPMRC = "/run/npmrc"


async def prepare(
    engine: Engine,
    tree_tar: Path,
    *,
    image: str | None,
    dockerfile: str | None,
    setup: Sequence[str] | None,
    tools_dir: Path,
    log: Callable[[str], None],
    kept: Kept,
) -> Environment:
    """See Docker.environment; `kept` are the images in use, which are not pruned."""
    bound()  # what is wrong with it is told before there is work
    base = await ensure_base_image(engine, log)
    toolbox, tools = await ensure_toolbox(engine, base, tools_dir, log)
    try:
        repository = await anyio.to_thread.run_sync(scan, tree_tar)
    except (OSError, tarfile.TarError) as error:
        raise SandboxError(f"cannot read the repository's tar: {error}") from error
    found = plan(repository)
    nothing = setup is None and found is None
    offer = await best_offer(tree_tar, image, dockerfile, log, nothing_found=nothing)
    host = await anyio.to_thread.run_sync(HostNetwork.read)
    place = _Place(engine, tree_tar, repository, base, toolbox, tools, host, log, kept)
    try:
        return await place.environment(offer, found, setup)
    except (ImageUnavailable, SetupFailed) as error:
        if offer.chosen or not offer.name:
            raise
        if isinstance(error, SetupFailed) and error.log:
            log(error.log)
        log(f"warning: {offer.name} is set aside: {error}")
        return await place.environment(Offer(), found, setup)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the environments of one tree are made."""

    engine: Engine
    tree_tar: Path
    repository: Repository
    base: str
    toolbox: str
    tools: str
    host: HostNetwork
    log: Callable[[str], None]
    kept: Kept

    async def environment(self, offer: Offer, found: Plan | None, setup: Sequence[str] | None) -> Environment:
        """The environment on the offered image; `found` is what the repository's manifests speak for, `setup` what the
        user wants instead. Raises ImageUnavailable, SetupFailed."""
        engine, repository, host = self.engine, self.repository, self.host
        source = await self._source(offer, found, setup)
        config = await image_config(engine, source)
        path = next((item[5:] for item in config.get("Env") or () if item.startswith("PATH=")), SYSTEM_PATH)
        check_volumes(config)
        unasked = "" if offer.chosen else offer.name
        commands = offer.commands if setup is None else setup
        if offer.chosen or setup is not None or commands:
            found = None
        more = [offer.commands, dict(offer.variables)] if offer.commands or offer.variables else []
        if found is None and not commands:
            summary = (
                f"{offer.name} as it is" if offer.name else "no set-up: no language was found that has one"
            )
            digest = digest_of(source, *more)
            return Environment(
                source, self.toolbox, self.tools, path, offer.variables, unasked, digest, summary
            )
        digest = digest_of(
            RECIPE, source, setup, found and asdict(found), host.public, repository.layout,
            {name: hashlib.sha256(data).hexdigest() for name, data in repository.manifests.items()},
            repository.content if found and found.builds else "", *more,
        )  # fmt: skip
        tag = _tag(digest)
        self.kept.keep(tag)
        cached = await _cached(engine, tag)
        if cached is None:
            async with exclusively(tag.replace(":", "-"), self.log):
                cached = await _cached(engine, tag)
                if cached is None:
                    job = _Setup(engine, source, path, self.toolbox, self.tools, host, self.log)
                    work = Work(found, commands, setup is not None, offer.variables)
                    await job.run(self.tree_tar, repository, work, tag)
                    cached = await _cached(engine, tag)
                    await prune(engine, self.log)
        if cached is None:
            raise SandboxError("the image of the environment was removed while it was made")
        made, told = cached
        await mark_used(engine, made, tag)
        return Environment(
            image=made,
            toolbox=self.toolbox,
            tools=self.tools,
            path=told["path"],
            variables={**told["variables"], **offer.variables},
            unasked=unasked,
            digest=digest,
            summary=f"{offer.name}: {told['summary']}" if offer.name else told["summary"],
            warnings=tuple(told["warnings"]),
        )

    async def _source(self, offer: Offer, found: Plan | None, setup: Sequence[str] | None) -> str:
        """The id of the offered image, or of the base image with the toolchains that the repository's languages need,
        also for the user's own set-up."""
        if offer.name:
            source = await ensure_source(self.engine, self.tree_tar, offer, self.kept, self.log)
            return await ensure_linked(
                self.engine,
                offer.image or offer.name,
                source,
                self.repository,
                self.toolbox,
                self.kept,
                self.log,
            )
        if found is None or (setup is not None and not setup):
            return self.base
        try:
            return await ensure_toolchains(
                self.engine, self.base, found.toolchains, self.toolbox, self.host, self.log
            )
        except ImageUnavailable as error:
            if setup is None:
                raise
            self.log(f"warning: {error}")
            return self.base


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done in a set-up."""

    found: Plan | None
    commands: Sequence[str]
    must: bool
    """Whether the set-up has failed when one of the commands does; else that is a warning."""
    variables: Mapping[str, str]


def digest_of(*parts: Any) -> str:
    """The digest of an environment that was made from these."""
    return "sha256:" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _tag(digest: str) -> str:
    return "assay-env:" + digest.removeprefix("sha256:")[:32]


async def there(engine: Engine, environment: Environment, tools_dir: Path, kept: Kept) -> bool:
    """Whether an environment that `prepare` made can be used as it is: its image is the one of its digest, and made
    on the base image and the tools of this version. Then it is kept, and noted as used."""
    bound()  # what is wrong with it is told in any case
    tag, found = _tag(environment.digest), dict[str, str | None]()
    kept.keep(tag)

    async def find(name: str) -> None:
        found[name] = await find_image(engine, name)

    async def look(volume: str) -> None:
        found[volume] = volume if await complete(engine, volume) else None

    volumes = (environment.toolbox, environment.tools)
    async with anyio.create_task_group() as tasks:
        for name in (tag, base_image_tag()):
            tasks.start_soon(find, name)
        for volume in volumes:
            tasks.start_soon(look, volume)
    base = found[base_image_tag()]
    if base is None or None in (found[volume] for volume in volumes):
        return False
    if volumes != toolbox_volumes(base, tools_dir) or (found[tag] or base) != environment.image:
        return False
    if found[tag]:
        await mark_used(engine, environment.image, tag)
    return True


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

    async def run(self, tree_tar: Path, repository: Repository, work: Work, tag: str) -> None:
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
            size, disk = partial(written, self._engine, container_id), await Disk.of_engine(self._engine)
            async with bounded(size, disk, copied=True):
                kept = await set_up(
                    sandbox, tree_tar, repository, work, path=self._path, host=self._host, log=self._log
                )
            labels = {LABEL: json.dumps(kept, separators=(",", ":"))}
            path = kept["path"]
            await commit(self._engine, container_id, tag, kind="environment", path=path, labels=labels)


async def set_up(
    sandbox: AnySandbox,
    tree_tar: Path,
    repository: Repository,
    work: Work,
    *,
    path: str,
    host: HostNetwork,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Set up a repository in a sandbox with network, whose PATH is /opt/env/bin and then `path`.

    Returns what is to be noted with the environment: path, variables, summary, warnings. Raises SetupFailed.
    """
    found = work.found
    await sandbox.put_tree(tree_tar)
    variables = {**work.variables, **host.variables}
    if host.certificates:
        await sandbox.put_file(CERTIFICATES, host.certificates)
        variables |= dict.fromkeys(CERTIFICATE_VARIABLES, CERTIFICATES)
    if host.npmrc:
        await sandbox.put_file(NPMRC, host.npmrc)
        variables["npm_config_userconfig"] = NPMRC
    installer = Installer(sandbox, variables, host.masked, log, TIME_LIMIT)
    # the user's commands are given one too, for whatever they install with pip
    has_venv = (found is None or found.python is not None) and await installer.make_venv(
        system_packages=found is None, must=found is not None, plan=found.python if found else None
    )
    if found is not None:
        await installer.install_all(found)
    for command in work.commands:
        try:
            await installer.command(command)
        except SetupFailed as failed:
            if work.must:
                raise
            installer.warnings.append(str(failed))
    generated = await _finish(sandbox, repository, host)
    warnings = list(installer.warnings)
    if found is not None and found.python and found.python.compiles and generated:
        warnings.append(
            "extension modules were compiled at the set-up: a patch to their sources has no effect"
        )
    for warning in warnings:
        log(f"warning: {warning}")
    return {
        "path": f"{ENV}/bin:{path}" if has_venv or found else path,
        "variables": {
            **({"VIRTUAL_ENV": ENV} if has_venv else {}),
            **(found.variables if found else {}),
        },
        "summary": "; ".join(installer.summary),
        "warnings": warnings,
    }


async def _finish(sandbox: AnySandbox, repository: Repository, host: HostNetwork) -> int:
    """Keep the generated files with the environment; returns their number."""
    request = json.dumps({"tree": repository.names, "secrets": host.secrets}).encode() + b"\n"
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
