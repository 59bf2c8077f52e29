"""What an attempt is, and the register of them."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.escapes.cell import Cell, Seen

    Check = Callable[[Cell, Seen], Awaitable[None]]

# What every program in Python begins with. `attempt` says of one action how it ended; a refusal is the name of an
# errno, so that a program that breaks before it tries can't pass for one that was refused.
PRELUDE = '''
import ctypes, errno, os, signal, socket, stat, struct, sys, threading, time
from pathlib import Path

X86 = os.uname().machine == "x86_64"
# by name: (x86-64, the table that arm64 and newer architectures share)
NUMBERS = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "clone": (56, 220), "clone3": (435, 435), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "reboot": (169, 142), "swapon": (167, 224), "acct": (163, 89), "syslog": (103, 116),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "sethostname": (170, 161), "setdomainname": (171, 162),
    "open_by_handle_at": (304, 265), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "kcmp": (312, 272),
    "capset": (126, 91), "setuid": (105, 146), "setgid": (106, 144), "setgroups": (116, 159), "quotactl": (179, 60),
    "fanotify_init": (300, 262), "name_to_handle_at": (303, 264), "memfd_create": (319, 279), "shmget": (29, 194),
    "shmat": (30, 196), "mq_open": (240, 180), "msgget": (68, 186), "vhangup": (153, 58), "lookup_dcookie": (212, 18),
}
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    """A system call by its name. Raises OSError."""
    libc.syscall.restype = ctypes.c_long
    words = [a if isinstance(a, (bytes, ctypes.Array, ctypes.Structure)) else ctypes.c_long(a or 0) for a in arguments]
    done = libc.syscall(ctypes.c_long(NUMBERS[name][0 if X86 else 1]), *words)
    if done == -1:
        raise OSError(ctypes.get_errno(), name)
    return done

def attempt(name, function, *arguments):
    try:
        done = function(*arguments)
    except OSError as error:
        print(f"{name}: {errno.errorcode.get(error.errno, type(error).__name__)}", flush=True)
        return None
    print(f"{name}: DONE {str(done)[:80]!r}", flush=True)
    return done

def syscall(name, *arguments):
    return attempt(name, call, name, *arguments)

def write(path, data="1"):
    """Open and write without creating: what a file of the kernel's takes."""
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        return os.write(file, data.encode())
    finally:
        os.close(file)

def read(path, most=64):
    with open(path, "rb") as file:
        return file.read(most)

def server():
    """The process of the tool server that started us."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if b"tools.server" in (process / "cmdline").read_bytes():
                    return int(process.name)
            except OSError:
                pass
    raise SystemExit("no tool server")
'''


@dataclass(frozen=True)
class Case:
    kind: str
    name: str
    program: str
    """Shell code, as a model hands it to the `shell` tool."""
    held: Check
    """Raises AssertionError, looking from outside, when the wall did not hold."""
    timeout: float
    """Seconds that the program may take before the tool ends it."""
    fresh: bool
    """Whether it needs a sandbox of its own: it is to spoil it."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


CASES: list[Case] = []


def escape(
    kind: str, name: str, program: str = "", *, timeout: float = 20, fresh: bool = False
) -> Callable[[Check], Check]:
    """Register the check below as what must hold when `program` was run."""

    def register(held: Check) -> Check:
        assert all(str(case) != f"{kind}: {name}" for case in CASES), name
        CASES.append(Case(kind, name, dedent(program), held, timeout, fresh))
        return held

    return register


def python(text: str) -> str:
    """Shell code that runs a program in Python, the toolbox's own: no image need have one."""
    code = base64.b64encode((PRELUDE + dedent(text)).encode()).decode()
    load = "import base64,sys;exec(compile(base64.b64decode(sys.argv[1]),'attempt','exec'))"
    return f'/opt/toolbox/bin/python3 -I -c "{load}" {code}'


REFUSALS = frozenset({"EPERM", "EACCES", "EROFS", "ENOSYS"})


def refused(
    kind: str,
    name: str,
    program: str,
    *attempts: str,
    also: str = "",
    timeout: float = 20,
    fresh: bool = False,
) -> None:
    """A case whose program, in Python, tries `attempts` by these names, each of which must be refused. `also` names
    further errnos that are as good as a refusal here (ENOENT: there is no such thing in a sandbox)."""

    async def held(_: Cell, seen: Seen) -> None:
        said = dict(line.split(": ", 1) for line in seen.text.splitlines() if ": " in line)
        good = REFUSALS | set(also.split())
        wrong = {
            attempt: said.get(attempt, "never tried") for attempt in attempts if said.get(attempt) not in good
        }
        more = [line for line in seen.text.splitlines() if ": DONE" in line]
        assert not wrong and not more, f"{wrong or more}; it printed:\n{seen.text[-1500:]}"

    escape(kind, name, python(program), timeout=timeout, fresh=fresh)(held)
