"""Which environment a tree was given last time, so that nothing of it need be read to find it again.

What an environment is made from are files of the tree, settings, and the code here. To find it by these takes a pass
over all files; that the same tree gives the same is known without. A note is of use only while all that it names is
still there, which its driver says, and is made anew when anything else that counts has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sandboxes.hostnet import HostNetwork
from sandboxes.types import Environment

KEPT = 200
"""Notes; of more, the oldest are forgotten."""


@dataclass(frozen=True, slots=True)
class Memo:
    """The note of one tree, in a folder that may be deleted at any time."""

    folder: Path
    tree: str
    dockerfile: str | None
    setup: Sequence[str] | None

    def get(self) -> Environment | None:
        """None also for a note that is damaged."""
        try:
            told = json.loads(self._path().read_bytes())
            return Environment(**{**told, "warnings": tuple(told["warnings"])})
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def put(self, environment: Environment) -> None:
        """Keep it; where that can't be, it is found the long way again."""
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            for old in sorted(self.folder.iterdir(), key=os.path.getmtime, reverse=True)[KEPT:]:
                old.unlink(missing_ok=True)
            path = self._path()
            part = path.with_suffix(f".{os.getpid()}.part")
            part.write_text(json.dumps(asdict(environment)), encoding="utf-8")
            part.replace(path)

    def _path(self) -> Path:
        host = HostNetwork.read()
        counts = [
            self.tree,
            self.dockerfile,
            self.setup,
            host.public,
            os.environ.get("AGENT_BASE_IMAGE"),
            _code(),
        ]
        return self.folder / f"{hashlib.sha256(json.dumps(counts).encode()).hexdigest()}.json"


def _code() -> list[list[object]]:
    """What tells this version of the code here from another."""
    here = Path(__file__).parent
    found = sorted([*here.glob("*.py"), *here.glob("*/*.py")])
    return [[path.name, (state := path.stat()).st_size, state.st_mtime_ns] for path in found]
