"""Images that were made around a checkout of the repository, as benchmarks have one for each of their instances.

What is installed in them is installed as links into the checkout, and compiled in it. In a sandbox the repository is at
/workspace, so an image is made of such an image, once, in which the checkout's place is a link to there: what was built
in it comes along, its history (which holds the fix) and the files that tell the fix or its tests do not.

Which images these are is told by their names, or by a label: `assay.checkout=/app`.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sandboxes import inside
from sandboxes.commands import GENERATED, TOOLBOX
from sandboxes.containers import container, new_name
from sandboxes.detect import Repository
from sandboxes.docker import BUSYBOX, Sandbox
from sandboxes.dockerfile import KIND
from sandboxes.engine import Engine
from sandboxes.errors import SandboxError, SetupFailed
from sandboxes.images import CAPABILITIES, SYSTEM_PATH, commit, find_image, image_config
from sandboxes.locks import Kept, exclusively
from sandboxes.prune import mark_used, prune
from sandboxes.types import Limits

LIMITS = Limits(memory_mb=4096, lifetime_seconds=1500)
SECONDS = 600
RECIPE = 1
"""To be raised when images should be made anew."""
ACTIVATE = """\
if [ -d /opt/miniconda3/envs/testbed ]; then . /opt/miniconda3/bin/activate testbed || exit 1; fi
printf '\\0'; env -0
"""
NOT_KEPT = re.compile(r"_|ASSAY_.*|HOME|HOSTNAME|OLDPWD|PATH|PS1|PWD|SHLVL")
"""Variables that are a shell's or a sandbox's own."""


CHECKOUT = "assay.checkout"
"""The label of an image that names its checkout."""
NEEDED = ("/bin", "/etc", "/lib", "/opt/env", "/opt/toolbox", "/tmp", "/usr", "/workspace")  # noqa: S108 (in the image)
"""Where no checkout can be: it would take these along."""


@dataclass(frozen=True, slots=True)
class Layout:
    folders: str
    """Where the checkout may be, patterns of a shell."""
    sign: str = "/.git"
    """What is in it."""
    tells: tuple[str, ...] = ()
    """Files that tell the fix, or the tests that it is graded by, as patterns."""


LAYOUTS = {
    # SWE-bench: NAMESPACE/sweb.eval.ARCHITECTURE.INSTANCE
    re.compile(r"(?:.*/)?sweb\.eval\.[^/]+"): Layout("/testbed"),
    # SWE-bench Pro: NAMESPACE/sweap-images:TAG
    re.compile(r"(?:.*/)?sweap-images[:@][^/]+"): Layout("/app"),
    # Multi-SWE-bench: NAMESPACE/OWNER_m_NAME:pr-NUMBER
    re.compile(r"(?:.*/)?[^/:]+_m_[^/:]+:pr-[0-9]+"): Layout(
        "/testbed /home/*", tells=("/home/*.patch", "/home/*.sh")
    ),
}


def layout_of(image: str, labels: Mapping[str, str]) -> Layout | None:
    """The layout that an image has by its label or its name; None for most. Raises SetupFailed for a label that names
    no place of a checkout."""
    if folder := labels.get(CHECKOUT):
        inside_it = [place for place in NEEDED if f"{place}/".startswith(f"{folder.rstrip('/')}/")]
        if posixpath.normpath(folder) != folder or not re.match("/[^/]", folder) or inside_it:
            raise SetupFailed(
                f"the label {CHECKOUT}={folder!r} of {image} names no folder that a checkout can be in"
            )
        return Layout(shlex.quote(folder), sign="")
    return next((layout for name, layout in LAYOUTS.items() if name.fullmatch(image)), None)


async def ensure_linked(
    engine: Engine,
    image: str,
    source: str,
    repository: Repository,
    toolbox: str,
    kept: Kept,
    log: Callable[[str], None],
) -> str:
    """The id of an image like `source`, which is named `image`, whose checkout is a link to /workspace, and whose
    environment is active; `source` itself where nothing tells of a checkout. Raises SetupFailed."""
    config = await image_config(engine, source)
    layout = layout_of(image, config.get("Labels") or {})
    if layout is None:
        return source
    parts = [RECIPE, source, toolbox, repr(layout), inside.source("link_checkout"), sorted(repository.names)]
    tag = "assay-checkout:" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    kept.keep(tag)
    async with exclusively(tag.replace(":", "-"), log):
        if not await find_image(engine, tag):
            log(f"making the checkout of {image} a link to /workspace (once)")
            path = next((one[5:] for one in config.get("Env") or () if one.startswith("PATH=")), SYSTEM_PATH)
            await _link(engine, image, source, path, layout, repository, toolbox, tag)
            await prune(engine, log)
    found = await find_image(engine, tag)
    if found is None:
        raise SandboxError(f"what was made of {image} was removed meanwhile: start the run again")
    await mark_used(engine, found, tag)
    return found


async def _link(
    engine: Engine,
    image: str,
    source: str,
    path: str,
    layout: Layout,
    repository: Repository,
    toolbox: str,
    tag: str,
) -> None:
    async with container(
        engine, source, name=new_name(), run_id="checkout", user="0:0",
        command=[BUSYBOX, "sleep", str(LIMITS.lifetime_seconds)], limits=LIMITS, environment={"PATH": path},
        volumes={toolbox: (TOOLBOX, "ro")}, read_only=False, capabilities=CAPABILITIES,
    ) as builder:  # fmt: skip
        root = Sandbox(engine, builder, user="0:0")
        seek = f'for one in {layout.folders}; do if [ -d "$one{layout.sign}" ]; then echo "$one"; break; fi; done'
        # by a shell of ours: the image's own does nothing as root
        script = f"{BUSYBOX} mkdir -p /opt/env /workspace; {seek}"
        done = await root.run([BUSYBOX, "sh", "-c", script], timeout=60, cwd="/")
        folder = done.output.decode("utf-8", "replace").strip()
        if not folder:
            raise SetupFailed(
                f"{image} has no checkout in {layout.folders}, as its name or label says: name another image"
            )
        request = json.dumps({"tree": repository.names, "secrets": []}).encode() + b"\n"
        await _run(root, "finish_setup", [folder, "/opt/env", GENERATED], request)
        await _run(root, "link_checkout", [folder, "/workspace", *layout.tells])
        path, variables = await _active(Sandbox(engine, builder), image)
        labels = {CHECKOUT: ""}  # there is none any more
        await commit(engine, builder, tag, kind=KIND, path=path, labels=labels, variables=variables)


async def _active(sandbox: Sandbox, image: str) -> tuple[str, dict[str, str]]:
    """PATH, and the other variables of the active environment."""
    done = await sandbox.run(ACTIVATE, timeout=60, cwd="/", env={"HOME": "/home/agent"})
    said = done.output.decode("utf-8", "replace")
    if done.exit_code != 0:
        raise SetupFailed(f"the environment testbed of {image} can't be activated", said)
    variables = dict(one.split("=", 1) for one in said.split("\0")[1:] if "=" in one)
    own = {name: value for name, value in variables.items() if not NOT_KEPT.fullmatch(name)}
    return variables["PATH"], own


async def _run(root: Sandbox, program: str, arguments: list[str], request: bytes = b"") -> None:
    _, code, error = await root.program(inside.source(program), arguments, io.BytesIO(request), 1 << 16)
    if code != 0:
        raise SetupFailed(f"the checkout in the image can't be linked: {error or f'exit code {code}'}")
