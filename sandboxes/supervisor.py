"""The supervisor of one bubblewrap sandbox: a process on the host that starts programs in its namespaces.

    python3 -I -S -c "… from sandboxes.supervisor import main; main(CONTROL)"

It has the sandbox's process namespace below its own, so nothing in there can see, trace or kill it, and what it tells
of exit codes is the kernel's word. It holds no secrets: its environment is empty, and what it is asked to do comes over
a socket to the agent; when that closes, the sandbox ends. Standard library only.

CONTROL brings such sockets, and for each the process forks a supervisor: Python starts once, not for each sandbox. Each
message to a supervisor is one packet: JSON, or a letter and file descriptors of which the first holds the JSON.
"""
# ruff: noqa: PTH116, PTH123, PTH208

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time

from sandboxes import cgroup, processes, syscalls

TYPE_CHECKING = False  # typing takes a while to import
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

MARK = b"ASSAY_EXEC="
"""Begins the variable by which a command's descendants are known."""
READY = b"ready\n"
WATCH = 0.05
"""Seconds between two looks at the memory, where no control group limits it."""


class Supervisor:
    """One sandbox. `run` is the whole of it."""

    def __init__(self, control: socket.socket, with_group: bool) -> None:
        """`with_group` tells that a control group can be made."""
        self._control = control
        self._with_group = with_group
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
            try:
                fault = self._start()
            except OSError as error:
                fault = str(error)
            if fault is not None:
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
        if self._with_group:
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
        answer = syscalls.read_until(said[0], READY)
        if answer != READY:
            text = syscalls.read_until(errors[0], b"").decode("utf-8", "replace").strip()
            return text.splitlines()[-1] if text else "it ended at once and said nothing"
        self._init = json.loads(syscalls.read_until(told[0], b"}"))["child-pid"]
        for fd in (told[0], said[0], errors[0]):
            os.close(fd)
        self._pidfd = os.pidfd_open(self._init)
        if fault := self._tighten():
            return fault
        root = f"/proc/{self._init}/root"
        if self._group is None:
            # where no group counts its memory, it is counted here: by process and by file system
            self._processes = os.open(f"{root}/proc", os.O_RDONLY | os.O_DIRECTORY)
            self._places = [os.open(root + place, os.O_PATH) for place in self._settings["places"]]
        return None

    def _tighten(self) -> str | None:
        """Do to the sandbox's mounts what bubblewrap has no words for; what went wrong, or None."""
        told = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                syscalls.tighten(self._init, self._settings["places"])
                os._exit(0)
            except BaseException as error:
                os.write(told[1], str(error).encode())
            os._exit(1)
        os.close(told[1])
        fault = syscalls.read_until(told[0], b"").decode("utf-8", "replace")
        os.close(told[0])
        failed = os.waitpid(child, 0)[1] != 0
        return f"its mounts could not be bounded: {fault}" if failed else None

    def _words(self, told: int) -> list[str]:
        """bubblewrap's arguments. The descriptors that are named in them will be inherited."""
        os.set_inheritable(told, True)
        words = ["--info-fd", str(told), "--seccomp", syscalls.in_memory(self._filter)]
        arguments = self._settings["arguments"]
        read, written = ([word[1] for word in arguments if word[0] == kind] for kind in ("read", "written"))
        staged = syscalls.staged_folders(read, written)
        for word in arguments:
            if isinstance(word, str):
                words.append(word)
            elif word[0] == "data":
                words.append(syscalls.in_memory(word[1].encode()))
            elif word[0] == "file":
                fd = os.open(word[1], os.O_RDONLY)
                os.set_inheritable(fd, True)
                words.append(str(fd))
            else:
                words.append(staged[word[1]])
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
                os.setresgid(syscalls.ROOTS, syscalls.ROOTS, syscalls.ROOTS)
                os.setresuid(syscalls.ROOTS, syscalls.ROOTS, syscalls.ROOTS)
            syscalls.plain_signals()
            os.dup2(os.open("/dev/null", os.O_RDWR), 0)
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.execve(self._settings["bwrap"], [self._settings["bwrap"], *words], {})  # noqa: S606
        except BaseException as error:
            os.write(err, f"{self._settings['bwrap']}: {error}\n".encode())
        os._exit(127)

    def _stop(self) -> None:
        if self._init:
            processes.kill(self._init)
        elif self._bwrap:
            processes.kill(self._bwrap)
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
            processes.kill(self._init)
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
                code = syscalls.exit_code(status)
                # a sandbox that ends kills its commands first
                died = code == 128 + signal.SIGKILL and self._exiting()
                self._send({"died": True} if died else {"ended": number, "code": code})

    def _exiting(self) -> bool:
        try:
            return bool(int(processes.stat(self._init)[processes.FLAGS]) & processes.EXITING)
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
                    os.fchown(fd, syscalls.ROOTS, syscalls.ROOTS)  # else a command could not open /dev/stdout
            for place, fd in enumerate((*[-1] * (3 - len(fds)), *fds)):
                if fd >= 0:
                    os.dup2(fd, place)
            keeper = job["keeper"]
            if not keeper:
                self._join()
            own = not self._settings["shares_network"]
            syscalls.enter(self._pidfd, processes=not keeper, network=own)
            if len(fds) < 3:
                os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            if not keeper and (child := os.fork()):
                os.closerange(0, 1 << 16)
                os._exit(syscalls.exit_code(os.waitpid(child, 0)[1]))
            code = 126
            # a waiting process outside counts for each command
            most = self._settings["limits"]["pids"] + 2 * (len(self._jobs) + 1)
            syscalls.become_user(self._settings["limits"], most)
            syscalls.plain_signals()
            os.setsid()
            os.umask(0o022)
            os.chdir(job["cwd"])
            syscalls.filter_calls(self._filter)
            syscalls.execute(job["argv"], job["env"])
        except FileNotFoundError as error:
            code = 127
            os.write(2, f"{error.filename}: not found\n".encode("utf-8", "surrogateescape"))
        except BaseException as error:
            os.write(2, f"{error}\n".encode("utf-8", "surrogateescape"))
        finally:
            os._exit(code)

    def _kill_all(self, job: int, marker: bytes) -> bool:
        """Kill a command with its descendants: those by birth, those by their marker, and orphans that wiped it off
        since the command began."""
        began = processes.started(job) if job else None
        for _ in range(100):
            everything = self._inside()
            family = {job} - {0}
            for pid, parent in everything.items():
                variables = processes.variables_of(pid)
                wiped = parent == self._init and not any(name.startswith(MARK) for name in variables)
                if marker in variables or (wiped and began is not None and processes.started(pid) >= began):
                    family.add(pid)
            while more := {
                pid for pid, parent in everything.items() if parent in family and pid not in family
            }:
                family |= more
            victims = family & everything.keys()
            if not victims:
                return True
            for pid in victims:
                processes.kill(pid)
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
                        found[int(name)] = int(processes.stat(int(name))[1])
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
        sizes = {pid: processes.resident(f"/proc/{pid}/statm", None) for pid in inside}
        if sizes:
            processes.kill(max(sizes, key=lambda pid: sizes[pid]))

    def _used(self, exactly: bool) -> int:
        """Bytes that the processes have for themselves; where `exactly`, what they share is counted once."""
        total = 0
        try:
            names = os.listdir(self._processes)
        except OSError:
            return 0
        for name in names:
            if name.isdigit():
                shared = processes.shared_once(f"{name}/smaps_rollup", self._processes) if exactly else None
                total += processes.resident(f"{name}/statm", self._processes) if shared is None else shared
        return total


def main(control: int) -> None:
    # among the first to go when the machine runs out of memory, with all that it starts; before it go the commands of
    # the tools, which raise theirs
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")
    syscalls.hide()
    os.chdir("/")
    os.set_inheritable(control, False)  # it was handed down, and is to go no further
    with_group = cgroup.possible()
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
                    Supervisor(connection, with_group).run()
            finally:
                os._exit(0)
        os.close(fd)
