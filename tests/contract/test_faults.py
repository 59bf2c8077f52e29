"""Faults of a provider and of the connection: what is tried again, what is told at once, and cancelling."""

from __future__ import annotations

import anyio
import pytest

from agent.errors import ModelError
from agent.models import provider as provider_module
from agent.types import Reply
from tests.contract.providers import Provider
from tests.contract.talk import (
    TWO_CALLS,
    Talk,
    each_provider,
    fails,
    serving,
    talk,
)
from tests.loopback.server import KEY, Answer, Fault

# --- faults that another try may not meet


@each_provider
@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, message="Slow down", headers={"retry-after": "0.01"}),
        Fault(500, message="Internal"),
        Fault(503, message="Overloaded"),
        Fault(503, page="<html>\x1b[31mbad gateway</html>"),
        Fault(504, message="Deadline"),
        Fault(after=3, message="Overloaded", then="error"),
        Fault(after=3, then="end"),
        Fault(after=0, then="end"),
        Fault(after=2, then="garbage"),
        Fault(after=3, then="reset"),
        Fault(after=0, then="reset"),
    ],
    ids=[
        *("rate-limit", "500", "503", "html-page", "504", "error-in-mid-answer", "cut-in-mid-answer"),
        *("cut-at-once", "garbage", "reset-in-mid-answer", "reset-at-once"),
    ],
)
def test_a_passing_fault_is_tried_again_and_told(
    provider: Provider, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[Reply] = []

    async def use(talking: Talk) -> None:
        got.append(await talking.reply())

    with serving(provider, [fault, Answer("Done.")], monkeypatch) as server:
        talking = talk(provider.spec, use)
    assert (got[0].text, len(server.requests)) == ("Done.", 2)
    [tried] = talking.tries
    assert tried.wait_seconds is not None
    assert tried.reason.isprintable() and KEY not in tried.reason
    if fault.status == 429:
        assert tried.wait_seconds == 0.01


@each_provider
@pytest.mark.parametrize("then", ["hang", "drip"])
def test_silence_is_a_passing_fault(provider: Provider, then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if then == "hang":
        monkeypatch.setattr(provider_module, "READ_SECONDS", 0.3)
    else:
        monkeypatch.setattr(provider_module, "REQUEST_SECONDS", 0.7)

    async def use(talking: Talk) -> None:
        assert (await talking.reply()).text == "Done."

    with serving(provider, [Fault(then=then, after=2), Answer("Done.")], monkeypatch) as server:  # type: ignore[arg-type]
        talk(provider.spec, use)
        assert server.hung_up.wait(10)


@each_provider
def test_retries_come_to_an_end(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(talking: Talk) -> None:
        with pytest.raises(ModelError, match="gave up at try"):
            await talking.reply()

    with serving(provider, [Fault(503)] * provider_module.TRIES, monkeypatch) as server:
        talking = talk(provider.spec, use)
    assert len(server.requests) == len(talking.tries) == provider_module.TRIES
    assert talking.tries[-1].wait_seconds is None


@each_provider
def test_what_a_broken_answer_cost_is_not_lost(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(talking: Talk) -> None:
        await talking.reply()

    with serving(provider, [Fault(then="end", answer=TWO_CALLS, after=5), Answer("Done.")], monkeypatch):
        [tried] = talk(provider.spec, use).tries
    assert tried.usage.requests == 1
    assert tried.cost_usd is None or tried.cost_usd > 0  # unknown where nothing was counted, but never zero


# --- faults for good


@each_provider
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_a_fault_for_good_is_one_line_at_once(
    provider: Provider, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = fails(provider, Fault(status, message=f"No:\x1b[31m\nnot {KEY}"), monkeypatch)
    assert "not [key]" in message
    if status == 401:
        assert provider.key in message


@each_provider
def test_a_spent_quota_is_not_tried_again(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(provider, provider.quota, monkeypatch)


@each_provider
def test_a_long_wait_ends_the_call_at_once(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    message = fails(provider, Fault(429, message="Daily", headers={"retry-after": "86400"}), monkeypatch)
    assert "asks to wait 86400 s" in message


# --- cancelling


@each_provider
@pytest.mark.parametrize("after", [0, 3], ids=["before the first event", "in mid-answer"])
def test_cancelling_closes_the_connection_and_tells_what_was_spent(
    provider: Provider, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(talking: Talk) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(talking.reply)
            while not server.requests:  # noqa: ASYNC110 - the server lives in a thread
                await anyio.sleep(0.01)
            await anyio.sleep(0.2)
            group.cancel_scope.cancel()
        # The model is still open: it is the call's own connection that has gone.
        assert await anyio.to_thread.run_sync(server.hung_up.wait, 10)

    with serving(provider, [Fault(then="hang", after=after)], monkeypatch) as server:
        [tried] = talk(provider.spec, use).tries
    assert (tried.reason, tried.wait_seconds) == ("cancelled", None)


@each_provider
@pytest.mark.parametrize(
    ("fault", "down"),
    [
        (Fault(401), True),
        (Fault(503, headers={"retry-after": "86400"}), True),
        (Fault(429, headers={"retry-after": "86400"}), False),
        (Fault(400), False),
        (Fault(403), False),
        (Fault(404), False),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Fault) else "",
)
def test_a_fault_is_the_provider_s_or_one_model_s(
    provider: Provider, fault: Fault, down: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(talking: Talk) -> None:
        await talking.reply()

    with serving(provider, [fault], monkeypatch), pytest.raises(ModelError) as caught:
        talk(provider.spec, use)
    assert caught.value.provider_down is down
