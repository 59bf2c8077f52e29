"""Which MCP servers a run may use: `[mcp.NAME]` of agent.toml, and the `mcpServers` JSON that a user's flag names.

A server that is a command runs inside the sandbox, so it can do no more than a shell command there. A server that is
a URL is spoken to from the host, with the user's own headers: only a file that the user names may bring one, since a
repository could else send code to where it likes and read the user's variables.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from agent.errors import UsageError
from agent.redaction import looks_secret, secret_values

MAX_SERVERS = 16
ALL = "*"
KINDS = {
    "stdio": "sandbox",
    "local": "sandbox",
    "http": "http",
    "streamable-http": "http",
    "streamableHttp": "http",
}
"""`type`, as editors and agents write it in the JSON, to where the server is."""
PASSED_OVER = ("description", "trust", "alwaysAllow", "autoApprove", "timeout")
"""Keys of the JSON that change nothing here: nobody is asked before a call, and waiting has its own limits."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*(_[A-Za-z0-9-]+)*")
MAX_NAME = 32
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SECRET_HEADER = re.compile(r"AUTH|COOKIE|KEY|TOKEN|SECRET|PASSW|CREDENTIAL|SESSION", re.I)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Server:
    """One MCP server that was asked for."""

    name: str
    kind: Literal["sandbox", "http"]
    tools: tuple[str, ...] = (ALL,)
    """The names of tools, as the server calls them, that a model may use; "*" is all."""
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What of its url and headers must be in no log, and before no model."""
    refused: str = ""
    """Why it is not even started."""


def from_table(table: Mapping[str, Any], where: str) -> tuple[Server, ...]:
    """The servers of an agent.toml's `mcp` table. Raises UsageError that names the key and the mend.

    One with a url is refused, not an error: the repository may be somebody else's.
    """
    servers = []
    for name, value in _named(table, f"{where}: mcp"):
        key = f"{where}: mcp.{name}"
        _check_keys(value, ("command", "env", "url", "headers", "tools"), key)
        if "url" in value or "headers" in value:
            reason = (
                "a repository can't name a server outside the sandbox; if you trust it, put its url into a file of "
                "your own and pass that: --mcp-config FILE"
            )
            servers.append(Server(name, "http", refused=reason))
            continue
        command = value.get("command")
        if not isinstance(command, list) or not command:
            raise UsageError(f'{key}.command must be a list such as ["python3", "tools/server.py"]')
        servers.append(_in_sandbox(name, command, value, key))
    return tuple(servers)


def from_json(text: str, where: str, environ: Mapping[str, str] | None = None) -> tuple[Server, ...]:
    """The servers of a file with `mcpServers`, as editors and other agents keep it. Raises UsageError.

    `${VAR}` and `${VAR:-default}` in url and headers are taken from `environ`, the host's environment.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not valid JSON: {error}") from error
    table = data.get("mcpServers") if isinstance(data, dict) else None
    if not isinstance(table, dict):
        raise UsageError(f'{where}: must be {{"mcpServers": {{"NAME": {{"command": …}} or {{"url": …}}}}}}')
    environ = os.environ if environ is None else environ
    servers = []
    for name, value in _named(table, f"{where}: mcpServers"):
        if value.get("disabled") is True:
            continue
        servers.append(_of_json(name, value, f"{where}: mcpServers.{name}", environ))
    return tuple(servers)


def _of_json(name: str, value: Mapping[str, Any], key: str, environ: Mapping[str, str]) -> Server:
    known = ("type", "command", "args", "env", "url", "headers", "tools", "disabled", *PASSED_OVER)
    _check_keys(value, known, key)
    said, has = value.get("type"), [which for which in ("command", "url") if which in value]
    if said == "sse":
        raise UsageError(
            f'{key}: "sse" is the transport that MCP gave up in 2025 and is not spoken here; most such servers also '
            'answer by "type": "http" at another url, often one that ends in /mcp'
        )
    if said is not None and (not isinstance(said, str) or said not in KINDS):
        raise UsageError(f'{key}.type must be "stdio" or "http", not {_shown(said)}')
    if len(has) != 1:
        raise UsageError(f"{key}: needs either a command or a url")
    kind = "sandbox" if has == ["command"] else "http"
    if said is not None and KINDS[said] != kind:
        raise UsageError(f'{key}: a server with a {has[0]} is not of type "{said}"')
    if kind == "http":
        if wrong := [one for one in ("args", "env") if one in value]:
            raise UsageError(f"{key}.{wrong[0]} is of no use to a server with a url")
        return _on_host(name, value, key, environ)
    if "headers" in value:
        raise UsageError(f"{key}.headers is of no use to a server that is a command")
    command, args = value["command"], value.get("args", [])
    if not isinstance(command, str) or not isinstance(args, list):
        raise UsageError(f"{key}: command must be a string, and args a list of strings")
    return _in_sandbox(name, [command, *args], value, key)


def _in_sandbox(name: str, command: list[Any], value: Mapping[str, Any], key: str) -> Server:
    """A server whose program runs in the sandbox: nothing of the host's may be in it."""
    if not all(isinstance(word, str) and "\0" not in word for word in command) or not command[0].strip():
        raise UsageError(f"{key}: the command and its arguments must be strings, the first of them a program")
    env = _strings(value, "env", key)
    for variable, text in env.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable) or "\0" in text:
            raise UsageError(f"{key}.env: {_shown(variable)} can't be set as a variable")
    known = secret_values(os.environ)
    for what, text in [
        *((f".env.{name}", text) for name, text in env.items()),
        *(("", one) for one in command),
    ]:
        if found := _VARIABLE.search(text):
            raise UsageError(
                f"{key}{what}: {found[0]} would bring the host's environment into the sandbox; write the value itself, "
                "or run the server outside and give its url"
            )
        if secret_values({what: text}) or any(secret in text for secret in known):
            raise UsageError(
                f"{key}{what} looks like a secret; all code in the sandbox could read it, and there is no network to "
                "use it on: take it out, or run the server outside and give its url"
            )
    return Server(name, "sandbox", _tools(value, key) or (ALL,), tuple(command), env)


def _on_host(name: str, value: Mapping[str, Any], key: str, environ: Mapping[str, str]) -> Server:
    if not isinstance(value["url"], str):
        raise UsageError(f"{key}.url must be a string")
    url = _expanded(value["url"], f"{key}.url", environ)
    try:
        target = urlsplit(url)
        _ = target.port  # raises ValueError for what is no port
    except ValueError as error:
        raise UsageError(f"{key}.url: {error}") from error
    if target.scheme not in ("http", "https") or not target.hostname or re.search(r"[^!-~]", url):
        raise UsageError(f"{key}.url must be an address such as https://HOST/mcp")
    if target.username is not None:
        raise UsageError(f'{key}.url holds a user or password; use "headers": {{"Authorization": "…"}}')
    headers = {
        header: _expanded(text, f"{key}.headers.{header}", environ)
        for header, text in _strings(value, "headers", key).items()
    }
    for header, text in headers.items():
        if not _HEADER.fullmatch(header) or not re.fullmatch(r"[\t -~]*", text):
            raise UsageError(f"{key}.headers: {_shown(header)} is no header, or its value no line of ASCII")
    tools = _tools(value, key)
    if tools is None:
        raise UsageError(
            f"{key} acts outside the sandbox, and nobody is asked before a call: list what a model may use, "
            '"tools": ["NAME", …], or ["*"] for all'
        )
    secrets = _secrets(value, url, headers, environ)
    return Server(name, "http", tools, url=url, headers=headers, secrets=secrets)


def _secrets(
    value: Mapping[str, Any], url: str, headers: Mapping[str, str], environ: Mapping[str, str]
) -> tuple[str, ...]:
    """The variables that url and headers name, what headers hold whose names say so, and the url's own parameters."""
    written = [value["url"], *value.get("headers", {}).values()]
    found = [environ.get(name, "") for text in written for name, _ in _VARIABLE.findall(text)]
    query = urlsplit(url).query
    found += [query, *(text for _, text in parse_qsl(query))]
    for header, text in headers.items():
        if _SECRET_HEADER.search(header):
            found += [text, *text.split()]
    return tuple(sorted({text for text in found if looks_secret(text)}, key=len, reverse=True))


def _named(table: Mapping[str, Any], where: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The entries of a table of servers, with names that can stand before the names of tools."""
    seen: dict[str, str] = {}
    for name, value in table.items():
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
            raise UsageError(
                f"{where}: {_shown(name)} can't name a server: at most {MAX_NAME} of a-z, A-Z, 0-9, - and single _, "
                "the first a letter"
            )
        if name.casefold() in seen:
            raise UsageError(f"{where}: {name} and {seen[name.casefold()]} are the same name; rename one")
        seen[name.casefold()] = name
        if not isinstance(value, dict):
            raise UsageError(f"{where}.{name} must be a table, not {_shown(value)}")
    if len(table) > MAX_SERVERS:
        raise UsageError(f"{where}: {len(table)} servers; at most {MAX_SERVERS} are taken")
    return list(table.items())


def _tools(value: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    tools = value.get("tools")
    if tools is None:
        return None
    if not isinstance(tools, list) or not tools or not all(isinstance(tool, str) and tool for tool in tools):
        raise UsageError(f'{key}.tools must be a list of names of tools, or ["*"]')
    return tuple(dict.fromkeys(tools))


def _strings(value: Mapping[str, Any], name: str, key: str) -> dict[str, str]:
    table = value.get(name, {})
    if not isinstance(table, dict) or not all(isinstance(text, str) for text in table.values()):
        raise UsageError(f"{key}.{name} must be a table of strings")
    return dict(table)


def _expanded(text: str, key: str, environ: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        there = environ.get(found[1]) or found[2]
        if there is None:
            raise UsageError(f"{key}: {found[1]} is not set in the environment; export it")
        return there

    return _VARIABLE.sub(value, text)


def _check_keys(value: Mapping[str, Any], known: tuple[str, ...], key: str) -> None:
    for name in value:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1, 0.5)
            more = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
            raise UsageError(f"{key}: unknown key {_shown(name)}; {more}")


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:59] + "…"
