"""The benchmark of the event log still runs: the same bytes on each way, 1,000 events."""

from agent.conversation import messages
from agent.events import AttemptStarted
from tests.benchmarks.event_log import EVENTS, measure, recorded


def test_it_compares_the_same_bytes_and_replays_real_conversations():
    found = measure(1)
    assert found["bytes"] > 500_000 and min(found.values()) > 0
    events = recorded()
    assert len(events) == EVENTS
    starts = [event.attempt for event in events if isinstance(event, AttemptStarted)]
    assert len(set(starts)) == len(starts) > 10
    assert sum(len(messages(events, attempt)) for attempt in starts) > 100
