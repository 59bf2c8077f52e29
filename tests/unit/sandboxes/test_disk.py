"""The bound on what a set-up takes of a disk."""

import os
import time
from pathlib import Path

import anyio
import pytest

from sandboxes import disk
from sandboxes.disk import Disk, bounded, size_of
from sandboxes.errors import SetupFailed


class Counted(Disk):
    """A disk of so many MB that are free."""

    def __init__(self, free: int | None) -> None:
        super().__init__(None)
        self.free = free

    def free_mb(self) -> int | None:
        return self.free


def run(sizes: list[int], free: int | None = None, *, copied: bool = False, seconds: float = 30) -> float:
    """How long work of so many seconds goes on that takes so many MB, as it is looked at."""

    async def taken() -> int:
        return (sizes.pop(0) if len(sizes) > 1 else sizes[0]) << 20

    async def main() -> float:
        began = time.monotonic()
        async with bounded(taken, Counted(free), copied=copied):
            await anyio.sleep(seconds)
        return time.monotonic() - began

    return anyio.run(main)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "LOOK_SECONDS", 0.01)


def test_work_that_takes_too_much_is_ended_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(
        SetupFailed, match=r"wrote more than 20 GB to the disk; let it install less \(`setup`"
    ):
        run([0, 100, 20_001])
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("taken", "free", "copied", "ends"),
    [
        (5_000, 1_999, False, True),
        (5_000, 2_001, False, False),
        (5_000, 6_999, True, True),
        (5_000, 7_001, True, False),
        (5_000, None, True, False),
        (0, 10, True, False),  # it is not the set-up that filled it
    ],
)
def test_others_keep_their_room(taken: int, free: int | None, copied: bool, ends: bool) -> None:
    if ends:
        with pytest.raises(
            SetupFailed, match=r"wrote 5\.0 GB, and .* GB are left on the disk, of which 2 GB stay"
        ):
            run([taken], free, copied=copied, seconds=0.1)
    else:
        run([taken], free, copied=copied, seconds=0.1)


def test_what_was_written_last_counts() -> None:
    with pytest.raises(SetupFailed, match="more than 20 GB"):
        run([0, 30_000], seconds=0.0)


def test_a_fault_of_the_work_stays_what_it_is() -> None:
    async def taken() -> int:
        return 0

    async def main() -> None:
        async with bounded(taken, Counted(None)):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        anyio.run(main)


def test_a_folder_counts_what_it_takes_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "full").write_bytes(os.urandom(1 << 20))
    (tmp_path / "again").hardlink_to(tmp_path / "a" / "full")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert 1 << 20 <= size_of(tmp_path) < 2 << 20
