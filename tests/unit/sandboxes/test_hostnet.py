"""The host's network settings, as a set-up is given them."""

import pytest

from sandboxes.hostnet import HostNetwork, _npm_files, _pip_files
from sandboxes.install import clean, telling


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host with only the settings that a test makes; returns a function that reads them."""
    import os

    for name in list(os.environ):
        if (
            name.startswith(("PIP_", "GO", "UV_", "npm_config_"))
            or name.lower().endswith("_proxy")
            or name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
        ):
            monkeypatch.delenv(name)

    def read(pip_conf="", npm_files=None, **variables):
        (tmp_path / "pip.conf").write_text(pip_conf)
        monkeypatch.setattr("sandboxes.hostnet._pip_files", lambda: [tmp_path / "pip.conf"])
        npm = npm_files or []
        monkeypatch.setattr("sandboxes.hostnet._npm_files", lambda: npm)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return HostNetwork.read()

    return read


def test_a_user_without_a_name_and_a_home_has_no_settings_of_their_own(host, tmp_path, monkeypatch):
    import os

    files = _pip_files
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("PIP_CONFIG_FILE", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert isinstance(files(), list)
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert tmp_path / "pip" / "pip.conf" in files()


def test_pip_settings_without_what_points_into_the_host(host):
    found = host(
        """
[global]
index-url = https://files.example/simple
extra-index-url =
    file:///srv/simple
    https://more.example/simple
find-links = /srv/wheels
timeout = 99
[install]
trusted-host = files.example
[list]
format = json
""",
        PIP_FIND_LINKS="/opt/wheels https://links.example/",
    )
    assert found.variables == {
        "PIP_INDEX_URL": "https://files.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://more.example/simple",
        "PIP_FIND_LINKS": "https://links.example/",
        "PIP_TRUSTED_HOST": "files.example",
        "PIP_DEFAULT_TIMEOUT": "99",
    }


def test_variables_win_over_files(host):
    found = host("[global]\nindex-url = https://a.example/\n", PIP_INDEX_URL="https://b.example/")
    assert found.variables == {"PIP_INDEX_URL": "https://b.example/"}


def test_credentials_are_masked_and_no_part_of_what_is_public(host):
    found = host(
        PIP_INDEX_URL="https://me:pa%2Fss-word@a.example/simple",
        PIP_EXTRA_INDEX_URL="https://just-a-token@b.example/simple",
        HTTPS_PROXY="http://user:proxy-pass@proxy:3128",
    )
    log = f"{found.variables} then pa/ss-word, just-a-token and https://x:unknown@c.example"
    for secret in ("pa%2Fss-word", "pa/ss-word", "just-a-token", "proxy-pass", "unknown"):
        assert secret not in found.masked(log)
        assert secret not in repr(found.public)
    assert "a.example/simple" in found.masked(log)
    assert found.variables["https_proxy"] == "http://user:proxy-pass@proxy:3128"


def test_all_certificate_files_that_are_named_are_joined(host, tmp_path):
    (tmp_path / "a.pem").write_text("A")
    (tmp_path / "b.pem").write_text("B")
    found = host(PIP_CERT=str(tmp_path / "a.pem"), SSL_CERT_FILE=str(tmp_path / "b.pem"))
    assert found.certificates.startswith(b"A\nB")


def test_a_log_is_clean_and_its_telling_line_is_found():
    noisy = "Collecting x\n\n\x1b[31mERROR: No matching distribution found for x\x1b[0m\x07\r\n[notice] upgrade pip\n"
    log = clean(noisy)
    assert log == "Collecting x\nERROR: No matching distribution found for x\n[notice] upgrade pip"
    assert telling(log) == "ERROR: No matching distribution found for x"
    assert telling("one\ntwo\n") == "two"
    assert telling("") == "no output"
    assert len(clean("line\n" * 1000).splitlines()) == 40


def test_npm_settings_without_what_points_into_the_host(host, tmp_path):
    rc = tmp_path / "user.npmrc"
    rc.write_text(
        '; a comment\nregistry=https://me:in-url@a.example/npm/\n@team:registry = "https://b.example/"\n'
        "//b.example/:_authToken=${TEAM_TOKEN}\n//a.example/:_password=cGFzcw==\n//a.example/:username=me\n"
        "cafile=/etc/ssl/x.pem\nprefix=/root/.local\nscript-shell=/root/sh\n"
    )
    found = host(npm_files=[rc], TEAM_TOKEN="npm_s3cr3t")
    assert found.npmrc.decode().splitlines() == [
        "registry=https://me:in-url@a.example/npm/",
        "@team:registry=https://b.example/",
        "//b.example/:_authToken=npm_s3cr3t",
        "//a.example/:_password=cGFzcw==",
        "//a.example/:username=me",
    ]
    assert found.public == ("@team:registry=https://b.example/", "registry=https://a.example/npm/")
    assert {"npm_s3cr3t", "cGFzcw==", "in-url"} <= set(found.secrets)
    assert "npm_s3cr3t" not in found.masked("npm error token npm_s3cr3t is wrong")
    assert host(npm_config_registry="https://c.example/").npmrc.startswith(b"registry=https://c.example/\n")


def test_npm_files_are_those_that_npm_is_told_of(tmp_path, monkeypatch):
    (tmp_path / "other").write_text("")
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(tmp_path / "other"))
    assert _npm_files()[-1] == tmp_path / "other"
    monkeypatch.setenv("NPM_CONFIG_GLOBALCONFIG", str(tmp_path / "none"))
    assert _npm_files() == [tmp_path / "other"]


def test_the_go_proxy_is_passed_on(host):
    found = host(GOPROXY="https://u:go-token-1@go.example,direct", GOPRIVATE="git.example")
    assert found.variables["GOPROXY"] == "https://u:go-token-1@go.example,direct"
    assert "go-token-1" in found.secrets
    assert found.public == ("GOPRIVATE=git.example", "GOPROXY=https://go.example,direct")


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (
            "npm error code ETARGET\nnpm error notarget No matching version found for x@99.\nnpm error notarget In\n"
            "npm error A complete log of this run can be found in: /home/agent/x.log",
            "npm error notarget No matching version found for x@99.",
        ),
        ("npm ERR! code 1\nnpm ERR! path /workspace\nnpm ERR! command failed", "npm ERR! command failed"),
        ("[ERROR] no plugin -> [Help 1]\n[ERROR] \n[ERROR] [Help 1] see there", "[ERROR] no plugin"),
        (
            f"[ERROR] no plugin {'x' * 300} no host -> [Help 1]",
            f"[ERROR] no plugin {'x' * 132} … {'x' * 139} no host",
        ),
        (
            " ERR_PNPM_OUTDATED_LOCKFILE  Cannot install\nNote that in CI",
            "ERR_PNPM_OUTDATED_LOCKFILE  Cannot install",
        ),
        (
            "➤ YN0000: · Yarn 4\n➤ YN0028: │ The lockfile would have been modified\n➤ YN0000: · Failed with errors",
            "➤ YN0028: │ The lockfile would have been modified",
        ),
        ("error: failed to get `x`\n\nCaused by:\n  no such host", "error: failed to get `x`"),
        (
            "FAILURE: Build failed\n* What went wrong:\nCould not resolve all files for configuration ':x'.\n"
            "> Could not resolve a:b:1.\n  Required by:\n      project :\n   > Could not GET 'https://r.example/'.\n"
            "      > r.example: Name or service not known\n\n* Try:\nRun with --stacktrace\n\nBUILD FAILED in 1s",
            "Could not resolve a:b:1 (r.example: Name or service not known)",
        ),
        (
            "* What went wrong:\nTask 'test' not found in root project 'x'.\n\n* Try:\n> Run gradle tasks",
            "Task 'test' not found in root project 'x'",
        ),
    ],
)
def test_the_telling_line_of_each_package_manager(log, line):
    assert telling(log) == line.replace("npm ERR!", "npm error")
