"""The supervisor of one bubblewrap sandbox: a process on the host that starts programs in its namespaces.

    python3 -I -S -c "… from sandboxes.supervisor import main; main(CONTROL)"

It has the sandbox's process namespace below its own, so nothing in there can see, trace or kill it, and what it tells
of exit codes is the kernel's word. It holds no secrets: its environment is empty, and what it is asked to do comes over
a socket to the agent; when that closes, the sandbox ends. Standard library only.

CONTROL brings such sockets, and for each the process forks a supervisor: Python starts once, not for each sandbox. Each
message to a supervisor is one packet: JSON, or a letter and file descriptors of which the first holds the JSON.
"""
# ruff: noqa: PTH102, PTH116, PTH123, PTH208

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys
import time

from sandboxes import cgroup

TYPE_CHECKING = False  # typing takes a while to import
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

UID = GID = 1000
"""Who commands run as, inside."""
ROOTS = 65533
"""Who they are on the host, when the agent runs as root there: a number that Debian's policy keeps unused."""
MARK = b"ASSAY_EXEC="
"""Begins the variable by which a command's descendants are known."""
STAGE = "/mnt"
READY = b"ready\n"
WATCH = 0.05
"""Seconds between two looks at the memory, where no control group limits it."""
PAGE = os.sysconf("SC_PAGE_SIZE")

_CLONE_NEWNS, _CLONE_NEWCGROUP, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x20000, 0x02000000, 0x04000000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_ALL = _CLONE_NEWNS | _CLONE_NEWCGROUP | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWUSER | _CLONE_NEWNET
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 4, 24, 38, 22
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_CAPABILITY_VERSION = 0x20080522
_EXITING = 0x4
_FLAGS, _STARTED = 6, 19
"""Fields of /proc/PID/stat, counted from the state."""
_libc = ctypes.CDLL(None, use_errno=True)


class Supervisor:
    """One sandbox. `run` is the whole of it."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._jobs: dict[int, tuple[int, str]] = {}
        """Process id of the one that entered -> number and marker of the command."""
        self._group: cgroup.Group | None = None
        self._doors: list[int] = []
        self._bwrap = 0
        self._init = 0
        """Process 1 of the sandbox, by its number here."""
        self._pidfd = -1
        self._settings: dict[str, Any] = {}
        self._filter = b""
        self._places: list[int] = []
        self._processes = -1

    def run(self) -> None:
        """Start the sandbox, serve until the socket closes or the sandbox ends, clean up."""
        message, fds = self._receive()
        if message is None:
            return
        self._settings = message
        self._filter = bytes.fromhex(message["seccomp"])
        try:
            if (fault := self._start()) is not None:
                self._send({"failed": fault})
                return
            self._send({"ready": self._init, "limits": self._group.limits if self._group else ""})
            self._serve()
        finally:
            for fd in fds:
                os.close(fd)
            self._stop()

    # --- start and end

    def _start(self) -> str | None:
        """Start bubblewrap and wait until process 1 sleeps; what went wrong, or None."""
        limits = self._settings["limits"]
        self._group = cgroup.make(f"{os.getpid()}-{time.time_ns():x}")
        if self._group is not None:
            self._group.limit(memory_mb=limits["memory_mb"], pids=limits["pids"], cpus=limits["cpus"])
            self._doors = self._group.doors()
        told, said, errors = os.pipe(), os.pipe(), os.pipe()
        self._bwrap = os.fork()
        if self._bwrap == 0:
            self._become_bwrap(told[1], said[1], errors[1])
        for fd in (told[1], said[1], errors[1]):
            os.close(fd)
        answer = _until(said[0], READY)
        if answer != READY:
            text = _until(errors[0], b"").decode("utf-8", "replace").strip()
            return text.splitlines()[-1] if text else "it ended at once and said nothing"
        self._init = json.loads(_until(told[0], b"}"))["child-pid"]
        for fd in (told[0], said[0], errors[0]):
            os.close(fd)
        self._pidfd = os.pidfd_open(self._init)
        root = f"/proc/{self._init}/root"
        if self._group is None:
            # where no group counts its memory, it is counted here: by process and by file system
            self._processes = os.open(f"{root}/proc", os.O_RDONLY | os.O_DIRECTORY)
            self._places = [os.open(root + place, os.O_PATH) for place in self._settings["places"]]
        return None

    def _words(self, told: int) -> list[str]:
        """bubblewrap's arguments. The descriptors that are named in them will be inherited."""
        os.set_inheritable(told, True)
        words = ["--info-fd", str(told), "--seccomp", _memory(self._filter)]
        arguments = self._settings["arguments"]
        staged = _staged([word[1] for word in arguments if word[0] == "path"])
        for word in arguments:
            if isinstance(word, str):
                words.append(word)
            else:
                words.append(staged[word[1]] if word[0] == "path" else _memory(word[1].encode()))
        if self._group is not None:
            at = words.index("--chdir")
            words[at:at] = self._shown_group(self._group)
        return words

    @staticmethod
    def _shown_group(group: cgroup.Group) -> list[str]:
        """The group's own numbers are to be seen inside, where a container shows them."""
        if group.version == 2:
            return ["--ro-bind", group.controllers["memory"], cgroup.ROOT]
        shown = [
            (name, folder) for name, folder in group.controllers.items() if name in ("memory", "cpuacct")
        ]
        return [word for name, folder in shown for word in ("--ro-bind", folder, f"{cgroup.ROOT}/{name}")]

    def _become_bwrap(self, told: int, out: int, err: int) -> NoReturn:
        try:
            words = self._words(told)
            self._join()
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(ROOTS, ROOTS, ROOTS)
                os.setresuid(ROOTS, ROOTS, ROOTS)
            _plain_signals()
            os.dup2(os.open("/dev/null", os.O_RDWR), 0)
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.execve(self._settings["bwrap"], [self._settings["bwrap"], *words], {})  # noqa: S606
        except BaseException as error:
            os.write(err, f"{self._settings['bwrap']}: {error}\n".encode())
        os._exit(127)

    def _stop(self) -> None:
        if self._init:
            _kill(self._init)
        elif self._bwrap:
            _kill(self._bwrap)
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
        if self._group is not None:
            self._group.remove()

    # --- requests

    def _serve(self) -> None:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        poll = select.poll()
        for fd in (self._control.fileno(), reading, self._pidfd):
            poll.register(fd, select.POLLIN)
        pause = WATCH * 1000 if self._processes >= 0 else None
        while True:
            ready = {fd for fd, _ in poll.poll(pause)}
            if reading in ready:
                os.read(reading, 4096)
            self._reap()
            if self._pidfd in ready:
                self._send({"died": True})
                return
            if self._control.fileno() in ready:
                message, fds = self._receive()
                if message is None:
                    return
                self._do(message, fds)
            if self._processes >= 0:
                self._watch()

    def _do(self, message: Mapping[str, Any], fds: Sequence[int]) -> None:
        if "start" in message:
            try:
                child = os.fork()
                if child == 0:
                    self._enter(message, fds)
                self._jobs[child] = (message["start"], message["marker"])
            except OSError as error:
                self._send({"refused": message["start"], "why": str(error)})
        elif "kill" in message:
            job = next((pid for pid, (number, _) in self._jobs.items() if number == message["kill"]), 0)
            self._send({"killed": message["kill"], "all": self._kill_all(job, message["marker"].encode())})
        elif "end" in message:
            _kill(self._init)
        for fd in fds:
            os.close(fd)

    def _reap(self) -> None:
        """Tell of commands that have ended."""
        while True:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if child == 0:
                return
            if child in self._jobs:
                number, _ = self._jobs.pop(child)
                code = _code(status)
                # a sandbox that ends kills its commands first
                died = code == 128 + signal.SIGKILL and self._exiting()
                self._send({"died": True} if died else {"ended": number, "code": code})

    def _exiting(self) -> bool:
        try:
            return bool(int(_stat(self._init)[_FLAGS]) & _EXITING)
        except OSError:
            return True

    def _receive(self) -> tuple[Any, list[int]]:
        """The next message; None when the agent is gone."""
        try:
            data, ancillary, _, _ = self._control.recvmsg(
                65536, socket.CMSG_SPACE(16), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError:
            return None, []
        fds = [fd for _, _, packed in ancillary for fd in memoryview(packed).cast("i")]
        if not data:
            return None, fds
        if fds:
            with os.fdopen(fds.pop(0), "rb") as file:
                file.seek(0)
                data = file.read()
        return json.loads(data), fds

    def _send(self, message: Mapping[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except ConnectionError:
            return  # the agent is gone; the next look at the socket says so

    # --- commands

    def _join(self) -> None:
        for door in self._doors:
            os.write(door, b"0")

    def _enter(self, job: Mapping[str, Any], fds: Sequence[int]) -> NoReturn:
        """In a child: go into the sandbox and become the command, or the one that waits for it outside."""
        code = 128 + signal.SIGKILL  # of a sandbox that can't be entered any more
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                for fd in fds:
                    os.fchown(fd, ROOTS, ROOTS)  # else a command could not open /dev/stdout
            for place, fd in enumerate((*[-1] * (3 - len(fds)), *fds)):
                if fd >= 0:
                    os.dup2(fd, place)
            sys.meta_path.clear()  # in there nothing is imported: what lies in its place may be the sandbox's
            keeper = job["keeper"]
            if not keeper:
                self._join()
            _call(_libc.setns, self._pidfd, _ALL | (0 if keeper else _CLONE_NEWPID))
            if len(fds) < 3:
                os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            if not keeper and (child := os.fork()):
                os.closerange(0, 1 << 16)
                os._exit(_code(os.waitpid(child, 0)[1]))
            code = 126
            self._drop_all()
            _plain_signals()
            os.setsid()
            os.umask(0o022)
            os.chdir(job["cwd"])
            _call(_libc.prctl, _PR_SET_SECCOMP, 2, ctypes.byref(_Filter(self._filter)), 0, 0)
            _execute(job["argv"], job["env"])
        except FileNotFoundError as error:
            code = 127
            os.write(2, f"{error.filename}: not found\n".encode("utf-8", "surrogateescape"))
        except BaseException as error:
            os.write(2, f"{error}\n".encode("utf-8", "surrogateescape"))
        finally:
            os._exit(code)

    def _drop_all(self) -> None:
        """Become the user of the commands, for good."""
        limits = self._settings["limits"]
        for name, value in (("NOFILE", 4096), ("FSIZE", limits["file_mb"] << 20), ("CORE", 0)):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
        if limits["affinity"]:
            os.sched_setaffinity(0, limits["affinity"])
        for capability in range(64):
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
        os.setresgid(GID, GID, GID)
        os.setresuid(UID, UID, UID)
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
        _call(_libc.capset, ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
        _call(_libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # counted in the sandbox's user namespace alone; a waiting process outside counts for each command
        most = limits["pids"] + 2 * (len(self._jobs) + 1)
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))

    def _kill_all(self, job: int, marker: bytes) -> bool:
        """Kill a command with its descendants: those by birth, those by their marker, and orphans that wiped it off
        since the command began."""
        began = _started(job) if job else None
        for _ in range(100):
            everything = self._inside()
            family = {job} - {0}
            for pid, parent in everything.items():
                variables = _environment(pid)
                wiped = parent == self._init and not any(name.startswith(MARK) for name in variables)
                if marker in variables or (wiped and began is not None and _started(pid) >= began):
                    family.add(pid)
            while more := {
                pid for pid, parent in everything.items() if parent in family and pid not in family
            }:
                family |= more
            victims = family & everything.keys()
            if not victims:
                return True
            for pid in victims:
                _kill(pid)
            time.sleep(0.01)
        return False

    def _inside(self) -> dict[int, int]:
        """The processes in the sandbox but process 1, by their numbers here -> their parents."""
        found: dict[int, int] = {}
        try:
            namespace = os.stat(f"/proc/{self._init}/ns/pid").st_ino
        except OSError:
            return found  # it is ending
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != self._init:
                try:
                    if os.stat(f"/proc/{name}/ns/pid").st_ino == namespace:
                        found[int(name)] = int(_stat(int(name))[1])
                except OSError:
                    continue  # gone, or another user's
        return found

    # --- memory, where no control group limits it

    def _watch(self) -> None:
        """Kill the largest process when all of them, and the files in memory, take too much."""
        files = 0
        for place in self._places:
            state = os.fstatvfs(place)
            files += (state.f_blocks - state.f_bfree) * state.f_frsize
        limit = self._settings["limits"]["memory_mb"] << 20
        if files + self._used(False) <= limit or files + self._used(True) <= limit:
            return
        inside = self._inside()
        sizes = {pid: _resident(f"/proc/{pid}/statm", None) for pid in inside}
        if sizes:
            _kill(max(sizes, key=lambda pid: sizes[pid]))

    def _used(self, exactly: bool) -> int:
        """Bytes that the processes have for themselves; where `exactly`, what they share is counted once."""
        total = 0
        try:
            names = os.listdir(self._processes)
        except OSError:
            return 0
        for name in names:
            if name.isdigit():
                shared = _shared_once(f"{name}/smaps_rollup", self._processes) if exactly else None
                total += _resident(f"{name}/statm", self._processes) if shared is None else shared
        return total


class _Filter(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    def __init__(self, code: bytes) -> None:
        super().__init__(len(code) // 8, code)


def _execute(argv: list[str], variables: Mapping[str, str]) -> NoReturn:
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


def _call(function: Any, *args: Any) -> None:
    if function(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _code(status: int) -> int:
    """The exit code; 128 and the signal's number for what was killed."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _plain_signals() -> None:
    """As a program expects them: Python ignores some."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def _started(pid: int) -> int:
    """When it was started, in ticks since the machine was; 0 when it is gone."""
    try:
        return int(_stat(pid)[_STARTED])
    except OSError:
        return 0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on."""
    with open(f"/proc/{pid}/stat", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def _resident(path: str, folder: int | None) -> int:
    """Bytes of a process that are no file's, by its statm."""
    words = _read(path, folder).split()
    return (int(words[1]) - int(words[2])) * PAGE if len(words) > 2 else 0


def _shared_once(path: str, folder: int) -> int | None:
    for line in _read(path, folder).splitlines():
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1]) << 10
    return None


def _read(path: str, folder: int | None) -> str:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY, dir_fd=folder)) as file:
            return file.read()
    except OSError:
        return ""


def _memory(data: bytes) -> str:
    """The number of an inheritable descriptor of a file in memory, to be read from its start."""
    fd = os.memfd_create("assay", 0)
    with os.fdopen(fd, "wb", closefd=False) as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return str(fd)


def _staged(folders: Sequence[str]) -> dict[str, str]:
    """Folder -> where the commands' user can reach it.

    That is where it is, but for root: in a mount namespace of its own it lays its folders open to the other user that
    it becomes.
    """
    if os.geteuid() != 0 or not folders:
        return {folder: folder for folder in folders}
    _call(_libc.unshare, _CLONE_NEWNS)
    _mount(None, "/", _MS_REC | _MS_PRIVATE)
    opened = {folder: os.open(folder, os.O_PATH | os.O_DIRECTORY) for folder in folders}
    _mount(b"tmpfs", STAGE, 0, b"tmpfs", b"mode=755")
    staged = {}
    for number, (folder, fd) in enumerate(opened.items()):
        staged[folder] = f"{STAGE}/{number}"
        os.mkdir(staged[folder])
        _mount(f"/proc/self/fd/{fd}".encode(), staged[folder], _MS_BIND)
    return staged


def _mount(
    source: bytes | None, target: str, flags: int, kind: bytes | None = None, data: bytes | None = None
) -> None:
    _call(_libc.mount, source, target.encode(), kind, ctypes.c_ulong(flags), data)


def _until(fd: int, end: bytes) -> bytes:
    """What comes until it ends so, or there is no more."""
    data = b""
    while chunk := os.read(fd, 4096):
        data += chunk
        if end and data.rstrip(b" \n").endswith(end.strip()):
            break
    return data


def main(control: int) -> None:
    # the first to go when the machine runs out of memory, with all that it starts
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    # so that nothing with the same user can trace it, or a child of it that is not yet its program
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.chdir("/")
    os.set_inheritable(control, False)  # it was handed down, and is to go no further
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for supervisors
    server = socket.socket(fileno=control)
    while True:
        try:
            data, ancillary, _, _ = server.recvmsg(1, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return
        if not data:
            return
        (fd,) = (fd for _, _, packed in ancillary for fd in memoryview(packed).cast("i"))
        if os.fork() == 0:
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                server.close()
                with socket.socket(fileno=fd) as connection:
                    Supervisor(connection).run()
            finally:
                os._exit(0)
        os.close(fd)
