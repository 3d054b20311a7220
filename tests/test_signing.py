"""A signed token lets a client without a session create one upload, and work on it; in every protocol."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask import request

from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from flask_resumable import Upload
from flask_resumable import UploadRejected
from flask_resumable.core.upload import MAX_LENGTH
from tests.conformance.tus_client import DEFERRED
from tests.conformance.tus_client import final
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import PARTIAL
from tests.conformance.tus_client import refused
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Part
from tests.flow.client import Sample
from tests.ietf.client import Ietf

HOUR = timedelta(hours=1)
SAMPLE = Sample(b"x" * 40)


class Uploads(FlaskResumable):
    """Knows users by a header, and notes what is complete."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 2, tzinfo=UTC)
        self.completed: list[tuple[str | None, dict[str, str]]] = []
        self.refuses = False
        super().__init__(now=lambda: self.time)

    def current_owner(self) -> str | None:
        return request.headers.get("X-User")

    def on_create(self, upload: Upload) -> None:
        if self.refuses:
            raise UploadRejected(403, "Not now.")

    def on_complete(self, upload: Upload) -> None:
        self.completed.append((upload.owner, dict(upload.metadata)))


class Site:
    """An app, and clients of it."""

    def __init__(self, app: Flask) -> None:
        app.config["SECRET_KEY"] = "secret"
        self.app = app
        self.uploads = Uploads()
        self.uploads.init_app(app)

    def sign(self, **arguments: Any) -> str:
        """A token."""
        with self.app.app_context():
            return self.uploads.sign(**arguments)

    def tus(self, token: str | None = None, user: str | None = None) -> Tus:
        return Tus(self.app.test_client(), headers={"Upload-Token": token, "X-User": user})

    def flow(self, token: str | None = None, user: str | None = None) -> Flow:
        sent = {"Upload-Token": token, "X-User": user}
        return Flow(self.app.test_client(), headers={name: value for name, value in sent.items() if value})

    def ietf(self, token: str | None = None) -> Ietf:
        return Ietf(self.app.test_client(), headers={"Upload-Token": token})

    def records(self) -> list[Any]:
        """All records."""
        return [*self.app.extensions["resumable"].repository.list(limit=100)]


@pytest.fixture
def site(app: Flask) -> Site:
    """An app with downloads."""
    app.config["RESUMABLE_DOWNLOADS"] = True
    return Site(app)


# --- what a token allows ---


def test_tus(site: Site) -> None:
    """The token creates the upload, and is what HEAD, PATCH, GET and DELETE need. Its owner sees the upload as well."""
    token = site.sign(owner="alice", max_size=10, metadata={"album": "7", "filename": "a.txt"})
    tus, alice = site.tus(token), site.tus(user="alice")
    refused(tus.create(11), 413)
    url = tus.new(5, {"Upload-Metadata": metadata(filename="evil", note="hi")})
    assert tus.head(url).headers["Tus-Max-Size"] == "10"
    assert tus.patch(url, 0, b"123").status_code == 204
    refused(site.tus().head(url), 404)
    refused(site.tus(user="bob").head(url), 404)
    assert alice.offset(url) == 3
    assert tus.patch(url, 3, b"45").status_code == 204
    assert site.uploads.completed == [("alice", {"note": "hi", "album": "7", "filename": "a.txt"})]
    assert tus.get(url).data == alice.get(url).data == b"12345"
    assert tus.delete(url).status_code == 204


def test_the_draft(site: Site) -> None:
    """The same for clients of the IETF draft."""
    ietf = site.ietf(site.sign(owner="alice", max_size=10))
    assert ietf.create(b"12345678901", complete=True).status_code == 413
    response = ietf.create(b"123")
    assert "max-size=10" in response.headers["Upload-Limit"]
    url = ietf.url_of(response)
    assert site.ietf().head(url).status_code == 404
    assert ietf.offset(url) == 3
    assert ietf.append(url, 3, b"45", complete=True).status_code == 200
    assert [owner for owner, _ in site.uploads.completed] == ["alice"]
    assert ietf.delete(url).status_code == 204


@pytest.mark.parametrize("place", ["header", "query", "form", "form, file first"])
def test_flow(site: Site, place: str) -> None:
    """The same for flow.js, which can send the token anywhere. It is not part of the metadata."""
    token = site.sign(owner="alice", max_size=40, metadata={"album": "7"})
    flow = site.flow(token if place == "header" else None)
    fields = {"upload_token": token} if place != "header" else {}
    for number in SAMPLE.numbers:
        known = {**flow.spelled(SAMPLE, number), **fields}
        assert flow.open("GET", known).status_code == 204
        if place == "query":
            answer = flow.form(flow.parts(SAMPLE, number), query=fields)
        else:
            *named, file = flow.parts(SAMPLE, number)
            named += [Part(name, value.encode()) for name, value in fields.items()]
            answer = flow.form([file, *named] if place == "form, file first" else [*named, file])
        assert answer.status_code == 200, answer.text
    [(owner, found)] = site.uploads.completed
    assert (owner, found["album"], found["filename"]) == ("alice", "7", "report.csv")
    assert "upload_token" not in found
    upload_id = answer.get_json()["id"]
    assert flow.open("GET", fields, path=upload_id).status_code == 200
    assert flow.open("GET", path=upload_id).status_code == (200 if place == "header" else 404)
    assert site.flow(user="alice").open("GET", path=upload_id).status_code == 200


def test_a_listed_parameter_is_not_the_token(app: Flask) -> None:
    """Even if the app lists the parameters that it wants to keep, and names the token's, it is not kept."""
    app.config["FLOW_METADATA_PARAMETERS"] = ["upload_token", "album"]
    site = Site(app)
    token = site.sign()
    for number in SAMPLE.numbers:
        query = {**site.flow().spelled(SAMPLE, number), "upload_token": token, "album": "7"}
        assert site.flow().open("POST", query, data=SAMPLE.piece(number)).status_code == 200
    [(_, found)] = site.uploads.completed
    assert found["album"] == "7" and token not in found.values()


def test_the_query_carries_a_token(site: Site) -> None:
    """A client that cannot set headers has the token in the URL, and gets a URL that has it, too."""
    token = site.sign(owner="alice")
    response = site.tus().request("POST", f"?upload_token={token}", headers={"Upload-Length": "5"})
    assert response.headers["Location"].endswith(f"?upload_token={token}")
    url = f"http://localhost/files/{response.headers['Location']}"
    assert site.tus().patch(url, 0, b"12345").status_code == 204
    assert site.tus().get(url).data == b"12345"
    refused(site.tus().get(url.partition("?")[0]), 404)
    assert "?" not in site.tus(site.sign()).create(5).headers["Location"]


def test_an_exact_length(site: Site) -> None:
    """A client must declare the length that the token has."""
    tus = site.tus(site.sign(length=5))
    for response in (tus.create(4), tus.create(6), tus.create(None, DEFERRED)):
        refused(response, 403)
        assert "for an upload of 5 bytes" in response.text
    tus.upload(b"12345")


def test_the_setting_applies_as_well(app: Flask) -> None:
    """A token cannot raise the limit of all uploads."""
    app.config["RESUMABLE_MAX_SIZE"] = 5
    site = Site(app)
    refused(site.tus(site.sign(max_size=10)).create(6), 413)


# --- one upload ---


def test_a_token_is_used_once(site: Site) -> None:
    """It does not create another upload, whether the first one is complete, unfinished or removed."""
    token = site.sign()
    tus = site.tus(token)
    url = tus.new(5)
    for answer in (tus.create(6), tus.create(5, {"Upload-Metadata": metadata(a="b")})):
        refused(answer, 403)
        assert "has been used already" in answer.text
    assert site.flow(token).post(SAMPLE, 1).status_code == 403
    assert tus.patch(url, 0, b"12345").status_code == 204
    refused(tus.create(6), 403)
    assert tus.delete(url).status_code == 204
    refused(tus.create(5), 403)
    refused(tus.head(url), 404)
    assert len(site.records()) == 1
    site.uploads.time += 2 * HOUR
    runner = site.app.test_cli_runner()
    assert runner.invoke(args=["tus", "delete_expired"]).exit_code == 0
    assert site.records() == []


def test_a_creation_can_be_repeated(site: Site) -> None:
    """A client that lost the response gets the same upload, even when the token has expired."""
    token = site.sign()
    tus = site.tus(token)
    first = tus.create(5)
    site.uploads.time += 2 * HOUR
    again = tus.create(5)
    assert (again.status_code, again.headers["Location"]) == (201, first.headers["Location"])
    assert len(site.records()) == 1


def test_a_creation_that_was_refused_can_be_tried_again(site: Site) -> None:
    """If the app refuses the upload, the token is not used."""
    tus = site.tus(site.sign())
    site.uploads.refuses = True
    refused(tus.create(5), 403)
    site.uploads.refuses = False
    tus.upload(b"12345")


def test_an_expired_upload_keeps_its_token(site: Site) -> None:
    """When the upload has expired, the token does not create another one, before and after it was removed."""
    token = site.sign(expires=timedelta(days=3))
    tus = site.tus(token)
    url = tus.new(5)
    site.uploads.time += timedelta(days=1, seconds=1)
    refused(tus.create(5), 403)
    assert site.app.test_cli_runner().invoke(args=["tus", "delete_expired"]).exit_code == 0
    refused(tus.create(5), 403)
    refused(tus.head(url), 404)


def test_flow_tokens_are_used_once(site: Site) -> None:
    """Chunks of the same file find their upload, and those of another file do not. After a cancellation, none do."""
    flow = site.flow(site.sign())
    assert flow.post(SAMPLE, 1).status_code == flow.post(SAMPLE, 2).status_code == 200
    other = flow.post(Sample(b"y" * 40, name="other.csv"), 1)
    assert other.status_code == 403
    assert "used already" in json.loads(other.text)["error"]
    assert flow.cancel(SAMPLE).status_code == 204
    site.uploads.time += timedelta(minutes=5)  # longer than late chunks are refused
    assert flow.post(SAMPLE, 3).status_code in (403, 404)
    assert [upload.status.value for upload in site.records()] == ["gone"]


def test_a_token_reaches_no_other_upload(site: Site) -> None:
    """Neither other uploads of the same owner nor those of nobody, by id or by the names of a file."""
    alice = site.tus(user="alice")
    url, nobodys = alice.new(5), site.tus().new(5)
    token = site.sign(owner="alice")
    for found in (url, nobodys):
        refused(site.tus(token).head(found), 404)
        refused(site.tus(token).patch(found, 0, b"12345"), 404)
        refused(site.tus(token).delete(found), 404)
    assert alice.offset(url) == 0
    assert site.flow(user="alice").post(SAMPLE, 1).status_code == 200
    assert site.flow(token).test(SAMPLE, 1).status_code == 204
    assert site.flow(token).post(SAMPLE, 2).status_code == 200
    assert [upload.received.total for upload in site.records() if upload.client_key] == [10, 10]
    refused(site.tus(site.sign(owner="bob")).head(url), 404)
    refused(site.tus(token, user="alice").head(url), 404)  # the token counts, not the session


def test_a_token_is_for_one_upload_without_parts(site: Site) -> None:
    """Parts would be several uploads."""
    tus = site.tus(site.sign())
    for headers in (PARTIAL, final("/files/" + "0" * 32)):
        response = tus.create(None if "final" in str(headers) else 5, headers)
        refused(response, 403)
        assert "parallel" in response.text


# --- tokens that are refused ---


def test_an_expired_token_creates_nothing(site: Site) -> None:
    """Its upload goes on, and a new one is refused with the time when the token has expired."""
    token, unused = site.sign(), site.sign()
    tus = site.tus(token)
    url = tus.new(5)
    site.uploads.time += HOUR
    response = site.tus(unused).create(5)
    refused(response, 403)
    assert "expired at 2026-01-02 01:00:00 UTC" in response.text
    assert site.flow(unused).post(SAMPLE, 1).status_code == 403
    assert site.ietf(unused).create(b"1").status_code == 403
    assert tus.patch(url, 0, b"12345").status_code == 204


@pytest.mark.parametrize("damage", [lambda token: token[:-1], lambda token: "x" + token, lambda token: "x", str.upper])
def test_a_damaged_token_is_refused(site: Site, damage: Callable[[str], str]) -> None:
    """In every request of every protocol, with a reason, and nothing is logged of it."""
    token = damage(site.sign())
    tus = site.tus(token)
    for response in (tus.create(5), tus.patch("0" * 32, 0, b"1")):
        refused(response, 403)
        assert "damaged" in response.text
    assert tus.head("0" * 32).status_code == 403
    assert site.flow(token).post(SAMPLE, 1).status_code == site.flow(token).test(SAMPLE, 1).status_code == 403
    assert site.ietf(token).create(b"1").status_code == 403
    assert site.records() == []


def test_other_things_that_the_app_signs_are_no_tokens(site: Site) -> None:
    """The salt of tokens is their own."""
    from itsdangerous import URLSafeSerializer

    other = URLSafeSerializer("secret", salt="cookie-session").dumps({"n": "1", "t": 2**31})
    refused(site.tus(str(other)).create(5), 403)


def test_keys_can_be_rotated(site: Site) -> None:
    """A token that was signed with an older key is valid while that key is one of the fallbacks."""
    first, second = site.sign(), site.sign()
    site.app.config.update(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["secret"])
    site.tus(first).new(5)
    newer = site.sign()
    site.app.config["SECRET_KEY_FALLBACKS"] = None
    refused(site.tus(second).create(5), 403)
    site.tus(newer).new(5)


def test_a_token_can_be_required(app: Flask) -> None:
    """Then nothing is created without one. Owners can still work on their uploads."""
    app.config["RESUMABLE_REQUIRE_SIGNATURE"] = True
    site = Site(app)
    response = site.tus(user="alice").create(5)
    refused(response, 403)
    assert "Upload-Token" in response.text and "upload_token" in response.text
    assert site.flow(user="alice").post(SAMPLE, 1).status_code == 403
    assert site.ietf().create(b"1").status_code == 403
    assert "concatenation" not in site.tus().options().headers["Tus-Extension"]
    token = site.sign(owner="alice")
    url = site.tus(token).new(5)
    assert site.tus(user="alice").patch(url, 0, b"12345").status_code == 204


def test_permanent_errors(app: Flask) -> None:
    """flow.js retries after a 403, unless the app asks for a status after which it gives up. resumable.js gets one."""
    app.config["FLOW_PERMANENT_ERRORS"] = True
    assert Site(app).flow("x").post(SAMPLE, 1).status_code == 415
    other = Flask("other", instance_path=app.instance_path)
    site = Site(other)
    resumable = Flow(other.test_client(), "resumable", headers={"Upload-Token": "x"})
    assert (site.flow("x").post(SAMPLE, 1).status_code, resumable.post(SAMPLE, 1).status_code) == (403, 400)


def test_without_a_secret_key(app: Flask) -> None:
    """``sign`` says what is missing, and the app does not start if tokens are required. Tokens are refused."""
    uploads = Uploads()
    uploads.init_app(app)
    with app.app_context(), pytest.raises(ConfigurationError, match="SECRET_KEY"):
        uploads.sign()
    refused(Tus(app.test_client(), headers={"Upload-Token": "x"}).create(5), 403)
    strict = Flask("strict", instance_path=app.instance_path)
    strict.config["TUS_REQUIRE_SIGNATURE"] = True
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        FlaskResumable(strict)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_size": -1},
        {"max_size": "5"},
        {"max_size": True},
        {"max_size": MAX_LENGTH + 1},
        {"length": -1},
        {"length": 6, "max_size": 5},
        {"expires": 0},
        {"expires": timedelta(0)},
        {"metadata": {"a": 5}},
        {"metadata": {"": "5"}},
        {"metadata": {token_hex(8): token_hex(8) for _ in range(300)}},
        {"owner": "x" * 256},
    ],
)
def test_wrong_arguments(site: Site, arguments: dict[str, Any]) -> None:
    """They are found when the token is signed, not when it is used."""
    with pytest.raises(ValueError) as caught:
        site.sign(**arguments)
    assert "current_owner" not in str(caught.value)


def test_tokens_are_not_logged_or_kept(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the log nor any file has the token, whatever happens to its upload."""
    caplog.set_level(logging.DEBUG)
    token = site.sign(owner="alice")
    query = urlencode({"upload_token": token})
    tus = site.tus()
    response = tus.request("POST", f"?{query}", headers={"Upload-Length": "5"})
    tus.patch(f"http://localhost/files/{response.headers['Location']}", 0, b"12345")
    tus.request("POST", f"?{query}", headers={"Upload-Length": "6"})
    site.flow().open("POST", {**site.flow().spelled(SAMPLE, 1), "upload_token": site.sign()}, data=SAMPLE.piece(1))
    assert token not in caplog.text
    signature = token.rpartition(".")[2].encode()
    files = [path for path in Path(site.app.instance_path).rglob("*") if path.is_file()]
    assert files and not any(signature in path.read_bytes() for path in files)


def test_browsers_may_send_it(app: Flask) -> None:
    """Pages of other origins can send the header."""
    app.config["RESUMABLE_CORS_ORIGINS"] = ["https://example.org"]
    site = Site(app)
    asks = {
        "Origin": "https://example.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "upload-token",
    }
    for path in ("/files/", "/flow/"):
        allowed = app.test_client().options(path, headers=asks).headers["Access-Control-Allow-Headers"]
        assert "upload-token" in allowed.lower()
    assert site.records() == []
