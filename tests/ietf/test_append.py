"""Going on with uploads: offsets, lengths, ends, cuts and cancelling."""

from __future__ import annotations

from typing import Any

import pytest

from flask_resumable import UploadRejected
from tests.conformance.server import EXPIRED
from tests.conformance.server import Server
from tests.conformance.tus_client import Body
from tests.conformance.tus_client import UNKNOWN

from .client import ALL
from .client import EARLY
from .client import Ietf
from .client import LATE
from .client import limits
from .client import PARTIAL_UPLOAD
from .client import refused
from .conftest import Serve
from .conftest import Speak

LATEST = (8, 9, 10, None)


@pytest.mark.parametrize("version", ALL)
def test_content_is_appended_until_the_client_says_that_it_is_the_last(
    server: Server, speak: Speak, version: int | None
) -> None:
    """Without a length, which the last content gives the upload. The offset is told each time."""
    client = speak(version)
    url = client.new()
    for offset, body in ((0, b"abc"), (3, b""), (3, b"de")):
        response = client.append(url, offset, body)
        assert response.status_code == (201 if version in EARLY else 204)
        assert response.headers["Upload-Offset"] == str(offset + len(body))
        assert not client.is_complete(response)
        assert client.offset(url) == offset + len(body)
    response = client.append(url, 5, b"f", complete=True)
    assert response.status_code == 200
    assert client.is_complete(response)
    assert client.head(url).headers["Upload-Length"] == "6"
    assert server.finished(url).read_bytes() == b"abcdef"
    assert server.hooks.count("on_complete", url) == 1


@pytest.mark.parametrize("version", EARLY)
def test_early_versions_end_an_upload_at_its_length(server: Server, speak: Speak, version: int) -> None:
    """tus-js-client would take it for complete when it asks for the offset, whatever is answered."""
    client = speak(version)
    url = client.new(3)
    assert client.is_complete(client.append(url, 0, b"abc"))
    assert server.hooks.count("on_complete", url) == 1


@pytest.mark.parametrize("version", LATE)
def test_late_versions_keep_an_upload_open_with_every_byte(server: Server, speak: Speak, version: int | None) -> None:
    """It is complete with an empty request that says so."""
    client = speak(version)
    url = client.new(3)
    assert not client.is_complete(client.append(url, 0, b"abc"))
    assert client.offset(url) == 3
    assert server.hooks.count("on_complete", url) == 0
    assert client.is_complete(client.append(url, 3, complete=True))
    assert server.hooks.count("on_complete", url) == 1


@pytest.mark.parametrize("version", EARLY)
def test_early_versions_ask_for_an_upload_that_a_late_one_keeps_open(
    server: Server, speak: Speak, version: int
) -> None:
    """They take it for complete, so it is."""
    url = speak(10).new(3)
    speak(10).append(url, 0, b"abc")
    client = speak(version)
    assert client.is_complete(client.head(url))
    assert server.hooks.count("on_complete", url) == 1


@pytest.mark.parametrize("version", ALL)
def test_a_repeated_end_gets_the_same_answer(server: Server, speak: Speak, version: int | None) -> None:
    """A client that missed it asks for the offset and says once more that there is nothing left."""
    client = speak(version)
    url = client.new(3)
    first = client.append(url, 0, b"abc", complete=True)
    again = client.append(url, client.offset(url), complete=True)
    assert again.status_code == first.status_code == 200
    assert client.is_complete(again)
    assert server.hooks.count("on_complete", url) == 1


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("body", [b"x", b""])
def test_a_complete_upload_takes_no_more(server: Server, speak: Speak, version: int | None, body: bytes) -> None:
    """It stays as it is."""
    client = speak(version)
    url = client.url_of(client.create(b"abc", complete=True))
    response = client.append(url, 3, body, complete=bool(body))
    if version in EARLY and not body:
        assert client.is_complete(response)  # in these versions, the length says it
    else:
        refused(client, response, 400, "completed-upload" if version in (6, 7, 8) else "")
    assert server.finished(url).read_bytes() == b"abc"
    assert client.offset(url) == 3


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("offset", [0, 2, 4, 10**14])
@pytest.mark.parametrize("complete", [False, True])
def test_a_wrong_offset_is_told_the_right_one(
    server: Server, speak: Speak, version: int | None, offset: int, complete: bool
) -> None:
    """With both numbers, in the field and in the problem; nothing is stored."""
    client = speak(version)
    url = client.new(6, b"abc")
    with server.unchanged(url):
        response = client.append(url, offset, b"def", complete=complete)
    found = refused(client, response, 409, "mismatching-upload-offset")
    assert (found["expected-offset"], found["provided-offset"]) == (3, offset)
    assert response.headers["Upload-Offset"] == "3"
    assert client.append(url, 3, b"def", complete=True).status_code == 200


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("value", [None, "-1", "abc", "3.0", "", "3, 3", "9" * 16])
def test_content_without_an_offset_is_refused(
    server: Server, speak: Speak, version: int | None, value: str | None
) -> None:
    """Also if it is no number."""
    client = speak(version)
    url = client.new(6, b"abc")
    with server.unchanged(url):
        refused(client, client.append(url, value, b"def"), 400)


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("value", [None, "1", "yes"])
def test_content_that_does_not_say_whether_it_is_the_last(
    server: Server, speak: Speak, version: int | None, value: str | None
) -> None:
    """In early versions it is; later ones have to say so."""
    client = speak(version)
    url = client.new(6, b"abc")
    name = "Upload-Incomplete" if version == 3 else "Upload-Complete"
    response = client.append(url, 3, b"def", complete=None, headers={name: value})
    if version in EARLY:
        assert client.is_complete(response)
        assert server.finished(url).read_bytes() == b"abcdef"
    else:
        refused(client, response, 400)
        assert client.offset(url) == 3


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(
    "kind", [None, "application/octet-stream", PARTIAL_UPLOAD + "; x=y", "Application/Partial-Upload"]
)
def test_the_media_type_of_content(server: Server, speak: Speak, version: int | None, kind: str | None) -> None:
    """Since version 6, it must be the protocol's own."""
    client = speak(version)
    url = client.new(6, b"abc")
    response = client.append(url, 3, b"def", complete=True, headers={"Content-Type": kind})
    is_right = kind is not None and kind.lower().startswith(PARTIAL_UPLOAD)
    if is_right or version in (3, 4, 5):
        assert client.is_complete(response)
    else:
        refused(client, response, 415)
        assert client.offset(url) == 3


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(
    ("body", "complete", "length"), [(b"de", True, 6), (b"", True, 6), (b"def", True, 7), (b"d", False, 5)]
)
def test_lengths_that_differ_between_requests_are_refused(
    server: Server, speak: Speak, version: int | None, body: bytes, complete: bool, length: int
) -> None:
    """Be they declared or the end of the last content; the upload goes on."""
    client = speak(version)
    url = client.new(6, b"abc")
    with server.unchanged(url):
        response = client.append(url, 3, body, complete=complete, headers={"Upload-Length": str(length)})
    refused(client, response, 400, "inconsistent-upload-length")
    assert client.append(url, 3, b"def", complete=True).status_code == 200


@pytest.mark.parametrize("version", ALL)
def test_a_last_body_that_ends_too_early(server: Server, speak: Speak, version: int | None) -> None:
    """Only its end shows that, if it is chunked. The bytes are kept, and of a creation nothing."""
    client = speak(version)
    url = client.new(6, b"abc")
    response = client.append(url, 3, Body(b"de"), complete=True, chunked=True)
    refused(client, response, 400, "inconsistent-upload-length")
    assert client.offset(url) == 5
    assert client.is_complete(client.append(url, 5, b"f", complete=True))
    assert server.finished(url).read_bytes() == b"abcdef"
    before = server.kept()
    response = client.create(Body(b"abc"), complete=True, length=4, chunked=True)
    refused(client, response, 400, "inconsistent-upload-length")
    assert server.kept() == before


@pytest.mark.parametrize("version", ALL)
def test_a_length_can_be_declared_late_and_again(server: Server, speak: Speak, version: int | None) -> None:
    """As tus-js-client does with the last content; the same length twice is no conflict."""
    client = speak(version)
    url = client.new(None, b"abc")
    client.append(url, 3, b"d", headers={"Upload-Length": "6"})
    assert client.head(url).headers["Upload-Length"] == "6"
    assert client.append(url, 4, b"ef", complete=True, headers={"Upload-Length": "6"}).status_code == 200


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_content_beyond_the_length(server: Server, speak: Speak, version: int | None, is_chunked: bool) -> None:
    """It is refused, and in late versions the upload with it."""
    client = speak(version)
    url = client.new(6, b"abc")
    response = client.append(url, 3, Body(b"defg") if is_chunked else b"defg", chunked=is_chunked)
    refused(client, response, 400, "inconsistent-upload-length")
    if version in LATEST:
        assert server.files_of(url) == []
        assert client.wire.head(url, {"Tus-Resumable": "1.0.0"}).status_code == 404
        assert server.hooks.count("on_complete") == 0
    else:
        assert client.offset(url) == (6 if is_chunked else 3)


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("complete", [False, True])
def test_a_body_that_was_cut_off(server: Server, speak: Speak, version: int | None, complete: bool) -> None:
    """What arrived is kept, and the upload is not complete; the answer asks the client to resume."""
    client = speak(version)
    url = client.new()
    response = client.append(url, 0, Body(b"abc"), complete=complete, announced=6)
    refused(client, response, 503)
    assert response.headers["Upload-Offset"] == "3"
    assert client.offset(url) == 3
    assert server.hooks.count("on_complete") == 0
    assert client.append(url, 3, b"def", complete=True).status_code == 200


@pytest.mark.parametrize("version", ALL)
def test_a_creation_that_was_cut_off(server: Server, speak: Speak, version: int | None) -> None:
    """The answer, should the client still be there, is no success, and says where to resume."""
    client = speak(version)
    response = client.create(Body(b"abc"), complete=True, announced=6)
    refused(client, response, 503)
    url = client.url_of(response)
    assert client.offset(url) == int(response.headers["Upload-Offset"]) == 3
    assert client.append(url, 3, b"def", complete=True).status_code == 200
    assert server.finished(url).read_bytes() == b"abcdef"


def test_a_server_that_cannot_tell_a_cut_body_from_a_whole_one(server: Server, speak: Speak) -> None:
    """granian: what arrived is kept, and is complete only with a length that proves it, or a request that says so."""
    client = speak(10)
    granian: dict[str, Any] = {"environ": {"SERVER_SOFTWARE": "Granian"}, "chunked": True}
    response = client.create(Body(b"abc"), complete=True, **granian)
    refused(client, response, 503)
    url = client.url_of(response)
    refused(client, client.append(url, 3, Body(b"de"), complete=True, **granian), 503)
    assert client.is_complete(client.append(url, 5, complete=True))
    known = client.new(3)
    assert client.is_complete(client.append(known, 0, Body(b"abc"), complete=True, **granian))


@pytest.mark.parametrize("version", ALL)
def test_a_hook_that_fails_is_called_again(server: Server, speak: Speak, version: int | None) -> None:
    """The upload can be resumed, and its end repeated."""

    def fail(upload: Any) -> None:
        raise RuntimeError("secret")

    client = speak(version)
    url = client.new(3)
    server.hooks.during["on_complete"] = fail
    response = client.append(url, 0, b"abc", complete=True)
    assert "secret" not in refused(client, response, 500)["detail"]
    del server.hooks.during["on_complete"]
    assert client.is_complete(client.append(url, client.offset(url), complete=True))
    assert server.hooks.count("on_complete", url) == 2


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(("hook", "is_final"), [("pre_save", False), ("on_complete", True)])
def test_the_app_refuses_content(server: Server, speak: Speak, version: int | None, hook: str, is_final: bool) -> None:
    """Whether the client can go on depends on whether there is something left to go on with."""

    def refuse(upload: Any) -> None:
        raise UploadRejected(422, "no")

    client = speak(version)
    url = client.new(3)
    server.hooks.during[hook] = refuse
    refused(client, client.append(url, 0, b"abc", complete=True), 422, is_final=is_final)
    assert (client.head(url).status_code == 404) is is_final


# --- asking and cancelling ---


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("length", [None, 6])
def test_the_offset_can_be_asked_for(speak: Speak, version: int | None, method: str, length: int | None) -> None:
    """With the length, if it is known, whether the upload is complete, and what limits it; nobody may cache that."""
    client = speak(version)
    url = client.new(length, b"abc")
    response = client.request(method, url)
    assert response.status_code == (200 if version is None and method == "HEAD" else 204)
    assert response.headers["Upload-Offset"] == "3"
    assert response.headers.get("Upload-Length") == (None if length is None else "6")
    assert not client.is_complete(response)
    assert ("max-age" in limits(response)) is (version is None or version > 5)
    assert ("expires" in limits(response)) is (version == 6)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.data == b""


@pytest.mark.parametrize("downloads", [False, True])
def test_a_get_that_says_nothing_can_be_a_download(serve: Serve, downloads: bool) -> None:
    """It is told the offset only where it cannot be one: of unfinished uploads, if there are no downloads."""
    server = serve(DOWNLOADS=downloads)
    client = Ietf(server.app.test_client())
    statuses = [204, 405] if not downloads else [404, 200]
    urls = [client.new(6, b"abc"), client.url_of(client.create(b"abc", complete=True))]
    assert [client.request("GET", url).status_code for url in urls] == statuses
    assert client.with_headers(X_User="you").request("GET", urls[0]).status_code == (404 if downloads else 405)


@pytest.mark.parametrize("version", ALL)
def test_a_complete_upload_can_be_asked_for(speak: Speak, version: int | None) -> None:
    """It stays, so that a client that missed the answer learns what became of it."""
    client = speak(version)
    url = client.url_of(client.create(b"abc", complete=True))
    response = client.head(url)
    assert client.is_complete(response)
    assert response.headers["Upload-Offset"] == response.headers["Upload-Length"] == "3"
    assert "max-age" not in limits(response)


@pytest.mark.parametrize("version", [3, 4, 5, 6, 7, 8, 9, 10])
@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
@pytest.mark.parametrize("field", [{"Upload-Offset": "3"}, {"Upload-Complete": "?0"}, {"Upload-Length": "6"}])
def test_fields_of_content_where_there_is_none(
    speak: Speak, version: int, method: str, field: dict[str, str | None]
) -> None:
    """The first drafts forbid them, later ones do not mention them."""
    client = speak(version)
    url = client.new(6, b"abc")
    response = client.request(method, url, field)
    if version in EARLY:
        refused(client, response, 400)
        assert client.offset(url) == 3
    else:
        assert response.status_code == 204


@pytest.mark.parametrize("version", ALL)
def test_a_cancelled_upload_is_gone(server: Server, speak: Speak, version: int | None) -> None:
    """With its bytes, whether it was complete or not."""
    client = speak(version)
    for url in (client.new(6, b"abc"), client.url_of(client.create(b"abc", complete=True))):
        response = client.delete(url)
        assert response.status_code == 204 and response.data == b""
        assert server.files_of(url) == []
        assert client.head(url).status_code == 404
        refused(client, client.append(url, 3, b"def"), 404)
        refused(client, client.delete(url), 404)


@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize("url", [UNKNOWN, "/files/nonsense", "/files/a/b/c", "/files//" + "0" * 32])
def test_what_does_not_exist(speak: Speak, version: int | None, url: str) -> None:
    """Nothing is told about it, in this protocol's own words."""
    client = speak(version)
    assert client.head(url).status_code == 404
    for response in (client.append(url, 0, b"abc"), client.delete(url) if version else client.append(url, 0)):
        assert response.status_code == 404
        assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("version", ALL)
def test_an_upload_that_has_expired(server: Server, speak: Speak, version: int | None) -> None:
    """404 in the first drafts, 410 later; until then it is said how long it lives."""
    client = speak(version)
    url = client.new(6, b"abc")
    server.clock.advance(hours=23, minutes=59)
    if version is None or version > 5:
        assert limits(client.head(url))["max-age"] == 60
    server.clock.advance(**EXPIRED)
    status = 404 if version in EARLY else 410
    assert client.head(url).status_code == status
    refused(client, client.append(url, 3, b"def", complete=True), status)


@pytest.mark.parametrize("version", ALL)
def test_others_do_not_see_an_upload(speak: Speak, version: int | None) -> None:
    """To them it does not exist, whatever they ask."""
    mine = speak(version).with_headers(X_User="me")
    other = speak(version).with_headers(X_User="you")
    url = mine.new(6, b"abc")
    for response in (other.head(url), other.append(url, 3, b"def", complete=True), other.delete(url)):
        assert response.status_code == 404
    assert mine.offset(url) == 3


@pytest.mark.parametrize("version", [3, 6, 10])
def test_a_request_that_another_one_takes_over(server: Server, speak: Speak, version: int) -> None:
    """The newest wins at once; the older one is asked to resume, and what it had sent is kept."""
    client = speak(version)
    url = client.new(6)
    answers: list[Any] = []
    body = Body(b"abc", lambda: answers.append(client.append(url, 3, b"d")), b"def")
    refused(client, client.append(url, 0, body, complete=True, announced=6), 503)
    assert answers[0].headers["Upload-Offset"] == "4"
    assert client.append(url, 4, b"ef", complete=True).status_code == 200
    assert server.finished(url).read_bytes() == b"abcdef"


@pytest.mark.parametrize("version", ALL)
def test_a_method_that_is_not_supported(speak: Speak, version: int | None) -> None:
    """The answer names those that are."""
    client = speak(version)
    response = client.request("POST", client.new(6), client.says(True))
    refused(client, response, 405)
    assert "PATCH" in response.headers["Allow"]


def test_tus_js_client_can_override_the_method(speak: Speak) -> None:
    """Its option ``overridePatchMethod`` works in this protocol, too."""
    client = speak(6)
    override = {"X-HTTP-Method-Override": "PATCH"}
    fields = {"Content-Type": PARTIAL_UPLOAD, "Upload-Offset": "0", **override, **client.says(True)}
    assert client.request("POST", client.new(3), fields, body=b"abc").status_code == 200
