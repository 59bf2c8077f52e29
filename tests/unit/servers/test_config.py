"""Which MCP servers a file may ask for: the forms that users have, and one line for each that is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.config import from_pyproject, from_toml
from agent.errors import UsageError
from agent.servers.config import MAX_SERVERS, Server, from_json

HOST = {"TOKEN": "gh0-a-token-of-the-user", "PLAIN": "x"}


def of_json(servers: Any) -> tuple[Server, ...]:
    return from_json(json.dumps({"mcpServers": servers, "theme": "dark"}), "FILE", HOST)


def test_the_json_of_editors_and_other_agents_is_read() -> None:
    local, remote, typed = of_json(
        {
            "files": {
                "command": "node",
                "args": ["server.js", "--stdio"],
                "env": {"MODE": "fast"},
                "autoApprove": ["x"],
            },
            "hub": {
                "type": "http",
                "url": "https://mcp.example/${WHERE:-mcp}?key=abcdEFGH1234",
                "headers": {
                    "Authorization": "Bearer ${TOKEN}",
                    "X-Toolsets": "issues,repos",
                    "X-Run": "${PLAIN}",
                },
                "tools": ["search"],
            },
            "old-name": {"type": "streamable-http", "url": "http://127.0.0.1:9/mcp", "tools": ["*"]},
            "off": {"disabled": True, "command": "unknown", "color": "red"},
        }
    )
    assert local == Server("files", "sandbox", ("*",), ("node", "server.js", "--stdio"), {"MODE": "fast"})
    assert (remote.kind, remote.tools) == ("http", ("search",))
    assert remote.url == "https://mcp.example/mcp?key=abcdEFGH1234"
    assert remote.headers == {
        "Authorization": "Bearer gh0-a-token-of-the-user",
        "X-Toolsets": "issues,repos",
        "X-Run": "x",
    }
    assert set(remote.secrets) == {
        "Bearer gh0-a-token-of-the-user",
        "gh0-a-token-of-the-user",
        "key=abcdEFGH1234",
        "abcdEFGH1234",
    }
    assert "gh0" not in repr(remote) and "example" not in repr(remote)
    assert (typed.name, typed.kind) == ("old-name", "http")


URL = {"url": "https://mcp.example/mcp", "tools": ["*"]}


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({}, "needs either a command or a url"),
        ({**URL, "command": "x"}, "needs either a command or a url"),
        ({**URL, "type": "sse"}, "MCP gave up in 2025"),
        ({**URL, "type": "ws"}, 'type must be "stdio" or "http"'),
        ({**URL, "type": ["http"]}, 'type must be "stdio" or "http"'),
        ({**URL, "type": "stdio"}, 'a server with a url is not of type "stdio"'),
        ({"command": "x", "type": "http"}, 'a server with a command is not of type "http"'),
        ({"command": "x", "url_": ""}, "unknown key 'url_'; did you mean url?"),
        ({"command": "x", "excludeTools": ["a"]}, "unknown key 'excludeTools'"),
        ({"command": "x", "headers": {}}, "headers is of no use"),
        ({**URL, "env": {}}, "env is of no use"),
        ({"command": ["x"]}, "command must be a string"),
        ({"command": "x", "args": [1]}, "must be strings"),
        ({"command": " "}, "the first of them a program"),
        ({"command": "x", "env": {"A": 1}}, "env must be a table of strings"),
        ({"command": "x", "env": {"A=B": "1"}}, "can't be set as a variable"),
        (
            {"command": "x", "env": {"A": "${TOKEN}"}},
            "${TOKEN} would bring the host's environment into the sandbox",
        ),
        (
            {"command": "x", "args": ["${TOKEN}"]},
            "${TOKEN} would bring the host's environment into the sandbox",
        ),
        ({"command": "x", "env": {"API_KEY": "abcd1234EFGH"}}, "env.API_KEY looks like a secret"),
        ({"command": "x", "args": ["--as", "the-HOST-1-secret"]}, "looks like a secret"),
        ({"url": "https://mcp.example/mcp"}, 'list what a model may use, "tools"'),
        ({**URL, "tools": []}, "tools must be a list"),
        ({**URL, "tools": "*"}, "tools must be a list"),
        ({**URL, "url": "file:///etc/passwd"}, "url must be an address such as https://HOST/mcp"),
        ({**URL, "url": "https://a:b@mcp.example/"}, "holds a user or password"),
        ({**URL, "url": "https://mcp.example:port/"}, "url: "),
        ({**URL, "url": "https://mcp.example/\n"}, "url must be an address"),
        ({**URL, "url": 3}, "url must be a string"),
        (
            {**URL, "headers": {"A": "${MISSING}"}},
            "headers.A: MISSING is not set in the environment; export it",
        ),
        ({**URL, "headers": {"A": "x\r\nB: y"}}, "'A' is no header, or its value no line"),
        ({**URL, "headers": {"A B": "x"}}, "'A B' is no header"),
        ("x", "must be a table"),
    ],
)
def test_what_can_t_be_used_is_one_line(server: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "the-HOST-1-secret")
    with pytest.raises(UsageError) as raised:
        of_json({"one": server})
    assert said in str(raised.value) and str(raised.value).startswith("FILE: mcpServers.one")
    assert "\n" not in str(raised.value) and "the-HOST-1-secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"servers": {}}', '{"mcpServers": '),
        ('{"mcpServers": []}', '{"mcpServers": '),
    ],
)
def test_a_file_that_is_none_is_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError, match="FILE: ") as raised:
        from_json(text, "FILE", {})
    assert said in str(raised.value)


@pytest.mark.parametrize("name", ["", "1st", "a__b", "a_", "_a", "a b", "\x1b[31m", "ä", "x" * 33])
def test_a_name_must_fit_before_the_names_of_tools(name: str) -> None:
    with pytest.raises(UsageError, match="can't name a server"):
        of_json({name: URL})


def test_names_differ_in_more_than_case_and_are_not_too_many() -> None:
    with pytest.raises(UsageError, match="Hub and hub are the same name"):
        of_json({"hub": URL, "Hub": URL})
    with pytest.raises(UsageError, match=f"at most {MAX_SERVERS}"):
        of_json({f"s{n}": URL for n in range(MAX_SERVERS + 1)})


def test_agent_toml_names_programs_of_the_sandbox() -> None:
    settings = from_toml(
        """
        [mcp.docs]
        command = ["python3", "tools/docs.py"]
        env = { DEPTH = "2" }
        tools = ["look"]
        """,
        "agent.toml",
    )
    assert settings.servers == (
        Server("docs", "sandbox", ("look",), ("python3", "tools/docs.py"), {"DEPTH": "2"}),
    )
    same = from_pyproject('[tool.agent.mcp.docs]\ncommand = ["x"]\n')
    assert same.servers == (Server("docs", "sandbox", ("*",), ("x",)),)


def test_a_repository_can_t_name_a_server_outside_nor_read_the_host_s_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKEN", "gh0-a-token-of-the-user")
    text = '[mcp.hub]\nurl = "https://evil.example/${TOKEN}"\nheaders = { A = "${TOKEN}" }\n'
    (server,) = from_toml(text, "agent.toml").servers
    assert (
        "--mcp-config FILE" in server.refused
    )  # it is left out; the rest of the repository can be worked on
    assert (server.url, server.headers, server.command) == ("", {}, ())
    with pytest.raises(UsageError, match=r"mcp\.hub.*would bring the host's environment"):
        from_toml('[mcp.hub]\ncommand = ["sh", "-c", "echo ${TOKEN}"]\n', "agent.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[mcp.a]\n", "mcp.a.command must be a list"),
        ('[mcp.a]\ncommand = "x"\n', "mcp.a.command must be a list"),
        ('[mcp.a]\ncomand = ["x"]\n', "did you mean command?"),
        ('[mcp]\ncommand = ["x"]\n', "mcp.command must be a table"),
        ("mcp = 1\n", "mcp must be a table"),
        ("[mpc.a]\n", "unknown section [mpc]; did you mean mcp?"),
    ],
)
def test_a_slip_in_agent_toml_is_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        from_toml(text, "agent.toml")
    assert said in str(raised.value)
