"""Whose container it is."""

import subprocess
import sys

from sandboxes import owner


def test_an_owner_lives_until_its_process_ends():
    program = "from sandboxes import owner; import sys; l = owner.labels('r');"
    program += "print(l[owner.PID], l[owner.BOOT], flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pid, boot = process.stdout.readline().split()
    assert owner.state(pid, boot) == "alive"
    process.communicate("")
    assert owner.state(pid, boot) == "dead"


def test_a_reused_process_id_is_no_owner():
    mine = owner.labels("r")
    machine = mine[owner.BOOT].rpartition("/")[0]
    assert owner.state(mine[owner.PID], mine[owner.BOOT]) == "alive"
    assert owner.state(mine[owner.PID], f"{machine}/1") == "dead"


def test_processes_of_other_machines_cannot_be_judged():
    assert owner.state("1", "another-boot/pid:[1]/123") == "unknown"
    assert owner.state("", "") == "unknown"
    assert owner.state("x", "y") == "unknown"
