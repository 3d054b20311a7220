"""One upload, several protocols; and the app's own answer, in each of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from flask_resumable import Answer
from flask_resumable import FlaskResumable
from tests.conformance.server import Server
from tests.conformance.tus_client import Body
from tests.conformance.tus_client import checksum
from tests.conformance.tus_client import DEFERRED
from tests.conformance.tus_client import final
from tests.conformance.tus_client import metadata
from tests.flow.client import Flow
from tests.flow.client import Sample

from .client import ALL
from .client import Ietf
from .client import refused
from .conftest import Speak


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("declared", [{"Upload-Length": "6"}, DEFERRED], ids=["length", "deferred"])
def test_an_upload_of_tus_goes_on_here(
    server: Server, speak: Speak, version: int | None, declared: dict[str, str | None]
) -> None:
    """Looked at, continued and finished; hooks are called as for any upload."""
    client = speak(version)
    url = server.tus.new(headers=declared)
    server.tus.patch(url, 0, b"abc")
    shown = client.head(url)
    assert shown.headers["Upload-Offset"] == "3"
    assert shown.headers.get("Upload-Length") == declared.get("Upload-Length")
    assert client.is_complete(client.append(url, 3, b"def", complete=True))
    assert server.tus.head(url).headers["Upload-Length"] == "6"
    assert server.finished(url).read_bytes() == b"abcdef"
    assert server.hooks.count("on_complete", url) == 1


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("length", [6, None])
def test_an_upload_goes_on_with_tus(server: Server, speak: Speak, version: int | None, length: int | None) -> None:
    """tus ends it at its length."""
    client = speak(version)
    url = client.new(length, b"abc")
    shown = server.tus.head(url)
    assert shown.headers["Upload-Offset"] == "3"
    assert shown.headers.get("Upload-Defer-Length") == ("1" if length is None else None)
    declared: dict[str, str | None] = {} if length else {"Upload-Length": "6"}
    assert server.tus.patch(url, 3, b"def", declared).status_code == 204
    assert client.is_complete(client.head(url))
    assert server.hooks.count("on_complete", url) == 1


@pytest.mark.parametrize("version", [7, 10, None])
def test_tus_ends_an_upload_that_is_kept_open(server: Server, speak: Speak, version: int | None) -> None:
    """A tus client that finds every byte there takes it for complete, and never comes back."""
    client = speak(version)
    url = client.new(3)
    client.append(url, 0, b"abc")
    assert server.hooks.count("on_complete", url) == 0
    assert server.tus.offset(url) == 3
    assert server.hooks.count("on_complete", url) == 1
    assert client.is_complete(client.append(url, 3, complete=True))


@pytest.mark.parametrize("version", ALL)
def test_protocols_may_alternate(server: Server, speak: Speak, version: int | None) -> None:
    """Byte by byte, with checksums of tus in between."""
    client = speak(version)
    url = client.new(6)
    for offset, letter in enumerate(b"abcde"):
        body = bytes([letter])
        if offset % 2:
            answer = server.tus.patch(url, offset, body, {"Upload-Checksum": checksum(body)})
        else:
            answer = client.append(url, offset, body)
        assert answer.headers["Upload-Offset"] == str(offset + 1)
    assert client.is_complete(client.append(url, 5, b"f", complete=True))
    assert server.finished(url).read_bytes() == b"abcdef"


@pytest.mark.parametrize("version", ALL)
def test_each_protocol_can_cancel(server: Server, speak: Speak, version: int | None) -> None:
    """And none finds the upload afterwards."""
    client = speak(version)
    of_tus, own = server.tus.new(6), client.new(6)
    assert client.delete(of_tus).status_code == server.tus.delete(own).status_code == 204
    for url in (of_tus, own):
        assert client.head(url).status_code == server.tus.head(url).status_code == 404


def test_requests_of_different_protocols_take_over(server: Server, speak: Speak) -> None:
    """The newest wins, whatever it speaks."""
    client, tus = speak(6), server.tus
    url = client.new(9)
    answers: list[TestResponse] = []
    body = Body(b"abc", lambda: answers.append(tus.patch(url, 3, b"d")), b"def")
    refused(client, client.append(url, 0, body, announced=6), 503)
    body = Body(b"ef", lambda: answers.append(client.append(url, 6, b"g")), b"gh")
    assert tus.patch(url, 4, body, announced=4).status_code == 423
    assert [answer.headers["Upload-Offset"] for answer in answers] == ["4", "7"]


@pytest.mark.parametrize("version", ALL)
def test_what_a_file_is_called_is_known_to_all(server: Server, speak: Speak, version: int | None) -> None:
    """The name and the type go from the fields of HTTP to the metadata of tus, and back."""
    client = speak(version)
    headers = {"Content-Disposition": "inline; filename*=UTF-8''gr%C3%BC%C3%9Fe.txt", "Content-Type": "text/plain"}
    url = client.new(6, b"abc", headers)
    raw = server.tus.head(url).headers["Upload-Metadata"]
    assert raw == metadata(filename="grüße.txt", filetype="text/plain")
    shown = client.head(server.tus.new(6, {"Upload-Metadata": metadata(filename='a"b.txt', filetype="text/plain")}))
    if version is not None:
        assert shown.headers["Content-Disposition"].startswith('inline; filename="a_b.txt"')
        assert shown.headers["Content-Type"] == "text/plain"


@pytest.mark.parametrize("name", ["a\r\nX-Evil: 1", "\x00", "a" * 5000, "\u2028", "\ud7ff"])
def test_names_of_tus_clients_do_no_harm(server: Server, speak: Speak, name: str) -> None:
    """They are quoted, whatever they contain."""
    raw = metadata(filename=name, filetype="text/html\r\nX-Evil: 1")
    response = speak(6).head(server.tus.new(6, {"Upload-Metadata": raw}))
    assert response.status_code == 204
    assert "X-Evil" not in response.headers and "Content-Type" not in response.headers


def test_concatenations_are_closed(server: Server, speak: Speak) -> None:
    """What tus has put together takes no content; its parts are uploads like others, and can be looked at."""
    client = speak(10)
    whole = server.tus.request("POST", headers=final(server.tus.part(b"abc"), server.tus.part(b"def")))
    url = client.url_of(whole)
    assert client.is_complete(client.head(url))
    refused(client, client.append(url, 6, b"g"), 403)
    assert server.finished(url).read_bytes() == b"abcdef"


def test_uploads_of_flow_are_closed(server: Server, speak: Speak) -> None:
    """They can be looked at, by whoever knows the id, and take no content from here."""
    client = speak(10)
    flow = Flow(server.app.test_client())
    file = Sample(b"abcdef", 3)
    found = (flow.octet(file, 1).json or {})["id"]
    assert client.offset("/files/" + found) == 3
    refused(client, client.append("/files/" + found, 3, b"def", complete=True), 403)


# --- the app's own answer ---


class Answering(FlaskResumable):
    """An app that answers."""

    def on_complete(self, upload: Any) -> Answer:
        headers = {"Content-Type": "application/json", "X-File": "7", "Location": "/photos/7", "Upload-Offset": "0"}
        return Answer(json.dumps({"id": upload.length}), headers, 202)


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("way", ["creation", "append", "empty append"])
def test_the_app_answers_the_last_request(tmp_path: Path, version: int | None, way: str) -> None:
    """With its status, fields and body; only the state of the upload stays the protocol's own. Who missed it, gets it
    again.
    """
    app = Flask("app", instance_path=str(tmp_path))
    uploads = Answering(app)
    client = Ietf(app.test_client(), version)
    if way == "creation":
        first = client.with_headers(Idempotency_Key="a").create(b"abc", complete=True)
        with app.app_context():
            (upload,) = uploads.uploads()
        url = "/files/" + upload.id
    else:
        url = client.new(None, b"abc" if way == "empty append" else b"")
        content = b"" if way == "empty append" else b"abc"
        first = client.append(url, 3 - len(content), content, complete=True)
    for response in (first, client.append(url, 3, complete=True)):
        assert response.status_code == 202
        assert response.json == {"id": 3}
        assert response.headers["Content-Type"] == "application/json"
        assert (response.headers["X-File"], response.headers["Upload-Offset"]) == ("7", "3")
        assert response.headers["Location"] == "/photos/7"
        assert client.is_complete(response)
    assert client.head(url).headers["X-File"] == "7"
    if way == "creation":
        again = client.with_headers(Idempotency_Key="a").create(b"abc", complete=True)
        assert (again.status_code, again.json) == (202, {"id": 3})
