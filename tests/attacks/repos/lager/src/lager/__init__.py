"""A cache of bounded size that can spill to disk."""

from lager.cache import Cache
from lager.disk import DiskStore
from lager.keys import make_key
from lager.stats import Stats

__all__ = ["Cache", "DiskStore", "Stats", "make_key"]
