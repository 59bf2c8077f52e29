"""The way out of every driver's sandboxes: to the hosts that are allowed, and nowhere else."""

import asyncio
import contextlib
import json
import threading
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest

from sandboxes.egress import Allowing
from sandboxes.proxy import Host
from tests.contract.test_sandboxes import OfBubblewrap, OfDocker
from tests.docker.project import ABOVE, BUGGY, FIXED_LINE, agent, git, make_project
from tests.docker.sandbox_tools import RUN, SMALL, environment_of

PYTHON = "env no_proxy= NO_PROXY= /opt/toolbox/bin/python3 -I -c "  # the server is on a loopback, which programs know
SERVICE = """\
import os
import urllib.request


def test_service(monkeypatch):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    handler = urllib.request.ProxyHandler({{"http": os.environ["http_proxy"]}})
    assert urllib.request.build_opener(handler).open("http://{}/").read() == b"xx"
"""
GET = PYTHON + "'import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen(sys.argv[1]).read())' "


@pytest.fixture(
    params=[
        pytest.param(OfDocker, marks=pytest.mark.docker, id="docker"),
        pytest.param(OfBubblewrap, id="bubblewrap"),
    ]
)
def driver(request):
    return request.param()


@pytest.fixture
def server():
    """Answers /big with 3 MB, /stall with more than any buffer holds, a POST with the length of what came."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            size = {"/big": 3_000_000, "/stall": 50_000_000}.get(self.path, 2)
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(b"x" * size)

        def do_POST(self):
            left, came = int(self.headers["Content-Length"]), 0
            while came < left:
                came += len(self.rfile.read(min(1 << 16, left - came)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"%d" % came)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{made.server_port}"
        made.shutdown()


@asynccontextmanager
async def allowed(driver, folder, hosts, said=None):
    """A sandbox that may reach these, as runs have it."""
    made = await driver.connect(folder)
    over = Allowing(made, [Host.parse(host) for host in hosts], (said if said is not None else []).append)
    environment = await environment_of(over, folder, {"file": b"content"})
    async with over.sandbox(environment, run_id=RUN, limits=SMALL) as sandbox:
        yield sandbox


def test_programs_reach_an_allowed_host_and_no_other(driver, server, tmp_path):
    said = []

    async def main():
        async with allowed(driver, tmp_path, [server], said) as sandbox:
            done = await sandbox.run(f"{GET} http://{server}/", timeout=30)
            assert (done.exit_code, done.output) == (0, b"xx")
            done = await sandbox.run(f"{GET} http://example.com/", timeout=30)
            assert b"HTTP Error 403" in done.output
            # round the proxy there is still no network
            done = await sandbox.run(f"env -u http_proxy -u HTTP_PROXY {GET} http://{server}/", timeout=30)
            assert done.exit_code != 0 and b"Connection refused" in done.output
            done = await sandbox.run(f"env -u http_proxy -u HTTP_PROXY {GET} http://1.1.1.1/", timeout=30)
            assert b"Network is unreachable" in done.output

    anyio.run(main)
    assert any(line.startswith("a sandbox asked for example.com,") for line in said)


def test_much_goes_both_ways_and_a_stalled_connection_holds_up_no_other(driver, server, tmp_path):
    connect = f'import socket; s = socket.create_connection(("127.0.0.1", 3128)); s.sendall(b"GET http://{server}/stall'
    stall = connect + ' HTTP/1.1\\r\\n\\r\\n"); import time; time.sleep(60)'
    post = (
        "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], data=bytes(3000000)).read().decode())"
    )

    async def main():
        async with allowed(driver, tmp_path, [server]) as sandbox:
            await sandbox.run(f"{PYTHON} '{stall}' > /dev/null 2>&1 &", timeout=10)
            done = await sandbox.run(
                f"for n in 1 2 3; do {GET} http://{server}/big; done | wc -c", timeout=60
            )
            assert done.output.strip() == b"9000000"
            done = await sandbox.run(f"{PYTHON} '{post}' http://{server}/", timeout=60)
            assert done.output.strip() == b"3000000"

    anyio.run(main)


def test_what_runs_in_a_sandbox_cannot_stop_its_way_out_and_no_flood_breaks_it(driver, server, tmp_path):
    flood = (
        "import socket\nopen_ = []\ntry:\n    for _ in range(300):\n"
        "        s = socket.create_connection(('127.0.0.1', 3128), 5)\n        s.sendall(b'CONNECT ')\n"
        "        open_.append(s)\nexcept OSError:\n    pass\nprint('flooded')"
    )

    async def main():
        async with allowed(driver, tmp_path, [server]) as sandbox:
            await sandbox.run("kill -9 -1", timeout=10)
            await sandbox.put_file("/tmp/flood.py", flood.encode())
            done = await sandbox.run("/opt/toolbox/bin/python3 -I /tmp/flood.py", timeout=60)
            assert done.output.strip() == b"flooded"
            for _ in range(50):  # until the connections of the flood have been closed
                done = await sandbox.run(f"{GET} http://{server}/", timeout=30)
                if done.exit_code == 0:
                    break
                await anyio.sleep(0.2)
            assert (done.exit_code, done.output) == (0, b"xx")

    anyio.run(main)


def test_nothing_is_left_of_it(driver, server, tmp_path):
    async def main():
        async with allowed(driver, tmp_path, [server]) as sandbox:
            await sandbox.run(f"{GET} http://{server}/", timeout=30)
        assert driver.left(RUN) == []
        assert len(asyncio.all_tasks()) == 1

    anyio.run(main)


def test_the_gate_has_the_way_out_that_its_user_allows_and_the_repository_only_asks_for_it(server, tmp_path):
    repo = make_project(tmp_path)
    (repo / "tests" / "test_service.py").write_text(SERVICE.format(server))
    (repo / "agent.toml").write_text(f'[sandbox]\nnetwork = ["{server}", "*.example.org"]\n')
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "a service")
    (repo / "calc.py").write_text(BUGGY.replace(*FIXED_LINE))
    (tmp_path / "p.diff").write_text(git(repo, "diff"))
    words = ["gate", "--repo", str(repo), "--patch", "p.diff", "--fail-to-pass", ABOVE, "--json"]
    done = agent(tmp_path, *words, "--sandbox", "bubblewrap", "--allow-host", server)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["after"]["tests/test_service.py::test_service"] == "passed"
    asked = "the repository asks for network, which only you can allow: --allow-host *.example.org\n"
    assert f"agent: {asked}" in done.stderr
    assert f"sandboxes may reach, by a proxy: {server}\n" in done.stderr


def test_a_host_that_is_none_is_a_usage_error(tmp_path):
    done = agent(tmp_path, "gate", "--patch", "p.diff", "--allow-host", "http://pypi.org/")
    assert done.returncode == 2
    assert "'http://pypi.org/' is no host: give a name, *.NAME or an address" in done.stderr
