"""What cached images take, by what the engine tells of them, and which goes first."""

from datetime import UTC, datetime

import pytest

from sandboxes.errors import SandboxError
from sandboxes.locks import Kept, unless_kept
from sandboxes.prune import _cached, _first_to_go, bound

DAY = "2026-11-{:02}T10:00:00.123456789{}"


def image(name, layers, size, *, kind="environment", day=1, used=None, zone="Z", tags=None):
    return {
        "Id": f"sha256:{name}",
        "RepoTags": [f"assay-env:{name}"] if tags is None else tags,
        "Size": size,
        "RootFS": {"Layers": list(layers)},
        "Created": DAY.format(day, "Z"),
        "Metadata": {"LastTagTime": DAY.format(used, zone) if used else "0001-01-01T00:00:00Z"},
        "Config": {"Labels": {"assay.cache": kind} if kind else None},
    }


def test_an_image_takes_what_it_adds_to_the_one_beneath_it():
    found = _cached(
        [
            image("user", "ab", 300, kind=None),
            image("base", "a", 100, kind="base"),
            image("env", "abc", 350),
            image("twin", "abc", 350),
            image("alone", "x", 70),
        ]
    )
    assert [(one.id[7:], one.size) for one in found] == [
        ("base", 100),
        ("env", 50),
        ("twin", 0),
        ("alone", 70),
    ]


def test_a_use_counts_more_than_the_making_whatever_the_engine_s_time_zone():
    made, used, zone = _cached(
        [
            image("made", "a", 1, day=3),
            image("used", "b", 1, day=1, used=4),
            image("zone", "c", 1, day=1, used=4, zone="+02:00"),
        ]
    )
    assert zone.used < used.used and made.used < zone.used
    assert used.used == datetime(2026, 11, 4, 10, 0, 0, 123456, UTC)


def test_what_was_used_least_recently_goes_first_and_what_all_is_made_of_last():
    left = _cached(
        [
            image("base", "a", 100, kind="base", day=1, tags=["assay-base:now"]),
            image("old-base", "A", 100, kind="base", day=1, tags=["assay-base:old"]),
            image("toolbox", "ab", 110, kind="toolbox", day=1, tags=["assay-toolbox:now"]),
            image("build", "ac", 150, kind="build", day=2),
            image("on-build", "acd", 160, day=9),
            image("older", "ae", 160, day=3),
            image("mine", "af", 160, day=1, tags=["assay-env:mine", "my/env:1"]),
            image("nameless", "ag", 160, day=1, tags=[]),
        ]
    )
    gone = []
    while image_ := _first_to_go(
        left, {"assay-base:now", "assay-toolbox:now"}, {"sha256:older"} if not gone else ()
    ):
        gone.append(image_.id[7:])
        left.remove(image_)
    # `build` waits for what is made of it, `older` was tried in vain the first time
    assert gone == ["on-build", "build", "older", "old-base"]


@pytest.mark.parametrize("value", ["x", "-1", "nan", "inf", "1 GB"])
def test_a_bound_that_is_no_number_is_told(monkeypatch, value):
    monkeypatch.setenv("AGENT_CACHE_GB", value)
    with pytest.raises(SandboxError, match="AGENT_CACHE_GB must be a number of gigabytes such as 20, not"):
        bound()


def test_the_bound_is_in_gigabytes(monkeypatch):
    monkeypatch.setenv("AGENT_CACHE_GB", "0.5")
    assert bound() == 500_000_000
    monkeypatch.setenv("AGENT_CACHE_GB", "")
    assert bound() == 20e9


def test_what_a_process_keeps_is_not_free_until_it_lets_go(tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first, second = Kept(), Kept()
    first.keep("assay-env:x")
    second.keep("assay-env:x")
    first.keep("assay-env:x")

    def free(name):
        with unless_kept(name) as is_free:
            return is_free

    assert not free("assay-env:x") and free("assay-env:y")
    del first
    assert not free("assay-env:x")
    del second
    assert free("assay-env:x")
