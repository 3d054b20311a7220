"""The order in which docs/hooks.md says that hooks are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from flask_resumable import FlaskResumable

CHOICES = ["choose_id", "choose_storage", "choose_folder", "choose_object_parameters"]
SAVING = ["pre_save", "post_save"]
NAMES = [*CHOICES, *SAVING, "current_owner", "on_create", "on_complete", "post_complete", "pre_delete", "post_delete"]
TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = {**TUS, "Content-Type": "application/offset+octet-stream"}
FLOW = {"flowIdentifier": "a", "flowTotalSize": "10", "flowTotalChunks": "2", "flowChunkSize": "5"}


def _noting(name: str, calls: list[str]) -> Any:
    def hook(self: object, *_: object) -> None:
        calls.append(name)

    return hook


@pytest.fixture
def calls() -> list[str]:
    """The hooks that have been called."""
    return []


@pytest.fixture
def client(calls: list[str], tmp_path: Path) -> FlaskClient:
    """Of an app that notes each call."""
    app = Flask("app", instance_path=str(tmp_path))
    kind = type("Noting", (FlaskResumable,), {name: _noting(name, calls) for name in [*NAMES, "on_progress"]})
    kind(app)
    return app.test_client()


def _taken(calls: list[str]) -> list[str]:
    first, *others = calls
    calls.clear()
    assert first == "current_owner"
    return others


def test_an_upload_with_tus(client: FlaskClient, calls: list[str]) -> None:
    """Creation, first and last content, a look, and the removal."""
    path = "/files/" + client.post("/files/", headers={**TUS, "Upload-Length": "10"}).headers["Location"]
    assert _taken(calls) == [*CHOICES, "on_create"]
    client.patch(path, headers={**OCTETS, "Upload-Offset": "0"}, data=b"01234")
    assert _taken(calls) == ["pre_save", "on_progress", "post_save"]
    client.patch(path, headers={**OCTETS, "Upload-Offset": "5"}, data=b"56789")
    assert _taken(calls) == [*SAVING, "on_complete", "post_complete"]
    client.head(path, headers=TUS)
    assert _taken(calls) == []
    client.delete(path, headers=TUS)
    assert _taken(calls) == ["pre_delete", "post_delete"]


@pytest.mark.parametrize("headers", [{**OCTETS, "Upload-Length": "5"}, {"Upload-Complete": "?1"}], ids=["tus", "draft"])
def test_a_whole_file_in_one_request(client: FlaskClient, calls: list[str], headers: dict[str, str]) -> None:
    """All of them one after the other."""
    assert client.post("/files/", headers=headers, data=b"hello").status_code == 201
    assert _taken(calls) == [*CHOICES, "on_create", *SAVING, "on_complete", "post_complete"]


def test_chunks_of_flow(client: FlaskClient, calls: list[str]) -> None:
    """A chunk is received before it is saved."""
    client.get("/flow/", query_string={**FLOW, "flowChunkNumber": "1"})
    assert _taken(calls) == []
    client.post("/flow/", query_string={**FLOW, "flowChunkNumber": "1"}, data=b"hello")
    assert _taken(calls) == [*CHOICES, "on_create", "on_progress", *SAVING]
    client.post("/flow/", query_string={**FLOW, "flowChunkNumber": "2"}, data=b"hello")
    assert _taken(calls) == [*SAVING, "on_complete", "post_complete"]
