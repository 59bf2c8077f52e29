"""An engine that cannot be reached is told of in one line that says what to do."""

import socket
import stat

import anyio
import pytest

from sandboxes.doctor import diagnose
from sandboxes.engine import Engine, _why_unreachable
from sandboxes.errors import EngineUnavailable


def fails_with(monkeypatch, address):
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(EngineUnavailable) as error:
        anyio.run(Engine.connect)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def docker_program(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text("")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent))


def test_installed_but_not_running(tmp_path, monkeypatch, docker_program):
    assert "not running: start it" in fails_with(monkeypatch, f"unix://{tmp_path}/none.sock")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "not running: start it" in fails_with(monkeypatch, f"tcp://127.0.0.1:{port}")


def test_not_installed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "not installed: install it" in fails_with(monkeypatch, f"unix://{tmp_path}/none.sock")


def test_an_address_that_is_not_supported(monkeypatch):
    assert "only unix:// and tcp://" in fails_with(monkeypatch, "ssh://user@host")


@pytest.mark.parametrize(
    "address",
    ["tcp://127.0.0.1:abc", "tcp://:99999", "tcp://:2375", "tcp://", "tcp://[::1", "http://x:99999"],
)
def test_an_address_that_is_none(monkeypatch, address):
    text = fails_with(monkeypatch, address)
    assert text.startswith(f"{address} is no address of a Docker engine: set DOCKER_HOST to one such as")


def test_no_permission():
    error = Exception("('Connection aborted.', PermissionError(13, 'Permission denied'))")
    assert "usermod -aG docker" in _why_unreachable(error)


def test_doctor_says_it_with_the_mend_apart(tmp_path, monkeypatch, docker_program):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    finding, bubblewrap = anyio.run(diagnose, tmp_path)
    assert (finding.name, finding.ok) == ("engine", False)
    assert finding.detail == "Docker is installed, but its engine is not running"
    assert finding.mend.startswith("start it")
    assert (bubblewrap.ok, bubblewrap.detail) == (False, "bubblewrap is not installed")
    assert "install" in bubblewrap.mend
