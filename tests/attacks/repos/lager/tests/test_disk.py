import pytest

from lager import Cache


@pytest.mark.parametrize("value", [1, "é", None, [1, {"a": 2}], 1.5, True])
def test_round_trip(store, value):
    store.put("key", value)
    assert store.get("key") == value


def test_absent(store):
    assert store.get("no", 3) == 3
    assert "no" not in store


def test_clear(store):
    store.put("a", 1)
    store.clear()
    assert "a" not in store


def test_no_temporary_file_stays(store):
    store.put("a/b", 1)
    assert [path.suffix for path in store.folder.iterdir()] == [".json"]


def test_spill(store):
    cache = Cache(1, store=store)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    assert cache.stats.as_dict() == {"hits": 1, "misses": 0, "evictions": 1}
