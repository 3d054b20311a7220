"""tus 1.0, concatenation-unfinished: final uploads that wait for their parts."""

from __future__ import annotations

import pytest

from flask_resumable import UploadRejected

from .server import EXPIRED
from .server import id_of
from .server import Serve
from .server import Server
from .tus_client import DEFERRED
from .tus_client import final
from .tus_client import PARTIAL
from .tus_client import refused
from .tus_client import words

DEFERRED_PART = {**PARTIAL, **DEFERRED}


@pytest.mark.parametrize("unfinished", ["empty", "halfway", "deferred"])
def test_unfinished_parts_are_refused_where_not_offered(serve: Serve, unfinished: str) -> None:
    """Without concatenation-unfinished, a list with a part that is not complete answers 400 and creates nothing."""
    server = serve(DISABLED_EXTENSIONS=["concatenation-unfinished"])
    tus = server.tus
    done = tus.part(b"abc")
    other = tus.new(headers=DEFERRED_PART) if unfinished == "deferred" else tus.new(6, PARTIAL)
    if unfinished != "empty":
        tus.patch(other, 0, b"def")
    with server.unchanged(done, other):
        refused(tus.create(headers=final(done, other)), 400)
    assert tus.create(headers=final(done)).status_code == 201


def test_a_waiting_final_shows_no_offset(server: Server) -> None:
    """Before the concatenation there is no Upload-Offset, and Upload-Length as soon as every part has one."""
    tus = server.tus
    one, two = tus.new(3, PARTIAL), tus.new(headers=DEFERRED_PART)
    url = tus.new(headers=final(one, two))
    response = tus.head(url)
    assert response.status_code == 200
    assert "Upload-Offset" not in response.headers
    assert "Upload-Length" not in response.headers
    assert response.headers["Upload-Concat"] == f"final;{one} {two}"
    tus.patch(two, 0, b"d", {"Upload-Length": "4"})
    response = tus.head(url)
    assert response.headers["Upload-Length"] == "7"
    assert "Upload-Offset" not in response.headers


def test_joining_unfinished_parts_is_offered_because_it_works(server: Server) -> None:
    """concatenation-unfinished is listed by default."""
    assert "concatenation-unfinished" in words(server.tus.options().headers["Tus-Extension"])


@pytest.mark.parametrize("off", ["concatenation", "concatenation-unfinished"])
def test_it_is_not_offered_where_it_does_not_work(serve: Serve, off: str) -> None:
    """Switched off, alone or with all concatenation, it is not listed."""
    tus = serve(DISABLED_EXTENSIONS=[off]).tus
    assert "concatenation-unfinished" not in words(tus.options().headers["Tus-Extension"])


def test_a_final_waits_for_its_parts(server: Server) -> None:
    """A list with unfinished parts answers 201; the last byte of the last part completes the final, once."""
    tus = server.tus
    one, two = tus.new(3, PARTIAL), tus.new(3, PARTIAL)
    url = tus.new(headers=final(one, two))
    tus.patch(two, 0, b"def")
    tus.patch(one, 0, b"ab")
    assert not server.finished(url).exists()
    assert server.hooks.count("on_complete") == 0
    assert tus.patch(one, 2, b"c").status_code == 204
    assert server.finished(url).read_bytes() == b"abcdef"  # though nobody has asked for it yet
    assert [call.id for call in server.hooks.calls if call.hook == "on_complete"] == [id_of(url)]
    shown = tus.head(url).headers
    assert shown["Upload-Offset"] == shown["Upload-Length"] == "6"
    assert shown["Upload-Concat"] == f"final;{one} {two}"
    assert server.hooks.count("on_complete") == 1


def test_a_part_whose_length_was_open_completes_the_final(server: Server) -> None:
    """The final waits for a deferred length too, and for the empty PATCH that declares it."""
    tus = server.tus
    one, two = tus.part(b"abc"), tus.new(headers=DEFERRED_PART)
    url = tus.new(headers=final(one, two))
    tus.patch(two, 0, b"de")
    assert "Upload-Offset" not in tus.head(url).headers
    tus.patch(two, 2, b"", {"Upload-Length": "2"})
    assert tus.head(url).headers["Upload-Offset"] == "5"
    assert server.finished(url).read_bytes() == b"abcde"
    assert server.hooks.count("on_complete", url) == 1


def test_one_part_may_complete_several_finals(server: Server) -> None:
    """Every final that waited for a part is completed by it, also one that lists it twice."""
    tus = server.tus
    one, two = tus.part(b"abc"), tus.new(3, PARTIAL)
    urls = [tus.new(headers=final(*order)) for order in ((one, two), (two, one), (two, two))]
    tus.patch(two, 0, b"def")
    for url in urls:
        assert tus.head(url).headers["Upload-Offset"] == "6"
    assert [server.finished(url).read_bytes() for url in urls] == [b"abcdef", b"defabc", b"defdef"]
    assert [server.hooks.count("on_complete", url) for url in urls] == [1, 1, 1]


@pytest.mark.parametrize("refusal", [UploadRejected(415, "No."), RuntimeError()])
def test_what_becomes_of_the_final_is_not_told_to_the_part(server: Server, refusal: Exception) -> None:
    """Whatever on_complete thinks of the final, the client of the last part hears of its part: 204."""

    def fail(upload: object) -> None:
        raise refusal

    tus = server.tus
    one = tus.new(3, PARTIAL)
    url = tus.new(headers=final(one))
    server.hooks.during["on_complete"] = fail
    assert tus.patch(one, 0, b"abc").status_code == 204
    assert tus.offset(one) == 3
    del server.hooks.during["on_complete"]
    if isinstance(refusal, UploadRejected):
        refused(tus.head(url), 404)
        assert server.files_of(url) == []
    else:
        assert tus.head(url).headers["Upload-Offset"] == "3"
        assert server.finished(url).read_bytes() == b"abc"
        assert server.hooks.count("on_complete", url) == 2


@pytest.mark.parametrize("how", ["terminated", "expired"])
def test_a_final_whose_part_vanished_is_gone(server: Server, how: str) -> None:
    """When a part is terminated or expires before the final is joined, the final answers 410."""
    tus = server.tus
    one, two = tus.part(b"abc"), tus.new(3, PARTIAL)
    server.clock.advance(hours=12)
    url = tus.new(headers=final(one, two))
    if how == "terminated":
        tus.delete(two)
    else:
        server.clock.advance(hours=12, seconds=1)
        server.cli("tus", "delete_expired")
    response = tus.head(url)
    refused(response, 410)
    assert "Upload-Offset" not in response.headers
    assert not server.finished(url).exists()
    assert server.hooks.count("on_complete") == 0


def test_a_final_that_waits_for_ever_is_collected(server: Server) -> None:
    """A final nobody finishes is an unfinished upload: it expires, says so, and is removed."""
    tus = server.tus
    before = server.kept()
    created = tus.create(headers=final(tus.new(3, PARTIAL)))
    assert "Upload-Expires" in created.headers
    server.clock.advance(**EXPIRED)
    server.cli("tus", "delete_expired")
    assert server.kept() == before
    refused(tus.head(tus.endpoint + created.headers["Location"]), 404)


def test_a_waiting_final_can_be_terminated(server: Server) -> None:
    """DELETE of a waiting final answers 204; its parts finish as if it had never been."""
    tus = server.tus
    one = tus.new(3, PARTIAL)
    url = tus.new(headers=final(one))
    assert tus.delete(url).status_code == 204
    assert tus.patch(one, 0, b"abc").status_code == 204
    assert tus.head(url).status_code == 404
    assert server.hooks.count("on_complete") == 0
