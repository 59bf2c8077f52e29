"""Parts of unusual images: a Debian with an older glibc, and busybox with musl in place of glibc.

There is no registry to take an Alpine from. What makes it hard for tools is here: musl's loader and libc, a program
linked against them (ninja, of a wheel made for Alpine), busybox for everything else, and no glibc. It has no apk.
"""

from __future__ import annotations

import subprocess

from sandboxes.types import Limits
from tests.docker.built_image import built_image

GATHER = """
set -e
mkdir -p /parts/old /parts/musl/lib /parts/musl/bin /parts/busybox/bin /tmp/a/partial /tmp/l/partial /tmp/wheel
cd /tmp
mirror=$(grep -rhoE 'https?://[^ ]+' /etc/apt/sources.list /etc/apt/sources.list.d | grep -v security | head -n 1)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bullseye main" > list
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
    """An image with the parts below /parts."""
    return await built_image("assay-test-parts", GATHER, ("PIP_CERT", "SSL_CERT_FILE"), LIMITS)


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
