"""The cache in memory."""

import functools
import time
from collections import OrderedDict

from lager.keys import make_key
from lager.stats import Stats


class Cache:
    """At most `size` values; what was used least recently goes first, into `store` if there is one.

    With `ttl`, a value is forgotten so many seconds after it was put.
    """

    def __init__(self, size, ttl=None, store=None, clock=time.monotonic):
        if size < 1:
            raise ValueError("a cache needs room for one value at least")
        self.size = size
        self.ttl = ttl
        self.store = store
        self.stats = Stats()
        self._clock = clock
        self._values = OrderedDict()

    def put(self, key, value):
        self._values[key] = (value, self._clock())
        self._values.move_to_end(key)
        while len(self._values) > self.size:
            old, (spilled, _) = self._values.popitem(last=False)
            self.stats.evictions += 1
            if self.store is not None:
                self.store.put(str(old), spilled)

    def get(self, key, default=None):
        if key in self._values:
            value, at = self._values[key]
            if self.ttl is None or self._clock() - at < self.ttl:
                self.stats.hits += 1
                return value
            del self._values[key]
        if self.store is not None and str(key) in self.store:
            self.stats.hits += 1
            return self.store.get(str(key))
        self.stats.misses += 1
        return default

    def __len__(self):
        return len(self._values)

    def __contains__(self, key):
        return key in self._values

    def keys(self):
        """Least recently used first."""
        return list(self._values)

    def wrap(self, function):
        """The function with its results kept here."""
        missing = object()

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            key = make_key(args, kwargs)
            value = self.get(key, missing)
            if value is missing:
                value = function(*args, **kwargs)
                self.put(key, value)
            return value

        return wrapped
