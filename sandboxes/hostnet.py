"""What of the host's network settings a set-up needs: proxies, CA certificates, the registries of packages."""

from __future__ import annotations

import configparser
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
CERTIFICATE_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
PIP_OPTIONS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "trusted-host",
    "proxy",
    "default-timeout",
    "retries",
)
URL_OPTIONS = ("index-url", "extra-index-url", "find-links", "proxy")
NPM_URL = re.compile(r"(?:@[\w.-]+:)?registry")
NPM_LOGIN = re.compile(r"//\S+:(?:_authToken|_auth|_password|username)")
NPM_SECRET = re.compile(r":_(?:authToken|auth|password)$")
OTHER_VARIABLES = (
    "GOPROXY", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOSUMDB", "GOINSECURE", "UV_PYTHON_INSTALL_MIRROR",
    "COREPACK_NPM_REGISTRY", "YARN_NPM_REGISTRY_SERVER",
)  # fmt: skip
"""Of the environment; where Go and others get packages from."""


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """Settings for programs in a set-up container. `variables` may hold secrets; they go to single commands only."""

    variables: dict[str, str]
    npmrc: bytes
    """npm's registries and logins, as a file of settings; also pnpm and yarn read it."""
    certificates: bytes
    secrets: tuple[str, ...]
    """What must not be seen in logs or stay in images."""
    public: tuple[str, ...]
    """The settings that may change what is installed, without credentials."""

    @classmethod
    def read(cls) -> HostNetwork:
        pip, npm = _pip_options(), _npm_options()
        others = {name: os.environ[name] for name in OTHER_VARIABLES if os.environ.get(name)}
        variables = {**proxy_variables(), **{_variable(name): value for name, value in pip.items()}, **others}
        values = [*variables.values(), *npm.values()]
        urls = [
            word for value in values for word in re.split(r"[\s,|]+", value) if "://" in word and "@" in word
        ]
        tokens = [value for name, value in npm.items() if NPM_SECRET.search(name)]
        # who asks does not change what is got
        settings = {
            **pip,
            **others,
            **{name: value for name, value in npm.items() if NPM_URL.fullmatch(name)},
        }
        public = tuple(f"{name}={_USER.sub('//', value)}" for name, value in sorted(settings.items()))
        npmrc = "".join(f"{name}={value}\n" for name, value in npm.items()).encode()
        return cls(variables, npmrc, _certificates(), _secrets(urls, tokens), public)

    def masked(self, text: str) -> str:
        """The text without credentials."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return _USER.sub("//***@", text)


_USER = re.compile(r"//[^/@\s'\"]+@")


def proxy_variables() -> dict[str, str]:
    """The host's proxy variables, in both spellings that programs look for."""
    found = {}
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        value = os.environ.get(name) or os.environ.get(name.upper())
        if value:
            found[name] = found[name.upper()] = value
    return found


def _secrets(urls: list[str], tokens: list[str]) -> tuple[str, ...]:
    found = set(tokens)
    for url in urls:
        # a token alone stands where the user name does
        user, _, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
        secret = password or user
        found |= {secret, unquote(secret)}
    return tuple(sorted((secret for secret in found if len(secret) >= 4), key=len, reverse=True))


def _variable(option: str) -> str:
    return "PIP_" + option.upper().replace("-", "_")


def _pip_options() -> dict[str, str]:
    """pip's options from its configuration files and variables, without what points into the host's files."""
    found: dict[str, str] = {}
    for file in _pip_files():
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(file.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue  # pip itself says what is wrong with it
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update({name.replace("_", "-"): value for name, value in parser.items(section)})
    if "timeout" in found:
        found.setdefault("default-timeout", found["timeout"])
    for option in PIP_OPTIONS:
        if value := os.environ.get(_variable(option)):
            found[option] = value
    kept = {}
    for option in PIP_OPTIONS:
        words = found.get(option, "").split()
        if option in URL_OPTIONS:
            words = [word for word in words if word.startswith(("http://", "https://"))]
        if words:
            kept[option] = " ".join(words)
    return kept


def _pip_files() -> list[Path]:
    chosen = os.environ.get("PIP_CONFIG_FILE")
    if chosen == os.devnull:
        return []
    files = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf")]
    try:
        home: Path | None = Path.home()
    except RuntimeError:
        home = None  # a user without a name, as containers have them, and without HOME
    if home is not None:
        files += [home / ".pip" / "pip.conf", home / "Library" / "Application Support" / "pip" / "pip.conf"]
    if config := os.environ.get("XDG_CONFIG_HOME") or (home and home / ".config"):
        files.append(Path(config) / "pip" / "pip.conf")
    files += [Path(sys.prefix) / "pip.conf", *([Path(chosen)] if chosen else [])]
    return [file for file in files if file.is_file()]


def named_certificates() -> bytes:
    """The host's CA certificates, in PEM, where its user names them to programs; else b"": the usual ones will do."""
    return _certificates() if any(os.environ.get(name) for name in CERTIFICATE_VARIABLES) else b""


def _npm_options() -> dict[str, str]:
    """npm's registries, and the logins to them, from its configuration files and variables."""
    found: dict[str, str] = {}
    for file in _npm_files():
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue  # npm itself says what is wrong with it
        for line in lines:
            name, equals, value = (part.strip() for part in line.partition("="))
            if equals and not name.startswith(("#", ";")):
                value = value.strip("\"'")
                found[name] = re.sub(r"\$\{(\w+)\}", lambda named: os.environ.get(named[1], named[0]), value)
    for name, value in os.environ.items():
        if name.lower() == "npm_config_registry" and value:
            found["registry"] = value
    return {
        name: value
        for name, value in found.items()
        if (NPM_URL.fullmatch(name) and value.startswith(("http://", "https://")))
        or NPM_LOGIN.fullmatch(name)
    }


def _npm_files() -> list[Path]:
    """npm's files of settings, the one that counts most last: the machine's, the user's."""
    variables = {name.lower(): value for name, value in os.environ.items()}
    try:
        home: Path | None = Path.home()
    except RuntimeError:
        home = None
    machine = variables.get("npm_config_globalconfig")
    user = variables.get("npm_config_userconfig")
    files = (
        [Path(machine)]
        if machine
        else [Path("/etc/npmrc"), Path("/usr/etc/npmrc"), Path("/usr/local/etc/npmrc")]
    )
    if user or home:
        files.append(Path(user) if user else home / ".npmrc")  # type: ignore[operator]
    return [file for file in files if file.is_file()]


def _certificates() -> bytes:
    """All CA certificates that the host's programs trust, in PEM; b"" when no file is known."""
    named = [Path(os.environ[name]) for name in CERTIFICATE_VARIABLES if os.environ.get(name)]
    system = [Path(name) for name in CERTIFICATES if Path(name).is_file()][:1]
    files = dict.fromkeys(path.resolve() for path in (*named, *system) if path.is_file())
    return b"\n".join(path.read_bytes() for path in files)
