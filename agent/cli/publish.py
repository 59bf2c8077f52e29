"""`agent publish`: put a run's verdict on GitHub, from the run's folder alone."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from agent.cli.github import default_host, open_client, words
from agent.cli.streams import print_result, tell
from agent.errors import Refused, UsageError
from agent.text import printable


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser(
        "publish",
        help="put a run's verdict on GitHub: a draft pull request, or a comment",
        description="Put a run's verdict on GitHub, from its folder alone: for an accepted patch a branch and a draft "
        "pull request, for any other end one comment on the issue. Again does no harm: what is there is updated.",
        allow_abbrev=False,
    )
    p.add_argument(
        "folder", metavar="RUN_FOLDER", help="the run's folder: result.json, patch.diff, proof.json, gate/"
    )
    p.add_argument("--repository", required=True, metavar="OWNER/NAME", help="the repository on GitHub")
    p.add_argument("--issue", type=int, metavar="N", help="the issue that the run was for (none: no comment)")
    p.add_argument(
        "--json", action="store_true", help="print one JSON object: verdict, pr_url, branch, comment_url"
    )
    p.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from agent.forge.publish import Published, publish
    from agent.forge.remote import parse_slug

    place = parse_slug(args.repository, default_host(os.environ), "--repository")
    if args.issue is not None and not 0 < args.issue < 10**18:
        raise UsageError(f"--issue {args.issue}: no number of an issue")
    with open_client(place.host, writes=True) as client:
        try:
            done = publish(client, Path(args.folder), place, words(client, args.issue))
        except Refused as refused:
            tell(f"not published: {printable(str(refused))}")
            done = Published("refused")
    code = 0 if done.verdict == "accepted" else 1
    if args.json:
        return print_result(json.dumps(done.told(), indent=2), code, for_programs=True)
    lines = [f"{name}: {value}" for name, value in done.told().items() if value is not None]
    return print_result(printable("\n".join(lines)), code)
