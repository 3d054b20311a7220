"""What an owner may have in unfinished uploads: as many, and as many bytes, in every protocol."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from typing import Any

import pytest
from flask import Flask
from flask import request
from werkzeug.test import TestResponse

from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from flask_resumable import Quota
from flask_resumable import Upload
from flask_resumable import UploadRejected
from tests.conformance.tus_client import DEFERRED
from tests.conformance.tus_client import final
from tests.conformance.tus_client import OCTETS
from tests.conformance.tus_client import PARTIAL
from tests.conformance.tus_client import refused
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample
from tests.ietf.client import Ietf

ONE = {"Idempotency-Key": "one"}


class Uploads(FlaskResumable):
    """Knows users by a header."""

    def __init__(self, app: Flask) -> None:
        self.time = datetime(2026, 1, 2, tzinfo=UTC)
        self.limit: int | None = None
        self.refuses = False
        super().__init__(app, now=lambda: self.time)

    def current_owner(self) -> str | None:
        return request.headers.get("X-User")

    def on_create(self, upload: Upload) -> None:
        if self.limit is not None:
            upload.max_size = self.limit

    def on_complete(self, upload: Upload) -> None:
        if self.refuses:
            raise UploadRejected(422, "No.")


Start = Callable[..., Uploads]


@pytest.fixture
def start(app: Flask) -> Start:
    """Start the app: ``start(MAX_ACTIVE_UPLOADS=2)``."""

    def begin(**settings: Any) -> Uploads:
        app.config.update({f"RESUMABLE_{name}": value for name, value in settings.items()})
        return Uploads(app)

    return begin


@pytest.fixture
def tus(app: Flask) -> Tus:
    """Alice's client."""
    return Tus(app.test_client(), headers={"X-User": "alice"})


def told_to_wait(response: TestResponse) -> None:
    """It is a 429 that says when to try again."""
    assert (response.status_code, response.headers["Retry-After"]) == (429, "30"), response.text


def reserved(app: Flask) -> list[int | None]:
    """What all records reserve."""
    return [upload.reserved for upload in app.extensions["resumable"].repository.list(limit=99)]


def test_without_quotas_nothing_is_counted(app: Flask, start: Start, tus: Tus) -> None:
    """The record has nothing of it."""
    start()
    tus.new(5)
    assert reserved(app) == [None]


@pytest.mark.parametrize("end", ["complete", "delete", "expire", "refuse"])
def test_unfinished_uploads_are_limited(start: Start, tus: Tus, end: str) -> None:
    """One too many is refused with a 429 and the reason, until another one has ended. Others are not concerned."""
    uploads = start(MAX_ACTIVE_UPLOADS=2)
    url = tus.new(5)
    tus.new(5)
    response = tus.create(5)
    told_to_wait(response)
    refused(response, 429)
    assert "2 unfinished uploads" in response.text
    for user in ("bob", None):
        tus.with_headers(X_User=user).new(5)
    if end == "complete":
        assert tus.patch(url, 0, b"12345").status_code == 204
    elif end == "delete":
        assert tus.delete(url).status_code == 204
    elif end == "expire":
        uploads.time += timedelta(days=1)
    else:
        uploads.refuses = True
        assert tus.patch(url, 0, b"12345").status_code == 422
    tus.new(5)


def test_uploads_without_owner_have_no_quota(start: Start, tus: Tus) -> None:
    """All of them would share it."""
    start(MAX_ACTIVE_UPLOADS=1, MAX_RESERVED_BYTES=1)
    nobody = tus.with_headers(X_User=None)
    for _ in range(3):
        nobody.new(5)


def test_reserved_bytes_are_limited(app: Flask, start: Start, tus: Tus) -> None:
    """A declared length counts in full from the start. What never fits is a 413, and what fits later is a 429."""
    start(MAX_RESERVED_BYTES=10)
    refused(tus.create(11), 413)
    tus.new(6)
    told_to_wait(tus.create(5))
    url = tus.new(4)
    told_to_wait(tus.create(1))
    tus.new(0)
    assert tus.patch(url, 0, b"1234").status_code == 204
    tus.new(4)


def test_an_unknown_length(app: Flask, start: Start, tus: Tus) -> None:
    """It reserves all that is left, or the maximum size if that is less, and gives back what the length leaves."""
    uploads = start(MAX_RESERVED_BYTES=10)
    tus.new(3)
    url = tus.new(None, DEFERRED)
    assert tus.head(url).headers["Tus-Max-Size"] == "7"
    told_to_wait(tus.create(1))
    refused(tus.patch(url, 0, b"12345678"), 413)
    refused(tus.patch(url, 0, b"", {"Upload-Length": "8"}), 413)
    assert tus.patch(url, 0, b"12", {"Upload-Length": "4"}).status_code == 204
    uploads.limit = 2
    limited = tus.new(None, DEFERRED)
    assert sorted(size or 0 for size in reserved(app)) == [2, 3, 4]
    assert tus.patch(limited, 0, b"12", {"Upload-Length": "2"}).status_code == 204
    uploads.limit = None
    told_to_wait(tus.create(4))
    tus.new(3)


def test_the_limit_of_all_uploads_is_what_an_unknown_length_reserves(app: Flask, start: Start, tus: Tus) -> None:
    """``MAX_SIZE`` limits what an upload of unknown length reserves."""
    start(MAX_RESERVED_BYTES=10, MAX_SIZE=4)
    tus.new(None, DEFERRED)
    assert reserved(app) == [4]
    refused(tus.create(None, {**DEFERRED, "Content-Type": OCTETS}, body=b"12345"), 413)


def test_repeated_creations_count_once(start: Start, tus: Tus) -> None:
    """A repetition finds its upload, even if there is no room for another one."""
    start(MAX_ACTIVE_UPLOADS=1)
    first = tus.create(5, ONE)
    assert tus.create(5, ONE).headers["Location"] == first.headers["Location"]
    told_to_wait(tus.create(5, {"Idempotency-Key": "two"}))


def test_parts_count(app: Flask, start: Start, tus: Tus) -> None:
    """Each part is an upload, and its bytes count until a final upload has them."""
    start(MAX_ACTIVE_UPLOADS=2, MAX_RESERVED_BYTES=10)
    parts = [tus.new(4, PARTIAL) for _ in range(2)]
    told_to_wait(tus.create(1, PARTIAL))
    for url in parts:
        assert tus.patch(url, 0, b"1234").status_code == 204
    told_to_wait(tus.create(3))
    whole = tus.new(headers=final(*parts))
    assert tus.head(whole).headers["Upload-Length"] == "8"
    assert [size for size in reserved(app) if size is not None] == []
    tus.new(10)


def test_flow_files_count(app: Flask, start: Start) -> None:
    """A file counts once, however many chunks come at the same time. resumable.js would retry a 429 at once."""
    start(MAX_ACTIVE_UPLOADS=1)
    flow = Flow(app.test_client(), headers={"X-User": "alice"})
    first, second = Sample(b"x" * 40), Sample(b"y" * 40, name="second.csv")
    for number in (1, 2):
        assert flow.post(first, number).status_code == 200
    answer = flow.post(second, 1)
    told_to_wait(answer)
    assert "unfinished" in answer.get_json()["error"]
    resumable = Flow(app.test_client(), "resumable", headers={"X-User": "alice"})
    assert resumable.post(second, 1).status_code == 400
    for number in (3, 4):
        assert flow.post(first, number).status_code == 200
    assert flow.post(second, 1).status_code == 200


def test_uploads_of_the_draft_count(app: Flask, start: Start) -> None:
    """A creation that does not fit is refused with problem details."""
    start(MAX_RESERVED_BYTES=10)
    ietf = Ietf(app.test_client(), headers={"X-User": "alice"})
    response = ietf.create(b"123")
    assert "max-size=10" in response.headers["Upload-Limit"]
    answer = ietf.create(length=5)
    told_to_wait(answer)
    assert answer.get_json()["status"] == 429
    assert ietf.append(ietf.url_of(response), 3, b"45", complete=True).status_code == 200
    assert ietf.create(length=10).status_code == 201


def test_signed_uploads_count_for_their_owner(app: Flask, start: Start, tus: Tus) -> None:
    """A token has the quota of the owner that it names."""
    app.config["SECRET_KEY"] = "secret"
    uploads = start(MAX_ACTIVE_UPLOADS=1)
    with app.app_context():
        token = uploads.sign(owner="alice")
    tus.new(5)
    told_to_wait(tus.with_headers(X_User=None, Upload_Token=token).create(5))


def test_the_app_decides_by_owner(app: Flask) -> None:
    """``quota`` returns what one owner may have, or ``None`` to apply the settings."""

    class Plans(FlaskResumable):
        def current_owner(self) -> str | None:
            return request.headers.get("X-User")

        def quota(self, owner: str) -> Quota | None:
            return {"alice": Quota(uploads=2), "eve": Quota(bytes=-5)}.get(owner)

    app.config["RESUMABLE_MAX_ACTIVE_UPLOADS"] = 1
    Plans(app)
    for user, most in (("alice", 2), ("bob", 1)):
        tus = Tus(app.test_client(), headers={"X-User": user})
        for _ in range(most):
            tus.new(5)
        told_to_wait(tus.create(5))
    refused(Tus(app.test_client(), headers={"X-User": "eve"}).create(5), 413)


def test_a_quota_of_the_wrong_type_is_a_bug(app: Flask) -> None:
    """The error names the method, and nothing is created."""

    class Wrong(FlaskResumable):
        def current_owner(self) -> str:
            return "alice"

        def quota(self, owner: str) -> Quota | None:
            return 5  # type: ignore[return-value]

    Wrong(app)
    with pytest.raises(TypeError, match=r"quota\(\) returned a value of type int"):
        Tus(app.test_client()).create(5)
    assert reserved(app) == []
    with pytest.raises(ValueError, match="uploads='3'"):
        Quota(uploads="3")  # type: ignore[arg-type]


def test_wrong_settings(app: Flask) -> None:
    """They stop the app, and the message names them."""
    app.config.update(RESUMABLE_MAX_ACTIVE_UPLOADS=-1, RESUMABLE_MAX_RESERVED_BYTES=-1)
    with pytest.raises(ConfigurationError, match=r"(?s)MAX_ACTIVE_UPLOADS.*MAX_RESERVED_BYTES"):
        FlaskResumable(app)
