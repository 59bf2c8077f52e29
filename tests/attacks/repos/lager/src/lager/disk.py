"""A store of values as files."""

import json
import re
from pathlib import Path


class DiskStore:
    """Values that JSON knows, one file a key."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, key):
        """Where the value of a key lies."""
        return self.folder / (re.sub(r"[^A-Za-z0-9._-]", "_", key) + ".json")

    def put(self, key, value):
        target = self.path(key)
        temporary = target.with_suffix(".tmp")
        temporary.write_text(json.dumps(value), encoding="utf-8")
        temporary.replace(target)

    def get(self, key, default=None):
        if key not in self:
            return default
        return json.loads(self.path(key).read_text(encoding="utf-8"))

    def __contains__(self, key):
        return self.path(key).exists()

    def clear(self):
        for path in self.folder.glob("*.json"):
            path.unlink()
