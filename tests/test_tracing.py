"""OpenTelemetry spans, as the SDK gets them."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from flask_resumable import FlaskResumable
from flask_resumable import Upload
from flask_resumable import UploadRejected
from flask_resumable.observing.storage import ObservedStorage
from flask_resumable.storage.multipart import MultipartStorage
from tests.memory_store import MemoryStore

TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


class Uploads(FlaskResumable):
    """An app that refuses files of 13 bytes."""

    def on_complete(self, upload: Upload) -> None:
        if upload.length == 13:
            raise UploadRejected(422, "no")


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What the SDK exports. The provider of a process can be set once only, so it is replaced for the test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def _app(tmp_path: Path, **arguments: Any) -> Flask:
    app = Flask("app", instance_path=str(tmp_path))
    app.config["RESUMABLE_TRACING"] = True
    Uploads(app, **arguments)
    return app


def _send(app: Flask, content: bytes) -> int:
    headers = {**TUS, "Upload-Length": str(len(content))}
    return app.test_client().post("/files/", headers=headers, data=content).status_code


def _by_name(exported: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exported.get_finished_spans()}


def test_a_request_in_spans(tmp_path: Path, exported: InMemorySpanExporter) -> None:
    """Content, sync, publication and hook, within the span of the request, with what they are about."""
    app = _app(tmp_path)
    with trace.get_tracer("test").start_as_current_span("request") as request:
        assert _send(app, b"abc") == 201
    spans = _by_name(exported)
    names = ["resumable.receive content", "resumable.storage sync", "resumable.storage publish"]
    assert {*names, "resumable.hook on_complete"} <= spans.keys()
    assert {span.context.trace_id for span in spans.values()} == {request.get_span_context().trace_id}
    assert spans["resumable.storage sync"].parent == spans["resumable.receive content"].context
    facts = dict(spans["resumable.receive content"].attributes or {})
    upload_id = facts.pop("resumable.upload.id")
    assert facts == {
        "resumable.upload.protocol": "tus",
        "resumable.upload.offset": 0,
        "resumable.upload.length": 3,
        "resumable.request.offset": 0,
        "resumable.request.size": 3,
    }
    assert (spans["resumable.hook on_complete"].attributes or {})["resumable.upload.id"] == upload_id


def test_chunks_in_spans(tmp_path: Path, exported: InMemorySpanExporter) -> None:
    """A chunk says where it belongs and how large it is."""
    size = 70_000
    query = {"flowIdentifier": "a", "flowFilename": "a", "flowTotalSize": 2 * size, "flowChunkSize": size}
    form = {**query, "flowTotalChunks": 2, "flowChunkNumber": 2, "file": (BytesIO(b"x" * size), "blob")}
    assert _app(tmp_path).test_client().post("/flow/", data=form).status_code == 200
    span = _by_name(exported)["resumable.receive chunk"]
    assert (span.attributes or {})["resumable.request.offset"] == size
    assert (span.attributes or {})["resumable.request.size"] == size
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_errors_are_recorded(tmp_path: Path, exported: InMemorySpanExporter) -> None:
    """The span of a hook that refuses has the exception."""
    assert _send(_app(tmp_path), b"x" * 13) == 422
    span = _by_name(exported)["resumable.hook on_complete"]
    assert not span.status.is_ok
    assert [event.name for event in span.events] == ["exception"]


def test_requests_to_a_store_are_spans(tmp_path: Path, exported: InMemorySpanExporter) -> None:
    """Each is within what caused it."""
    assert _send(_app(tmp_path, storage=MultipartStorage(MemoryStore())), b"abc") == 201
    spans = exported.get_finished_spans()
    stores = [span for span in spans if span.name.startswith("resumable.store ")]
    assert stores and all(span.parent is not None for span in stores)


def test_nothing_is_done_for_each_block(tmp_path: Path, exported: InMemorySpanExporter) -> None:
    """The writer's own method is called."""
    storage = _app(tmp_path).extensions["resumable"].storage
    assert isinstance(storage, ObservedStorage)
    from flask_resumable.testing.samples import an_upload

    with storage.writer(an_upload(), 0, 1) as writer:
        assert not hasattr(writer.write, "__self__") or type(writer.write.__self__).__name__ != "_ObservedWriter"


def test_without_an_sdk_nothing_is_kept(tmp_path: Path) -> None:
    """Uploads work, and nothing is recorded."""
    assert _send(_app(tmp_path), b"abc") == 201
