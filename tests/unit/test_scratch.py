"""Temporary folders: those of the dead are found, and nothing else ever is."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from agent.scratch import scratch, stale

OWNER = "from agent.scratch import scratch; import sys; s = scratch(); print(s.name, flush=True); sys.stdin.read()"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def of_a_process(*, kill):
    """The folder of another process, which lives on (the process is handed back) or was killed."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", OWNER], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    if kill:
        process.kill()
        process.communicate()
    return folder, process


def test_a_folder_goes_with_its_context_and_is_stale_once_its_owner_was_killed(temporary):
    with scratch() as mine:
        assert stale() == []
    assert not Path(mine).exists()
    living, process = of_a_process(kill=False)
    dead, _ = of_a_process(kill=True)
    assert stale() == [dead]
    process.communicate("")
    assert not living.exists()


def test_a_folder_that_cannot_be_removed_at_its_end_stops_nobody_and_is_stale_later(temporary):
    program = """
import sys, tempfile
from agent.scratch import scratch
with scratch() as mine:
    def full(path, *args, onerror=None, **more):
        try:
            raise OSError(39, "Directory not empty")
        except OSError:
            onerror(None, path, sys.exc_info())
    tempfile._shutil.rmtree = full
print(mine)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert stale() == [Path(done.stdout.strip())]


def test_what_is_not_surely_ours_is_never_stale(temporary):
    dead, _ = of_a_process(kill=True)
    pid, boot = json.loads((dead / ".assay-owner").read_text())
    names = [
        "assay-20260101-mydata",
        "assay-999999999-x",
        "assay-scratch-12345678",
        "assay-scratch-mydata-2026",
    ]
    for name in names:
        (temporary / name).mkdir()
    (temporary / "assay-scratch-mydata-2026" / ".assay-owner").write_text(json.dumps([pid, boot]))
    (temporary / "assay-scratch-linked__").symlink_to(dead)
    for number, text in enumerate(
        ["", "{", "[1, 2]", "[" * 50_000, json.dumps([pid, "x"]), json.dumps([pid])]
    ):
        (temporary / f"assay-scratch-broken_{number}").mkdir()
        (temporary / f"assay-scratch-broken_{number}" / ".assay-owner").write_text(text)
    assert stale() == [dead]


def test_an_owner_in_another_pid_namespace_or_boot_is_not_called_dead(temporary):
    folder, _ = of_a_process(kill=True)
    marker = folder / ".assay-owner"
    pid, boot = json.loads(marker.read_text())
    started = boot.rpartition("/")[2]
    marker.write_text(json.dumps([pid, f"another-boot/pid:[1]/{started}"]))
    assert stale() == []
    marker.write_text(json.dumps([pid, boot]))
    assert stale() == [folder]


def test_a_folder_whose_maker_was_killed_before_it_signed_it_is_stale_after_a_while(temporary):
    with scratch() as mine:
        unsigned = Path(mine).with_name("assay-scratch-abcdefgh")
        unsigned.mkdir()
        assert stale() == []  # somebody may be about to sign it
        os.utime(unsigned, (0, 0))
        assert stale() == [unsigned]
        (unsigned / "a file").touch()
        os.utime(unsigned, (0, 0))
        assert stale() == []
