"""System calls that would change what the kernel shows the sandbox, or the kernel itself."""

from tests.escapes.corpus import escape, python, refused

refused(
    "mounts",
    "mount anything, anywhere",
    """
    os.makedirs("/tmp/m", exist_ok=True)
    syscall_ = lambda name, *a: attempt(name, call, "mount", *a)
    syscall_("tmpfs", b"none", b"/tmp/m", b"tmpfs", 0, 0)
    syscall_("proc", b"proc", b"/tmp/m", b"proc", 0, 0)
    syscall_("sysfs", b"sysfs", b"/tmp/m", b"sysfs", 0, 0)
    syscall_("cgroup", b"cgroup", b"/tmp/m", b"cgroup", 0, b"memory")
    syscall_("bind", b"/", b"/tmp/m", 0, 4096, 0)
    syscall_("remount root", b"/", b"/", 0, 32 | 4096, 0)
    syscall_("remount toolbox", b"/opt/toolbox", b"/opt/toolbox", 0, 32 | 4096, 0)
    syscall_("shared", b"/", b"/", 0, 1 << 20, 0)
    """,
    "tmpfs", "proc", "sysfs", "cgroup", "bind", "remount root", "remount toolbox", "shared",
)  # fmt: skip

refused(
    "mounts",
    "take mounts away",
    """
    for path in ("/proc/kcore", "/proc/sys", "/workspace", "/tmp", "/opt/toolbox", "/sys"):
        attempt(path, call, "umount2", path.encode(), 2)
    """,
    "/proc/kcore", "/proc/sys", "/workspace", "/tmp", "/opt/toolbox", "/sys",
    also="EINVAL ENOENT",
)  # fmt: skip

refused(
    "mounts",
    "the new mount calls",
    """
    syscall("fsopen", b"tmpfs", 0)
    syscall("fspick", -100, b"/", 0)
    syscall("open_tree", -100, b"/", 1)
    syscall("move_mount", -100, b"/tmp", -100, b"/workspace", 0)
    syscall("fsmount", 0, 0, 0)
    syscall("fsconfig", 0, 6, 0, 0, 0)
    syscall("mount_setattr", -100, b"/", 0x8000, (ctypes.c_uint64 * 4)(0, 1, 0, 0), 32)
    """,
    "fsopen", "fspick", "open_tree", "move_mount", "fsmount", "fsconfig", "mount_setattr",
)  # fmt: skip

refused(
    "mounts",
    "another root",
    """
    os.makedirs("/tmp/r/old", exist_ok=True)
    syscall("pivot_root", b"/tmp/r", b"/tmp/r/old")
    syscall("chroot", b"/tmp/r")
    """,
    "pivot_root", "chroot",
)  # fmt: skip

NEW = {"mounts": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000}
NEW |= {"pid": 0x20000000, "net": 0x40000000, "all": 0x7E020000}

refused(
    "namespaces",
    "unshare each kind of namespace",
    f"""
    for name, flag in {NEW!r}.items():
        attempt(name, call, "unshare", flag)
    """,
    *NEW,
)

refused(
    "namespaces",
    "a child in a user namespace",
    """
    def child(flags):
        pid = call("clone", flags | signal.SIGCHLD, 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    attempt("clone", child, 0x10000000)
    attempt("clone with mounts", child, 0x10000000 | 0x20000)
    attempt("clone with net", child, 0x10000000 | 0x40000000)
    attempt("clone3", call, "clone3", (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, 17, 0, 0, 0), 64)
    """,
    "clone", "clone with mounts", "clone with net", "clone3",
)  # fmt: skip

refused(
    "namespaces",
    "enter the namespaces of others",
    """
    def enter(path):
        file = os.open(path, os.O_RDONLY)
        call("setns", file, 0)
    for kind in ("mnt", "pid", "net", "user", "ipc", "uts", "cgroup"):
        attempt(f"init's {kind}", enter, f"/proc/1/ns/{kind}")
        attempt(f"own {kind}", enter, f"/proc/self/ns/{kind}")
    """,
    *(
        f"{whose} {kind}"
        for kind in ("mnt", "pid", "net", "user", "ipc", "uts")
        for whose in ("init's", "own")
    ),
    also="ENOENT EINVAL",
)

refused(
    "kernel",
    "modules, another kernel, a reboot",
    """
    syscall("init_module", b"x", 1, b"")
    syscall("finit_module", 0, b"", 0)
    syscall("delete_module", b"loop", 0)
    syscall("kexec_load", 0, 0, 0, 0)
    syscall("reboot", 0xfee1dead, 672274793, 0x1234567, 0)
    syscall("swapon", b"/tmp/x", 0)
    syscall("acct", b"/tmp/x")
    syscall("quotactl", 0, b"/dev/sda", 0, 0)
    syscall("vhangup")
    """,
    "init_module", "finit_module", "delete_module", "kexec_load", "reboot", "swapon", "acct", "quotactl", "vhangup",
)  # fmt: skip

refused(
    "kernel",
    "interfaces where kernels have been broken into",
    """
    syscall("bpf", 0, (ctypes.c_uint64 * 16)(2, 4, 8, 1), 128)
    syscall("bpf", 5, (ctypes.c_uint64 * 16)(1), 128)
    syscall("perf_event_open", (ctypes.c_uint64 * 16)(1 | 112 << 32), 0, -1, -1, 0)
    syscall("userfaultfd", 0)
    syscall("userfaultfd", 1)
    syscall("io_uring_setup", 4, (ctypes.c_uint64 * 15)())
    syscall("fanotify_init", 0, 0)
    syscall("lookup_dcookie", 0, 0, 0)
    """,
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "fanotify_init", "lookup_dcookie",
)  # fmt: skip

refused(
    "kernel",
    "keys of the kernel's keyrings",
    """
    syscall("add_key", b"user", b"escape", b"x", 1, -4)
    syscall("request_key", b"user", b"escape", 0, -4)
    syscall("keyctl", 0, -4, 1)
    syscall("keyctl", 1, b"escape")
    """,
    "add_key", "request_key", "keyctl",
)  # fmt: skip

refused(
    "kernel",
    "the clock, the names of the host",
    """
    syscall("settimeofday", (ctypes.c_long * 2)(1000000000, 0), 0)
    syscall("clock_settime", 0, (ctypes.c_long * 2)(1000000000, 0))
    syscall("sethostname", b"escaped", 7)
    syscall("setdomainname", b"escaped", 7)
    """,
    "settimeofday", "clock_settime", "sethostname", "setdomainname",
)  # fmt: skip

refused(
    "kernel",
    "files by handle, which no mount hides",
    """
    handle = (ctypes.c_uint32 * 34)(8, 1, 2)  # inode 2: the root of many file systems
    for place in (b"/", b"/workspace", b"/etc/hosts", b"/opt/toolbox"):
        file = os.open(place, os.O_RDONLY)
        attempt("open_by_handle_at", call, "open_by_handle_at", file, handle, 0)
    """,
    "open_by_handle_at",
)

refused(
    "privileges",
    "another user or more capabilities",
    """
    syscall("setuid", 0)
    syscall("setgid", 0)
    syscall("setgroups", 1, (ctypes.c_uint32 * 1)(0))
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*[0xffffffff] * 6)
    syscall("capset", header, data)
    attempt("uid_map", write, "/proc/self/uid_map", "0 0 1")
    attempt("oom", write, "/proc/self/oom_score_adj", "-1000")
    attempt("nice", os.setpriority, os.PRIO_PROCESS, 0, -20)
    attempt("realtime", os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(10))
    """,
    "setuid", "setgid", "setgroups", "capset", "uid_map", "oom", "nice", "realtime",
    also="EINVAL",  # where no such user is mapped
)  # fmt: skip


@escape(
    "privileges", "what every process begins with", "cat /proc/self/status; ulimit -n; ulimit -c; ulimit -Hn"
)
async def _(cell, seen):
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert f"{name}:\t0000000000000000" in seen.text, seen.text
    assert "NoNewPrivs:\t1" in seen.text, seen.text
    assert "Seccomp:\t2" in seen.text, seen.text
    assert "Uid:\t1000\t1000\t1000\t1000" in seen.text, seen.text
    assert "Gid:\t1000\t1000\t1000\t1000" in seen.text, seen.text
    soft, core, hard = seen.text.split("\n[exit")[0].split()[-3:]
    assert int(soft) <= 4096 and int(hard) <= 4096 and core == "0", seen.text[-100:]


@escape(
    "privileges",
    "programs of root with the setuid bit, and one of our own",
    """
    for p in su newgrp passwd mount umount chsh gpasswd sudo pkexec ping; do
        f=$(command -v $p) && [ -u "$f" ] && echo "setuid here: $f"
    done
    echo | su -c 'id -u' root 2>&1 | tail -1
    printf 'id -u\\n' | newgrp root 2>&1 | tail -1
    cp /opt/toolbox/bin/busybox /tmp/suid && chmod 6755 /tmp/suid && (exec -a busybox /tmp/suid id)
    sudo -n id -u 2>&1 | tail -1
    grep NoNewPrivs /proc/self/status
    """,
)
async def _(cell, seen):
    assert "uid=1000" in seen.text, seen.text
    assert "NoNewPrivs:\t1" in seen.text, seen.text
    for line in seen.text.splitlines():
        assert line.strip() != "0", seen.text
        assert "euid=0" not in line, seen.text


refused(
    "privileges",
    "capabilities that a file brings",
    """
    Path("/tmp/capable").write_bytes(b"x")
    value = struct.pack("<5I", 0x02000001, 0xffffffff, 0, 0xffffffff, 0)
    attempt("capability", os.setxattr, "/tmp/capable", "security.capability", value)
    attempt("trusted", os.setxattr, "/tmp/capable", "trusted.overlay.opaque", b"y")
    attempt("chown", os.chown, "/tmp/capable", 0, 0)
    """,
    "capability", "trusted", "chown",
    also="EOPNOTSUPP ENOTSUP EINVAL",
)  # fmt: skip

refused(
    "devices",
    "make device nodes",
    """
    for name, mode, device in (
        ("memory", stat.S_IFCHR, (1, 1)), ("kmsg", stat.S_IFCHR, (1, 11)), ("disk", stat.S_IFBLK, (8, 0)),
        ("virtual disk", stat.S_IFBLK, (254, 0)), ("fuse", stat.S_IFCHR, (10, 229)),
    ):
        for place in ("/tmp", "/workspace", "/dev/shm"):
            attempt(name, os.mknod, f"{place}/node", 0o666 | mode, os.makedev(*device))
    """,
    "memory", "kmsg", "disk", "virtual disk", "fuse",
)  # fmt: skip


@escape(
    "devices",
    "devices that are there",
    python("""
    for folder, _, names in os.walk("/dev"):
        for name in names:
            path = f"{folder}/{name}"
            kind = os.lstat(path).st_mode
            if stat.S_ISBLK(kind) or stat.S_ISCHR(kind):
                device = os.lstat(path).st_rdev
                print(f"node {path} {'block' if stat.S_ISBLK(kind) else 'char'} {os.major(device)}:{os.minor(device)}")
    for path in ("/dev/mem", "/dev/kmem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/fuse", "/dev/kvm", "/dev/net/tun",
                 "/dev/loop-control", "/dev/port"):
        attempt(path, os.open, path, os.O_RDWR)
    """),
)
async def _(cell, seen):
    # null, zero, full, random, urandom, tty, console, ptmx: what every process may use
    harmless = {"1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:1", "5:2"}
    nodes = [line.split() for line in seen.text.splitlines() if line.startswith("node ")]
    assert {"/dev/null", "/dev/zero", "/dev/urandom"} <= {node[1] for node in nodes}
    strange = [
        node for node in nodes if not (node[2] == "char" and (node[3] in harmless or node[3][:4] == "136:"))
    ]
    assert not strange, strange
    assert ": DONE" not in seen.text, seen.text
    assert "/dev/mem: E" in seen.text


refused(
    "devices",
    "put keys into a terminal",
    """
    import fcntl
    for file in (0, 1, 2):
        for name, number in (("TIOCSTI", 0x5412), ("TIOCLINUX", 0x541C), ("TIOCSCTTY", 0x540E)):
            attempt(name, fcntl.ioctl, file, number, b"i")
    def terminal():
        file = os.open("/dev/tty", os.O_RDWR)
        fcntl.ioctl(file, 0x5412, b"i")
    attempt("tty", terminal)
    def console():
        file = os.open("/dev/console", os.O_RDWR)
        fcntl.ioctl(file, 0x5412, b"i")
    attempt("console", console)
    """,
    "TIOCSTI", "TIOCLINUX", "TIOCSCTTY", "tty", "console",
    also="ENOTTY ENXIO ENOENT EIO",
)  # fmt: skip
