"""There is no network: nothing of the host, its neighbours or the world can be reached."""

import anyio

from tests.escapes.corpus import escape, python, refused


@escape("network", "the host's own services, on each of its addresses")
async def _(cell, _seen):
    addresses = [
        *cell.outside.addresses(),
        "172.17.0.1",
        "10.0.2.2",
        "192.168.65.2",
        "host.docker.internal",
        "gateway",
    ]
    seen = await cell.shell(
        python(f"""
        socket.setdefaulttimeout(2)
        for address in {addresses!r}:
            attempt("host", socket.create_connection, (address, {cell.outside.port}))
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                s.sendto(b"datagram", (address, {cell.outside.port}))
            except OSError:
                pass
        for port in (22, 80, 443, 2375, 2376, 5000, 8080):
            attempt("host", socket.create_connection, ("127.0.0.1", port))
        """),
        timeout=60,
    )
    await anyio.sleep(0.2)  # time for a datagram to arrive
    assert seen.text.count("host: ") == len(addresses) + 7, seen.text
    assert ": DONE" not in seen.text, seen.text


UNREACHABLE = "ENETUNREACH EADDRNOTAVAIL gaierror TimeoutError ECONNREFUSED EHOSTUNREACH EAFNOSUPPORT ENOENT"

refused(
    "network",
    "the metadata service, the world, names",
    """
    socket.setdefaulttimeout(2)
    for name, address in (
        ("metadata", ("169.254.169.254", 80)), ("metadata 6", ("fd00:ec2::254", 80)), ("world", ("1.1.1.1", 443)),
        ("world 6", ("2606:4700:4700::1111", 443)), ("neighbour", ("172.17.0.2", 80)),
    ):
        attempt(name, socket.create_connection, address)
    attempt("name", socket.getaddrinfo, "pypi.org", 443)
    def ask(server):
        s = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
        s.sendto(b"\\x12\\x34\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0\\x04pypi\\x03org\\0\\0\\x01\\0\\x01", (server, 53))
        return s.recv(512)
    servers = [line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver")] \\
        if os.path.exists("/etc/resolv.conf") else []
    for server in (*servers, "8.8.8.8"):
        attempt("dns", ask, server)
    """,
    "metadata", "metadata 6", "world", "world 6", "neighbour", "name", "dns",
    also=UNREACHABLE, timeout=60,
)  # fmt: skip

refused(
    "network",
    "raw and packet sockets",
    """
    attempt("icmp", socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    attempt("raw", socket.socket, socket.AF_INET, socket.SOCK_RAW, 255)
    attempt("raw 6", socket.socket, socket.AF_INET6, socket.SOCK_RAW, 58)
    attempt("packet", socket.socket, 17, socket.SOCK_RAW, 768)
    attempt("packet dgram", socket.socket, 17, socket.SOCK_DGRAM, 768)
    """,
    "icmp", "raw", "raw 6", "packet", "packet dgram",
    also="EAFNOSUPPORT EPROTONOSUPPORT",
)  # fmt: skip

FAMILIES = {
    "vsock": 40,
    "alg": 38,
    "tipc": 30,
    "bluetooth": 31,
    "can": 29,
    "rds": 21,
    "xdp": 44,
    "kcm": 41,
    "nfc": 39,
}
FAMILIES |= {"x25": 9, "ax25": 3, "key": 15, "llc": 26, "smc": 43, "qipcrtr": 42, "caif": 37, "phonet": 35}

refused(
    "network",
    "families of sockets that no network namespace holds, or that few need",
    f"""
    for name, family in {FAMILIES!r}.items():
        for kind in (1, 2, 3, 5):
            attempt(name, socket.socket, family, kind, 0)
    """,
    *FAMILIES,
    also="EAFNOSUPPORT",
)

refused(
    "network",
    "make interfaces, addresses and routes",
    """
    import fcntl
    def netlink(kind, flags, body):
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        s.bind((0, 0))
        s.send(struct.pack("=IHHII", 16 + len(body), kind, flags | 5, 1, 0) + body)
        code = struct.unpack("=i", s.recv(4096)[16:20])[0]
        if code:
            raise OSError(-code, "")
    attribute = lambda kind, data: struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)
    info = lambda name: attribute(18, attribute(1, name))
    attempt("dummy", netlink, 16, 0x600, struct.pack("=BxHiII", 0, 0, 0, 0, 0) + info(b"dummy\\0"))
    attempt("veth", netlink, 16, 0x600, struct.pack("=BxHiII", 0, 0, 0, 0, 0) + info(b"veth\\0"))
    attempt("address", netlink, 20, 0x600, struct.pack("=BBBBI", 2, 24, 0, 0, 1) + attribute(2, bytes([10, 9, 8, 7])))
    attempt("route", netlink, 24, 0x600, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + attribute(4, struct.pack("=I", 1)))
    attempt("link down", netlink, 16, 0, struct.pack("=BxHiII", 0, 0, 1, 0, 1))
    def flags():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        fcntl.ioctl(s, 0x8914, b"lo" + bytes(14) + struct.pack("=H", 0) + bytes(14))
    attempt("ioctl", flags)
    attempt("audit", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9).bind((0, 1)))
    """,
    "dummy", "veth", "address", "route", "link down", "ioctl", "audit",
    also="EPROTONOSUPPORT EINVAL EAFNOSUPPORT",
)  # fmt: skip


@escape("network", "abstract sockets of the host")
async def _(cell, _seen):
    seen = await cell.shell(
        python(f"""
        print(open("/proc/net/unix").read())
        attempt("abstract", socket.socket(socket.AF_UNIX).connect, "\\0" + {cell.outside.abstract!r})
        for name in ("/containerd-shim/", "/tmp/.X11-unix/X0", "/tmp/dbus-x", "/org/freedesktop/systemd1/notify"):
            attempt("well known", socket.socket(socket.AF_UNIX).connect, "\\0" + name)
        """)
    )
    assert "abstract: ECONNREFUSED" in seen.text, seen.text
    assert ": DONE" not in seen.text
    assert cell.outside.abstract not in seen.text
    assert "containerd" not in seen.text


@escape(
    "network",
    "sockets in the file system, an engine's above all",
    python("""
    for folder, folders, names in os.walk("/"):
        folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/proc", "/sys")]
        for name in names:
            if stat.S_ISSOCK(os.lstat(os.path.join(folder, name)).st_mode):
                print("SOCKET", folder, name)
    for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
                 "/run/user/1000/docker.sock", "/run/user/0/podman/podman.sock", "/var/run/crio/crio.sock",
                 "/run/dbus/system_bus_socket", "/run/systemd/private", "/dev/log"):
        attempt(path, socket.socket(socket.AF_UNIX).connect, path)
    """),
    timeout=60,
)
async def _(cell, seen):
    assert "SOCKET" not in seen.text, seen.text
    assert ": DONE" not in seen.text, seen.text
    assert "/var/run/docker.sock: ENOENT" in seen.text, seen.text
