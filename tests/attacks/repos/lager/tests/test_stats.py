from lager import Cache, Stats, make_key


def test_counts():
    cache = Cache(1)
    cache.put("a", 1)
    cache.get("a")
    cache.get("b")
    cache.put("c", 1)
    assert cache.stats.as_dict() == {"hits": 1, "misses": 1, "evictions": 1}


def test_ratio():
    stats = Stats()
    stats.hits, stats.misses = 3, 1
    assert stats.ratio() == 0.75


def test_keys():
    assert make_key((1,), {"b": 1, "a": 2}) == make_key((1,), {"a": 2, "b": 1})
    assert make_key((1,), {}) != make_key((2,), {})
