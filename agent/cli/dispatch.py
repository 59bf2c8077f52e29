"""From the command line to a subcommand, and from what it raises to one line and an exit code."""

from __future__ import annotations

import argparse
import errno
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from agent.cli.streams import OutputLost, open_streams, tell
from agent.errors import AgentError, EnvironmentFault
from agent.text import printable

EPILOG = """exit codes: 0 accepted · 1 not accepted · 2 usage · 3 environment · 4 a limit · 5 model or provider
            6 needs review · 130 interrupted"""


COMMANDS = (
    "fix", "resume", "replay", "gate", "init", "publish", "batch", "cases", "eval", "atlas", "runs", "show", "export",
    "models", "doctor",
)  # fmt: skip


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The whole command line, or where a line begins with the name of a command, that of it alone."""
    top = argparse.ArgumentParser(
        prog="agent",
        description="A coding agent whose patches carry proof.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in [command] if command in COMMANDS else COMMANDS:
        import_module(f"agent.cli.{name}").add(commands)
    return top


def run(argv: Sequence[str] | None) -> int:
    """Run one command and return its exit code. A fault that the user can mend is one line on stderr."""
    open_streams()
    try:
        try:
            given = sys.argv[1:] if argv is None else argv
            args = parser(given[0] if given else None).parse_args(given)
            code: int = args.run(args)
        finally:
            sys.stdout.flush()
        return code
    except AgentError as error:
        tell(printable(str(error)))
        return error.exit_code
    except OutputLost as lost:
        if lost.unread:  # `agent runs | head`: the reader has all that it wanted
            return 0
        tell(f"could not write to stdout: {lost}")
        return EnvironmentFault.exit_code
    except OSError as error:
        tell(printable(_fault(error)))
        return EnvironmentFault.exit_code
    except Exception:
        # A fault of ours must not look like a verdict, which exit code 1 is.
        traceback.print_exc()
        return EnvironmentFault.exit_code


def _fault(error: OSError) -> str:
    """What the system refused, where, and what may help."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        mend = "; free some, or set AGENT_HOME and TMPDIR to folders on another disk"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        mend = "; set AGENT_HOME and TMPDIR to folders that can be written"
    elif isinstance(error, FileNotFoundError) and not where:  # what os.getcwd says
        mend = ": the current folder may be gone; change to one that is there"
    else:
        mend = ""
    return f"{where}{error.strerror or error}{mend}"
