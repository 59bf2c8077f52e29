"""Requests are encoded as they stand, also where most of them was encoded before."""

from __future__ import annotations

import json
from typing import Any

from agent.models.encoding import Encoder, Kept


def test_a_request_that_grows_is_encoded_as_if_it_were_new() -> None:
    encoder, messages = Encoder(), list[Any]()
    for number in range(5):
        messages.append({"role": "user", "content": [{"text": f"ä {number} \ud800"}]})
        request = {
            "model": "m",
            "messages": [*messages[:-1], dict(messages[-1])],
            "tools": [],
            "max": 1.5,
            "no": None,
        }
        assert json.loads(encoder.encode(request)) == request
        assert len(encoder.encode(request)) == len(Encoder().encode(request))


def test_what_is_asked_for_again_is_made_once_and_what_is_not_is_forgotten() -> None:
    made: list[str] = []

    def make(one: list[str]) -> str:
        made.append(one[0])
        return one[0].upper()

    kept, a, b = Kept(make), ["a"], ["b"]
    assert kept.of([a]) == ["A"] and kept.of([a, b, a]) == ["A", "B", "A"]
    assert kept.of([["a"], b]) == ["A", "B"]  # an equal one is another
    assert kept.of([a]) == ["A"]
    assert made == ["a", "b", "a", "a"]
