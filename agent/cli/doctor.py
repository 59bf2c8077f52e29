"""`agent doctor`: what is missing on this machine, how to get it, and leftovers removed."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from agent.cli.streams import print_result
from agent.text import printable
from sandboxes.types import Finding

LEAST_ROOM = 1 << 20
"""Bytes that a run's log takes at least."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser("doctor", help="say what is missing, and remove leftovers", allow_abbrev=False)
    p.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from agent.cli.signals import run_async
    from agent.config import home
    from agent.errors import UsageError
    from sandboxes.doctor import diagnose

    try:
        cache = home() / "bubblewrap"
    except UsageError:
        cache = Path(os.devnull)  # nothing can be kept, as another finding tells
    findings = run_async(diagnose, cache)
    findings += [_git(), _model(), _runs(), _spent_today(), _temporary()]
    lines = []
    for finding in findings:
        lines.append(f"{'ok     ' if finding.ok else 'MISSING'}  {finding.name}: {finding.detail}")
        if not finding.ok and finding.mend:
            lines.append(f"         {finding.mend}")
    code = 0 if all(finding.ok for finding in findings) else 3
    return print_result(printable("\n".join(lines)), code)


def _git() -> Finding:
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return Finding("git", False, "not found", "install git 2.32 or newer")
    return Finding("git", True, done.stdout.strip())


def _model() -> Finding:
    from agent.errors import UsageError
    from agent.models.registry import default_spec, open_model

    spec, reason = default_spec(os.environ)
    try:
        open_model(spec)
    except UsageError as error:
        return Finding("model", False, str(error), "mend the variable, or name another model with --model")
    return Finding("model", True, f"{spec}: {reason}")


def _runs() -> Finding:
    from agent.config import home
    from agent.errors import UsageError

    mend = "set AGENT_HOME to a folder that can be written"
    try:
        folder = home() / "runs"
        there = next(path for path in (folder, *folder.parents) if path.exists())
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(bytes(LEAST_ROOM))
    except UsageError as error:
        text, _, mend = str(error).partition("; ")
        return Finding("runs", False, text, mend)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            mend = "free some space there, or set AGENT_HOME to a folder on another disk"
        return Finding("runs", False, f"can't be kept in {folder}: {error.strerror}", mend)
    return Finding("runs", True, f"kept in {folder}")


def _spent_today() -> Finding:
    """What the day has cost, and its limit. What killed runs had reserved is counted here, too."""
    from agent.budget import Ledger, today
    from agent.config import home, per_day
    from agent.errors import AgentError
    from agent.progress import money

    try:
        limit, path = per_day(), home() / "ledger.sqlite"
        if not path.exists():
            return Finding("spent today", True, "nothing")
        with Ledger(path) as ledger:
            [account] = ledger.accounts({today(): limit}).values()
    except (AgentError, OSError) as error:
        text, _, mend = str(error).partition("; ")
        return Finding("spent today", False, text, mend or "mend the file, or move it away")
    return Finding("spent today", True, f"{money(account.told())} (UTC)")


def _temporary() -> Finding:
    """Temporary folders that killed runs left: removed here."""
    from agent.scratch import stale

    try:
        folders = stale()
    except OSError as error:  # Python found no folder at all
        return Finding(
            "temporary files", False, error.strerror or str(error), "set TMPDIR to one that can be written"
        )
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    kept = [str(folder) for folder in folders if folder.exists()]
    if kept:
        return Finding(
            "temporary files", False, f"can't be removed: {', '.join(kept)}", "remove them by hand"
        )
    return Finding("temporary files", True, f"removed {len(folders)} folders" if folders else "none left")
