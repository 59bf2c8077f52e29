"""`agent export`: a run in formats that other programs read."""

from __future__ import annotations

import argparse
import logging
import os
from functools import partial
from pathlib import Path

from agent.cli.inputs import check_output, made_of
from agent.errors import EnvironmentFault, UsageError
from agent.redaction import without_shapes

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    p = commands.add_parser("export", help="give a run to other programs", allow_abbrev=False)
    p.add_argument("run_id", metavar="RUN", help="a run's id, or an unambiguous part of it")
    p.add_argument(
        "--format",
        required=True,
        choices=("atif", "otel"),
        help="atif: one trajectory as JSON; otel: spans, sent to the collector at OTEL_EXPORTER_OTLP_ENDPOINT (HTTP)",
    )
    p.add_argument("--output", metavar="FILE", help="write the trajectory there (default: stdout)")
    p.set_defaults(run=main)


def main(args: argparse.Namespace) -> int:
    from agent.config import home
    from agent.runs import find

    if args.format == "otel" and args.output is not None:
        raise UsageError("--output goes with --format atif: spans are sent, not written")
    folder = find(home() / "runs", args.run_id)
    if args.format == "otel":
        return _send(folder)
    from agent.report.atif import document
    from agent.report.story import read
    from agent.result import write_atomically

    output = check_output(args.output) if args.output is not None else None
    text = made_of(folder, partial(document, version=_version()), read(folder))
    if output is not None:
        write_atomically(output, text.encode())
    else:
        print(text, end="")
    return 0


def _version() -> str:
    from importlib.metadata import version  # slow to load

    return version("assay")


def _send(folder: Path) -> int:
    if not any(os.environ.get(name) for name in ENDPOINTS):
        raise UsageError(
            f"no collector is named; set {ENDPOINTS[0]}, such as {ENDPOINTS[0]}=http://localhost:4318"
        )
    try:
        from agent.report.otel import send, spans
    except ImportError as error:
        raise UsageError("OpenTelemetry is not installed: pip install 'assay[otel]'") from error
    from agent.report.story import read

    logging.getLogger("opentelemetry").propagate = False  # the one line below says it
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    made = made_of(folder, partial(spans, version=_version()), read(folder))
    try:
        send(made)
    except OSError as error:
        where = without_shapes(next(filter(None, map(os.environ.get, ENDPOINTS))))
        raise EnvironmentFault(
            f"{where}: {error}; is a collector there that takes OTLP over HTTP?"
        ) from error
    print(f"{len(made)} spans sent")
    return 0
