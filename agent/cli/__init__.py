"""The `agent` command: one file per subcommand; results become text and exit codes here and nowhere else."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from agent.cli import doctor, fix, gate, models, runs
from agent.errors import AgentError
from agent.text import printable

EPILOG = """exit codes: 0 accepted · 1 not accepted · 2 usage · 3 environment · 4 a limit · 5 model or provider
            6 needs review · 130 interrupted"""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="agent",
        description="A coding agent whose patches carry proof.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (fix, gate, runs, models, doctor):
        module.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. A fault that the user can mend is one line on stderr."""
    _usable_streams()
    args = parser().parse_args(argv)
    try:
        code: int = args.run(args)
        return code
    except AgentError as error:
        print(f"agent: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("agent: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output is gone (`agent runs | head`); nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception:
        # A fault of ours must not look like a verdict, which exit code 1 is.
        traceback.print_exc()
        return 3


def _usable_streams() -> None:
    """Standard streams that take any text, also where they are closed or not UTF-8."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 (for the life of the process)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
