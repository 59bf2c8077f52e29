import unittest

import pytest

from lager import Cache


class CacheTest(unittest.TestCase):
    def setUp(self):
        self.cache = Cache(2)

    def test_put_and_get(self):
        self.cache.put("a", 1)
        self.assertEqual(self.cache.get("a"), 1)

    def test_default(self):
        self.assertIsNone(self.cache.get("x"))
        self.assertEqual(self.cache.get("x", 5), 5)

    def test_oldest_goes(self):
        for key in "abc":
            self.cache.put(key, key)
        self.assertEqual(self.cache.keys(), ["b", "c"])

    def test_put_again_refreshes(self):
        self.cache.put("a", 1)
        self.cache.put("b", 2)
        self.cache.put("a", 3)
        self.cache.put("c", 4)
        self.assertEqual(self.cache.keys(), ["a", "c"])

    def test_len_and_contains(self):
        self.cache.put("a", 1)
        self.assertEqual(len(self.cache), 1)
        self.assertIn("a", self.cache)
        self.assertNotIn("b", self.cache)


def test_size():
    with pytest.raises(ValueError):
        Cache(0)


@pytest.mark.parametrize("after, expected", [(0, 1), (4.9, 1), (5, None), (99, None)])
def test_ttl(clock, after, expected):
    cache = Cache(3, ttl=5, clock=clock)
    cache.put("k", 1)
    clock.now = after
    assert cache.get("k") == expected


def test_wrap():
    calls = []

    @Cache(8).wrap
    def double(x, *, plus=0):
        """Twice."""
        calls.append(x)
        return 2 * x + plus

    assert [double(2), double(2), double(2, plus=1)] == [4, 4, 5]
    assert calls == [2, 2]
    assert double.__doc__ == "Twice."


def test_wrap_keeps_none():
    calls = []
    kept = Cache(2).wrap(lambda x: calls.append(x))
    assert kept(1) is None and kept(1) is None
    assert calls == [1]
