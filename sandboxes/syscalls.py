"""What the supervisor of a bubblewrap sandbox asks of the kernel. Standard library only; see sandboxes.supervisor."""
# ruff: noqa: PTH102, PTH123

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import sys

TYPE_CHECKING = False  # typing takes a while to import
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

UID = GID = 1000
"""Who commands run as, inside."""
ROOTS = 65533
"""Who they are on the host, when the agent runs as root there: a number that Debian's policy keeps unused."""
STAGE = "/mnt"
DEVICES = ("/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero")
"""Those that bubblewrap shows of the host's."""

_CLONE_NEWNS, _CLONE_NEWCGROUP, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x20000, 0x02000000, 0x04000000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_ALL = _CLONE_NEWNS | _CLONE_NEWCGROUP | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWUSER
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 4, 24, 38, 22
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 1, 2, 4, 8, 0x20
_MS_NOATIME, _MS_NODIRATIME = 0x400, 0x800
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_NS_GET_USERNS = 0xB701
_CAPABILITY_VERSION = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def hide() -> None:
    """So that nothing with the same user can trace this process, or a child of it that is not yet its program."""
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def enter(pidfd: int, *, processes: bool, network: bool) -> None:
    """Go into the namespaces of a process; into its network, and children into its process namespace, where asked.

    Raises OSError.
    """
    sys.meta_path.clear()  # in there nothing is imported: what lies in its place may be the sandbox's
    more = (_CLONE_NEWPID if processes else 0) | (_CLONE_NEWNET if network else 0)
    call(_libc.setns, pidfd, _ALL | more)


def tighten(pid: int, places: Mapping[str, int]) -> None:
    """Bound how many files each place may hold, and make the kernel's settings and the nodes of devices read-only (what
    is written to a device goes through all the same), in the mount namespace of a process. Raises OSError."""
    mounts = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    owner = fcntl.ioctl(mounts, _NS_GET_USERNS)  # bubblewrap's command may be in a user namespace below it
    sys.meta_path.clear()
    call(_libc.setns, owner, _CLONE_NEWUSER)
    call(_libc.setns, mounts, _CLONE_NEWNS)
    for place, files in places.items():
        _mount(None, place, _MS_REMOUNT | _MS_NOSUID | _MS_NODEV, None, f"nr_inodes={files}".encode())
    settings = "/proc/sys"
    _mount(settings.encode(), settings, _MS_BIND)
    locked = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _mount(None, settings, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | locked)
    for device in DEVICES:
        kept = os.statvfs(device).f_flag & (locked | _MS_NOATIME | _MS_NODIRATIME)
        _mount(None, device, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | kept)


def become_user(limits: Mapping[str, Any], most: int) -> None:
    """Become the user of the commands, for good, who may have `most` processes."""
    for name, value in (("NOFILE", 4096), ("FSIZE", limits["file_mb"] << 20), ("CORE", 0)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    if limits["affinity"]:
        os.sched_setaffinity(0, limits["affinity"])
    for capability in range(64):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setresgid(GID, GID, GID)
    os.setresuid(UID, UID, UID)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    call(_libc.capset, ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
    call(_libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # counted in the sandbox's user namespace alone
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


def filter_calls(code: bytes) -> None:
    """Put system calls under a filter. Raises OSError."""
    call(_libc.prctl, _PR_SET_SECCOMP, 2, ctypes.byref(_Filter(code)), 0, 0)


class _Filter(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    def __init__(self, code: bytes) -> None:
        super().__init__(len(code) // 8, code)


def execute(argv: list[str], variables: Mapping[str, str]) -> NoReturn:
    """Become a program, found by PATH. Python's own execvpe imports a module for that."""
    fault: OSError = FileNotFoundError(2, os.strerror(2), argv[0])
    folders = [""] if "/" in argv[0] else [f"{folder}/" for folder in variables["PATH"].split(":")]
    for folder in folders:
        try:
            os.execve(f"{folder}{argv[0]}", argv, variables)  # noqa: S606
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            fault = error
    raise fault


def call(function: Any, *args: Any) -> None:
    if function(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def exit_code(status: int) -> int:
    """The exit code; 128 and the signal's number for what was killed."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def plain_signals() -> None:
    """As a program expects them: Python ignores some."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def in_memory(data: bytes) -> str:
    """The number of an inheritable descriptor of a file in memory, to be read from its start."""
    fd = os.memfd_create("assay", 0)
    with os.fdopen(fd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return str(fd)


def staged_folders(read: Sequence[str], written: Sequence[str]) -> dict[str, str]:
    """Folder -> where the commands' user can reach it, for those that are only read and those that are written to.

    That is where it is, but for root: in a mount namespace of its own it lays its folders open to the other user that
    it becomes. Those that are only read are seen through an overlay there: of a plain mount a sandbox could read in
    /proc/self/mountinfo where the folder is on the host.
    """
    if os.geteuid() != 0 or not (read or written):
        return {folder: folder for folder in (*read, *written)}
    try:
        call(_libc.unshare, _CLONE_NEWNS)
    except PermissionError:  # root of a container, which may not mount but in a user namespace of its own
        _own_user_namespace()
    _mount(None, "/", _MS_REC | _MS_PRIVATE)
    opened = {folder: os.open(folder, os.O_PATH | os.O_DIRECTORY) for folder in (*read, *written)}
    _mount(b"tmpfs", STAGE, 0, b"tmpfs", b"mode=755")
    os.mkdir(f"{STAGE}/empty")
    staged = {}
    for number, (folder, fd) in enumerate(opened.items()):
        staged[folder] = place = f"{STAGE}/{number}"
        os.mkdir(place)
        _mount(f"/proc/self/fd/{fd}".encode(), place, _MS_BIND)
        if folder in read:
            over = f"{STAGE}/over-{number}"
            os.mkdir(over)
            try:
                # of two folders, as an overlay that can't be written to must be
                _mount(b"overlay", over, _MS_RDONLY, b"overlay", f"lowerdir={place}:{STAGE}/empty".encode())
            except OSError:
                continue  # this kernel, or this file system, has none
            staged[folder] = over
    return staged


def _own_user_namespace() -> None:
    """Go into a new user and mount namespace in which root and the commands' user are themselves. Raises OSError."""
    reading, writing = os.pipe()
    outside = os.fork()
    if outside == 0:
        code = 1
        try:
            os.read(reading, 1)
            for kind in ("uid_map", "gid_map"):
                with open(f"/proc/{os.getppid()}/{kind}", "w") as file:
                    file.write(f"0 0 1\n{ROOTS} {ROOTS} 1\n")
            code = 0
        finally:
            os._exit(code)
    try:
        call(_libc.unshare, _CLONE_NEWUSER | _CLONE_NEWNS)
    finally:
        os.write(writing, b"x")
        done = os.waitpid(outside, 0)[1]
    if done != 0:
        raise PermissionError(1, "the ids of a user namespace could not be mapped")


def _mount(
    source: bytes | None, target: str, flags: int, kind: bytes | None = None, data: bytes | None = None
) -> None:
    call(_libc.mount, source, target.encode(), kind, ctypes.c_ulong(flags), data)


def read_until(fd: int, end: bytes) -> bytes:
    """What comes until it ends so, or there is no more."""
    data = b""
    while chunk := os.read(fd, 4096):
        data += chunk
        if end and data.rstrip(b" \n").endswith(end.strip()):
            break
    return data
