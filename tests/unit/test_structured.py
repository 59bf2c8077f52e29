"""Answers that must be structured, from a model that wraps them in prose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent.errors import ModelError
from agent.models.registry import open_model
from agent.structured import structured
from agent.types import Message, Reply

SCHEMA = {"type": "object", "properties": {"line": {"type": "integer"}}, "required": ["line"]}


def ask(tmp_path: Path, *lines: dict[str, Any]) -> tuple[Any, int]:
    script = tmp_path / "script.jsonl"
    script.write_text("\n".join(map(json.dumps, lines)))

    async def run() -> tuple[Any, int]:
        replies: list[Reply] = []
        model = open_model(f"scripted/{script}")
        value = await structured(
            model, "", [Message("user", "Where is it?")], SCHEMA, lambda reply, _: replies.append(reply)
        )
        return value, len(replies)

    return anyio.run(run)


def test_a_value_in_prose_with_braces_is_found(tmp_path: Path) -> None:
    text = 'The set {a, b} is empty, so:\n```json\n{"line": 12}\n```\nas {you} see.'
    assert ask(tmp_path, {"text": text}) == ({"line": 12}, 1)


def test_an_answer_without_it_is_asked_for_once_more(tmp_path: Path) -> None:
    assert ask(tmp_path, {"text": "In line 12."}, {"text": '{"line": 12}'}) == ({"line": 12}, 2)


def test_a_model_that_cannot_says_what_was_wrong(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no structured answer in 2 replies: "):
        ask(tmp_path, {"text": '{"line": "twelve"}'}, {"text": '{"line": 1} or {"line": 2}'})


def test_a_refusal_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="refusal: I will not"):
        ask(tmp_path, {"text": "I will not.", "stop": "refusal"})
