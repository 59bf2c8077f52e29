"""Build /opt/toolbox: programs that run in any Linux container of this architecture, even one without a libc.

Runs as root in a container of the base image, whose Python, git and ripgrep it copies together with the
libraries and the loader that they need; patchelf makes them look for those in the toolbox alone.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

TOOLBOX = Path("/opt/toolbox")
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
STDLIB = TOOLBOX / "lib" / VERSION
# what no tool needs, and the extension modules that would bring large libraries along
LEFT_OUT = (  # noqa: SIM905
    "test idlelib tkinter turtledemo ensurepip lib2to3 distutils pydoc_data unittest dist-packages __pycache__ "
    "sqlite3 dbm curses venv config-* _test* _ctypes_test* _xxtest* xxlimited* _sqlite3* _tkinter* _curses* "
    "_ssl* _hashlib* _dbm* _gdbm* readline* site.py sitecustomize.py"
).split()
# Debian's own would add the image's /usr/lib/python3/dist-packages
SITE = '"""The toolbox has the standard library and nothing else."""\n\nENABLE_USER_SITE = False\n'
# What an image preloads was made for its own libc and can end ours. The tool server hands it on to the commands.
SCRIPT = """#!/opt/toolbox/bin/busybox sh
[ -n "$LD_PRELOAD" ] && export AGENT_LD_PRELOAD="$LD_PRELOAD"
unset LD_PRELOAD LD_AUDIT
"""
PYTHON = f"""{SCRIPT}exec /opt/toolbox/bin/{VERSION} "$@"
"""
RIPGREP = f"""{SCRIPT}exec /opt/toolbox/libexec/rg "$@"
"""
GIT = f"""{SCRIPT}export GIT_EXEC_PATH=/opt/toolbox/libexec/git-core GIT_TEMPLATE_DIR=/opt/toolbox/libexec/templates
exec /opt/toolbox/libexec/git-core/git "$@"
"""


def program(name: str) -> Path:
    found = shutil.which(name, path="/usr/bin:/bin:/usr/local/bin")
    if found is None:
        raise SystemExit(f"the base image lacks {name}")
    return Path(found).resolve()


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def libraries(file: Path) -> list[Path]:
    """The shared libraries that the file needs, as ldd finds them."""
    found = []
    for line in run("ldd", file).splitlines():
        words = line.split()
        if len(words) > 2 and words[1] == "=>" and words[2].startswith("/"):
            found.append(Path(words[2]))
    return found


def main() -> None:
    shutil.rmtree(TOOLBOX, ignore_errors=True)
    core = TOOLBOX / "libexec" / "git-core"
    for folder in (TOOLBOX / "bin", TOOLBOX / "lib" / "agent-tools", core, TOOLBOX / "libexec" / "templates"):
        folder.mkdir(parents=True)

    python = TOOLBOX / "bin" / VERSION
    shutil.copyfile(program("/usr/bin/python3"), python)
    shutil.copytree(f"/usr/lib/{VERSION}", STDLIB, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (STDLIB / "site.py").write_text(SITE)
    shutil.copyfile(program("git"), core / "git")
    shutil.copyfile(program("rg"), TOOLBOX / "libexec" / "rg")
    shutil.copyfile(program("busybox"), TOOLBOX / "bin" / "busybox")
    scripts = {"git": GIT, "python3": PYTHON, "rg": RIPGREP}
    for name, text in scripts.items():
        (TOOLBOX / "bin" / name).write_text(text)
    for name in ("git-upload-pack", "git-receive-pack"):  # git starts these by name
        (core / name).symlink_to("git")

    programs = [python, core / "git", TOOLBOX / "libexec" / "rg"]
    for file in [*programs, *STDLIB.glob("lib-dynload/*.so")]:
        for library in libraries(file):
            shutil.copyfile(library, TOOLBOX / "lib" / library.name)
    loader = Path(run("patchelf", "--print-interpreter", python).strip())
    ours = TOOLBOX / "lib" / loader.name
    ours.write_bytes(loader.read_bytes().replace(b"/etc/ld.so.preload\0", b"/opt/toolbox/.none\0"))
    for path in (ours, TOOLBOX / "bin" / "busybox", *(TOOLBOX / "bin" / name for name in scripts), *programs):
        path.chmod(0o755)
    for file in programs:
        run("patchelf", "--set-interpreter", ours, file)
        # the old kind of rpath holds for the libraries' own needs as well, and LD_LIBRARY_PATH does not override it
        run("patchelf", "--force-rpath", "--set-rpath", TOOLBOX / "lib", file)

    # hash-based and unchecked: no file times, so the result is the same at every build
    run(
        python, "-I", "-m", "compileall", "-q", "-j", str(os.cpu_count() or 1),
        "--invalidation-mode", "unchecked-hash", STDLIB,
    )  # fmt: skip


if __name__ == "__main__":
    main()
