"""A run as OpenTelemetry spans by the GenAI semantic conventions (semantic-conventions-genai, status Development).

    invoke_workflow assay
    ├── assay.setup, assay.baseline
    ├── invoke_agent assay          one for each attempt, a conversation of its own
    │   ├── chat MODEL
    │   └── execute_tool TOOL
    └── assay.gate                  one for each judgement

No text of the repository, the model or the tools goes out: the conventions make content opt-in. Ids follow from the
run's, so that a run which is sent twice is the same trace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from agent.event_log import Logged
from agent.events import AttemptEnded, AttemptStarted, ModelReplied, ModelRetried, ToolReturned
from agent.report.story import AttemptTold, Segment, Story, tell
from agent.types import Usage

NAME = "assay"
BATCH = 500
"""Spans of one request."""
PROVIDERS = {
    "anthropic": "anthropic",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "openai": "openai",
    "vertex": "gcp.vertex_ai",
}
"""`gen_ai.provider.name` by ours; the models of our own have none of the conventions'."""

Attributes = dict[str, Any]


def send(made: Sequence[ReadableSpan]) -> None:
    """Send spans to the collector that OpenTelemetry's own variables name. Raises OSError when it takes them not."""
    exporter = OTLPSpanExporter()
    try:
        for first in range(0, len(made), BATCH):
            if exporter.export(made[first : first + BATCH]) is not SpanExportResult.SUCCESS:
                raise OSError("the collector did not take the spans")
    finally:
        exporter.shutdown()  # type: ignore[no-untyped-call]


def spans(log: Logged, version: str) -> Sequence[ReadableSpan]:
    """All spans of a run, each parent after its children. Raises ValueError for a log without a run's start."""
    story = tell(log)
    memory = InMemorySpanExporter()
    provider = TracerProvider(
        ALWAYS_ON,  # whoever exports one run wants all of it, whatever the environment says of sampling
        resource=Resource.create({"service.name": NAME, "service.version": version}),
        id_generator=_Ids(story.run_id),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(SimpleSpanProcessor(memory))
    _Spans(story, log, provider.get_tracer("assay", version), version).make()
    return memory.get_finished_spans()


class _Ids(IdGenerator):
    """Ids that follow from a run's id."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._count = 0

    def generate_trace_id(self) -> int:
        return self._made("trace", 16)

    def generate_span_id(self) -> int:
        self._count += 1
        return self._made(f"span {self._count}", 8)

    def _made(self, what: str, size: int) -> int:
        return int.from_bytes(hashlib.sha256(_whole(f"{self._run_id} {what}").encode()).digest()[:size])


class _Spans:
    def __init__(self, story: Story, log: Logged, tracer: Tracer, version: str) -> None:
        self._story, self._log, self._tracer, self._version = story, log, tracer, version
        self._began = _nanoseconds(log[0][0])

    def make(self) -> None:
        story = self._story
        attributes: Attributes = {
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": NAME,
            "assay.run.id": story.run_id,
            "assay.run.status": story.status,
            "vcs.ref.base.revision": story.start.base,
        }
        if story.cost_usd is not None:
            attributes["assay.cost_usd"] = story.cost_usd
        failed = None if story.status == "accepted" else story.status
        root = self._start(f"invoke_workflow {NAME}", 0.0, attributes, None)
        for segment in story.segments:
            self._span(f"assay.{segment.kind}", segment, {}, root)
        for attempt in story.attempts:
            self._attempt(attempt, root)
            for segment in (one for one in attempt.segments if one.kind == "gate"):
                judged: Attributes = {"assay.attempt": attempt.number, "assay.verdict": attempt.word}
                self._span("assay.gate", segment, judged, root)
        self._end(root, story.seconds, failed)

    def _attempt(self, attempt: AttemptTold, root: Span) -> None:
        mine = [(d, e) for d, e in self._log if getattr(e, "attempt", None) == attempt.number]
        start = next(e for _, e in mine if isinstance(e, AttemptStarted))
        end = next((e for _, e in mine if isinstance(e, AttemptEnded)), None)
        provider, _, name = start.model.partition("/")
        model = (name or provider).removesuffix(f":{start.thinking}")
        shared: Attributes = {
            "gen_ai.provider.name": PROVIDERS.get(provider, NAME),
            "gen_ai.request.model": model,
            "gen_ai.conversation.id": f"{self._story.run_id}-attempt-{attempt.number}",
        }
        about: Attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": NAME,
            "gen_ai.agent.version": self._version,
            "assay.attempt": attempt.number,
            **shared,
            **_usage(Usage(**attempt.told["usage"])),
        }
        span = self._start(f"invoke_agent {NAME}", self._since(mine[0][0]), about, root)
        for data, event in mine:
            match event:
                case ModelReplied():
                    self._chat(data, event, model, shared, span)
                case ToolReturned():
                    self._tool(data, event, span)
                case ModelRetried():
                    span.add_event(
                        "assay.model_retried", {"reason": _whole(event.reason)}, self._time(self._since(data))
                    )
                case _:
                    pass
        last = next((d for d, e in mine if isinstance(e, AttemptEnded)), mine[-1][0])
        how = end.how if end else "interrupted"
        self._end(span, self._since(last), None if how == "submitted" else how)

    def _chat(
        self, data: Mapping[str, Any], event: ModelReplied, model: str, shared: Attributes, parent: Span
    ) -> None:
        about: Attributes = {
            "gen_ai.operation.name": "chat",
            **shared,
            "gen_ai.response.finish_reasons": [_whole(event.stop)],
            **_usage(event.usage),
            "assay.turn": event.turn,
        }
        if event.cost_usd is not None:
            about["assay.cost_usd"] = float(event.cost_usd)
        end = self._since(data)
        segment = Segment("model", max(0.0, end - event.seconds), end, "")
        self._span(f"chat {model}", segment, about, parent, SpanKind.CLIENT)

    def _tool(self, data: Mapping[str, Any], event: ToolReturned, parent: Span) -> None:
        about: Attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": event.name,
            "gen_ai.tool.call.id": event.call_id,
            "gen_ai.tool.type": "function",
            "assay.turn": event.turn,
        }
        end = self._since(data)
        segment = Segment("tool", max(0.0, end - event.seconds), end, "")
        failed = "tool_error" if event.is_error else None
        self._span(f"execute_tool {event.name}", segment, about, parent, failed=failed)

    def _span(
        self,
        name: str,
        segment: Segment,
        about: Attributes,
        parent: Span,
        kind: SpanKind = SpanKind.INTERNAL,
        failed: str | None = None,
    ) -> None:
        self._end(self._start(name, segment.start, about, parent, kind), segment.end, failed)

    def _start(
        self,
        name: str,
        seconds: float,
        about: Attributes,
        parent: Span | None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Span:
        context = set_span_in_context(parent) if parent is not None else None
        attributes = {key: _whole(value) if isinstance(value, str) else value for key, value in about.items()}
        return self._tracer.start_span(
            _whole(name), context, kind, attributes, start_time=self._time(seconds)
        )

    def _end(self, span: Span, seconds: float, failed: str | None) -> None:
        """`failed` is a short word for what went wrong, the convention's `error.type`."""
        if failed:
            span.set_attribute("error.type", _whole(failed))
            span.set_status(Status(StatusCode.ERROR, _whole(failed)))
        span.end(self._time(seconds))

    def _since(self, data: Mapping[str, Any]) -> float:
        return max(0.0, (_nanoseconds(data) - self._began) / 1e9)

    def _time(self, seconds: float) -> int:
        return self._began + round(seconds * 1e9)


def _whole(text: str) -> str:
    """Without lone surrogates, which the wire format cannot hold."""
    return text.encode("utf-8", "replace").decode()


def _nanoseconds(data: Mapping[str, Any]) -> int:
    return round(datetime.fromisoformat(data["at"]).timestamp() * 1000) * 1_000_000


def _usage(usage: Usage) -> Attributes:
    """Tokens; the convention counts cached ones among the input."""
    told = {
        "gen_ai.usage.input_tokens": usage.input + usage.cache_read + usage.cache_write,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write,
    }
    return {name: count for name, count in told.items() if count}
