"""Counters."""


class Stats:
    def __init__(self):
        self.hits = 0
        self.misses = 0
        self.evictions = 0

    @property
    def total(self):
        return self.hits + self.misses

    def ratio(self):
        """The part of look-ups that were hits."""
        return self.hits / self.total

    def as_dict(self):
        return {"hits": self.hits, "misses": self.misses, "evictions": self.evictions}
