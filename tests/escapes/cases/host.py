"""Files of the kernel's through which a container's root has been seen to leave it."""

from tests.escapes.corpus import escape, python, refused

KNOBS = {
    "/proc/sysrq-trigger": "c",
    "/proc/sys/kernel/core_pattern": "|/tmp/handler",
    "/proc/sys/kernel/modprobe": "/tmp/handler",
    "/proc/sys/kernel/sysrq": "1",
    "/proc/sys/kernel/hostname": "escaped",
    "/proc/sys/vm/overcommit_memory": "1",
    "/proc/sys/vm/drop_caches": "3",
    "/proc/sys/fs/binfmt_misc/register": ":x:M::MZ::/tmp/handler:",
    "/proc/acpi/wakeup": "x",
    "/sys/kernel/uevent_helper": "/tmp/handler",
    "/sys/kernel/mm/transparent_hugepage/enabled": "never",
    "/sys/power/state": "mem",
    "/sys/module/kernel/parameters/panic": "1",
    "/sys/firmware/efi/vars/x": "1",
}

refused(
    "proc and sys",
    "the knobs that run programs or stop the host",
    f"""
    for path, value in {KNOBS!r}.items():
        attempt(path, write, path, value)
    """,
    *KNOBS,
    also="ENOENT ENOTDIR",
)


@escape(
    "proc and sys",
    "write to whatever takes it below /proc/sys and /sys",
    python("""
    tried = 0
    for top in ("/proc/sys", "/sys", "/proc/fs", "/proc/irq", "/proc/bus", "/proc/driver", "/proc/scsi"):
        for folder, folders, names in os.walk(top):
            for name in names:
                tried += 1
                try:
                    os.close(os.open(f"{folder}/{name}", os.O_WRONLY))
                    print("OPENED", folder, name)
                except OSError:
                    pass
    print("tried", tried)
    """),
    timeout=60,
)
async def _(cell, seen):
    assert "OPENED" not in seen.text, seen.text
    assert int(seen.text.split("tried ")[1].split()[0]) > 500, seen.text


refused(
    "proc and sys",
    "the release agent of a control group",
    """
    tops = {line.split()[4] for line in open("/proc/self/mountinfo") if " - cgroup" in line} | {"/sys/fs/cgroup"}
    for top in tops:
        places = [top] + [f.path for f in os.scandir(top) if f.is_dir()] if os.path.isdir(top) else [top]
        for place in places:
            attempt("release_agent", write, f"{place}/release_agent", "/tmp/handler")
            attempt("notify", write, f"{place}/notify_on_release", "1")
            attempt("procs", write, f"{place}/cgroup.procs", "0")
            attempt("child", os.mkdir, f"{place}/escape")
            attempt("limit", write, f"{place}/memory.limit_in_bytes", "-1")
            attempt("limit", write, f"{place}/memory.max", "max")
            attempt("limit", write, f"{place}/pids.max", "max")
    """,
    "release_agent", "notify", "procs", "child", "limit",
    also="ENOENT ENOTDIR",
)  # fmt: skip

refused(
    "proc and sys",
    "the memory and the messages of the kernel",
    """
    def contents(path):
        data = read(path)
        if not data:
            raise OSError(errno.EACCES, "masked: there is nothing in it")
        return data
    attempt("kcore", contents, "/proc/kcore")
    attempt("kmsg", read, "/proc/kmsg")
    syscall("syslog", 3, (ctypes.c_char * 4096)(), 4096)
    syscall("syslog", 2, (ctypes.c_char * 4096)(), 4096)
    attempt("config", read, "/dev/kmsg")
    attempt("pagemap", read, "/proc/1/pagemap")
    attempt("keys", contents, "/proc/keys")
    attempt("timers", contents, "/proc/timer_list")
    """,
    "kcore", "kmsg", "syslog", "config", "pagemap", "keys", "timers",
    also="ENOENT",
)  # fmt: skip

refused(
    "processes",
    "look into and write to PID 1",
    """
    for name in ("root", "cwd", "exe"):
        attempt(name, os.readlink, f"/proc/1/{name}")
    attempt("through root", os.listdir, "/proc/1/root/")
    attempt("environ", read, "/proc/1/environ")
    attempt("mem", os.open, "/proc/1/mem", os.O_RDWR)
    attempt("fds", os.listdir, "/proc/1/fd")
    syscall("ptrace", 16, 1, 0, 0)
    buffer = (ctypes.c_char * 64)()
    vector = (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), 64)
    syscall("process_vm_readv", 1, vector, 1, vector, 1, 0)
    """,
    "root", "cwd", "exe", "through root", "environ", "mem", "fds", "ptrace", "process_vm_readv",
)  # fmt: skip

refused(
    "tool server",
    "trace it, write to its memory, take its files",
    """
    it = server()
    syscall("ptrace", 16, it, 0, 0)
    attempt("seize", call, "ptrace", 0x4206, it, 0, 0)
    attempt("memory", os.open, f"/proc/{it}/mem", os.O_RDWR)
    attempt("stdout", os.open, f"/proc/{it}/fd/1", os.O_WRONLY)
    attempt("list", os.listdir, f"/proc/{it}/fd")
    attempt("environ", read, f"/proc/{it}/environ")
    for number in range(3, 20):
        attempt("others", os.open, f"/proc/{it}/fd/{number}", os.O_WRONLY)
    buffer = (ctypes.c_char * 64)()
    vector = (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), 64)
    syscall("process_vm_readv", it, vector, 1, vector, 1, 0)
    syscall("process_vm_writev", it, vector, 1, vector, 1, 0)
    def take():
        file = call("pidfd_open", it, 0)
        call("pidfd_getfd", file, 1, 0)
    attempt("pidfd", take)
    syscall("kcmp", os.getpid(), it, 0, 0, 0)
    """,
    "ptrace", "seize", "memory", "stdout", "list", "environ", "others", "process_vm_readv", "process_vm_writev", "pidfd",
    "kcmp",
    also="ENOENT",
)  # fmt: skip


@escape("processes", "processes of others", "cat /proc/[0-9]*/comm; ls -d /proc/[0-9]* | wc -l; id -u")
async def _(cell, seen):
    names = set(seen.text.split())
    assert not names & {"dockerd", "containerd", "systemd", "kthreadd", "pytest", "sshd"}, names
    assert "1000" in names


@escape(
    "host paths",
    "what is mounted",
    "cat /proc/self/mountinfo; echo; cat /proc/self/cgroup; ls -A / /home /root /mnt /media /srv 2>&1",
)
async def _(cell, seen):
    from pathlib import Path

    assert "/workspace" in seen.text
    for path in (Path.cwd(), cell.outside.folder, cell.outside.repository):
        assert str(path) not in seen.text, path
    writable = [
        line.split()
        for line in seen.text.splitlines()
        if " - " in line and line.split()[5].split(",")[0] == "rw"
    ]
    kinds = {words[words.index("-") + 1] for words in writable}
    # no file system of a disk may be written to; of the kernel's own, /proc, whose knobs are tried elsewhere
    # but for the overlay of the workspace, which writes to a tmpfs
    assert kinds <= {"tmpfs", "proc", "devpts", "mqueue", "overlay"}, writable
    assert [w[4] for w in writable if w[w.index("-") + 1] == "overlay"] in ([], ["/workspace"]), writable


@escape(
    "processes",
    "signals to PID 1",
    "for s in KILL STOP TERM HUP INT QUIT ABRT USR1; do kill -$s 1; done; sleep 1; echo on",
)
async def _(cell, seen):
    assert seen.text.split("\n[exit")[0].endswith("on"), seen.text
    await cell.usable()
