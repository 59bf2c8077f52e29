"""What is bounded: processes, memory, CPU, disk, files, output. The sandbox, or at least the host, goes on."""

import resource

import anyio

from tests.escapes.cell import LIMITS, WRITABLE
from tests.escapes.corpus import escape, python


@escape("processes", "a fork bomb", "bomb() { bomb | bomb & }; bomb; sleep 100", timeout=3, fresh=True)
async def _(cell, seen):
    await cell.usable()


@escape(
    "processes",
    "a fork bomb whose children leave their session and ignore signals",
    python("""
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    while True:
        try:
            if os.fork() == 0:
                os.setsid()
        except OSError:
            pass
    """),
    timeout=3,
    fresh=True,
)
async def _(cell, seen):
    await cell.usable()


@escape(
    "processes",
    "as many threads as there are",
    python("""
    made = 0
    try:
        for _ in range(100000):
            threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
            made += 1
    except RuntimeError as error:
        print("refused after", made, error, flush=True)
    os._exit(0)
    """),
    fresh=True,
)
async def _(cell, seen):
    assert "refused after" in seen.text, seen.text
    assert int(seen.text.split("refused after ")[1].split()[0]) < LIMITS.pids
    await cell.usable()


@escape(
    "processes",
    "a timeout evaded by new sessions, double forks and deaf ears",
    python("""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for n in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.setsid()
                os.execve("/opt/toolbox/bin/busybox", ["sleep", "3133731337"], {})
            os._exit(0)
    print("began", flush=True)
    time.sleep(1000)
    """),
    timeout=2,
)
async def _(cell, seen):
    assert seen.timed_out, seen
    assert "began" in seen.text, seen.text
    left = await cell.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "sleep 3133731337" not in left.text, left.text


@escape(
    "processes",
    "work left in the background when the command ends",
    "for i in 1 2 3; do (setsid sh -c 'sleep 271828 & sleep 271829' >/dev/null 2>&1 &); done; nohup sleep 271830 & exec sleep 0",
)
async def _(cell, seen):
    # `exec` ends the shell and with it all that it had started
    left = await cell.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    assert "sleep 27182" not in left.text, left.text


@escape(
    "memory",
    "more memory than there is",
    python("""
    hog = []
    print("began", flush=True)
    for _ in range(64):
        hog.append(bytearray(os.urandom(1 << 20)) * 32)
    print("survived")
    """),
    timeout=60,
    fresh=True,
)
async def _(cell, seen):
    assert "began" in seen.text, seen.text
    assert "survived" not in seen.text, seen.text
    await cell.usable()


@escape(
    "memory",
    "memory that no process is charged with",
    python("""
    libc.shmat.restype = ctypes.c_void_p
    print("began", flush=True)
    kept = 0
    for n in range(64):  # of 16 MB each, twice what the sandbox has
        size = 16 << 20
        try:
            file = call("memfd_create", b"x", 0)
            for _ in range(16):
                os.write(file, b"x" * (1 << 20))
            key = call("shmget", 0, size, 0o1600)
            ctypes.memset(libc.shmat(key, 0, 0), 120, size)
        except OSError:
            break
        kept += 2 * size
        print("kept", kept >> 20, flush=True)
    print("survived")
    """),
    timeout=60,
    fresh=True,
)
async def _(cell, seen):
    kept = [int(line.split()[1]) for line in seen.text.splitlines() if line.startswith("kept ")]
    assert kept, seen.text
    assert kept[-1] <= LIMITS.memory_mb, seen.text
    assert "survived" not in seen.text or kept[-1] < LIMITS.memory_mb
    await cell.usable()


@escape(
    "memory",
    "all writable places full, and then more memory",
    "; ".join(f"head -c 1G /dev/zero > {place}/full 2>&1" for place in WRITABLE)
    + "; "
    + python("""
    hog = []
    for _ in range(64):
        hog.append(bytearray(os.urandom(1 << 20)) * 32)
    print("survived")
    """),
    timeout=60,
    fresh=True,
)
async def _(cell, seen):
    assert "survived" not in seen.text, seen.text
    await cell.shell(f"rm -f {' '.join(f'{place}/full' for place in WRITABLE)}")
    await cell.usable()


@escape(
    "disk",
    "fill each place that can be written",
    "".join(
        f"head -c {size + 40}M /dev/zero > {place}/full; stat -c '{place} %s' {place}/full; rm {place}/full\n"
        for place, size in WRITABLE.items()
    ),
    timeout=60,
)
async def _(cell, seen):
    for place, size in WRITABLE.items():
        found = [line.split()[1] for line in seen.text.splitlines() if line.startswith(f"{place} ")]
        assert not found or int(found[0]) <= size << 20, seen.text
    assert seen.text.count("No space left") >= 3, seen.text
    await cell.usable()


@escape(
    "disk",
    "as many files as can be made",
    python(f"""
    for place in {tuple(WRITABLE)!r}:
        made = 0
        try:
            top = place + "/many"
            os.mkdir(top)
            for _ in range(150000):
                os.close(os.open(f"{{top}}/{{made}}", os.O_CREAT | os.O_WRONLY))
                made += 1
        except OSError as error:
            print(place, "stopped", errno.errorcode[error.errno], made, flush=True)
        else:
            print(place, "unbounded", made, flush=True)
    """)
    + "; rm -rf "
    + " ".join(f"{place}/many" for place in WRITABLE),
    timeout=120,
    fresh=True,
)
async def _(cell, seen):
    assert "unbounded" not in seen.text, seen.text
    for place in WRITABLE:
        assert f"{place} stopped" in seen.text, seen.text
    await cell.usable()


@escape(
    "disk",
    "sparse files of terabytes, and space taken without writing",
    python("""
    for place in ("/workspace", "/tmp", "/home/agent"):
        file = os.open(place + "/sparse", os.O_CREAT | os.O_RDWR)
        try:
            os.ftruncate(file, 1 << 42)
            print("SPARSE", place)
        except OSError as error:
            print("refused", error)
        try:
            os.posix_fallocate(file, 0, 1 << 33)
            print("ALLOCATED", place)
        except OSError as error:
            print("refused", error)
        os.unlink(place + "/sparse")
    """),
)
async def _(cell, seen):
    assert "ALLOCATED" not in seen.text, seen.text
    assert "SPARSE" not in seen.text, seen.text
    assert seen.text.count("refused") == 6, seen.text
    await cell.usable()


@escape(
    "open files",
    "as many as there are, in as many processes",
    python("""
    children = []
    for n in range(20):
        reading, writing = os.pipe()
        if os.fork() == 0:
            made = 0
            try:
                while True:
                    os.open("/dev/null", os.O_RDONLY)
                    made += 1
            except OSError as error:
                os.write(writing, f"{errno.errorcode[error.errno]} {made}".encode())
            time.sleep(100)
        children.append(os.read(reading, 100).decode())
    print(*children, sep="\\n")
    """),
    timeout=30,
)
async def _(cell, seen):
    counts = [int(line.split()[1]) for line in seen.text.splitlines() if line.startswith("EMFILE")]
    assert len(counts) == 20 or "BlockingIOError" in seen.text, seen.text
    assert max(counts) <= 4096, seen.text
    await cell.usable()


@escape(
    "open files",
    "pipes, queues and sockets filled up",
    python("""
    import fcntl
    print("began", flush=True)
    total = 0
    kept = []
    try:
        for _ in range(900):
            pair = os.pipe()
            kept.append(pair)
            try:
                fcntl.fcntl(pair[1], 1031, 1 << 20)
            except OSError:
                pass
            os.set_blocking(pair[1], False)
            try:
                while True:
                    total += os.write(pair[1], b"x" * 65536)
            except BlockingIOError:
                pass
        for _ in range(400):
            a, b = socket.socketpair()
            kept += [a, b]
            a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 26)
            a.setblocking(False)
            try:
                while True:
                    total += a.send(b"x" * 65536)
            except BlockingIOError:
                pass
    except OSError as error:
        print(error)
    print("MB kept:", total >> 20)
    """),
    timeout=60,
    fresh=True,
)
async def _(cell, seen):
    assert seen.is_error or "began" in seen.text, seen.text  # the server may have to begin anew
    if "MB kept: " in seen.text:
        assert int(seen.text.split("MB kept: ")[1].split()[0]) <= LIMITS.memory_mb, seen.text
    await cell.usable()


@escape(
    "cpu",
    "a hundred threads that spin",
    python("""
    for _ in range(4):
        if os.fork() == 0:
            for _ in range(10):
                threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()
            time.sleep(1000)
    def used():
        return sum(sum(map(int, open(f"/proc/{p}/stat").read().rpartition(")")[2].split()[11:13]))
                   for p in os.listdir("/proc") if p.isdigit() and os.path.exists(f"/proc/{p}/stat"))
    time.sleep(0.5)
    began, before = time.monotonic(), used()
    time.sleep(2)
    print("CPUs used:", (used() - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began), flush=True)
    time.sleep(1000)
    """),
    timeout=6,
    fresh=True,
)
async def _(cell, seen):
    assert seen.timed_out, seen
    # what the kernel counted for them, against the limit of one CPU: a ratio, however busy the machine is
    assert float(seen.text.split("CPUs used: ")[1].split()[0]) < 1.35 * LIMITS.cpus, seen.text
    await cell.usable()


@escape("output", "hundreds of megabytes", "yes 'a line of output' | head -c 400M; echo the end", timeout=60)
async def _(cell, seen):
    assert len(seen.text) < 100_000
    assert "the end" in seen.text, seen.text[-300:]


@escape("output", "no line ever ends", "head -c 200M /dev/zero | tr '\\0' x; echo; echo the end", timeout=60)
async def _(cell, seen):
    assert len(seen.text) < 100_000
    assert "the end" in seen.text, seen.text[-300:]


@escape("output", "a flood that never ends", "yes & yes >&2 & cat /dev/urandom", timeout=3)
async def _(cell, seen):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert seen.timed_out, seen.text[-300:]
    assert len(seen.text) < 100_000
    done = await cell.sandbox.run("yes & yes >&2 & cat /dev/urandom", timeout=3, output_limit=1000)
    assert done.timed_out
    assert len(done.output) < 1200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000
    await cell.usable()


@escape("output", "a flood while nobody reads it", "setsid yes & disown; sleep 0.1; echo gone")
async def _(cell, seen):
    await anyio.sleep(1)
    assert "def answer" in (await cell.tool("read_file", path="app.py")).text
    await cell.shell("pkill -x yes; kill -9 $(grep -lx yes /proc/[0-9]*/comm | cut -d/ -f3)")
    await cell.usable()
