"""Images with the toolchains of other languages than Python: layers of distribution packages on the base image.

Each is made once for a base image and a set of toolchains, and found by what it is made of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from sandboxes.containers import container, new_name
from sandboxes.docker import Sandbox
from sandboxes.engine import Engine
from sandboxes.errors import ImageUnavailable
from sandboxes.hostnet import proxy_variables
from sandboxes.images import CAPABILITIES, SYSTEM_PATH, commit, find_image
from sandboxes.install import clean, telling
from sandboxes.locks import exclusively
from sandboxes.types import Limits

LIMITS = Limits(lifetime_seconds=1500, pids=1024)
SECONDS = 1200
TOOLCHAINS = {
    "compilers": ("g++ make pkg-config",),
    # a newer one than the release itself has, where the distribution's backports are there
    "go": ("-t BACKPORTS golang-go", "golang-go"),
    # Debian keeps a newer Rust for its browsers
    "rust": ("cargo-web rustc-web", "cargo rustc"),
    "java": ("default-jdk-headless maven",),
    "gradle": ("gradle",),
}
"""Packages of the distribution; where the first cannot be installed, the next."""
PREPARE = """
set -e
export DEBIAN_FRONTEND=noninteractive
command -v apt-get > /dev/null || { echo "error: the base image has no apt-get"; exit 1; }
. /etc/os-release
backports=$VERSION_CODENAME-backports
sources="/etc/apt/sources.list /etc/apt/sources.list.d"
mirror=$(grep -rhoE 'https?://[^ ]+/debian/?( |$)' $sources 2>/dev/null | head -n 1)
apt() { apt-get -o APT::Sandbox::User=root -o Acquire::Retries=3 -o Dpkg::Options::=--force-unsafe-io "$@"; }
apt update -qq
if [ "$ID" = debian ] && [ -n "$mirror" ]; then
    echo "deb $mirror $backports main" > /etc/apt/sources.list.d/backports.list
    apt update -qq || { rm /etc/apt/sources.list.d/backports.list; apt update -qq; }
fi
install() { apt install -y -qq --no-install-recommends $(echo "$1" | sed "s/BACKPORTS/$backports/"); }
"""
CLEAN_UP = """\
rm -rf /etc/apt/sources.list.d/backports.list /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb
"""


async def ensure_toolchains(
    engine: Engine, base: str, names: Sequence[str], log: Callable[[str], None]
) -> str:
    """The id of an image of `base` with these toolchains; `base` itself for none. Raises ImageUnavailable."""
    if not names:
        return base
    script = PREPARE + "".join(_install(name) for name in names) + CLEAN_UP
    tag = "assay-toolchain:" + hashlib.sha256(f"{base}\0{script}".encode()).hexdigest()[:24]
    if found := await find_image(engine, tag):
        return found
    async with exclusively(tag.replace(":", "-"), log):
        if found := await find_image(engine, tag):
            return found
        log(f"making an image with {', '.join(names)} (packages by apt-get; once)")
        async with container(
            engine, base, name=new_name(), run_id="toolchain", user="0:0",
            command=["/bin/sleep", str(LIMITS.lifetime_seconds)], limits=LIMITS,
            network="bridge", read_only=False, capabilities=CAPABILITIES,
        ) as builder:  # fmt: skip
            done = await Sandbox(engine, builder, user="0:0").run(
                ["/bin/sh", "-c", script],
                timeout=SECONDS,
                cwd="/",
                env={"PATH": SYSTEM_PATH, **proxy_variables()},
            )
            if done.exit_code != 0:
                said = clean(done.output.decode("utf-8", "replace"))
                raise ImageUnavailable(
                    f"could not install {', '.join(names)} into an image: "
                    + (f"it took more than {SECONDS // 60} minutes" if done.timed_out else telling(said))
                    + "; see that containers reach the Debian mirror, or name an image that has it: --image"
                )
            return await commit(engine, builder, tag, kind="toolchain")


def _install(name: str) -> str:
    return " || ".join(f"install '{packages}'" for packages in TOOLCHAINS[name]) + "\n"
