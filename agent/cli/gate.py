"""`agent gate`: judge any patch, whoever wrote it, by the code that `agent fix` uses."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.cli.inputs import (
    add_image_flags,
    add_sandbox_flags,
    check_dockerfile,
    check_output,
    new_run_id,
    read_file,
    read_test_patch,
    test_ids,
    with_image,
    with_sandbox_flags,
    with_test_command,
)
from agent.cli.streams import print_result
from agent.errors import EnvironmentFault, NotSetUp, UsageError
from agent.types import Verdict

if TYPE_CHECKING:
    from agent.config import Settings
    from agent.gate import Shelf
    from agent.gate.proof import Proof
    from agent.gate.smaller import Smaller
    from agent.git import Repository


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser("gate", help="judge a patch in fresh sandboxes", allow_abbrev=False)
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--patch", metavar="FILE", help="the patch to judge")
    what.add_argument(
        "--proof",
        metavar="FILE",
        help="judge an accepted patch again from its proof.json, and compare test by test",
    )
    p.add_argument("--repo", default=".", metavar="PATH", help="the git repository (default: here)")
    p.add_argument("--base", default="HEAD", metavar="REV", help="the commit it is made for (default: HEAD)")
    p.add_argument("--fail-to-pass", action="append", default=[], metavar="TEST_ID", help="may be repeated")
    p.add_argument("--test-patch", metavar="FILE", help="tests that the base doesn't have, as a patch")
    p.add_argument("--test", metavar="CMD", help="the test command (default: by what is in the repository)")
    add_sandbox_flags(p)
    add_image_flags(p)
    p.add_argument(
        "--smaller",
        metavar="FILE",
        help="after acceptance look for hunks that the verdict doesn't need, and write the patch without them there",
    )
    p.add_argument(
        "--json", action="store_true", help="print the verdict as one JSON object, and nothing else"
    )
    p.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from agent.cli.signals import run_async
    from agent.config import checked, home, repository_settings
    from agent.gate import Shelf
    from agent.gate.proof import differences, verdict_json
    from agent.git import Repository
    from agent.logs import notes
    from agent.progress import terminal_width, verdict_table
    from agent.redaction import secret_values, without_shapes
    from agent.result import EXIT_CODES, write_atomically
    from agent.text import printable

    with Repository(args.repo) as repository:
        then = _read_proof(args) if args.proof is not None else None
        base = repository.resolve(then.base if then else args.base)
        settings = with_image(repository_settings(repository, base), args.image, args.dockerfile)
        test = then.test_command if then else args.test
        settings = with_sandbox_flags(settings, args)
        if test is not None:
            settings = replace(settings, test=test, test_from="from the proof" if then else "--test")
        settings = checked(settings, "command line")
        check_dockerfile(settings, repository, base)
        settings, tests = with_test_command(settings, repository, base)
        if then:
            patch, test_patch, named = then.patch, then.test_patch, then.fail_to_pass
        else:
            patch, named = read_file(args.patch, "--patch"), test_ids(args.fail_to_pass)
            test_patch = None
            if args.test_patch is not None:
                test_patch = read_test_patch(args.test_patch, repository, base)
            if not patch.strip():
                raise UsageError(f"--patch {args.patch}: the file is empty; name a patch to judge")
        print(f"agent: {tests}", file=sys.stderr)
        # A proof is judged from nothing but itself.
        shelf = None if then else Shelf(home() / "baselines")
        output = check_output(args.smaller, "--smaller") if args.smaller is not None else None
        with notes(os.environ, secret_values(os.environ)) as log:
            verdict, less = run_async(
                judged, repository, base, settings, patch, named, test_patch, shelf, output is not None, log
            )
    if output is not None and less is not None:
        write_atomically(output, less.patch)
    data, code = without_shapes(verdict_json(verdict)), EXIT_CODES[verdict.status]
    differs = differences(then.verdict, verdict) if then else []
    if args.json:
        if then:
            data["differs_from_proof"] = differs
        if output is not None:
            data["left_out"] = less.left_out if less else []
        return print_result(json.dumps(data, indent=2), code, for_programs=True)
    lines = [verdict_table(data, terminal_width(sys.stdout))]
    if then:
        lines += ["", *(differs[:40] or ["every test has the outcome that the proof tells"])]
    if output is not None and verdict.accepted:
        left_out = less.left_out if less else ()
        told = f"accepted as well without these hunks, as {output}:" if less else "each hunk is needed"
        lines += ["", told, *left_out]
    return print_result("\n".join([printable("\n".join(lines)), verdict.status]), code)


def _read_proof(args: argparse.Namespace) -> Proof:
    from agent.gate.proof import read_proof

    for flag, value in (
        ("--fail-to-pass", args.fail_to_pass),
        ("--test-patch", args.test_patch),
        ("--test", args.test),
    ):
        if value:
            raise UsageError(f"{flag} can't be given with --proof: the proof names what was judged")
    return read_proof(read_file(args.proof, "--proof"), f"--proof {args.proof}")


async def judged(
    repository: Repository,
    base: str,
    settings: Settings,
    patch: bytes,
    fail_to_pass: tuple[str, ...],
    test_patch: bytes | None,
    shelf: Shelf | None,
    want_smaller: bool,
    log: Callable[[str], None],
) -> tuple[Verdict, Smaller | None]:
    """A patch's verdict, and the smaller patch if one is wanted. Raises EnvironmentFault."""

    from agent.environment import connect_driver, environment_of, sandbox_limits
    from agent.gate import Runner
    from agent.gate.judge import judge
    from agent.gate.smaller import smaller
    from sandboxes.errors import SandboxError, SetupFailed

    try:
        driver = await connect_driver(settings, log)
        tree = repository.tree_of(base)
        async with environment_of(tree, driver, settings, repository, log) as begun:
            runner = Runner(
                driver,
                repository,
                begun,
                settings.test,
                settings.test_timeout,
                new_run_id(),
                log,
                sandbox_limits(settings, settings.test_timeout),
                shelf,
            )
            inputs: dict[str, Any] = {
                "base": base,
                "fail_to_pass": fail_to_pass,
                "test_patch": test_patch,
                "baseline": None,
                "extra_checks": settings.checks,
            }
            verdict = await judge(runner, patch, **inputs)
            found = (
                await smaller(runner, verdict, patch, **inputs) if want_smaller and verdict.accepted else None
            )
        return verdict, found
    except NotSetUp as error:
        log(error.log)
        raise
    except SandboxError as error:
        if isinstance(error, SetupFailed):
            log(error.log)
        raise EnvironmentFault(str(error)) from error
