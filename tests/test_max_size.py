"""A size limit for one upload, which ``on_create`` sets, applies to whatever its client declares or sends later."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_resumable import FlaskResumable
from flask_resumable import Upload
from flask_resumable.core.upload import MAX_LENGTH
from tests.conformance.tus_client import Body
from tests.conformance.tus_client import DEFERRED
from tests.conformance.tus_client import final
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import OCTETS
from tests.conformance.tus_client import PARTIAL
from tests.conformance.tus_client import refused
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample
from tests.ietf.client import Ietf

Limit = Callable[[Upload], Any]


class Uploads(FlaskResumable):
    """Sets the limit that the test wants."""

    limit: Limit = staticmethod(lambda upload: 10)

    def on_create(self, upload: Upload) -> None:
        upload.max_size = self.limit(upload)


@pytest.fixture
def uploads(app: Flask) -> Uploads:
    """The extension, by default with a limit of ten bytes."""
    return Uploads(app)


@pytest.fixture
def tus(app: Flask, uploads: Uploads) -> Tus:
    """A client of tus."""
    return Tus(app.test_client())


def left(app: Flask) -> list[str]:
    """The ids of all uploads, and the files that there are."""
    state = app.extensions["resumable"]
    folder = Path(app.instance_path) / "uploads"
    files = [str(path) for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
    return [upload.id for upload in state.repository.list(limit=10)] + files


@pytest.mark.parametrize("more", [{}, {"Content-Type": OCTETS}], ids=["alone", "with content"])
def test_too_long_a_creation_leaves_nothing(app: Flask, tus: Tus, more: dict[str, str]) -> None:
    """A length above the limit is refused with a 413, and there is no record and no file of it."""
    refused(tus.create(11, more, body=b"12345" if more else b""), 413)
    assert left(app) == []
    tus.upload(b"0123456789")


def test_too_long_content_of_a_creation_leaves_nothing(app: Flask, tus: Tus) -> None:
    """If the length is deferred, the size of the content that comes along counts."""
    refused(tus.create(None, {**DEFERRED, "Content-Type": OCTETS}, body=b"12345678901"), 413)
    assert left(app) == []


def test_a_deferred_length_is_limited(tus: Tus) -> None:
    """A length that is declared later must not exceed the limit. The upload goes on with one that does not."""
    url = tus.new(None, DEFERRED)
    assert tus.patch(url, 0, b"1234").status_code == 204
    refused(tus.patch(url, 4, b"5", {"Upload-Length": "11"}), 413)
    assert tus.offset(url) == 4
    assert tus.patch(url, 4, b"567890", {"Upload-Length": "10"}).status_code == 204
    assert tus.head(url).headers["Upload-Length"] == "10"


def test_bytes_without_a_length_are_counted(tus: Tus) -> None:
    """A body beyond the limit is refused, whether or not its size is announced. What fits is kept."""
    url = tus.new(None, DEFERRED)
    refused(tus.patch(url, 0, b"12345678901"), 413)
    assert tus.offset(url) == 0
    refused(tus.patch(url, 0, Body(b"1234567890", b"1"), chunked=True), 413)
    assert tus.offset(url) == 10


def test_tus_clients_are_told(tus: Tus) -> None:
    """The responses to POST and HEAD have the limit of the upload."""
    url = tus.new(5)
    assert tus.head(url).headers["Tus-Max-Size"] == "10"
    assert tus.create(5).headers["Tus-Max-Size"] == "10"


def test_the_limit_of_all_uploads_stays(app: Flask) -> None:
    """``on_create`` can lower the limit of the setting, but not raise it; and it can leave it alone."""
    app.config["RESUMABLE_MAX_SIZE"] = 20
    limits: dict[str, int | None] = {"": None, "low": 5, "high": 30}
    uploads = Uploads(app)
    uploads.limit = lambda upload: limits[upload.metadata.get("plan", "")]
    tus = Tus(app.test_client())
    for plan, most in (("", 20), ("low", 5), ("high", 20)):
        plans = {"Upload-Metadata": metadata(plan=plan)} if plan else {}
        refused(tus.create(most + 1, plans), 413)
        response = tus.create(most, plans)
        assert (response.status_code, response.headers.get("Tus-Max-Size")) == (201, str(most) if plan else None)
        url = tus.new(None, {**DEFERRED, **plans})
        refused(tus.patch(url, 0, b"", {"Upload-Length": str(most + 1)}), 413)


def test_concatenation_counts(app: Flask, uploads: Uploads, tus: Tus) -> None:
    """The limit applies to each part, and to the sum of all parts of a final upload."""
    parts = [tus.part(b"123456"), tus.part(b"123456")]
    refused(tus.create(11, PARTIAL), 413)
    before = len(left(app))
    refused(tus.create(headers=final(*parts)), 413)
    assert len(left(app)) == before
    uploads.limit = lambda upload: 12
    assert tus.create(headers=final(*parts)).status_code == 201


@pytest.mark.parametrize("of_all", [True, False], ids=["setting", "own"])
def test_parts_that_grow_too_long_count(app: Flask, of_all: bool) -> None:
    """If the lengths of parts are not known before, a final upload that becomes too long is removed."""
    uploads = Uploads(app) if not of_all else None
    if uploads is None:
        app.config["RESUMABLE_MAX_SIZE"] = 10
        FlaskResumable(app)
    tus = Tus(app.test_client())
    parts = [tus.new(None, {**PARTIAL, **DEFERRED}) for _ in range(2)]
    whole = tus.new(headers=final(*parts))
    assert tus.patch(parts[0], 0, b"123456", {"Upload-Length": "6"}).status_code == 204
    assert tus.head(whole).status_code == 200
    assert tus.patch(parts[1], 0, b"123456", {"Upload-Length": "6"}).status_code == 204
    assert tus.head(whole).status_code == 404
    found = [upload for upload in app.extensions["resumable"].repository.list(limit=10) if upload.is_final]
    assert found == []


def test_flow_files_are_limited(app: Flask, uploads: Uploads) -> None:
    """The first chunk of a file that is too large is refused, and nothing is kept. Others are told the limit."""
    flow = Flow(app.test_client())
    answer = flow.post(Sample(b"x" * 40), 1)
    assert answer.status_code == 413
    assert "10 bytes" in json.loads(answer.text)["error"]
    assert left(app) == []
    uploads.limit = lambda upload: 40
    assert flow.post(Sample(b"x" * 40), 1).get_json()["maxSize"] == 40


def test_clients_of_the_draft_are_limited(app: Flask, uploads: Uploads) -> None:
    """Upload-Limit has the limit of the upload, and so does the refusal of content that exceeds it."""
    ietf = Ietf(app.test_client())
    response = ietf.create(complete=False)
    assert "max-size=10" in response.headers["Upload-Limit"]
    url = ietf.url_of(response)
    assert "max-size=10" in ietf.head(url).headers["Upload-Limit"]
    appended = ietf.append(url, 0, b"12345678901")
    assert (appended.status_code, ietf.offset(url)) == (413, 0)
    assert "max-size=10" in appended.headers["Upload-Limit"]
    assert ietf.create(b"12345678901", complete=True).status_code == 413
    assert ietf.create(length=11).status_code == 413
    assert ietf.append(url, 0, b"1234567890", complete=True).status_code == 200
    assert "max-size" not in ietf.request("OPTIONS").headers["Upload-Limit"]


@pytest.mark.parametrize("value", [-1, 1.5, "10", True, MAX_LENGTH + 1])
def test_a_wrong_limit_is_a_bug_of_the_app(app: Flask, uploads: Uploads, tus: Tus, value: object) -> None:
    """The error names the attribute, and no upload is created."""
    uploads.limit = lambda upload: value
    with pytest.raises(ValueError, match=re.escape(f"upload.max_size = {value!r}: must be an integer")):
        tus.create(5)
    assert left(app) == []


def test_an_older_embedded_database_is_extended(app: Flask) -> None:
    """A file that an earlier version has made gets the columns that it lacks, and keeps its uploads."""
    file = Path(app.instance_path) / "resumable.sqlite"
    first = Flask("first", instance_path=app.instance_path)
    FlaskResumable(first)
    url = Tus(first.test_client()).new(5)
    first.extensions["resumable"].repository.dispose()
    with sqlite3.connect(file) as connection:
        connection.execute("ALTER TABLE resumable_uploads DROP COLUMN max_size")
    Uploads(app)
    tus = Tus(app.test_client())
    assert tus.patch(url, 0, b"12345").status_code == 204
    refused(tus.create(11), 413)
