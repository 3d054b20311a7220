"""tus 1.0, PATCH: how a body may arrive, stop, and meet another request.

A server's socket is played by an object here; real servers and real sockets are in tests/live.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from werkzeug.exceptions import ClientDisconnected

from .server import id_of
from .server import Server
from .tus_client import Body
from .tus_client import checksum
from .tus_client import final
from .tus_client import interrupted
from .tus_client import OCTETS
from .tus_client import refused
from .tus_client import Tus
from .tus_client import UNKNOWN

FIN = b""  # gunicorn and cheroot: a body that just ends
CUTS: dict[str, bytes | Exception] = {
    "fin": FIN,
    "reset": ConnectionResetError(104, "Connection reset by peer"),
    "broken pipe": BrokenPipeError(32, "Broken pipe"),
    "werkzeug": ClientDisconnected(),
    "oserror": OSError("read error"),
}
CHUNKED_CUTS: dict[str, bytes | Exception] = {
    **{name: cut for name, cut in CUTS.items() if name != "fin"},
    "cheroot": ValueError("bad chunk"),
}


@pytest.mark.parametrize("cut", CUTS)
def test_what_arrived_before_a_cut_is_kept(server: Server, cut: str) -> None:
    """A body that ends before its Content-Length is told to resume, and HEAD offers every byte that arrived."""
    url = server.tus.new(1000)
    server.tus.patch(url, 0, b"a" * 100)
    interrupted(server.tus.patch(url, 100, Body(b"b" * 300, CUTS[cut]), announced=900), 400)
    assert server.tus.offset(url) == 400
    assert server.content(url) == b"a" * 100 + b"b" * 300
    assert server.tus.patch(url, 400, b"c" * 600).status_code == 204
    assert server.finished(url).read_bytes() == b"a" * 100 + b"b" * 300 + b"c" * 600
    assert server.hooks.count("on_complete") == 1


@pytest.mark.parametrize("cut", CHUNKED_CUTS)
def test_what_arrived_before_a_cut_chunked_body_is_kept(server: Server, cut: str) -> None:
    """A chunked body that breaks off is no different."""
    url = server.tus.new(1000)
    interrupted(server.tus.patch(url, 0, Body(b"b" * 400, CHUNKED_CUTS[cut]), chunked=True), 400)
    assert server.tus.offset(url) == 400
    assert server.content(url) == b"b" * 400


def test_a_cut_before_the_first_byte_changes_nothing(server: Server) -> None:
    """A client that leaves at once leaves the upload as it was."""
    url = server.tus.new(1000)
    before = server.state(url)
    interrupted(server.tus.patch(url, 0, Body(), announced=1000), 0)
    assert server.state(url) == before


def test_a_cut_in_the_answer_to_the_last_byte_completes(server: Server) -> None:
    """When every byte arrived, a broken connection is no reason not to complete."""
    url = server.tus.new(4)
    server.tus.patch(url, 0, Body(b"abcd", ConnectionResetError()), announced=4)
    assert server.tus.offset(url) == 4
    assert server.finished(url).read_bytes() == b"abcd"
    assert server.hooks.count("on_complete") == 1


@pytest.mark.parametrize("end", [SystemExit(1), KeyboardInterrupt()])
def test_a_worker_that_is_told_to_go_keeps_what_arrived(server: Server, end: BaseException) -> None:
    """gunicorn ends a worker by SystemExit in the middle of a read: the bytes before it are kept."""
    url = server.tus.new(1000)
    with pytest.raises(type(end)):
        server.tus.patch(url, 0, Body(b"a" * 400, end), announced=1000)
    assert server.tus.offset(url) == 400
    assert server.content(url) == b"a" * 400
    assert server.tus.patch(url, 400, b"b" * 600).status_code == 204


@pytest.mark.parametrize("stall", [TimeoutError("timed out"), TimeoutError()])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_stalled_body_is_given_up(server: Server, stall: TimeoutError, chunked: bool) -> None:
    """When a read times out the body ends there: what arrived is kept, and the client is told to resume."""
    url = server.tus.new(1000)
    response = server.tus.patch(url, 0, Body(b"a" * 400, stall), announced=1000, chunked=chunked)
    interrupted(response, 400)
    assert server.tus.offset(url) == 400
    assert server.content(url) == b"a" * 400


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("newer", [b"bb", b"bbbb"])
def test_the_newest_patch_wins_from_where_the_older_has_got_to(server: Server, newer: bytes, chunked: bool) -> None:
    """A PATCH that goes on where an older one is is applied at once; the older answers 423 and stores nothing more."""
    tus = server.tus
    url = tus.new(8)
    answers = []
    body = Body(b"aaaa", lambda: answers.append(tus.patch(url, tus.offset(url), newer)), b"aaaa")
    refused(tus.patch(url, 0, body, announced=8, chunked=chunked), 423)
    assert [response.status_code for response in answers] == [204]
    offset = tus.offset(url)
    assert offset == 4 + len(newer)
    assert server.content(url) == b"aaaa" + newer
    tus.patch(url, offset, b"bbbbbbbb"[offset:])
    assert server.finished(url).read_bytes() == b"aaaabbbb"
    assert server.hooks.count("on_complete") == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_a_patch_behind_the_older_one_is_too_late(server: Server, chunked: bool) -> None:
    """What the older one has received counts, though it is not saved yet: the newer is told, and stops nobody."""
    tus = server.tus
    url = tus.new(4)
    answers = []
    body = Body(b"aa", lambda: answers.append(tus.patch(url, 0, b"bbbb")), b"aa")
    assert tus.patch(url, 0, body, announced=4, chunked=chunked).status_code == 204
    assert [(response.status_code, response.headers["Upload-Offset"]) for response in answers] == [(409, "2")]
    assert server.finished(url).read_bytes() == b"aaaa"
    assert server.hooks.count("on_complete") == 1


def test_of_patches_that_take_over_from_each_other_every_byte_counts(server: Server) -> None:
    """However many requests pile up, each goes on where the one before has got to."""
    tus = server.tus
    url = tus.new(6)
    statuses = []
    second = Body(b"bb", lambda: statuses.append(tus.patch(url, 4, b"cc").status_code), b"bb")
    first = Body(b"aa", lambda: statuses.append(tus.patch(url, 2, second, announced=4).status_code), b"aaaa")
    statuses.append(tus.patch(url, 0, first, announced=6).status_code)
    assert statuses == [204, 423, 423]
    assert server.finished(url).read_bytes() == b"aabbcc"
    assert server.hooks.count("on_complete") == 1


@pytest.mark.parametrize("content", [b"abcdef", b"abc", b""])
def test_a_chunked_body_is_taken(server: Server, content: bytes) -> None:
    """Without Content-Length the body counts as it arrives, where the server marks its end."""
    url = server.tus.new(6)
    response = server.tus.patch(url, 0, Body(content[:2], content[2:]), chunked=True)
    assert response.status_code == 204
    assert response.headers["Upload-Offset"] == str(len(content))
    assert server.content(url) == content


@pytest.mark.parametrize("mark", [None, False])
def test_a_chunked_body_that_cannot_be_delivered_is_refused(server: Server, mark: bool | None) -> None:
    """Where the WSGI server does not mark the end of a body, a chunked PATCH answers 411 instead of a false 204."""
    url = server.tus.new(6)
    with server.unchanged(url):
        response = server.tus.patch(url, 0, b"abc", chunked=True, environ={"wsgi.input_terminated": mark})
    refused(response, 411)


def test_a_chunked_creation_that_cannot_be_delivered_is_refused(server: Server) -> None:
    """The same holds for bytes in the creation; nothing is created."""
    with server.unchanged():
        response = server.tus.create_with(b"abc", 6, chunked=True, environ={"wsgi.input_terminated": None})
    refused(response, 411)


def test_no_length_and_no_encoding_is_an_empty_body(server: Server) -> None:
    """HTTP says so; the answer is the one to an empty chunk."""
    url = server.tus.new(6)
    response = server.tus.patch(url, 0, b"", environ={"CONTENT_LENGTH": None})
    assert response.status_code == 204
    assert response.headers["Upload-Offset"] == "0"


Refusal = Callable[[Tus, Body], int]


def _not_found(tus: Tus, body: Body) -> int:
    return tus.patch(UNKNOWN, 0, body, announced=3).status_code


def _wrong_offset(tus: Tus, body: Body) -> int:
    return tus.patch(tus.new(9), 4, body, announced=3).status_code


def _wrong_version(tus: Tus, body: Body) -> int:
    return tus.patch(tus.new(9), 0, body, {"Tus-Resumable": "0.2.2"}, announced=3).status_code


def _too_large(tus: Tus, body: Body) -> int:
    return tus.patch(tus.new(2), 0, body, announced=3).status_code


def _wrong_type(tus: Tus, body: Body) -> int:
    return tus.patch(tus.new(9), 0, body, {"Content-Type": "text/plain"}, announced=3).status_code


def _final_upload(tus: Tus, body: Body) -> int:
    part = tus.part(b"abc")
    return tus.patch(tus.new(headers=final(part)), 3, body, announced=3).status_code


def _unknown_checksum(tus: Tus, body: Body) -> int:
    return tus.patch(tus.new(9), 0, body, {"Upload-Checksum": "sha3 AAAA"}, announced=3).status_code


def _creation_too_large(tus: Tus, body: Body) -> int:
    return tus.create_with(body, 2, announced=3).status_code


def _creation_without_length(tus: Tus, body: Body) -> int:
    return tus.create(None, {"Content-Type": OCTETS}, body=body, announced=3).status_code


def _creation_with_bad_checksum(tus: Tus, body: Body) -> int:
    return tus.create_with(body, 9, {"Upload-Checksum": checksum(b"abc")[:-4]}, announced=3).status_code


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (_not_found, 404),
        (_wrong_offset, 409),
        (_wrong_version, 412),
        (_too_large, 413),
        (_wrong_type, 415),
        (_final_upload, 403),
        (_unknown_checksum, 400),
        (_creation_too_large, 413),
        (_creation_without_length, 400),
        (_creation_with_bad_checksum, 400),
    ],
)
def test_refusals_are_decided_before_the_body_is_read(tus: Tus, refusal: Refusal, status: int) -> None:
    """No byte of a body is read for an answer that its headers decide."""
    body = Body(b"abc")
    assert refusal(tus, body) == status
    assert body.reads == 0


def test_an_expired_upload_is_refused_before_the_body_is_read(server: Server) -> None:
    """The same for 410."""
    url = server.tus.new(9)
    server.clock.advance(days=2)
    body = Body(b"abc")
    refused(server.tus.patch(url, 0, body, announced=3), 410)
    assert body.reads == 0


def _spoil_folder(folder: Path) -> None:
    (folder / ".partial").rename(folder / "elsewhere")
    (folder / ".partial").write_text("not a folder")


def test_storage_that_cannot_be_reached_is_a_503(server: Server) -> None:
    """When the folder is unusable the answer is 503 and the offset stays; once it is back the client goes on."""
    tus = server.tus
    url = tus.new(6)
    tus.patch(url, 0, b"abc")
    _spoil_folder(server.folder)
    refused(tus.patch(url, 3, b"def"), 503)
    (server.folder / ".partial").unlink()
    (server.folder / "elsewhere").rename(server.folder / ".partial")
    assert tus.offset(url) == 3
    assert tus.patch(url, 3, b"def").status_code == 204
    assert server.finished(url).read_bytes() == b"abcdef"


def test_a_write_that_fails_midway_keeps_what_is_durable(server: Server) -> None:
    """When the disk refuses in the middle of a body the answer is 5xx, and the offset is a true prefix."""
    tus = server.tus
    content = bytes(range(256)) * 4096
    url = tus.new(len(content))
    tus.patch(url, 0, content[:100_000])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
    try:
        response = tus.patch(url, 100_000, content[100_000:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert response.status_code in {503, 507}
    refused(response, response.status_code)
    offset = tus.offset(url)
    assert 100_000 <= offset <= 400_000
    assert server.content(url) == content[:offset]
    assert tus.patch(url, offset, content[offset:]).status_code == 204
    assert server.finished(url).read_bytes() == content


def test_a_full_disk_is_a_507(server: Server) -> None:
    """ENOSPC answers 507; the upload stays where it was, and goes on when there is room again."""
    tus = server.tus
    url = tus.new(6)
    part = server.folder / ".partial" / f"{id_of(url)}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.symlink_to("/dev/full")
    refused(tus.patch(url, 0, b"abc"), 507)
    part.unlink()
    assert tus.offset(url) == 0
    assert tus.patch(url, 0, b"abcdef").status_code == 204
    assert server.finished(url).read_bytes() == b"abcdef"


def test_bytes_that_the_disk_lost_are_asked_for_again(server: Server) -> None:
    """When the unfinished file is gone, the next PATCH is told the offset that is true now, and the client goes on."""
    tus = server.tus
    url = tus.new(6)
    tus.patch(url, 0, b"abc")
    (part,) = server.folder.rglob("*.part")
    part.unlink()
    interrupted(tus.patch(url, 3, b"def"), 0)
    assert tus.offset(url) == 0
    assert tus.patch(url, 0, b"abcdef").status_code == 204
    assert server.finished(url).read_bytes() == b"abcdef"
