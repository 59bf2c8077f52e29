"""A run as OpenTelemetry spans: by the conventions, and as a collector gets them."""

from __future__ import annotations

import gzip
import shutil
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from agent.cli import main
from agent.report.otel import spans
from tests.unit.report.logs import SESSIONS, every_kind, logged, long, session


def named(made: list[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [span for span in made if span.name == name]


def test_a_run_is_a_workflow_of_agents_that_chat_and_execute_tools() -> None:
    made = list(spans(session("hasty_at_first"), "0.1.0"))
    (root,) = named(made, "invoke_workflow assay")
    agents = named(made, "invoke_agent assay")
    chats = [span for span in made if span.name.startswith("chat ")]
    tools = [span for span in made if span.name.startswith("execute_tool ")]
    assert (len(agents), len(chats), len(tools)) == (3, 7, 37)
    assert len(named(made, "assay.gate")) == 3 and len(named(made, "assay.baseline")) == 1
    parents = {span.context.span_id: span for span in made if span.context}
    assert root.parent is None
    assert {parents[span.parent.span_id].name for span in agents if span.parent} == {"invoke_workflow assay"}
    assert {parents[span.parent.span_id].name for span in [*chats, *tools] if span.parent} == {
        "invoke_agent assay"
    }
    assert len({span.context.trace_id for span in made if span.context}) == 1


def test_attributes_are_the_conventions() -> None:
    made = list(spans(session("hasty_at_first"), "0.1.0"))
    chat = next(span for span in made if span.name == "chat claude-sonnet-5")
    assert chat.kind is SpanKind.CLIENT
    told = dict(chat.attributes or {})
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.provider.name"] == "anthropic"
    assert told["gen_ai.request.model"] == "claude-sonnet-5"
    assert told["gen_ai.response.finish_reasons"] == ("tool_use",)
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (2514, 94)
    tool = next(span for span in made if span.name == "execute_tool shell")
    told = dict(tool.attributes or {})
    assert (told["gen_ai.tool.name"], told["gen_ai.tool.type"]) == ("shell", "function")
    assert str(told["gen_ai.tool.call.id"]).startswith("toolu_")
    agent = named(made, "invoke_agent assay")[2]
    assert agent.attributes is not None and agent.attributes["gen_ai.request.model"] == "claude-sonnet-5"


def test_cached_tokens_count_among_the_input() -> None:
    chat = next(span for span in spans(long(3), "0.1.0") if span.name.startswith("chat "))
    told = dict(chat.attributes or {})
    assert told["gen_ai.usage.input_tokens"] == 201 + 1000 + 300
    assert told["gen_ai.usage.cache_read.input_tokens"] == 1000
    assert told["gen_ai.usage.cache_creation.input_tokens"] == 300


def test_children_lie_within_their_parents_time_and_failures_are_marked() -> None:
    made = list(spans(long(100), "0.1.0"))
    parents = {span.context.span_id: span for span in made if span.context}
    for span in made:
        assert span.start_time is not None and span.end_time is not None and span.start_time <= span.end_time
        if span.parent is not None:
            parent = parents[span.parent.span_id]
            assert parent.start_time is not None and parent.end_time is not None
            assert parent.start_time <= span.start_time and span.end_time <= parent.end_time
    failed = [span for span in made if span.name == "execute_tool shell" and not span.status.is_ok]
    assert len(failed) == 2 and all((span.attributes or {})["error.type"] == "tool_error" for span in failed)
    (agent,) = named(made, "invoke_agent assay")
    assert agent.status.status_code is StatusCode.ERROR and (agent.attributes or {})["error.type"] == "turns"


def test_no_text_of_model_tools_or_repository_goes_out() -> None:
    marked = "text-of-the-repository"
    told = {
        key: value
        for span in spans(logged(every_kind(marked)), "0.1.0")
        for holder in (span, *span.events)
        for key, value in (holder.attributes or {}).items()
        if marked in str(value)
    }
    # names and short words of the run's own, and why a request failed
    assert told.keys() == {
        "assay.run.id", "gen_ai.conversation.id", "gen_ai.request.model", "gen_ai.response.finish_reasons",
        "gen_ai.tool.name", "error.type", "reason",
    }  # fmt: skip


def test_text_that_the_wire_cannot_hold_is_replaced() -> None:
    request = encode_spans(spans(logged(every_kind("\x00\udcff\u202e")), "0.1.0"))
    assert "?" in str(request) and request.SerializeToString()


def test_a_run_that_is_sent_twice_is_the_same_trace() -> None:
    once, again = ([span.context for span in spans(long(3), "0.1.0")] for _ in range(2))
    assert [(one.trace_id, one.span_id) for one in once if one] == [
        (one.trace_id, one.span_id) for one in again if one
    ]


class Collector(BaseHTTPRequestHandler):
    """Takes OTLP over HTTP as a collector does, with what it got in `got`."""

    got: list[ExportTraceServiceRequest]
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
        self.got.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def collector() -> Iterator[tuple[str, type[Collector]]]:
    handler = type("One", (Collector,), {"got": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENT_HOME", str(tmp_path))
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "runs" / "run-1").mkdir(parents=True)
    shutil.copy(SESSIONS / "one_attempt.jsonl", tmp_path / "runs" / "run-1" / "events.jsonl")
    return tmp_path


def test_a_collector_gets_the_run(
    kept: Path,
    collector: tuple[str, type[Collector]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, handler = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    assert main(["export", "run-1", "--format", "otel"]) == 0
    (request,) = handler.got
    (resource,) = request.resource_spans
    names = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert names["service.name"] == "assay"
    got = [span.name for scope in resource.scope_spans for span in scope.spans]
    assert "invoke_workflow assay" in got and "chat claude-sonnet-5" in got
    assert capsys.readouterr().out == f"{len(got)} spans sent\n"


def test_without_the_extra_it_says_what_to_install(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    monkeypatch.delitem(sys.modules, "agent.report.otel")
    assert main(["export", "run-1", "--format", "otel"]) == 2
    assert "pip install 'assay[otel]'" in capsys.readouterr().err


def test_a_collector_that_refuses_or_is_not_named_is_said(
    kept: Path,
    collector: tuple[str, type[Collector]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url, handler = collector
    assert main(["export", "run-1", "--format", "otel"]) == 2
    assert "set OTEL_EXPORTER_OTLP_ENDPOINT" in capsys.readouterr().err
    handler.status = 400
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    assert main(["export", "run-1", "--format", "otel"]) == 3
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and f"{url}: the collector did not take the spans" in said.err
