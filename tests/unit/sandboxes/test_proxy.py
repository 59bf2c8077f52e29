"""The proxy connects to whom the user allows, whatever its client says."""

import asyncio
import contextlib

import pytest

from sandboxes.proxy import Host, Proxy


@pytest.mark.parametrize(
    ("allowed", "name", "port", "holds"),
    [
        ("pypi.org", "pypi.org", 443, True),
        ("pypi.org", "pypi.org", 80, True),
        ("PyPI.org.", "pypi.org", 443, True),
        ("pypi.org", "pypi.org", 22, False),
        ("pypi.org", "evil-pypi.org", 443, False),
        ("pypi.org", "pypi.org.evil.com", 443, False),
        ("pypi.org", "www.pypi.org", 443, False),
        ("*.pypi.org", "files.a.pypi.org", 443, True),
        ("*.pypi.org", "pypi.org", 443, False),
        ("*.pypi.org", "evilpypi.org", 443, False),
        ("db:5432", "db", 5432, True),
        ("db:5432", "db", 443, False),
        ("10.0.0.5:8080", "10.0.0.5", 8080, True),
        ("[::1]:8080", "::1", 8080, True),
    ],
)
def test_a_host_holds_what_it_names(allowed, name, port, holds):
    assert Host.parse(allowed).holds(name, port) is holds


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "*",
            "*.",
            "a b",
            "http://pypi.org",
            "pypi.org/simple",
            "pypi.org:",
            "pypi.org:0",
            "pypi.org:65536",
        ),
        *("a.*.org", "pypi.org:x", "-a.org", "1.2.3", "user@pypi.org", "a..b", "[::1", "pypi.org\0"),
    ],
)
def test_what_is_no_host_is_refused(text):
    with pytest.raises(ValueError):
        Host.parse(text)


def test_a_host_is_written_as_it_is_given():
    for text in ("pypi.org", "*.pypi.org", "db:5432", "[::1]:8080", "10.0.0.5"):
        assert str(Host.parse(text)) == text


async def answered(server_answer, allowed, asked, log=None):
    """What a client of the proxy gets for `asked`, and what the server behind it got."""
    got = []

    async def server(reader, writer):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                while data := await reader.read(1 << 16):
                    got.append(data)
        writer.write(server_answer)
        writer.close()

    async with await asyncio.start_server(server, "127.0.0.1", 0) as behind:
        port = behind.sockets[0].getsockname()[1]
        proxy = Proxy([Host.parse(text.format(port=port)) for text in allowed], log or (lambda line: None))
        async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as front:
            reader, writer = await asyncio.open_connection(*front.sockets[0].getsockname())
            for part in asked if isinstance(asked, list) else [asked]:
                writer.write(part.replace("{port}", str(port)).encode())
                await writer.drain()
            answer = await reader.read()
            writer.close()
    return answer.decode(), b"".join(got).decode()


def test_a_tunnel_to_an_allowed_host_carries_bytes():
    asked = "CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\nhello"
    answer, got = asyncio.run(answered(b"world", ["127.0.0.1:{port}"], asked))
    assert answer == "HTTP/1.1 200 Connection established\r\n\r\nworld"
    assert got == "hello"


def test_a_plain_request_is_sent_on_for_one_answer_without_the_proxys_own_fields():
    asked = (
        "GET http://127.0.0.1:{port}/a?b=c HTTP/1.1\r\nHost: elsewhere.org\r\nProxy-Authorization: Basic x\r\n"
        "Connection: keep-alive\r\nAccept: */*\r\n\r\n"
    )
    answer, got = asyncio.run(answered(b"HTTP/1.1 204 None\r\n\r\n", ["127.0.0.1:{port}"], asked))
    assert answer.startswith("HTTP/1.1 204")
    line, *fields = got.rstrip().split("\r\n")
    assert line == "GET /a?b=c HTTP/1.1"
    assert fields[0].startswith("Host: 127.0.0.1:")
    assert fields[1:] == ["Accept: */*", "Connection: close"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("CONNECT evil.org:443 HTTP/1.1\r\n\r\n", 403),
        ("CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n", 403),
        ("CONNECT localhost:{port} HTTP/1.1\r\n\r\n", 403),
        ("CONNECT 127.1:{port} HTTP/1.1\r\n\r\n", 403),
        ("CONNECT 2130706433:{port} HTTP/1.1\r\n\r\n", 403),
        ("CONNECT *:443 HTTP/1.1\r\n\r\n", 400),
        ("CONNECT evil.org HTTP/1.1\r\n\r\n", 400),
        ("CONNECT good.org:443@evil.org HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: good.org\r\n\r\n", 400),
        ("GET https://good.org/ HTTP/1.1\r\n\r\n", 400),
        ("GET http://good.org@evil.org/ HTTP/1.1\r\n\r\n", 403),
        ("GET http://evil.org/ HTTP/1.1\r\nHost: good.org\r\n\r\n", 403),
        ("GET http://good.org:99999/ HTTP/1.1\r\n\r\n", 400),
        ("GET http://evil.org#good.org/ HTTP/1.1\r\n\r\n", 403),
        ("\0\r\n\r\n", 400),
    ],
)
def test_what_is_not_allowed_gets_no_connection(asked, status):
    answer, got = asyncio.run(answered(b"reached", ["127.0.0.1:{port}", "good.org"], asked))
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert got == ""


def test_a_name_for_this_machine_is_not_reached_unless_it_is_localhost_or_an_address(monkeypatch):
    async def resolve(self, name, port, **options):
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", resolve)
    asked = "CONNECT rebound.org:{port} HTTP/1.1\r\n\r\n"
    answer, got = asyncio.run(answered(b"reached", ["rebound.org:{port}"], asked))
    assert answer.startswith("HTTP/1.1 403 ")
    assert "rebound.org stands for an address of this machine" in answer
    assert got == ""
    answer, _ = asyncio.run(
        answered(b"reached", ["localhost:{port}"], "CONNECT localhost:{port} HTTP/1.1\r\n\r\n")
    )
    assert answer.endswith("reached")


def test_each_refused_host_is_told_once_and_not_without_end():
    said = []
    proxy = Proxy([], said.append)

    async def ask(name):
        async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as front:
            reader, writer = await asyncio.open_connection(*front.sockets[0].getsockname())
            writer.write(f"CONNECT {name}:443 HTTP/1.1\r\n\r\n".encode())
            await reader.read()
            writer.close()

    async def main():
        for number in range(30):
            await ask(f"host{number}.org")
            await ask("host0.org")

    asyncio.run(main())
    assert said[0] == "a sandbox asked for host0.org, which is not allowed; --allow-host host0.org would"
    assert len(said) == len(set(said)) == 20


def test_the_machines_own_proxy_is_used(monkeypatch):
    """What a company's network needs: the name goes to its proxy, with its login."""
    asked = []

    async def company(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nthrough")
        writer.close()

    async def main():
        async with await asyncio.start_server(company, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            monkeypatch.setenv("https_proxy", f"http://me:p%40ss@127.0.0.1:{port}")
            return await answered(b"", ["pypi.org"], "CONNECT pypi.org:443 HTTP/1.1\r\n\r\n")

    answer, _ = asyncio.run(main())
    assert answer.endswith("\r\n\r\nthrough")
    assert asked[0].startswith(b"CONNECT pypi.org:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in asked[0]
