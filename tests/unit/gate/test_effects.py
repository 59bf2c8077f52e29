"""What runs leave and take: what is told, and what is the suite's habit, chance, or a tool's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.gate.effects import Effects, slower, suspicious

BASE = Effects(
    processes=("redis-server *:7001",),
    written=("/tmp/build-1a2b3c4d/out", "/home/agent/.config/app/one.toml", "/tmp/pytest-of-agent"),
    changed=("data/log.txt",),
    peak_mb=60.0,
    cpu_seconds=2.0,
)


@pytest.mark.parametrize(
    "after",
    [
        {},
        {"processes": ()},
        {"processes": ("redis-server *:7342",)},
        {"written": ("/tmp/build-99aaeeff/out", "/tmp/build-0a0a0b0b/out")},
        {"written": ("/home/agent/.config/app/two.toml", "/home/agent/.cache/other/x")},
        {
            "written": (
                "/tmp/pytest-of-user",
                "/tmp/tmpab_3x9qz",
                "/tmp/tmpab_3x9qz.json/a",
                "/dev/shm/psm_21ae",
            )
        },
        {"written": ("/home/agent/.hypothesis", "/home/agent/.config/matplotlib/fonts")},
        {"changed": ()},
        {"peak_mb": 170.0},
        {"peak_mb": 20.0, "cpu_seconds": 0.1},
        {"peak_mb": None, "cpu_seconds": None},
        {"cpu_seconds": 6.9},
    ],
)
def test_a_suite_like_the_bases_is_not_suspicious(after: dict[str, object]) -> None:
    assert suspicious(BASE, replace(BASE, **after)) == []


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ({"processes": ("redis-server *:1", "redis-server *:2")}, "redis-server *:2"),
        ({"processes": ("redis-server *:1", "sleep 60")}, "sleep 60"),
        ({"written": ("/home/agent/.app-seen",)}, "/home/agent/.app-seen"),
        ({"written": ("/home/agent/.config/other/x",)}, "/home/agent/.config/other/x"),
        ({"written": ("/home/agent",)}, "/home/agent"),  # closed to us
        ({"written": ("/home/agent/.cached",)}, "/home/agent/.cached"),
        ({"written": ("/tmp/state.db",)}, "/tmp/state.db"),
        ({"changed": ("data/log.txt", "app.py")}, "app.py"),
        ({"peak_mb": 260.0}, "260 MB with the fix, 60 MB"),
        ({"cpu_seconds": 7.5}, "7.5 s of CPU time with the fix, 2.0 s"),
    ],
)
def test_what_the_base_does_not_do_is_told(after: dict[str, object], told: str) -> None:
    found = suspicious(BASE, replace(BASE, **after))
    assert len(found) == 1
    assert told in found[0]


def test_small_amounts_are_no_matter_however_often() -> None:
    base = Effects(peak_mb=10.0, cpu_seconds=0.1)
    assert suspicious(base, Effects(peak_mb=109.0, cpu_seconds=5.0)) == []
    assert len(suspicious(base, Effects(peak_mb=111.0, cpu_seconds=5.2))) == 2


def test_names_of_hidden_tests_stay_hidden() -> None:
    after = Effects(("python tests/secret.py",), ("/tmp/secret",), ("tests/secret.py",))
    found = suspicious(Effects(), after, secret=True)
    assert len(found) == 3
    assert not any("secret" in line for line in found)


def test_only_what_comes_again_is_told() -> None:
    once = Effects(
        ("sleep 60", "python -m helper"),
        ("/tmp/app-7hq2k_x1", "/tmp/app.lock", "/home/agent/app-7hq2k_x1"),
        ("app.py", "log.txt"),
        300.0,
        20.0,
        9.0,
    )
    again = Effects(
        ("sleep 61",),
        ("/tmp/app-00000000", "/tmp/app.lock", "/home/agent/app-00000000"),
        ("app.py",),
        200.0,
        None,
        5.0,
    )
    assert once.both(again) == Effects(
        ("sleep 60",), ("/tmp/app.lock", "/home/agent/app-7hq2k_x1"), ("app.py",), 200.0, 20.0, 5.0
    )


def test_new_tests_may_need_more_and_leave_temporary_files() -> None:
    after = Effects(
        ("sleep 60",), ("/tmp/big.bin", "/tmp/app.lock", "/home/agent/.app"), ("app.py",), 900.0, 50.0
    )
    theirs = Effects((), ("/tmp/app.lock",), (), 60.0, 2.0)
    assert after.of_base_tests(theirs) == Effects(
        ("sleep 60",), ("/tmp/app.lock", "/home/agent/.app"), ("app.py",), 60.0, 2.0
    )


def test_many_paths_are_cut() -> None:
    told = suspicious(Effects(), Effects(changed=tuple(f"f{number}" for number in range(25))))[0]
    assert "and 15 more" in told


def test_hostile_names_are_one_printable_line_each() -> None:
    told = suspicious(Effects(), Effects(("x" * 9000,), ("/tmp/\x1b[2J\nall is well\udcff",)))
    assert told[0] == f"processes that still run after the suite, but not on the base:\n{'x' * 300}"
    assert told[1].splitlines()[1:] == ["/tmp/\\x1b[2J\\nall is well\\udcff"]


SECONDS = {"a": 0.0, "b": 0.001, "c": 0.01, "d": 1.0}


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (SECONDS, []),
        ({**SECONDS, "a": 0.03, "b": 0.03, "c": 0.05}, ["a", "b", "c"]),
        ({**SECONDS, "a": 0.003, "b": 0.003, "c": 0.04}, []),  # milliseconds
        ({**SECONDS, "a": 0.2, "d": 2.0}, []),  # one test, the first to import something
        ({**SECONDS, "a": 0.005, "b": 0.005, "c": 0.05}, []),  # not much in all
        ({"a": 0.03, "b": 0.03, "new": 9.0}, []),
    ],
)
def test_slower_tests_are_many_times_slower_and_several(after: dict[str, float], found: list[str]) -> None:
    assert slower(SECONDS, after) == found
