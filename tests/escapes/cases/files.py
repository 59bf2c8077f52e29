"""Files: what is read-only, what leads out, what the host reads back."""

import anyio
import pytest

from tests.escapes.cell import WRITABLE
from tests.escapes.corpus import escape, python, refused

FIXED = (
    "/etc/passwd",
    "/etc/ld.so.preload",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/opt/env/x",
    "/opt/toolbox/bin/git",
)
FIXED += (
    "/opt/toolbox/bin/python3.11",
    "/opt/toolbox/lib/agent-tools/tools/server.py",
    "/usr/bin/x",
    "/x",
    "/bin/sh",
)

refused(
    "files",
    "write to the root, the toolbox, the environment",
    f"""
    for path in {FIXED!r}:
        attempt(path, os.open, path, os.O_WRONLY | os.O_CREAT, 0o666)
        attempt("replace", os.rename, "/proc/self/comm", path)
        attempt("unlink", os.unlink, path)
    attempt("directory", os.mkdir, "/opt/toolbox/new")
    attempt("link", os.symlink, "/tmp", "/opt/toolbox/lib/agent-tools/tools/x.py")
    """,
    *FIXED, "directory", "link",
    also="ENOENT EXDEV",
)  # fmt: skip


@escape(
    "files",
    "find anything else that can be written",
    python(f"""
    allowed = {(*WRITABLE, "/proc", "/dev/pts", "/dev/mqueue")!r}
    seen = 0
    for folder, folders, names in os.walk("/"):
        folders[:] = [f for f in folders if os.path.join(folder, f) not in allowed + ("/sys",)]
        seen += 1
        mode = os.lstat(folder)
        try:
            path = os.path.join(folder, ".escape")
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            os.unlink(path)
            print("WRITABLE folder", folder)
        except OSError:
            pass
        for name in names:
            path = os.path.join(folder, name)
            kind = os.lstat(path).st_mode
            if stat.S_ISREG(kind) and kind & 0o222 and os.access(path, os.W_OK):
                print("WRITABLE file", path)
    print("folders", seen)
    """),
    timeout=60,
)
async def _(cell, seen):
    assert "WRITABLE" not in seen.text, seen.text
    assert int(seen.text.split("folders ")[1].split()[0]) > 200, seen.text


refused(
    "files",
    "hard links to what is not ours",
    """
    for name, path in (("toolbox", "/opt/toolbox/bin/busybox"), ("passwd", "/etc/passwd"), ("hosts", "/etc/hosts")):
        attempt(name, os.link, path, f"/workspace/{name}")
    """,
    "toolbox", "passwd", "hosts",
    also="EXDEV ENOENT",
)  # fmt: skip

HOST_FILES = ("/etc/hostname", "/proc/self/environ", "/proc/1/environ", "/root/.ssh/id_rsa")


@escape(
    "files",
    "links that lead out, read back by the host",
    "cd /workspace; "
    + "; ".join(f"ln -s {path} link{number}" for number, path in enumerate(HOST_FILES))
    + "; ln -s ../../../../../../../../.. up; ln -s /proc/self/cwd/../../etc around; ls -l",
)
async def _(cell, seen):
    canary = cell.outside.folder / "canary"
    for path in (
        *(f"/workspace/link{number}" for number in range(len(HOST_FILES))),
        f"/workspace/up{canary}",
        f"/workspace/../../../..{canary}",
        str(canary),
        "/workspace/around/shadow",
    ):
        try:
            data = await cell.sandbox.read(path, 1 << 20)
        except (OSError, ValueError):
            continue
        assert b"untouched" not in data, path
        assert b"ESCAPE_API_KEY" not in data, path
    patch = await cell.patch()
    assert b"new file mode 120000" in patch
    assert b"untouched" not in patch


@escape(
    "files",
    "a folder that became a link while the host writes into it",
    "rm -rf /workspace/in && ln -s /etc /workspace/in && ln -s /opt/toolbox/bin /tmp/bin",
)
async def _(cell, seen):
    from sandboxes.errors import SandboxError

    await cell.sandbox.put_tree(_tar(cell, {"in/passwd": b"evil", "in/deep/x": b"evil"}))
    assert (await cell.sandbox.read("/workspace/in/passwd", 10)) == b"evil"
    assert b"evil" not in await cell.sandbox.read("/etc/passwd", 1 << 16)
    with pytest.raises(SandboxError):
        await cell.sandbox.put_file("/tmp/bin/git", b"evil")


@escape(
    "files",
    "things in the place of files where the host reads",
    """
    cd /workspace && mkfifo fifo && ln -s fifo to-fifo && ln -s /dev/zero zero && mkdir folder && ln -s loop loop
    rm notes.txt && mkfifo notes.txt
    /opt/toolbox/bin/python3 -I -c 'import socket; socket.socket(socket.AF_UNIX).bind("/workspace/sock")'
    dd if=/dev/zero of=sparse bs=1 count=0 seek=30M 2>/dev/null
    """,
)
async def _(cell, seen):
    with anyio.fail_after(60):
        for name in (
            "fifo",
            "to-fifo",
            "zero",
            "folder",
            "loop",
            "sock",
            "sparse",
            "notes.txt",
            "fifo/x",
            "a" * 300,
        ):
            with pytest.raises((OSError, ValueError)):
                await cell.sandbox.read(f"/workspace/{name}", 1000)
        # the patch is not waited for either: it tells what it can't take, or leaves it out
        result = await cell.tool("diff", 60)
    assert len(result.text) < 100_000
    await cell.shell("cd /workspace && rm -rf fifo to-fifo zero folder loop sock sparse notes.txt")


@escape(
    "files",
    "a file that grows while the host reads it",
    "(while :; do head -c 1M /dev/zero; done >> /tmp/grows) & sleep 0.2; ls -l /tmp/grows",
)
async def _(cell, seen):
    with pytest.raises(ValueError, match="larger than 1000"):
        await cell.sandbox.read("/tmp/grows", 1000)
    await cell.shell("kill %1 %2 %3 2>/dev/null; kill $(jobs -p) 2>/dev/null; sleep 0.1; rm -f /tmp/grows")


@escape(
    "files",
    "names that act on a terminal",
    r"""
    cd /workspace && touch $'\e]0;owned\a\e[2J' $'new\nline' $'\xff\xfe' $'\u202efdp.exe' -- -rf && ls
    printf '\e[2J\e]52;c;b3duZWQ=\a\e[6n\x9b31m\u202e\r\b\x00' ; echo; cat *owned* nothing-$'\e[5i'
    """,
)
async def _(cell, seen):
    results = [
        await cell.tool("find_files", pattern="*"),
        await cell.tool("search", pattern=".", path="\x1b[2J"),
        await cell.tool("read_file", path="\x1b]0;owned\x07\x1b[2J"),
        await cell.tool("diff"),
    ]
    for text in (seen.text, *(result.text for result in results)):
        acting = [
            c for c in text if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 or c == "\u202e"
        ]
        assert not acting, acting
    assert "owned" in seen.text
    await cell.shell("cd /workspace && rm -f -- -rf *owned* new* $'\\xff\\xfe' *exe*")


@escape(
    "files",
    "a folder ten thousand deep",
    python("""
    os.chdir("/workspace")
    try:
        for n in range(10000):
            os.mkdir("d" * 20)
            os.chdir("d" * 20)
    except OSError as error:
        print("stopped at", n, error)
    print("depth", n)
    """),
    timeout=60,
    fresh=True,
)
async def _(cell, seen):
    with anyio.fail_after(120):
        for name, arguments in (("find_files", {"pattern": "*"}), ("search", {"pattern": "x"}), ("diff", {})):
            result = await cell.tool(name, 60, **arguments)
            assert len(result.text) < 100_000
    await cell.usable()


def _tar(cell, files):
    from tests.docker.sandbox_tools import tar_of

    return tar_of(cell.outside.folder / "hostile.tar", files)
