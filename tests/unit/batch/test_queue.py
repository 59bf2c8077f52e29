"""Which task is next: every repository gets its turn, and no limit is passed."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agent.batch.queue import Limits, Queue, workers_here
from agent.batch.tasks import TaskLine


def line(name: str, repo: str, *models: str) -> TaskLine:
    return TaskLine(name, repo, models=models)


def test_repositories_take_turns_however_many_tasks_one_has():
    queue = Queue([*(line(f"a{n}", "a") for n in range(5)), line("b0", "b"), line("c0", "c")], Limits(1))
    order = []
    while (task := queue.next([])) is not None:
        order.append(task.id)
    assert order == ["a0", "b0", "c0", "a1", "a2", "a3", "a4"]


def test_a_repository_whose_environment_is_being_made_waits_while_others_can_run():
    queue = Queue([line("a0", "a"), line("a1", "a"), line("b0", "b")], Limits(4))
    first = queue.next([])
    second = queue.next([first], {"a"})
    assert [first.id, second.id] == ["a0", "b0"]
    assert queue.next([first, second], {"a", "b"}).id == "a1"  # better than to do nothing


def test_limits_of_repositories_and_providers_hold_and_hold_up_nobody_else():
    tasks = [
        line("a0", "a", "anthropic/x"),
        line("a1", "a", "google/x"),
        line("b0", "b", "local/repair", "anthropic/x"),
        line("c0", "c", "local/repair"),
    ]
    queue = Queue(tasks, Limits(9, per_repository=1, per_provider=1))
    running = []
    while (task := queue.next(running)) is not None:
        running.append(task)
    assert [task.id for task in running] == ["a0", "c0"]
    assert queue.next(running[1:]).id == "b0"  # a0 ended: b was served longer ago
    assert len(queue) == 1


def test_what_goes_back_is_the_next_of_its_repository():
    queue = Queue([line("a0", "a"), line("a1", "a")], Limits(1))
    queue.again(queue.next([]))
    assert queue.next([]).id == "a0"


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=30),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.randoms(),
)
def test_every_task_runs_once_within_all_limits(tasks, workers, per_repository, per_provider, chance):
    lines = [line(str(number), repo, f"{provider}/m") for number, (repo, provider) in enumerate(tasks)]
    queue, running, ended = Queue(lines, Limits(workers, per_repository, per_provider)), [], []
    while queue or running:
        while (task := queue.next(running)) is not None:
            running.append(task)
        assert 0 < len(running) <= workers
        assert max(Counter(task.repo for task in running).values()) <= per_repository
        assert max(Counter(next(iter(task.providers)) for task in running).values()) <= per_provider
        ended.append(running.pop(chance.randrange(len(running))))
    assert sorted(int(task.id) for task in ended) == list(range(len(lines)))


def test_there_is_always_one_worker():
    assert workers_here() >= 1
