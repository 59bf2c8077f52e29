"""Images that tests build in a container of the base image, with network, and find again by how they are made."""

import hashlib
import io
import tarfile
from collections.abc import Sequence

from sandboxes.containers import container, new_name
from sandboxes.docker import Docker, Sandbox
from sandboxes.hostnet import HostNetwork
from sandboxes.images import CAPABILITIES, SYSTEM_PATH, commit, ensure_base_image, find_image
from sandboxes.types import Limits

CERTIFICATES = "/etc/host-certificates.pem"


async def built_image(
    name: str, script: str, certificate_variables: Sequence[str], limits: Limits, path: str = SYSTEM_PATH
) -> str:
    """The image that the script makes of the base image, as root; programs find the host's CA certificates by the
    variables. `path` is its PATH."""
    docker = await Docker.connect()
    base = await ensure_base_image(docker.engine, print)
    tag = f"{name}:" + hashlib.sha256(f"{base}{script}".encode()).hexdigest()[:24]
    if await find_image(docker.engine, tag):
        return tag
    host = HostNetwork.read()
    certificates = io.BytesIO()
    with tarfile.open(fileobj=certificates, mode="w") as tar:
        member = tarfile.TarInfo(CERTIFICATES[1:])
        member.size, member.mode = len(host.certificates), 0o644
        tar.addfile(member, io.BytesIO(host.certificates))
    async with container(
        docker.engine, base, name=new_name(), run_id=name.removeprefix("assay-"), user="0:0",
        command=["/bin/sleep", str(limits.lifetime_seconds)], limits=limits, network="bridge", read_only=False,
        capabilities=CAPABILITIES, directories=certificates.getvalue(),
    ) as builder:  # fmt: skip
        variables = {"PATH": SYSTEM_PATH, "HOME": "/root", **host.variables}
        if host.certificates:
            variables |= dict.fromkeys(certificate_variables, CERTIFICATES)
        done = await Sandbox(docker.engine, builder, user="0:0").run(
            ["/bin/sh", "-c", script], timeout=limits.lifetime_seconds - 60, cwd="/", env=variables
        )
        assert done.exit_code == 0, done.output.decode("utf-8", "replace")[-3000:]
        await commit(docker.engine, builder, tag, kind="test", path=path)
    return tag
