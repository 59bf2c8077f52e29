"""An image with the test runners of several languages."""

from __future__ import annotations

from pathlib import Path

from agent.environment import TOOLS
from sandboxes.docker import Docker
from sandboxes.images import SYSTEM_PATH
from sandboxes.types import Environment, Limits
from tests.docker.built_image import built_image
from tests.docker.sandbox_tools import tar_of

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
    """The image with all runners."""
    path = f"{NODE_MODULES}/.bin:{SYSTEM_PATH}"
    variables = ("NODE_EXTRA_CA_CERTS", "npm_config_cafile")
    return await built_image("assay-test-runners", INSTALL, variables, LIMITS, path)


async def environment_of(folder: Path) -> Environment:
    """The image, ready for a gate; `folder` takes what it is made of."""
    docker = await Docker.connect()
    tar = tar_of(folder / "tree.tar", {"x": b""})
    return await docker.environment(tar, image=await build_image(), setup=None, tools_dir=TOOLS, log=print)
