"""Tools of the user's own MCP servers, as they are offered, over each provider's real SDK: none refuses the request."""

from __future__ import annotations

import pytest

from agent.servers.tools import MAX_TOOLS, Listed, offered, within_bounds
from tests.contract.providers import Provider
from tests.contract.talk import TOOLS, Talk, each_provider, serving, talk
from tests.loopback.server import Answer

NESTED = {
    "$defs": {"Point": {"type": "object", "properties": {"x": {"type": "number"}}, "title": "Point"}},
    "properties": {
        "points": {"type": "array", "items": {"$ref": "#/$defs/Point"}},
        "kind": {"oneOf": [{"const": "a"}, {"type": "null"}], "default": None},
        "more": {"type": "array"},
    },
    "required": ["points"],
}
LISTED = [
    Listed("search.issues", "Find\x1b[31m issues.\n" + "x" * 9_000, NESTED),
    Listed("a" * 128, "", {"type": "object"}),
    *(Listed(f"tool{n}", "", {"type": "object", "$schema": "x"}) for n in range(100)),
]


@each_provider
def test_every_provider_takes_the_tools_of_servers(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, _ = within_bounds(offered("hub-1", ["*"], LISTED)[0], MAX_TOOLS, 1_000_000)
    specs = [tool.spec for tool in tools]
    assert len(specs) == MAX_TOOLS and any(spec.name.startswith("hub-1__search_issues_") for spec in specs)
    arguments = {"points": [{"x": 1}], "kind": None}

    async def use(talking: Talk) -> None:
        reply = await talking.reply([*TOOLS, *specs])
        assert [(call.name, call.arguments) for call in reply.tool_calls] == [(specs[1].name, arguments)]
        assert (await talking.reply([*TOOLS, *specs])).stop == "end"

    with serving(
        provider, [Answer("", [(specs[1].name, arguments)]), Answer("Done.")], monkeypatch
    ) as server:
        talk(provider.spec, use)
        assert len(server.requests) == 2
