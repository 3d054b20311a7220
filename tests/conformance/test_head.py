"""tus 1.0, HEAD."""

from __future__ import annotations

import pytest

from .server import Server
from .tus_client import Body
from .tus_client import DEFERRED
from .tus_client import final
from .tus_client import metadata
from .tus_client import PARTIAL
from .tus_client import refused
from .tus_client import Tus
from .tus_client import UNKNOWN

BAD_IDS = [
    UNKNOWN,
    "/files/nonsense",
    "/files/" + "A" * 32,
    "/files/" + "a" * 31,
    "/files/" + "a" * 33,
    "/files/" + "g" * 32,
    "/files/%00",
    "/files/%2e%2e",
    "/files/.partial",
    "/files/" + "a" * 5000,
]


def test_head_shows_the_offset_at_every_stage(tus: Tus) -> None:
    """HEAD answers 200 with Upload-Offset: at 0, on the way, and when the upload is complete."""
    url = tus.new(6)
    for piece, offset in ((b"", 0), (b"abc", 3), (b"def", 6)):
        tus.patch(url, offset - len(piece), piece)
        response = tus.head(url)
        assert response.status_code == 200
        assert response.headers["Upload-Offset"] == str(offset)


def test_head_shows_a_known_length(tus: Tus) -> None:
    """Upload-Length is shown before and after completion."""
    url = tus.new(3)
    assert tus.head(url).headers["Upload-Length"] == "3"
    tus.patch(url, 0, b"abc")
    assert tus.head(url).headers["Upload-Length"] == "3"


def test_head_is_never_cached(tus: Tus) -> None:
    """Cache-Control: no-store is on every answer to HEAD, errors included."""
    for url in (tus.new(3), tus.upload(b"abc"), UNKNOWN):
        assert tus.head(url).headers["Cache-Control"] == "no-store"
    assert tus.head(UNKNOWN, {"Tus-Resumable": "0.2.2"}).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("url", BAD_IDS)
def test_an_unknown_upload_has_no_offset(server: Server, url: str) -> None:
    """HEAD of what does not exist, or could not exist, answers 404 without Upload-Offset and without a body."""
    server.tus.new(3)
    with server.unchanged():
        response = server.tus.head(url)
    refused(response, 404)
    assert "Upload-Offset" not in response.headers
    assert "Upload-Length" not in response.headers


def test_a_deferred_length_is_said_until_it_is_known(tus: Tus) -> None:
    """Upload-Defer-Length: 1 is on every HEAD while the length is unknown, and on no answer afterwards."""
    url = tus.new(headers=DEFERRED)
    for offset in (0, 3):
        shown = tus.head(url).headers
        assert shown["Upload-Defer-Length"] == "1"
        assert "Upload-Length" not in shown
        tus.patch(url, offset, b"abc")
    answers = [
        tus.patch(url, 6, b"def", {"Upload-Length": "12"}),
        tus.head(url),
        tus.patch(url, 9, b"ghi"),
        tus.head(url),
    ]
    assert [response.status_code for response in answers] == [204, 200, 204, 200]
    assert not [response for response in answers if "Upload-Defer-Length" in response.headers]


def test_a_known_length_is_never_called_deferred(tus: Tus) -> None:
    """No Upload-Defer-Length on an upload whose length was given at once."""
    created = tus.create(3)
    assert "Upload-Defer-Length" not in created.headers
    assert "Upload-Defer-Length" not in tus.head(tus.new(3)).headers


@pytest.mark.parametrize(
    "raw",
    [
        metadata(filename="world_domination_plan.pdf"),
        metadata(filename="grüße 🎉.pdf", filetype="application/pdf"),
        "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential",
        "z eg==,a YQ==,m bQ==",
        "binary //4=,zero AA==",
        "empty ,other YQ==",
        "a YQ== , b Yg==",
        "a YQ==,",
    ],
)
def test_metadata_comes_back_as_the_client_gave_it(tus: Tus, raw: str) -> None:
    """HEAD returns the very header of the creation: order, blanks, empty values and binary values included."""
    url = tus.new(3, {"Upload-Metadata": raw})
    assert tus.head(url).headers["Upload-Metadata"] == raw
    tus.patch(url, 0, b"abc")
    assert tus.head(url).headers["Upload-Metadata"] == raw


def test_no_metadata_no_header(tus: Tus) -> None:
    """An upload without metadata has no Upload-Metadata."""
    assert "Upload-Metadata" not in tus.head(tus.new(3)).headers


def test_content_length_is_not_the_uploads(tus: Tus) -> None:
    """HEAD describes the upload in Upload-Length only: Content-Length is absent or 0."""
    url = tus.new(1000)
    tus.patch(url, 0, b"x" * 10)
    assert tus.head(url).headers.get("Content-Length", "0") == "0"
    assert tus.head(tus.upload(b"abc")).headers.get("Content-Length", "0") == "0"


def test_an_unfinished_upload_says_when_it_expires(tus: Tus) -> None:
    """Upload-Expires is on HEAD of unfinished uploads, and of no others."""
    assert tus.head(tus.new(3)).headers["Upload-Expires"] == "Tue, 05 May 2026 12:00:00 GMT"
    assert "Upload-Expires" not in tus.head(tus.upload(b"abc")).headers


def test_head_writes_nothing(server: Server) -> None:
    """HEAD leaves every row, file and expiry as it is, whatever the state of the upload."""
    tus = server.tus
    part = tus.new(3, PARTIAL)
    urls = [tus.new(3), tus.upload(b"abc"), tus.new(headers=DEFERRED), part]
    urls.append(tus.new(headers=final(tus.part(b"abc"))))
    before = server.dump(), server.files(), list(server.hooks.calls)
    server.clock.advance(hours=1)
    for url in urls:
        assert tus.head(url).status_code == 200
    assert (server.dump(), server.files(), list(server.hooks.calls)) == before


def test_head_of_a_waiting_final_writes_nothing(server: Server) -> None:
    """Nor does it of a final upload that waits for its parts."""
    part = server.tus.new(3, PARTIAL)
    url = server.tus.new(headers=final(part))
    before = server.dump()
    assert server.tus.head(url).status_code == 200
    assert server.dump() == before


def test_a_head_during_a_patch_tells_what_has_come_and_does_not_stop_it(server: Server) -> None:
    """HEAD beside a request that is still sending: it is answered with all that has arrived, and that one goes on."""
    tus = server.tus
    url = tus.new(8)
    seen: list[int] = []
    body = Body(b"aaaa", lambda: seen.append(tus.offset(url)), b"aaaa")
    assert tus.patch(url, 0, body, announced=8).status_code == 204
    assert seen == [4]
    assert server.content(url) == b"aaaaaaaa"
