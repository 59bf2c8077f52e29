"""A tree of the repository in a sandbox's workspace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from agent.git import Repository
from agent.scratch import scratch

if TYPE_CHECKING:
    from sandboxes.driver import Sandbox


async def lay_tree(sandbox: Sandbox, repository: Repository, tree: str) -> int:
    """Make /workspace of a fresh sandbox the tree; only what differs from what it begins with is moved.

    Returns the sandbox's clock at the end, in nanoseconds. Raises SandboxError.
    """
    with scratch() as folder:
        tar = Path(folder) / "tree.tar"
        if not sandbox.tree:
            await anyio.to_thread.run_sync(repository.write_tar, tree, tar)
            return await sandbox.put_tree(tar)
        before, after = repository.files(sandbox.tree), repository.files(tree)
        changed = {path for path, entry in after.items() if before.get(path) != entry}
        await anyio.to_thread.run_sync(repository.write_tar, tree, tar, changed)
        return await sandbox.change_tree(tar, sorted(before.keys() - after.keys()))
