"""Creating uploads: whole files in one request, empty creations, and what a client says about its file."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import pytest

from flask_resumable import UploadRejected
from tests.conformance.server import Server
from tests.conformance.tus_client import Body
from tests.conformance.tus_client import metadata

from .client import ALL
from .client import EARLY
from .client import Ietf
from .client import LATE
from .client import PARTIAL_UPLOAD
from .client import refused
from .client import VERSION
from .conftest import Serve
from .conftest import Speak


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("length", [None, 3])
def test_a_whole_file_in_one_request(server: Server, speak: Speak, version: int | None, length: int | None) -> None:
    """It is complete with its first answer, which is the app's own: 201 if it has none."""
    client = speak(version)
    response = client.create(b"abc", complete=True, length=length)
    assert response.status_code == 201
    assert client.is_complete(response)
    assert response.headers["Upload-Offset"] == "3"
    assert response.headers.get(VERSION) == (None if version is None else str(version))
    url = client.url_of(response)
    assert server.finished(url).read_bytes() == b"abc"
    assert server.hooks.names(url) == ["on_create", "pre_save", "post_save", "on_complete"]


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("body", [b"", b"abc"])
def test_a_file_in_several_requests(server: Server, speak: Speak, version: int | None, body: bytes) -> None:
    """The answer to the creation says where the upload is, how much of it is here, and which limits it has."""
    client = speak(version)
    response = client.create(body, length=6)
    assert response.status_code == 201
    assert not client.is_complete(response)
    assert response.headers["Upload-Offset"] == str(len(body))
    assert "Upload-Limit" in response.headers
    url = client.url_of(response)
    assert client.append(url, len(body), b"abcdef"[len(body) :], complete=True).status_code == 200
    assert server.finished(url).read_bytes() == b"abcdef"
    assert server.hooks.count("on_complete", url) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_any_method_with_content_creates(server: Server, speak: Speak, method: str) -> None:
    """As the draft says; the URL is that for new uploads, so nothing else can be meant."""
    response = speak(10).create(b"abc", complete=True, method=method)
    assert response.status_code == 201
    assert server.finished(response.headers["Location"]).read_bytes() == b"abc"


@pytest.mark.parametrize("version", ALL)
def test_an_empty_file(server: Server, speak: Speak, version: int | None) -> None:
    """It can be complete with its creation."""
    client = speak(version)
    response = client.create(complete=True)
    assert client.is_complete(response)
    assert server.finished(response.headers["Location"]).read_bytes() == b""


@pytest.mark.parametrize("version", EARLY)
def test_early_versions_end_an_empty_file_at_its_length(server: Server, speak: Speak, version: int) -> None:
    """tus-js-client says that more will follow, and sends no more; what it might send is no mistake."""
    client = speak(version)
    response = client.create(length=0)
    assert response.status_code == 201 and client.is_complete(response)
    url = client.url_of(response)
    assert server.hooks.count("on_complete", url) == 1
    assert client.append(url, 0, complete=True).status_code == 200
    assert server.hooks.count("on_complete", url) == 1


@pytest.mark.parametrize("version", LATE)
def test_late_versions_wait_for_the_client_to_end_an_empty_file(
    server: Server, speak: Speak, version: int | None
) -> None:
    """Only the client says that an upload is complete."""
    client = speak(version)
    url = client.new(0)
    assert not client.is_complete(client.head(url)) or version is None
    assert server.hooks.count("on_complete", url) == 0
    assert client.is_complete(client.append(url, 0, complete=True))
    assert server.hooks.count("on_complete", url) == 1


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("last", [False, True])
def test_a_body_of_unknown_length(server: Server, speak: Speak, version: int | None, last: bool) -> None:
    """A chunked body ends the upload where it ends, if the client says so, and gives it its length."""
    client = speak(version)
    response = client.create(Body(b"abc", b"def"), complete=last, chunked=True)
    assert response.status_code == 201
    assert client.is_complete(response) is last
    url = client.url_of(response)
    if not last:
        assert "Upload-Length" not in client.head(url).headers
        assert client.append(url, 6, complete=True).status_code == 200
    assert server.finished(url).read_bytes() == b"abcdef"


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(("body", "length"), [(b"abc", 4), (b"abc", 2), (b"", 1)])
def test_two_lengths_that_differ_are_refused(
    server: Server, speak: Speak, version: int | None, body: bytes, length: int
) -> None:
    """Nothing is created."""
    client = speak(version)
    with server.unchanged():
        response = client.create(body, complete=True, length=length)
    refused(client, response, 400, "inconsistent-upload-length")


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("value", ["1", "true", "?2", "", "?1, ?1", '"?1"', "?1;"])
def test_a_field_that_is_not_a_boolean_counts_as_absent(server: Server, version: int | None, value: str) -> None:
    """It is missing then, and nothing is created."""
    client = Ietf(server.app.test_client(), version)
    name = "Upload-Incomplete" if version == 3 else "Upload-Complete"
    with server.unchanged():
        response = client.create(b"abc", complete=None, headers={name: value})
    refused(client, response, 400)


@pytest.mark.parametrize("value", ["?1", " ?1 ", "?1;a", "?1; a=5;b=?0", '?1;a="x;y"', "?1;a=:YQ==:"])
def test_parameters_of_fields_mean_nothing(speak: Speak, value: str) -> None:
    """They are legal everywhere."""
    response = speak().create(b"abc", complete=None, headers={"Upload-Complete": value, "Upload-Length": "3;x"})
    assert response.headers["Upload-Complete"] == "?1"


@pytest.mark.parametrize("value", ["-1", "3.5", "1e3", "0x3", "", "9" * 16, "3, 3", "abc", "?1", "\u00b3"])
def test_a_length_that_is_no_length_counts_as_absent(speak: Speak, value: str) -> None:
    """The upload's length is known later."""
    client = speak(10)
    url = client.new(headers={"Upload-Length": value})
    assert "Upload-Length" not in client.head(url).headers


@pytest.mark.parametrize("number", [1, 2, 11, 12345])
def test_a_version_that_is_not_supported(server: Server, number: int) -> None:
    """A whole file is stored all the same; anything else is refused, and no version is confirmed."""
    client = Ietf(server.app.test_client(), number)
    whole = client.create(b"abc", complete=True)
    assert whole.status_code == 201
    url = client.url_of(whole)
    assert server.finished(url).read_bytes() == b"abc"
    for response in (client.create(b"abc"), client.head(url), client.append(url, 3), client.delete(url)):
        refused(client, response, 400)
        assert VERSION not in response.headers


def test_the_first_drafts_are_told_by_their_field_alone(speak: Speak) -> None:
    """``Upload-Incomplete`` is of no other version."""
    response = speak().create(b"abc", complete=None, headers={"Upload-Incomplete": "?0"})
    assert response.status_code == 201
    assert response.headers["Upload-Incomplete"] == "?0"


def test_the_app_refuses_an_upload_for_good(server: Server, speak: Speak) -> None:
    """The answer says that there is nothing to resume."""

    def refuse(upload: Any) -> None:
        raise UploadRejected(415, "Only pictures, please.")

    client = speak(6)
    for hook in ("on_create", "on_complete"):
        server.hooks.during = {hook: refuse}
        before = server.kept()
        response = client.create(b"abc", complete=True)
        assert server.kept() == before
        assert refused(client, response, 415, is_final=True)["detail"] == "Only pictures, please."


NAMES = [
    ('inline; filename="file name.jpg"', "file name.jpg"),
    ("inline; filename=a.jpg", "a.jpg"),
    ("inline; filename=\"b.jpg\"; filename*=UTF-8''gr%C3%BC%C3%9Fe.pdf", "grüße.pdf"),
    ("inline; filename*=iso-8859-1'de'gr%FC%DFe.pdf; filename=b.jpg", "grüße.pdf"),
    ('attachment;filename="a\\"b.txt"', 'a"b.txt'),
    ('inline; filename="../../etc/passwd"', "passwd"),
    ("inline; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", "passwd"),
    ('inline; filename="C:\\\\temp\\\\x.txt"', "x.txt"),
    ("inline; filename*=UTF-8''a%0D%0Ab%00.txt", "ab.txt"),
    ("inline; filename*=UTF-16''a.txt; filename=b.txt", "b.txt"),
    ("inline", None),
    ('inline; filename=""', None),
    ("inline; filename=a b", None),
    ("; filename=a", None),
    ('inline; filename="a', None),
]


@pytest.mark.parametrize(("value", "name"), NAMES, ids=str)
def test_the_name_of_the_file(server: Server, speak: Speak, value: str, name: str | None) -> None:
    """It is taken from Content-Disposition, without folders."""
    seen: list[str | None] = []
    server.hooks.during["on_create"] = lambda upload: seen.append(upload.filename)
    assert speak(6).create(headers={"Content-Disposition": value}).status_code == 201
    assert seen == [name]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("image/png", "image/png"),
        ("Text/Plain; charset=utf-8", "text/plain"),
        (PARTIAL_UPLOAD, None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_the_type_of_the_file(server: Server, speak: Speak, value: str, kind: str | None) -> None:
    """It is taken from Content-Type, unless that is the protocol's own."""
    seen: list[str | None] = []
    server.hooks.during["on_create"] = lambda upload: seen.append(upload.metadata.filetype)
    assert speak(6).create(b"abc", headers={"Content-Type": value}).status_code == 201
    assert seen == [kind]


def test_metadata_of_tus_clients_counts_too(server: Server, speak: Speak) -> None:
    """tus-js-client sends it; what it says comes first, and the fields of HTTP fill the gaps."""
    seen: list[dict[str, str]] = []
    server.hooks.during["on_create"] = lambda upload: seen.append(dict(upload.metadata))
    headers = {
        "Upload-Metadata": metadata(filename="a.txt", album="7") + ",",
        "Content-Disposition": "inline; filename=b.txt",
        "Content-Type": "text/plain",
    }
    assert speak(6).create(headers=headers).status_code == 201
    assert seen == [{"filename": "a.txt", "album": "7", "filetype": "text/plain"}]


@pytest.mark.parametrize("version", ALL)
def test_a_creation_that_is_repeated_finds_its_upload(server: Server, speak: Speak, version: int | None) -> None:
    """With an Idempotency-Key; the app sees one upload, and each answer is the same."""
    client = speak(version).with_headers(Idempotency_Key='"abc"')
    first, second = (client.create(b"abc", complete=True) for _ in range(2))
    assert first.headers["Location"] == second.headers["Location"]
    assert client.is_complete(second)
    assert server.hooks.count("on_complete") == 1
    refused(client, client.create(b"abcd", complete=True), 422)


@pytest.mark.parametrize("absolute", [False, True])
def test_location_leads_to_the_upload(serve: Serve, absolute: bool) -> None:
    """Relative to the request by default, or a full URL."""
    app = serve(ABSOLUTE_LOCATION=absolute).app
    client = Ietf(app.test_client(), 6)
    for url in ("/files", "/files/"):
        response = client.request("POST", url, client.says(False))
        location = response.headers["Location"]
        assert location.startswith("http://localhost/files/") is absolute
        assert client.offset(urljoin("http://localhost" + url, location)) == 0
