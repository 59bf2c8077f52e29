"""The `agent` command: one file per subcommand; results become text and exit codes here and nowhere else."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from agent.cli import doctor, fix, gate, runs
from agent.cli.text import printable
from agent.errors import AgentError

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
    for module in (fix, gate, runs, doctor):
        module.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. A fault that the user can mend is one line on stderr."""
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
        sys.stderr.close()
        return 1
