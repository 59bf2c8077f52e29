"""The `agent` command: one file per subcommand; results become text and exit codes here and nowhere else."""

from __future__ import annotations

import atexit
import os
import sys

TYPE_CHECKING = False  # typing's own takes its time, and Ctrl-C may come at any
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; Ctrl-C is one line, also while the program is still loaded."""
    try:
        from agent.cli.dispatch import run

        return run(argv)
    except KeyboardInterrupt:
        if sys.stderr is not None:
            try:  # noqa: SIM105 (contextlib would have to be loaded for it)
                print("agent: interrupted", file=sys.stderr, flush=True)
            except (OSError, ValueError):
                pass
        # Not by way of Python's own end: where the interrupt fell into code that Python had as text (the making of a
        # dataclass), that kills the process with SIGINT, whatever exit code was asked for.
        atexit._run_exitfuncs()
        os._exit(130)
