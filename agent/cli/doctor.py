"""`agent doctor`: what is missing on this machine, how to get it, and leftovers removed."""

from __future__ import annotations

import argparse

from agent.cli.text import printable


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser("doctor", help="say what is missing, and remove leftovers", allow_abbrev=False)
    p.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    import os

    from agent.cli.signals import run_async
    from agent.config import home
    from agent.models.registry import default_spec
    from sandboxes.doctor import diagnose

    findings = run_async(diagnose)
    for finding in findings:
        print(printable(f"{'ok     ' if finding.ok else 'MISSING'}  {finding.name}: {finding.detail}"))
        if not finding.ok and finding.mend:
            print(printable(f"         {finding.mend}"))
    spec, reason = default_spec(os.environ)
    print(printable(f"ok       model: {spec} ({reason})"))
    print(printable(f"ok       runs: {home() / 'runs'}"))
    return 0 if all(finding.ok for finding in findings) else 3
