"""Parts of unusual images: a Debian with an older glibc, and busybox with musl in place of glibc.

There is no registry to take an Alpine from. What makes it hard for tools is here: musl's loader and libc, a program
linked against them (ninja, of a wheel made for Alpine), busybox for everything else, and no glibc. It has no apk.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile

from sandboxes.containers import container, new_name
from sandboxes.docker import Docker, Sandbox
from sandboxes.hostnet import HostNetwork
from sandboxes.images import CAPABILITIES, SYSTEM_PATH, commit, ensure_base_image, find_image
from sandboxes.types import Limits

CERTIFICATES = "/etc/host-certificates.pem"
GATHER = """
set -e
mkdir -p /parts/old /parts/musl/lib /parts/musl/bin /parts/busybox/bin /tmp/a/partial /tmp/l/partial /tmp/wheel
cd /tmp
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bullseye main" > list
options="-o Dir::Etc::sourcelist=/tmp/list -o Dir::Etc::sourceparts=- -o Dir::State::lists=/tmp/l \\
    -o Dir::State::status=/dev/null -o Dir::Cache::archives=/tmp/a -o APT::Sandbox::User=root \\
    -o Acquire::Check-Valid-Until=false"
apt-get $options update -qq
apt-get $options download -qq musl
dpkg-deb -x musl_*.deb musl
rm *.deb
apt-get $options download -qq libc6 bash coreutils grep sed libtinfo6 libselinux1 libpcre2-8-0 libpcre3 libgmp10 \\
    libattr1 libacl1 libgcc-s1
for deb in *.deb; do dpkg-deb -x $deb /parts/old; done
cp $(find musl -name libc.so -type f) /parts/musl/lib/libc.so
for name in ld-musl-$(uname -m).so.1 libc.musl-$(uname -m).so.1; do ln -s libc.so /parts/musl/lib/$name; done
for part in musl busybox; do
    cp /bin/busybox /parts/$part/bin/busybox
    for name in sh ls cat id echo sleep chmod rm mkdir env; do ln -s busybox /parts/$part/bin/$name; done
done
python3 -m venv venv
venv/bin/pip download -q --no-deps --only-binary=:all: --platform musllinux_1_2_$(uname -m) -d wheel ninja==1.13.0
python3 -m zipfile -e wheel/*.whl wheel
cp $(find wheel -name ninja -type f -size +100k) /parts/musl/bin/ninja
chmod 755 /parts/musl/bin/ninja
rm -rf /tmp/*
"""
LIMITS = Limits(memory_mb=2048, lifetime_seconds=600)


async def parts_image() -> str:
    """An image with the parts below /parts; made once, then found by how it is made."""
    docker = await Docker.connect()
    base = await ensure_base_image(docker.engine, print)
    tag = "assay-test-parts:" + hashlib.sha256(f"{base}{GATHER}".encode()).hexdigest()[:24]
    if await find_image(docker.engine, tag):
        return tag
    host = HostNetwork.read()
    certificates = io.BytesIO()
    with tarfile.open(fileobj=certificates, mode="w") as tar:
        member = tarfile.TarInfo(CERTIFICATES[1:])
        member.size, member.mode = len(host.certificates), 0o644
        tar.addfile(member, io.BytesIO(host.certificates))
    async with container(
        docker.engine, base, name=new_name(), run_id="test-parts", user="0:0",
        command=["/bin/sleep", str(LIMITS.lifetime_seconds)], limits=LIMITS, network="bridge", read_only=False,
        capabilities=CAPABILITIES, directories=certificates.getvalue(),
    ) as builder:  # fmt: skip
        variables = {"PATH": SYSTEM_PATH, "HOME": "/root", **host.variables}
        if host.certificates:
            variables |= {"PIP_CERT": CERTIFICATES, "SSL_CERT_FILE": CERTIFICATES}
        done = await Sandbox(docker.engine, builder, user="0:0").run(
            ["/bin/sh", "-c", GATHER], timeout=500, cwd="/", env=variables
        )
        assert done.exit_code == 0, done.output.decode("utf-8", "replace")[-3000:]
        await commit(docker.engine, builder, tag, kind="test")
    return tag


def build(name: str, dockerfile: str) -> str:
    """An image of a Dockerfile that needs no files and no network; its id."""
    done = subprocess.run(
        ["docker", "build", "-q", "--network", "none", "-t", name, "-"],
        input=dockerfile.encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()
