"""What is said on stderr while work goes on, by structlog: bare lines on a terminal, JSON in CI, else lines with time,
level and ids. What libraries log by `logging` goes the same way. The event log is another thing: `agent.events`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, Literal, TextIO

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import Processor

from agent.progress import View, event_lines, is_live, worth_a_line
from agent.redaction import redact, without_shapes
from agent.text import printable

Style = Literal["bare", "text", "json"]
Logger = Callable[..., None]
"""Takes a level, the text, and fields by their names."""

_WARNINGS = ("model_retried", "server_left_out", "drift_seen", "context_renewed")
"""Events that are logged as warnings, beside notes that are ones."""


def style(stream: TextIO, environ: Mapping[str, str]) -> Style:
    """How to write on a stream: CI systems set CI, and GitHub's GITHUB_ACTIONS, to true."""
    if stream.isatty():
        return "bare"
    in_ci = any(environ.get(name, "").lower() in ("1", "true", "yes") for name in ("CI", "GITHUB_ACTIONS"))
    return "json" if in_ci else "text"


@contextmanager
def followed(
    stream: TextIO, environ: Mapping[str, str], secrets: Sequence[str], run_id: str
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Shows a run's events as they come, with its id: live on a terminal, else by log lines."""
    with ExitStack() as stack:
        view = stack.enter_context(View(stream)) if is_live(stream) else None
        write = view.say if view else _writer(stream)
        tell = stack.enter_context(opened(write, style(stream, environ), secrets))
        stack.enter_context(bound_contextvars(run_id=run_id))
        # Cut before a text is shortened: half a key has no shape.
        yield lambda event: (view.show if view else partial(_log_event, tell))(without_shapes(event))


@contextmanager
def opened(write: Callable[[str], None], how: Style, secrets: Sequence[str]) -> Iterator[Logger]:
    """A logger that gives its lines to `write`; libraries' warnings go there too as long as it is open."""
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _cleaned(secrets),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(how)],
        foreign_pre_chain=[*shared[:2], _logger_name, *shared[2:]],
    )
    handler = _Handler(write)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    logger = structlog.wrap_logger(_Lines(write), processors=[*shared, _renderer(how)])

    def tell(level: str, text: str, **fields: Any) -> None:
        for line in without_shapes(text).splitlines():
            getattr(logger, level)(line, **fields)

    root.addHandler(handler)
    try:
        yield tell
    finally:
        root.removeHandler(handler)


@contextmanager
def notes(environ: Mapping[str, str], secrets: Sequence[str]) -> Iterator[Callable[[str], None]]:
    """What takes the lines that a command says on stderr while it works."""
    with opened(_writer(sys.stderr), style(sys.stderr, environ), secrets) as tell:
        yield lambda text: tell(
            "warning" if text.startswith("warning: ") else "info", text.removeprefix("warning: ")
        )


def _log_event(tell: Logger, event: Mapping[str, Any]) -> None:
    if not worth_a_line(event):
        return
    kind = event["type"]
    level = "warning" if kind in _WARNINGS or event.get("level") == "warning" else "info"
    fields = {"attempt": event["attempt"]} if event.get("attempt") else {}
    for line in event_lines(event):
        tell(level, line.strip().removeprefix("warning: "), kind=kind, **fields)


def _cleaned(secrets: Sequence[str]) -> Processor:
    def clean(_: Any, __: str, said: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        found: MutableMapping[str, Any] = without_shapes(redact(said, secrets))
        return {name: printable(value) if isinstance(value, str) else value for name, value in found.items()}

    return clean


def _logger_name(_: Any, __: str, said: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Whose record it is, of a library."""
    record = said.get("_record")
    return {**said, "logger": record.name} if record is not None else said


def _renderer(how: Style) -> Processor:
    if how == "json":
        return structlog.processors.JSONRenderer()
    if how == "text":
        return _text
    return _bare


def _bare(_: Any, __: str, said: MutableMapping[str, Any]) -> str:
    mark = "warning: " if said["level"] == "warning" else ""
    return f"{mark}{said['event']}" + (f"\n{said['exception']}" if "exception" in said else "")


def _text(_: Any, __: str, said: MutableMapping[str, Any]) -> str:
    named = {name: said[name] for name in ("run_id", "attempt", "logger") if name in said}
    ids = " ".join(f"{name}={value}" for name, value in named.items())
    line = f"{said['timestamp']} {said['level']:<7} {said['event']}" + (f"  [{ids}]" if ids else "")
    return line + (f"\n{said['exception']}" if "exception" in said else "")


class _Lines:
    """What structlog takes for a logger: each level gives its line on."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self.info = self.warning = self.error = write


class _Handler(logging.Handler):
    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write(self.format(record))
        except Exception:
            self.handleError(record)


def _writer(stream: TextIO) -> Callable[[str], None]:
    def write(line: str) -> None:
        with suppress(OSError, ValueError):  # nobody reads it any more: the work and its event log go on
            stream.write(line + "\n")
            stream.flush()

    return write
