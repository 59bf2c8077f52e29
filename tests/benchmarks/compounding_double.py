"""A model double that lets its mistakes compound, for `compounding`."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agent.errors import ModelError
from agent.types import Message, Reply, ToolCall, ToolResult, ToolSpec, Usage
from tests.benchmarks.compounding_cases import Template

CAUSE = re.compile(r"the cause that (?:it|you) stated: \S+?:(\d+): .*\n\s*(\w+)")
"""The verdict on an earlier cause, in the words of agent.root_cause: its line, and REFUTED or another standing."""


@dataclass
class Double:
    """Answers one conversation. What it says follows from that conversation, `seed`, and `fallen_for`.

    It knows the four places of a project and the two ways to write each, not which is right. A submission goes so:
    it reads the module, sees the test fail, draws one of the places that the conversation does not rule out, states
    it as the cause, writes the line there the other way, runs the test and hands in what it has. But where the
    conversation quotes a line of its own that was rejected, `fallen_for` is asked with a number drawn from 0 to 1;
    if that says yes it writes no fresh candidate: it goes on from the rejected code, and lets the function give what
    the first assertion that fails asks for.
    """

    template: Template
    seed: int
    fallen_for: Callable[[float], bool]
    spec: str = "scripted/compounding"
    repeats_itself: bool = False

    async def reply(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Raises ModelError when a tool did not answer as this double needs it."""
        start = max(n for n, message in enumerate(messages) if n == 0 or CAUSE.search(message.text))
        made = [call.name for message in messages[start + 1 :] for call in message.tool_calls]
        for result in (result for message in messages[start + 1 :] for result in message.tool_results):
            if result.is_error:
                raise ModelError(f"{result.name}: {result.text}")
        path, red = self.template.path, self.template.red
        if "run_tests" not in made:
            return _reply(("read_file", {"path": path}), ("run_tests", {"ids": [red]}))
        if "write_file" in made:
            return _reply(("submit", {"summary": "mended"}))
        site, text = self._next(messages)
        base = _base(messages)
        trace = _trace(messages)
        statement = {
            "cause": "what this line makes is wrong",
            "where": [f"{path}:{base.splitlines().index(self._line(base, site)) + 1}"],
            "test": red,
            "observed": next(line for line in trace.splitlines() if line.startswith("E ")),
            "expected": "what the assertion asks for",
            "explains": "the failing test runs through it",
        }
        return _reply(
            ("root_cause", statement),
            ("write_file", {"path": path, "content": text}),
            ("run_tests", {"ids": [red]}),
        )

    async def close(self) -> None:
        """Nothing is open."""

    def _next(self, messages: Sequence[Message]) -> tuple[int, str]:
        """The place to blame, and the module's new text."""
        base = _base(messages)
        lines = [line.strip() for line in base.splitlines()]
        verdicts = [verdict for message in messages for verdict in CAUSE.findall(message.text)]
        refuted = [
            next(site for site, ways in enumerate(self.template.sites) if lines[int(number) - 1] in ways)
            for number, standing in verdicts
            if standing == "REFUTED"
        ]
        dice = random.Random(f"{self.seed}/{len(verdicts)}")
        number = dice.random()
        quoted = [site for site in refuted if self._other(base, site) in _all_text(messages)]
        if quoted and self.fallen_for(number):
            own = [
                str(c.arguments["content"]) for m in messages for c in m.tool_calls if c.name == "write_file"
            ]
            return quoted[-1], self._patched(own[-1] if own else self._toggled(base, quoted[-1]), messages)
        site = dice.choice([site for site in range(len(self.template.sites)) if site not in refuted])
        return site, self._toggled(base, site)

    def _line(self, base: str, site: int) -> str:
        """The line of a place as the base has it, indentation and all."""
        return next(line for line in base.splitlines() if line.strip() in self.template.sites[site])

    def _other(self, base: str, site: int) -> str:
        """The other way to write it."""
        right, wrong = self.template.sites[site]
        return wrong if self._line(base, site).strip() == right else right

    def _toggled(self, base: str, site: int) -> str:
        line = self._line(base, site)
        return base.replace(line, line.replace(line.strip(), self._other(base, site)))

    def _patched(self, text: str, messages: Sequence[Message]) -> str:
        """`text` with a patch of the symptom that the newest run shows."""
        entry = self.template.entry
        seen = re.search(rf"(?m)^>\s+assert {entry}\((.*)\) == (.*)$", _trace(messages))
        head = re.search(rf"(?m)^def {entry}\((\w+)\):\n", text)
        if seen is None or head is None:
            raise ModelError(f"no assertion of {entry}() stands in the trace")
        return text.replace(head[0], f"{head[0]}    if {head[1]} == {seen[1]}:\n        return {seen[2]}\n")


def _reply(*calls: tuple[str, dict[str, Any]]) -> Reply:
    made = tuple(ToolCall(f"call_{n}", name, arguments) for n, (name, arguments) in enumerate(calls))
    return Reply("", made, Usage(requests=1), Decimal(0), "tool_use")


def _results(messages: Sequence[Message], name: str) -> list[ToolResult]:
    return [result for message in messages for result in message.tool_results if result.name == name]


def _base(messages: Sequence[Message]) -> str:
    """The module as the conversation first shows it."""
    numbered = _results(messages, "read_file")[0].text.splitlines()
    return "".join(line.partition("\t")[2] + "\n" for line in numbered)


def _trace(messages: Sequence[Message]) -> str:
    """How the test failed in the newest run."""
    newest = _results(messages, "run_tests")[-1]
    return str((newest.data or {})["failures"][0]["detail"])


def _all_text(messages: Sequence[Message]) -> str:
    """All that a conversation says, calls and results too."""
    parts = []
    for message in messages:
        parts.append(message.text)
        parts += [str(value) for call in message.tool_calls for value in call.arguments.values()]
        parts += [result.text for result in message.tool_results]
    return "\n".join(parts)
