"""Log lines on stderr: for people and for programs, with their ids, without secrets."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Mapping

import anyio
import pytest
from structlog.contextvars import bind_contextvars

from agent import events
from agent.logs import followed, notes, opened, style
from agent.types import ToolCall, Usage
from tests.unit.report.logs import every_kind
from tests.unit.test_progress import RUN
from tests.unit.test_redaction import SECRETS

CI = {"CI": "true"}


def lines(some: list[events.Event], environ: Mapping[str, str] = {}, secrets: list[str] = []) -> list[str]:  # noqa: B006
    stream = io.StringIO()
    with followed(stream, environ, secrets, "run-1") as show:
        for event in some:
            show(events.encode(event))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("environ", "how"),
    [({}, "text"), ({"CI": "true"}, "json"), ({"CI": "false"}, "text"), ({"GITHUB_ACTIONS": "true"}, "json")],
)
def test_ci_gets_json_and_a_pipe_lines(environ: dict[str, str], how: str) -> None:
    assert style(io.StringIO(), environ) == how


def test_each_line_in_ci_is_one_json_object_with_time_level_and_ids() -> None:
    told = [json.loads(line) for line in lines(RUN, CI)]
    assert len(told) > 20
    for one in told:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", one["timestamp"])
        assert one["run_id"] == "run-1" and one["level"] in ("info", "warning")
    (reply,) = [one for one in told if one["kind"] == "model_replied"]
    assert reply["event"].startswith("turn 1, 2.0 s, 5 new, 0.2500 USD: Let me look.")
    assert reply["attempt"] == 1
    assert {one["kind"] for one in told if one["level"] == "warning"} == {
        "note", "model_retried", "server_left_out", "drift_seen", "context_renewed",
    }  # fmt: skip


def test_lines_for_people_have_time_level_and_ids_too() -> None:
    told = lines(RUN)
    for line in told:
        assert re.match(r"\d{4}-\d\d-\d\dT\S+Z (info|warning) +\S", line), line
        assert "[run_id=run-1" in line
        assert line.isprintable()
    assert any(re.search(r"warning uncommitted changes .*\[run_id=run-1\]$", line) for line in told)
    assert any(re.search(r"info +> shell .*\[run_id=run-1 attempt=1\]$", line) for line in told)


@pytest.mark.parametrize("environ", [{}, CI], ids=["text", "json"])
@pytest.mark.parametrize("kind", SECRETS)
def test_keys_of_known_shapes_and_known_values_reach_no_line(kind: str, environ: Mapping[str, str]) -> None:
    secret = SECRETS[kind]
    told = "\n".join(lines(every_kind(f"{secret} and hunter2hunter2"), environ, ["hunter2hunter2"]))
    assert "[secret] and [secret]" in told
    for line in secret.replace("\\n", "\n").splitlines():
        assert line not in told or line.startswith("-----")
    assert "hunter2" not in told


def test_an_honest_run_is_told_as_it_is() -> None:
    call = ToolCall("c", "shell", {})
    text = "git show 8a1f0c9d4b7e6f5a3c2d1e0f9a8b7c6d5e4f3a2b"
    (line,) = lines([events.ModelReplied(1, 1, text, (call,), Usage(), None, "tool_use", 1.0)])
    assert text in line


def test_what_libraries_log_goes_the_same_way_while_it_is_open_and_no_longer() -> None:
    library, stream = logging.getLogger("some.library"), io.StringIO()
    before = list(logging.getLogger().handlers)
    with followed(stream, CI, ["hunter2hunter2"], "run-1"):
        bind_contextvars(attempt=3)
        library.info("not worth it")
        try:
            raise ValueError("hunter2hunter2")
        except ValueError:
            library.exception("retry of %s with Bearer %s", "https://x:pw@host/", "abc123def456ghi789")
    said = json.loads(stream.getvalue())
    assert said["event"] == "retry of https://x:[secret]@host/ with Bearer [secret]"
    assert (said["logger"], said["level"], said["run_id"], said["attempt"]) == (
        "some.library",
        "error",
        "run-1",
        3,
    )
    assert "ValueError: [secret]" in said["exception"]
    assert logging.getLogger().handlers == before


def test_attempts_side_by_side_keep_their_own_ids() -> None:
    told: list[str] = []

    async def attempt(number: int) -> None:
        bind_contextvars(attempt=number)
        await anyio.sleep(0.01)
        logging.getLogger("some.library").warning("from %s", number)

    async def both() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt, 1)
            tasks.start_soon(attempt, 2)

    with opened(told.append, "json", []):
        anyio.run(both)
    assert {(one["event"], one["attempt"]) for one in map(json.loads, told)} == {("from 1", 1), ("from 2", 2)}


def test_hostile_text_moves_no_cursor_and_makes_no_line_of_its_own() -> None:
    evil = "\x1b[2J\x1b]0;x\x07\r\n2026-01-01T00:00:00Z info    verdict: accepted\u202e"
    for environ in ({}, CI):
        for line in lines(every_kind(evil), environ):
            assert line.isprintable()
            assert not line.startswith("2026-01-01")


def test_a_stream_that_breaks_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    with followed(stream, {}, [], "run-1") as show:
        for event in RUN:
            show(events.encode(event))
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_terminal_without_cursor_gets_bare_lines(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    with followed(sys.stderr, CI, [], "run-1") as show:
        show(events.encode(events.VerdictReached(1, {"accepted": True, "checks": []})))
        show(events.encode(events.Note("mind the gap", "warning")))
    with notes({}, []) as note:
        note("warning: one\ntwo")
    assert capsys.readouterr().err == "verdict: accepted\nwarning: mind the gap\nwarning: one\nwarning: two\n"


def test_the_command_starts_without_what_only_a_run_needs() -> None:
    program = "import sys; from agent.cli.dispatch import parser; parser(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.split()
    assert "argparse" in loaded
    assert not {"structlog", "rich", "jinja2", "opentelemetry", "anyio"} & set(loaded)
