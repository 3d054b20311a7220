"""Prometheus metrics: what they count, and that they cost nothing if they are off."""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask import Response
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from flask_resumable import Upload
from flask_resumable import UploadRejected
from flask_resumable.interfaces import Storage
from flask_resumable.metrics import metrics_page
from flask_resumable.observing.hooks import ObservedHooks
from flask_resumable.observing.storage import ObservedStorage
from flask_resumable.observing.timed import Timed
from flask_resumable.storage import LocalStorage
from flask_resumable.storage.multipart import MultipartStorage
from tests.memory_store import MemoryStore

TUS = {"Tus-Resumable": "1.0.0"}
PATCH = {**TUS, "Content-Type": "application/offset+octet-stream"}
Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Uploads(FlaskResumable):
    """An app that refuses some files, and whose hook fails for others."""

    def on_complete(self, upload: Upload) -> None:
        if upload.length == 13:
            raise UploadRejected(422, "no")
        if upload.length == 17:
            raise ZeroDivisionError


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of the test's own."""
    return CollectorRegistry()


@pytest.fixture
def app(tmp_path: Path, registry: CollectorRegistry) -> Flask:
    """An app with a page of metrics."""
    app = Flask("app", instance_path=str(tmp_path))
    app.config.update(RESUMABLE_METRICS=registry, RESUMABLE_METRICS_URL="/metrics")
    Uploads(app)
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Its client."""
    return app.test_client()


def _values(registry: CollectorRegistry) -> Callable[..., float]:
    def value(name: str, **labels: str) -> float:
        found = registry.get_sample_value(f"resumable_{name}", labels)
        return 0.0 if found is None else found

    return value


def _create(client: FlaskClient, length: int, content: bytes | None = None, **headers: str) -> Any:
    more = {"Content-Type": "application/offset+octet-stream"} if content is not None else {}
    return client.post("/files/", headers={**TUS, "Upload-Length": str(length), **more, **headers}, data=content)


def _id(response: Any) -> str:
    return str(response.headers["Location"].rpartition("/")[2])


def test_a_life_is_counted(client: FlaskClient, registry: CollectorRegistry) -> None:
    """Creation, bytes, completion and deletion, by protocol and storage; requests by method and status."""
    value = _values(registry)
    upload_id = _id(_create(client, 5))
    for offset, content in ((0, b"abc"), (3, b"de")):
        assert client.patch(f"/files/{upload_id}", headers={**PATCH, "Upload-Offset": str(offset)}, data=content)
    client.delete(f"/files/{upload_id}", headers=TUS)
    tus = {"protocol": "tus", "storage": "main"}
    assert value("uploads_created_total", **tus) == 1
    assert value("uploads_completed_total", **tus) == 1
    assert value("received_bytes_total", **tus) == 5
    assert value("uploads_receiving", **tus) == 0
    assert value("uploads_removed_total", **tus, reason="deleted") == 1
    assert value("requests_total", protocol="tus", method="POST", status="201") == 1
    assert value("requests_total", protocol="tus", method="PATCH", status="204") == 2
    assert value("hook_seconds_count", hook="on_complete") == 1
    assert value("storage_seconds_count", storage="main", operation="publish") == 1
    assert value("storage_seconds_count", storage="main", operation="sync") >= 2
    assert value("database_seconds_count", operation="add") == 1


@pytest.mark.parametrize("size", [3, 70_000])
def test_chunks_are_counted(client: FlaskClient, registry: CollectorRegistry, size: int) -> None:
    """Those that are received before they are placed, and those that are written to their place."""
    query = {"flowIdentifier": "a", "flowFilename": "a", "flowTotalSize": 2 * size, "flowChunkSize": size}
    for number in (2, 1, 1):
        form = {**query, "flowTotalChunks": 2, "flowChunkNumber": number, "file": (BytesIO(b"x" * size), "blob")}
        assert client.post("/flow/", data=form).status_code == 200
    value = _values(registry)
    flow = {"protocol": "flow", "storage": "main"}
    assert value("received_bytes_total", **flow) == 2 * size
    assert value("uploads_completed_total", **flow) == 1
    assert value("uploads_receiving", **flow) == 0


def test_failures_are_counted_by_kind(client: FlaskClient, registry: CollectorRegistry) -> None:
    """Hooks that refuse and that fail, and requests that are wrong, each by the name of the error."""
    value = _values(registry)
    assert _create(client, 13, b"x" * 13).status_code == 422
    client.application.config["PROPAGATE_EXCEPTIONS"] = False
    assert _create(client, 17, b"x" * 17).status_code == 500
    upload_id = _id(_create(client, 5))
    assert client.patch(f"/files/{upload_id}", headers={**PATCH, "Upload-Offset": "4"}, data=b"x").status_code == 409
    assert client.get("/files/nowhere", headers=TUS).status_code in (404, 405)
    assert client.open("/files/", method="BREW").status_code == 405
    assert value("hook_errors_total", hook="on_complete", error="refused") == 1
    assert value("hook_errors_total", hook="on_complete", error="failed") == 1
    assert value("uploads_removed_total", protocol="tus", storage="main", reason="refused") == 1
    for error in ("UploadRejected", "ZeroDivisionError", "OffsetMismatch"):
        assert value("errors_total", protocol="tus", error=error) == 1, error
    assert value("requests_total", protocol="tus", method="other", status="405") == 1


def test_labels_have_no_ids(client: FlaskClient, registry: CollectorRegistry) -> None:
    """The number of time series does not grow with the number of uploads."""

    def series() -> set[tuple[str, ...]]:
        for _ in range(3):
            _create(client, 3, b"abc", **{"Upload-Metadata": "filename YQ=="})
        found = {(sample.name, *sorted(sample.labels.values())) for sample in _samples(client)}
        return {sample for sample in found if not {"messages", "renew"} & {*sample}}  # by threads, now and then

    before = series()
    assert series() == before


def _samples(client: FlaskClient) -> list[Any]:
    page = client.get("/metrics")
    assert page.status_code == 200
    return [sample for family in text_string_to_metric_families(page.text) for sample in family.samples]


def test_the_page_is_what_prometheus_reads(client: FlaskClient) -> None:
    """It parses, and a counter has the value that the registry has."""
    _create(client, 3, b"abc")
    found = {(sample.name, sample.labels.get("protocol")): sample.value for sample in _samples(client)}
    assert found["resumable_uploads_completed_total", "tus"] == 1
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    assert client.get("/metrics", headers=accept).content_type.startswith("application/openmetrics-text")


def test_requests_to_a_store_are_counted(tmp_path: Path, registry: CollectorRegistry) -> None:
    """Each operation of an object store, and what fails."""
    app = Flask("app", instance_path=str(tmp_path))
    app.config["RESUMABLE_METRICS"] = registry
    storages: dict[str, Storage] = {"disk": LocalStorage(tmp_path / "disk"), "cloud": MultipartStorage(MemoryStore())}

    class Chosen(FlaskResumable):
        def choose_storage(self, upload: Upload) -> str:
            return "cloud"

    Chosen(app, storage=storages)
    _create(app.test_client(), 3, b"abc")
    value = _values(registry)
    assert value("uploads_completed_total", protocol="tus", storage="cloud") == 1
    assert value("object_store_seconds_count", operation="put_part") + value(
        "object_store_seconds_count", operation="put"
    )
    assert value("storage_seconds_count", storage="cloud", operation="publish") == 1


def test_the_cleaner_is_counted(app: Flask, client: FlaskClient, registry: CollectorRegistry) -> None:
    """When it has run, and what it removed."""
    _create(client, 3)
    app.test_cli_runner().invoke(args=["tus", "delete_expired"])
    value = _values(registry)
    assert value("cleanup_last_run_timestamp_seconds") > 1.7e9
    assert value("cleanup_seconds_total") > 0
    assert value("cleanup_orphans_total") == 0


def test_two_apps_share_a_registry(tmp_path: Path) -> None:
    """Both count, in the default registry, and each has its page. An app's own page shows them, too."""
    clients = []
    for number in (1, 2):
        app = Flask("app", instance_path=str(tmp_path / str(number)))
        app.config["RESUMABLE_METRICS"] = True
        FlaskResumable(app)
        app.add_url_rule("/own", "own", metrics_page)
        clients.append(app.test_client())
    before = _values(REGISTRY)("uploads_created_total", protocol="tus", storage="main")
    for client in clients:
        _create(client, 1)
        assert client.get("/metrics").status_code == 404
    assert "resumable_uploads_created_total" in clients[0].get("/own").text
    assert _values(REGISTRY)("uploads_created_total", protocol="tus", storage="main") == before + 2


def test_what_is_off_is_not_there(tmp_path: Path) -> None:
    """Without the setting, nothing is wrapped, and no page exists."""
    app = Flask("app", instance_path=str(tmp_path))
    FlaskResumable(app)
    service = app.extensions["resumable"].service
    assert type(service.storage) is LocalStorage
    assert not isinstance(service.repository, Timed)
    assert not isinstance(service._hooks, ObservedHooks)
    assert app.test_client().get("/metrics").status_code == 404


def test_what_is_on_is_wrapped_once(app: Flask) -> None:
    """The capabilities of the storage stay what they are."""
    storage = app.extensions["resumable"].storage
    assert isinstance(storage, ObservedStorage)
    can = LocalStorage(storage.path.__self__.root).capabilities  # type: ignore[attr-defined]
    for name in can.__slots__:
        assert (getattr(can, name) is None) is (getattr(storage.capabilities, name) is None), name


def test_the_views_own_guard_is_respected(tmp_path: Path, registry: CollectorRegistry) -> None:
    """An app can mount the page behind a login of its own."""
    app = Flask("app", instance_path=str(tmp_path))
    app.config["RESUMABLE_METRICS"] = registry
    FlaskResumable(app)

    @app.get("/internal")
    def internal() -> Response:
        return metrics_page(registry)

    _create(app.test_client(), 1)
    assert re.search(r"^resumable_uploads_created_total\{.*\} 1\.0$", app.test_client().get("/internal").text, re.M)


@pytest.mark.parametrize("is_file", [False, True])
def test_a_missing_folder_of_counters_is_named(
    tmp_path: Path, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, is_file: bool
) -> None:
    """The app does not start, and the error says which variable is wrong and what to do."""
    folder = tmp_path / "counters"
    if is_file:
        folder.touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
    app = Flask("app", instance_path=str(tmp_path))
    app.config["RESUMABLE_METRICS"] = registry
    with pytest.raises(ConfigurationError, match=rf"PROMETHEUS_MULTIPROC_DIR names '{folder}'.* create it before"):
        FlaskResumable(app)
