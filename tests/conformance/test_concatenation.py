"""tus 1.0, Concatenation. Finals that wait for their parts are in test_concatenation_unfinished.py."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from .server import EXPIRED
from .server import id_of
from .server import Serve
from .server import Server
from .tus_client import Body
from .tus_client import final
from .tus_client import metadata
from .tus_client import OCTETS
from .tus_client import PARTIAL
from .tus_client import refused
from .tus_client import UNKNOWN
from .tus_client import words


def test_concatenation_is_offered(server: Server) -> None:
    """concatenation is listed."""
    assert "concatenation" in words(server.tus.options().headers["Tus-Extension"])


def test_a_partial_upload_says_what_it_is(server: Server) -> None:
    """Upload-Concat: partial answers 201; HEAD repeats it beside the offset, at every stage."""
    tus = server.tus
    url = tus.new(6, PARTIAL)
    for offset, piece in ((0, b"abc"), (3, b"def"), (6, b"")):
        shown = tus.head(url).headers
        assert shown["Upload-Concat"] == "partial"
        assert shown["Upload-Offset"] == str(offset)
        assert shown["Upload-Length"] == "6"
        assert tus.patch(url, offset, piece).status_code == 204


@pytest.mark.parametrize("length", [None, 3])
def test_a_partial_upload_follows_the_rules_of_creation(server: Server, length: int | None) -> None:
    """Bytes may come with its creation, its length may be deferred, and some length must be said."""
    tus = server.tus
    headers: dict[str, str | None] = {**PARTIAL, "Content-Type": OCTETS}
    if length is None:
        with server.unchanged():
            refused(tus.create(None, headers, body=b"abc"), 400)
        headers["Upload-Defer-Length"] = "1"
    response = tus.create(length, headers, body=b"abc")
    assert response.status_code == 201
    assert response.headers["Upload-Offset"] == "3"


def test_an_ordinary_upload_has_no_concat(server: Server) -> None:
    """Without the header on creation there is none on HEAD."""
    assert "Upload-Concat" not in server.tus.head(server.tus.new(3)).headers


def test_a_partial_upload_is_no_finished_file(server: Server) -> None:
    """Parts call on_create, pre_save and post_save, but never on_complete."""
    tus = server.tus
    urls = [tus.part(b"abc"), tus.part(b"")]
    tus.patch(urls[0], 3)
    assert server.hooks.names(urls[0])[:3] == ["on_create", "pre_save", "post_save"]
    assert server.hooks.names(urls[1])[0] == "on_create"
    tus.new(headers=final(*urls))
    assert [server.hooks.count("on_complete", url) for url in urls] == [0, 0]


def test_a_final_upload_joins_its_parts_in_order(server: Server) -> None:
    """POST final answers 201 with Location; the file is the parts in list order, completed once."""
    tus = server.tus
    first, second, third = tus.part(b"hello"), tus.part(b" world"), tus.part(b"!")
    response = tus.create(headers=final(second, first, third))
    assert response.status_code == 201
    url = tus.endpoint + response.headers["Location"]
    assert url not in {first, second, third}
    assert server.finished(url).read_bytes() == b" worldhello!"
    assert tus.head(url).headers["Upload-Length"] == "12"
    names = server.hooks.names(url)
    assert names[0] == "on_create"
    assert names.count("on_complete") == 1
    (done,) = [call for call in server.hooks.calls if call.hook == "on_complete"]
    assert (done.offset, done.length) == (12, 12)
    assert "Upload-Expires" not in response.headers


def test_empty_parts_join_too(server: Server) -> None:
    """Parts without bytes add none; a final of only those is an empty file."""
    tus = server.tus
    empty, other = tus.part(b""), tus.part(b"abc")
    url = tus.new(headers=final(empty, other, empty))
    assert server.finished(url).read_bytes() == b"abc"
    nothing = tus.new(headers=final(empty, empty))
    assert server.finished(nothing).read_bytes() == b""
    assert server.hooks.count("on_complete") == 2


def test_large_parts_are_joined_exactly(server: Server) -> None:
    """Not a byte is lost where one part ends and the next begins."""
    pieces = [bytes([number]) * (300_000 + number) for number in range(4)]
    urls = [server.tus.part(piece) for piece in pieces]
    url = server.tus.new(headers=final(*urls))
    assert server.finished(url).read_bytes() == b"".join(pieces)


def test_terminating_a_final_leaves_its_parts(server: Server) -> None:
    """A final is a file of its own: either can be removed without the other."""
    tus = server.tus
    one, two = tus.part(b"abc"), tus.part(b"def")
    first, second = tus.new(headers=final(one, two)), tus.new(headers=final(two, one))
    assert tus.delete(first).status_code == 204
    assert tus.offset(one) == 3
    assert tus.delete(one).status_code == 204
    assert tus.offset(second) == 6
    assert server.finished(second).read_bytes() == b"defabc"


@pytest.mark.parametrize("headers", [{"Upload-Length": "6"}, {"Upload-Length": "0"}, {"Upload-Defer-Length": "1"}])
def test_a_final_upload_declares_no_length(server: Server, headers: dict[str, str | None]) -> None:
    """A length with final answers 400, also the right one: it follows from the parts."""
    tus = server.tus
    one, two = tus.part(b"abc"), tus.part(b"def")
    with server.unchanged(one, two):
        refused(tus.create(headers={**final(one, two), **headers}), 400)


def test_an_unknown_part_is_not_found(server: Server) -> None:
    """A list with a part that never was, or was terminated, answers 404 and creates nothing."""
    tus = server.tus
    known, gone = tus.part(b"abc"), tus.part(b"def")
    tus.delete(gone)
    for missing in (UNKNOWN, gone):
        with server.unchanged(known):
            refused(tus.create(headers=final(known, missing)), 404)


@pytest.mark.parametrize("kind", ["ordinary finished", "ordinary unfinished", "final"])
def test_what_is_no_part_is_refused(server: Server, kind: str) -> None:
    """Only uploads created as partial can be joined: others answer 400."""
    tus = server.tus
    piece = tus.part(b"abc")
    other = {
        "ordinary finished": lambda: tus.upload(b"def"),
        "ordinary unfinished": lambda: tus.new(3),
        "final": lambda: tus.new(headers=final(piece)),
    }[kind]()
    with server.unchanged(piece, other):
        refused(tus.create(headers=final(piece, other)), 400)


@pytest.mark.parametrize(
    "url", ["/etc/passwd", "../../etc/passwd", "file:///etc/passwd", "http://[::1", "http://localhost:9/", "\x00", "*"]
)
def test_what_is_no_upload_url_is_refused(server: Server, url: str) -> None:
    """Nothing is fetched or opened that is not an upload of this server."""
    piece = server.tus.part(b"abc")
    with server.unchanged(piece):
        response = server.tus.create(headers=final(piece, url))
    assert response.status_code in {400, 404}
    refused(response, response.status_code)


def test_urls_may_be_spelt_in_every_way(server: Server) -> None:
    """Absolute, absolute without host, and relative URLs name the same part."""
    tus = server.tus
    one, two = tus.part(b"abc"), tus.part(b"def")
    spellings = [one, urlsplit(one).path, id_of(one), f"./{id_of(one)}", f"../files/{id_of(one)}"]
    for spelling in spellings:
        url = tus.new(headers=final(spelling, two))
        assert server.finished(url).read_bytes() == b"abcdef"


def test_a_part_may_be_listed_twice(server: Server) -> None:
    """'a b a' is three pieces."""
    tus = server.tus
    one, two = tus.part(b"abc"), tus.part(b"de")
    url = tus.new(headers=final(one, two, one))
    assert server.finished(url).read_bytes() == b"abcdeabc"
    assert tus.head(url).headers["Upload-Length"] == "8"


def test_parts_may_be_used_again(server: Server) -> None:
    """Parts stay after a concatenation, unharmed, for another one."""
    tus = server.tus
    one, two = tus.part(b"abc"), tus.part(b"def")
    urls = [tus.new(headers=final(*order)) for order in ((one, two), (two, one), (one,))]
    assert [server.finished(url).read_bytes() for url in urls] == [b"abcdef", b"defabc", b"abc"]
    assert [tus.offset(one), tus.offset(two)] == [3, 3]
    assert len({server.finished(url).stat().st_ino for url in urls}) == 3


def test_parts_are_collected_late(server: Server) -> None:
    """A finished part stays until it expires, not longer; the files made of it stay for ever."""
    tus = server.tus
    one = tus.part(b"abc")
    url = tus.new(headers=final(one))
    server.cli("tus", "delete_expired")
    assert tus.offset(one) == 3
    server.clock.advance(**EXPIRED)
    refused(tus.head(one), 410)
    server.cli("tus", "delete_expired")
    assert server.files_of(one) == []
    assert tus.offset(url) == 3
    assert server.finished(url).read_bytes() == b"abc"


@pytest.mark.parametrize(
    "value",
    [
        "foo",
        "final",
        "final;",
        "final; ",
        "final;   ",
        " ",
        "",
        "partial;",
        "partial;x",
        "Partial",
        "FINAL;x",
        "finally;x",
        ";",
    ],
)
def test_a_malformed_header_is_refused(server: Server, value: str) -> None:
    """Anything but 'partial' and 'final;' with URLs answers 400; it never becomes an ordinary upload."""
    with server.unchanged():
        refused(server.tus.create(6, {"Upload-Concat": value}), 400)
        refused(server.tus.create(None, {"Upload-Concat": value}), 400)


def test_metadata_is_the_finals_own(server: Server) -> None:
    """A final has the metadata of its own creation; that of its parts is not passed on."""
    tus = server.tus
    pieces = [tus.upload(b"abc", {**PARTIAL, "Upload-Metadata": metadata(filename=name)}) for name in ("one", "two")]
    plain = tus.new(headers=final(*pieces))
    named = tus.new(headers={**final(*pieces), "Upload-Metadata": metadata(filename="whole")})
    assert "Upload-Metadata" not in tus.head(plain).headers
    assert tus.head(named).headers["Upload-Metadata"] == metadata(filename="whole")


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("offset", [0, 3, 6])
def test_a_final_upload_cannot_be_patched(server: Server, finished: bool, offset: int) -> None:
    """PATCH of a final answers 403 unread, and neither it nor its parts change."""
    tus = server.tus
    one, two = tus.part(b"abc"), tus.new(3, PARTIAL)
    if finished:
        tus.patch(two, 0, b"def")
    url = tus.new(headers=final(one, two))
    for content in (b"xyz", b""):
        body = Body(content)
        with server.unchanged(url, one, two):
            refused(tus.patch(url, offset, body, announced=len(content)), 403)
        assert body.reads == 0


def test_a_final_shows_the_list_as_received(server: Server) -> None:
    """HEAD repeats Upload-Concat to the letter; offset and length are equal."""
    tus = server.tus
    one, two = tus.part(b"abc"), tus.part(b"def")
    raw = f"final;{one} {urlsplit(two).path} {id_of(one)}"
    url = tus.new(headers={"Upload-Concat": raw})
    response = tus.head(url)
    assert response.status_code == 200
    assert response.headers["Upload-Concat"] == raw
    assert response.headers["Upload-Offset"] == response.headers["Upload-Length"] == "9"
    assert "Upload-Defer-Length" not in response.headers


@pytest.mark.parametrize("finished", [True, False])
def test_parts_beyond_the_maximum_are_not_joined(serve: Serve, finished: bool) -> None:
    """Parts that fit alone but not together answer 413 and create nothing."""
    server = serve(MAX_SIZE=10)
    tus = server.tus
    one = tus.part(b"abcdef")
    two = tus.part(b"ghijk") if finished else tus.new(5, PARTIAL)
    with server.unchanged(one, two):
        refused(tus.create(headers=final(one, two)), 413)
    assert tus.create(headers=final(one)).status_code == 201


def test_a_final_takes_no_body(server: Server) -> None:
    """Bytes with the creation of a final answer 403 unread, and nothing is created."""
    tus = server.tus
    one = tus.part(b"abc")
    body = Body(b"def")
    with server.unchanged(one):
        refused(tus.create(None, {**final(one), "Content-Type": OCTETS}, body=body, announced=3), 403)
    assert body.reads == 0


def test_an_empty_body_of_upload_content_is_no_body(server: Server) -> None:
    """Clients that always name the content type may join parts."""
    one = server.tus.part(b"abc")
    assert server.tus.create(None, {**final(one), "Content-Type": OCTETS}).status_code == 201


@pytest.mark.parametrize("value", ["partial", "final;/files/" + "0" * 32, "nonsense"])
@pytest.mark.parametrize("length", [None, 6])
def test_concatenation_switched_off_is_refused(serve: Serve, value: str, length: int | None) -> None:
    """Without the extension Upload-Concat answers 400: never an ordinary upload by mistake."""
    server = serve(DISABLED_EXTENSIONS=["concatenation"])
    with server.unchanged():
        refused(server.tus.create(length, {"Upload-Concat": value}), 400)
    assert "concatenation" not in words(server.tus.options().headers["Tus-Extension"])


@pytest.mark.parametrize("finished", [True, False])
def test_parts_of_others_do_not_exist(server: Server, finished: bool) -> None:
    """A list with somebody else's part answers 404, as for a part that never was, and changes nothing."""
    alice, bob = server.tus.with_headers(X_User="alice"), server.tus.with_headers(X_User="bob")
    theirs = alice.part(b"abc") if finished else alice.new(3, PARTIAL)
    mine = bob.part(b"def")
    rows = len(server.dump())
    answers = [bob.create(headers=final(mine, url)) for url in (theirs, UNKNOWN)]
    for response in answers:
        refused(response, 404)
    assert answers[0].text == answers[1].text
    assert len(server.dump()) == rows
    assert alice.head(theirs).headers["Upload-Offset"] == ("3" if finished else "0")


def test_the_example_of_the_specification(server: Server) -> None:
    """'hello' and ' world' become 'hello world'."""
    tus = server.tus
    one, two = tus.new(5, PARTIAL), tus.new(6, PARTIAL)
    tus.patch(one, 0, b"hello")
    tus.patch(two, 0, b" world")
    url = tus.new(headers=final(urlsplit(one).path, urlsplit(two).path))
    shown = tus.head(url).headers
    assert shown["Upload-Length"] == "11"
    assert shown["Upload-Concat"] == f"final;{urlsplit(one).path} {urlsplit(two).path}"
    assert server.finished(url).read_bytes() == b"hello world"
