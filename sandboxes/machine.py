"""What of this machine a bubblewrap sandbox gets to see, and whether one can be started here."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandboxes import seccomp
from sandboxes.errors import EngineUnavailable
from sandboxes.types import Limits

HOME_MB = 256
RUN_MB = 16
SHM_MB = 64
SHARED = ("/dev/shm", "/tmp")  # noqa: S108 (in the sandbox)
"""Places that every user may write to."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ROOTS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Beside /usr: links into it, or folders of their own."""
ETC = (
    "alternatives", "ca-certificates", "crypto-policies", "debian_version", "fonts", "gai.conf", "inputrc", "issue",
    "java-*-openjdk", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "lsb-release", "magic", "mime.types",
    "nsswitch.conf", "os-release", "perl", "pki/ca-trust/extracted", "pki/java", "pki/tls/cert.pem", "pki/tls/certs",
    "protocols", "python3", "python3.*", "services", "shells", "ssl/ca-bundle.pem", "ssl/cert.pem", "ssl/certs",
    "ssl/openssl.cnf", "terminfo", "timezone",
)  # fmt: skip
"""What programs need of /etc. None of it is secret, and nothing else of it is there."""
MADE = {
    "passwd": b"root:x:0:0:root:/root:/bin/sh\nagent:x:1000:1000::/home/agent:/bin/bash\n"
    b"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": b"root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n",
    "hosts": b"127.0.0.1 localhost sandbox\n::1 localhost\n",
    "hostname": b"sandbox\n",
}
CAPABILITY = "CAP_WAKE_ALARM"
"""Process 1 keeps this one, which is good for nothing in a user namespace: who has less can't trace it."""
SLEEP = "/opt/sleep"
INIT = f'trap "" CHLD; echo ready; exec -a sleep {SLEEP} {{seconds}} </dev/null >/dev/null 2>&1'
"""Process 1: bash ignores SIGCHLD and what it becomes inherits that, so that the kernel reaps orphans. It is a program
that nobody may read, so that what the kernel tells of the process is root's, down to the list of its descriptors."""
OPTIONS = ("--as-pid-1", "--size", "--perms", "--clearenv")
MEND = {
    "apt-get": "apt-get install bubblewrap", "dnf": "dnf install bubblewrap", "pacman": "pacman -S bubblewrap",
    "apk": "apk add bubblewrap bash", "zypper": "zypper install bubblewrap",
}  # fmt: skip
LEAST_KERNEL = (5, 14)
"""From here on a limit of processes is counted for each user namespace."""


@dataclass(frozen=True, slots=True)
class Bind:
    """A folder of the host to be seen at a place in the sandbox."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """The programs that a sandbox is made with."""

    bwrap: str
    version: str
    shell: tuple[str, ...]
    python: str
    """A Python 3.11 or newer below /usr, its own path."""
    python_version: str
    sleep: str
    path: str = PATH

    @classmethod
    def look(cls) -> Machine:
        """Raises EngineUnavailable for what is missing, with the way to get it."""
        if sys.platform != "linux":
            raise EngineUnavailable(f"bubblewrap works on Linux only, and this is {sys.platform}: use Docker")
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            mend = next((words for program, words in MEND.items() if shutil.which(program)), "install it")
            raise EngineUnavailable(f"bubblewrap is not installed: install it with `{mend}`")
        options = _said(bwrap, "--help")
        if missing := [option for option in OPTIONS if option not in options]:
            raise EngineUnavailable(
                f"{_said(bwrap, '--version')} is too old: it has no {missing[0]}; install 0.8 or newer"
            )
        release = tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])
        if release < LEAST_KERNEL:
            raise EngineUnavailable(
                f"Linux {platform.release()} is too old for sandboxes by bubblewrap: 5.14 or newer is needed, or Docker"
            )
        if not seccomp.supported():
            raise EngineUnavailable(
                f"no filter of system calls is known for {platform.machine()}: bubblewrap is used on x86_64 and "
                "aarch64; use Docker here"
            )
        bash = next((path for path in ("/bin/bash", "/usr/bin/bash") if os.access(path, os.X_OK)), None)
        if bash is None:
            raise EngineUnavailable("bash is needed below /usr for sandboxes by bubblewrap: install it")
        sleep = shutil.which("sleep", path=PATH)
        if sleep is None:
            raise EngineUnavailable(
                "the program sleep is needed for sandboxes by bubblewrap: install coreutils"
            )
        return cls(bwrap, _said(bwrap, "--version"), (bash,), *_python(), sleep)

    @staticmethod
    def sizes(limits: Limits) -> dict[str, int]:
        """The places that may be written to, and their sizes in MiB."""
        return {
            "/dev/shm": SHM_MB,  # noqa: S108
            "/workspace": limits.workspace_mb,
            "/tmp": limits.tmp_mb,  # noqa: S108
            "/home/agent": HOME_MB,
            "/run": RUN_MB,
        }

    def arguments(
        self, limits: Limits, *, binds: Sequence[Bind], network: bool, files: Mapping[str, bytes]
    ) -> list[str | tuple[str, str]]:
        """bubblewrap's arguments. ("read", …) and ("written", …) stand for a folder that the commands' user may not be
        able to reach, ("data", …) for the descriptor of a text, ("file", …) for that of an open file."""
        words: list[str | tuple[str, str]] = [
            "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup",
            *([] if network else ["--unshare-net"]),
            "--uid", "1000", "--gid", "1000", "--hostname", "sandbox", "--die-with-parent", "--new-session",
            "--as-pid-1", "--cap-drop", "ALL", "--cap-add", CAPABILITY,
            "--clearenv", "--setenv", "PATH", self.path, "--ro-bind", "/usr", "/usr",
        ]  # fmt: skip
        for name in ROOTS:
            root = Path("/", name)
            if root.is_symlink():
                words += ["--symlink", str(root.readlink()), str(root)]
            elif root.is_dir():
                words += ["--ro-bind", str(root), str(root)]
        words += _etc(files)
        words += [
            "--proc",
            "/proc",
            "--dev",
            "/dev",
        ]
        for place, size in self.sizes(limits).items():
            words += _memory(place, size, "1777" if place in SHARED else "0755")
        words += ["--remount-ro", "/dev"]
        words += ["--dir", "/var", "--symlink", "/run", "/var/run", "--dir", "/opt", "--dir", "/sys"]
        if network:
            words += _memory("/var/tmp", 64, "1777")  # noqa: S108
        for bind in binds:
            words += [
                "--bind" if bind.writable else "--ro-bind",
                ("written" if bind.writable else "read", str(bind.source)),
                bind.target,
            ]
        words += ["--perms", "0111", "--ro-bind-data", ("file", self.sleep), SLEEP]
        words += ["--chdir", "/", "--remount-ro", "/"]
        return [*words, "--", *self.shell, "-c", INIT.format(seconds=limits.lifetime_seconds)]

    def why_not(self, said: str) -> str:
        """What to do about a sandbox that does not start, given what bubblewrap said."""
        said = said.removeprefix("bubblewrap could not start a sandbox: ")
        if _number("/proc/sys/kernel/unprivileged_userns_clone") == 0:
            mend = "user namespaces are switched off: `sudo sysctl kernel.unprivileged_userns_clone=1`"
        elif _number("/proc/sys/user/max_user_namespaces") == 0:
            mend = "user namespaces are switched off: `sudo sysctl user.max_user_namespaces=10000`"
        elif _number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1:
            mend = (
                "AppArmor keeps user namespaces from programs without a profile: give bwrap one (Ubuntu: `sudo apt-get "
                "install apparmor-profiles` and link bwrap-userns-restrict into /etc/apparmor.d), or "
                "`sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
            )
        elif _in_container():
            mend = (
                "this is a container, which allows no user namespaces or no fresh /proc within: start it with "
                "`--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths="
                "unconfined`, or give it a Docker engine"
            )
        else:
            mend = "the kernel or a policy of this machine does not allow it; use Docker"
        return f"bubblewrap cannot start a sandbox here ({said}): {mend}"


def _etc(files: Mapping[str, bytes]) -> list[str | tuple[str, str]]:
    """The arguments for /etc: what is made, and what is there of the machine's own."""
    words: list[str | tuple[str, str]] = []
    for name, data in {**MADE, **files}.items():
        words += ["--perms", "0644", "--ro-bind-data", ("data", data.decode()), f"/etc/{name}"]
    for pattern in ETC:
        for path in sorted(Path("/etc").glob(pattern)):
            if str(path.relative_to("/etc")) in files:
                continue
            if path.is_symlink():
                words += ["--symlink", str(path.readlink()), str(path)]
            elif path.exists():
                words += ["--ro-bind", str(path), str(path)]
    return words


def _memory(place: str, size_mb: int, mode: str = "0755") -> list[str | tuple[str, str]]:
    return ["--perms", mode, "--size", str(size_mb << 20), "--tmpfs", place]


def _python() -> tuple[str, str]:
    """The first Python below /usr that the tools can run on, and its version."""
    tried = []
    for name in ("/usr/local/bin/python3", "/usr/bin/python3"):
        if not os.access(name, os.X_OK):
            continue
        where = str(Path(name).resolve())
        said = _said(name, "-I", "-c", "import sys; print(*sys.version_info[:3])").split()
        if where.startswith("/usr/") and len(said) == 3 and (int(said[0]), int(said[1])) >= (3, 11):
            return where, ".".join(said)
        tried.append(f"{name} ({'.'.join(said) or 'does not start'})")
    raise EngineUnavailable(
        "Python 3.11 or newer is needed below /usr for sandboxes by bubblewrap"
        f"{'; there is ' + ', '.join(tried) if tried else ''}: install python3 and python3-venv"
    )


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).strip()


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def _in_container() -> bool:
    return any(Path(path).exists() for path in ("/.dockerenv", "/run/.containerenv"))
