"""OpenTelemetry spans, with ``pip install "Flask-Resumable[tracing]"``. docs/monitoring.md lists them.

Only the API is used: without an SDK in the app, spans cost little and go nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace

from ..core.upload import Upload
from ..interfaces.observer import Activity
from ..interfaces.observer import Kind
from ..interfaces.observer import Observer


class Tracing(Observer):
    """Makes a span of each activity, within the current one."""

    kinds = frozenset({Kind.RECEIVE, Kind.HOOK, Kind.STORAGE, Kind.STORE})

    def __init__(self) -> None:
        self._tracer = trace.get_tracer("flask_resumable")

    @contextmanager
    def doing(self, kind: Kind, operation: str, upload: Upload | None = None) -> Iterator[Activity]:
        with self._tracer.start_as_current_span(f"resumable.{kind.value} {operation}") as span:
            if upload is not None and span.is_recording():
                facts = {
                    "id": upload.id,
                    "protocol": upload.protocol,
                    "offset": upload.offset,
                    "length": upload.length,
                }
                for name, value in facts.items():
                    if value is not None:
                        span.set_attribute(f"resumable.upload.{name}", value)
            yield _Span(span)


class _Span(Activity):
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, name: str, value: str | int) -> None:
        self._span.set_attribute(f"resumable.{name}", value)
