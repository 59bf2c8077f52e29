"""The environment of a repository."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sandboxes.engine import Engine
from sandboxes.images import SYSTEM_PATH, ensure_base_image
from sandboxes.toolbox import ensure_toolbox
from sandboxes.types import Environment


async def prepare(
    engine: Engine,
    tree_tar: Path,
    *,
    image: str | None,
    setup: Sequence[str] | None,
    tools_dir: Path,
    log: Callable[[str], None],
) -> Environment:
    base = await ensure_base_image(engine, log)
    toolbox, tools = await ensure_toolbox(engine, base, tools_dir, log)
    return Environment(image=image or base, toolbox=toolbox, tools=tools, path=SYSTEM_PATH)
