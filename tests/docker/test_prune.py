"""Cached images beyond the bound are removed, on a real engine. A label of the test's own keeps it off real ones."""

import io
import subprocess
import tarfile
import time

import anyio
import pytest

from sandboxes import owner
from sandboxes import prune as pruning
from sandboxes.docker import Docker
from sandboxes.locks import Kept
from tests.docker.sandbox_tools import containers

pytestmark = pytest.mark.docker

MB = 1_000_000


@pytest.fixture
def label(monkeypatch, tmp_path):
    name = f"assay.cache-test-{tmp_path.name}".replace("_", "-")
    monkeypatch.setattr(owner, "CACHE", name)
    yield name
    left = subprocess.run(
        ["docker", "images", "-q", "--filter", f"label={name}"], capture_output=True, text=True
    )
    if left.stdout.split():
        subprocess.run(["docker", "rmi", "-f", *left.stdout.split()], capture_output=True)


def made(label, name, size=10 * MB, kind="environment"):
    """An image of so many bytes, with nothing but one file in it."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        member = tarfile.TarInfo(f"file-{name}")
        member.size = size
        tar.addfile(member, io.BytesIO(name.encode() * (size // len(name) + 1)))
    command = ["docker", "import", "-c", f"LABEL {label}={kind}", "-c", 'CMD ["x"]', "-", name]
    done = subprocess.run(command, input=data.getvalue(), capture_output=True, check=True)
    return done.stdout.decode().strip()


def there(label):
    command = ["docker", "images", "--filter", f"label={label}", "--format", "{{.Repository}}:{{.Tag}}"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def prune(bound_mb, monkeypatch, before=None):
    monkeypatch.setenv("AGENT_CACHE_GB", str(bound_mb / 1000))
    said = []

    async def main():
        engine = (await Docker.connect()).engine
        if before:
            await before(engine)
        return await pruning.prune(engine, said.append)

    return anyio.run(main), said


def test_what_was_not_used_for_longest_goes_until_the_rest_fits(label, monkeypatch):
    first = made(label, "assay-prune:first")
    for name in ("second", "third"):
        time.sleep(1.1)  # the engine's times have no finer steps everywhere
        made(label, f"assay-prune:{name}")
    time.sleep(1.1)

    async def used(engine):
        await pruning.mark_used(engine, first, "assay-prune:first")

    left, said = prune(25, monkeypatch, used)
    assert there(label) == {"assay-prune:first", "assay-prune:third"}
    assert 19 * MB < left.size <= 25 * MB
    assert len(said) == 1 and said[0].startswith(
        "removed assay-prune:second from the cache of images: last used 20"
    )
    assert left.told() == "0.0 GB of at most 0.025 (AGENT_CACHE_GB), 2 images of repositories"
    left, _ = prune(1, monkeypatch)
    assert (there(label), left.size) == (set(), 0)


def test_what_is_in_use_stays(label, monkeypatch):
    made(label, "assay-prune:kept")
    made(label, "assay-prune:in-a-container")
    made(label, "assay-prune:mine")
    made(label, "assay-prune:free")
    subprocess.run(["docker", "tag", "assay-prune:mine", f"my-own-{label}:1"], check=True)
    held = ["docker", "create", "--label", f"{owner.RUN}=prune-test", "assay-prune:in-a-container"]
    subprocess.run(held, check=True, capture_output=True)
    kept = Kept()
    kept.keep("assay-prune:kept")
    try:
        prune(0, monkeypatch)
        stay = {"assay-prune:kept", "assay-prune:in-a-container", "assay-prune:mine", f"my-own-{label}:1"}
        assert there(label) == stay
    finally:
        subprocess.run(["docker", "rm", *containers("prune-test")], check=True, capture_output=True)
    del kept
    prune(0, monkeypatch)
    assert there(label) == {"assay-prune:mine", f"my-own-{label}:1"}


def test_what_a_killed_build_left_goes_whatever_the_bound(label, monkeypatch):
    made(label, "assay-prune:named")
    old = made(label, "assay-prune:old", kind="build")
    subprocess.run(
        ["docker", "tag", "assay-prune:named", "assay-prune:old"], check=True
    )  # `old` has no name now
    prune(1000, monkeypatch)
    assert "<none>:<none>" in there(label)  # a build may be at it
    monkeypatch.setattr(pruning, "ABANDONED", pruning.timedelta(seconds=0))
    prune(1000, monkeypatch)
    assert there(label) == {"assay-prune:named", "assay-prune:old"}
    assert subprocess.run(["docker", "inspect", old], capture_output=True).returncode != 0
