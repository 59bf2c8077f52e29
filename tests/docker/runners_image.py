"""An image with the test runners of several languages."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

from agent.run import TOOLS
from sandboxes.containers import container, new_name
from sandboxes.docker import Docker, Sandbox
from sandboxes.hostnet import HostNetwork
from sandboxes.images import CAPABILITIES, SYSTEM_PATH, commit, ensure_base_image, find_image
from sandboxes.types import Environment, Limits
from tests.docker.sandbox_tools import tar_of

CERTIFICATES = "/etc/host-certificates.pem"
NODE_MODULES = "/node_modules"
"""At the root, where Node looks from any folder."""
INSTALL = """
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -o APT::Sandbox::User=root -o Acquire::Retries=3 update -qq
apt-get -o APT::Sandbox::User=root -o Dpkg::Options::=--force-unsafe-io install -y -qq --no-install-recommends \\
    nodejs npm golang-go cargo make python3-nose2 default-jdk-headless maven junit4 libsurefire-java \\
    libmaven-resources-plugin-java libmaven-compiler-plugin-java
mkdir /opt/js && cd /opt/js && npm init -y > /dev/null && npm install --no-audit --no-fund jest@29 vitest@1 mocha@10
ln -s /opt/js/node_modules /node_modules
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /root/.npm
"""
LIMITS = Limits(memory_mb=4096, pids=1024, lifetime_seconds=1200)


async def build_image() -> str:
    """The image with all runners; built once, then found by what is in it."""
    docker = await Docker.connect()
    base = await ensure_base_image(docker.engine, print)
    tag = "assay-test-runners:" + hashlib.sha256(f"{base}{INSTALL}".encode()).hexdigest()[:24]
    if not await find_image(docker.engine, tag):
        host = HostNetwork.read()
        certificates = io.BytesIO()
        with tarfile.open(fileobj=certificates, mode="w") as tar:
            member = tarfile.TarInfo(CERTIFICATES[1:])
            member.size, member.mode = len(host.certificates), 0o644
            tar.addfile(member, io.BytesIO(host.certificates))
        async with container(
            docker.engine, base, name=new_name(), run_id="test-runners", user="0:0",
            command=["/bin/sleep", str(LIMITS.lifetime_seconds)], limits=LIMITS, network="bridge", read_only=False,
            capabilities=CAPABILITIES, directories=certificates.getvalue(),
        ) as builder:  # fmt: skip
            variables = {"PATH": SYSTEM_PATH, "HOME": "/root", **host.variables}
            if host.certificates:
                variables |= {"NODE_EXTRA_CA_CERTS": CERTIFICATES, "npm_config_cafile": CERTIFICATES}
            done = await Sandbox(docker.engine, builder, user="0:0").run(
                ["/bin/sh", "-c", INSTALL], timeout=900, cwd="/", env=variables
            )
            assert done.exit_code == 0, done.output.decode("utf-8", "replace")[-3000:]
            path = f"{NODE_MODULES}/.bin:{SYSTEM_PATH}"
            await commit(docker.engine, builder, tag, kind="test", path=path)
    return tag


async def environment_of(folder: Path) -> Environment:
    """The image, ready for a gate; `folder` takes what it is made of."""
    docker = await Docker.connect()
    tar = tar_of(folder / "tree.tar", {"x": b""})
    return await docker.environment(tar, image=await build_image(), setup=None, tools_dir=TOOLS, log=print)
