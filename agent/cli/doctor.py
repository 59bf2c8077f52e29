"""`agent doctor`: what is missing on this machine, how to get it, and leftovers removed."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess

from agent.text import printable
from sandboxes.types import Finding


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser("doctor", help="say what is missing, and remove leftovers", allow_abbrev=False)
    p.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from agent.cli.signals import run_async
    from sandboxes.doctor import diagnose

    findings = run_async(diagnose)
    findings += [_git(), _model(), _runs(), _temporary()]
    for finding in findings:
        print(printable(f"{'ok     ' if finding.ok else 'MISSING'}  {finding.name}: {finding.detail}"))
        if not finding.ok and finding.mend:
            print(printable(f"         {finding.mend}"))
    return 0 if all(finding.ok for finding in findings) else 3


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

    folder = home() / "runs"
    there = next(path for path in (folder, *folder.parents) if path.exists())
    ok = there.is_dir() and os.access(there, os.W_OK)
    return Finding(
        "runs", ok, f"kept in {folder}", "" if ok else "set AGENT_HOME to a folder that can be written"
    )


def _temporary() -> Finding:
    """Temporary folders that killed runs left: removed here."""
    from agent.scratch import stale

    folders = stale()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    kept = [str(folder) for folder in folders if folder.exists()]
    if kept:
        return Finding(
            "temporary files", False, f"can't be removed: {', '.join(kept)}", "remove them by hand"
        )
    return Finding("temporary files", True, f"removed {len(folders)} folders" if folders else "none left")
