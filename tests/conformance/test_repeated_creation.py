"""A creation that comes again, because its answer was lost or late, finds what the first one has made."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any
from urllib.parse import urljoin

import pytest
from werkzeug.test import TestResponse

from flask_resumable import UploadRejected
from flask_resumable.service import repeats as repeating
from tests.dead import leave_claim

from .server import EXPIRED
from .server import Serve
from .server import Server
from .tus_client import Body
from .tus_client import checksum
from .tus_client import DEFERRED
from .tus_client import EndlessBody
from .tus_client import final
from .tus_client import Headers
from .tus_client import metadata
from .tus_client import OCTETS
from .tus_client import PARTIAL
from .tus_client import refused
from .tus_client import Tus
from .tus_client import words

KEY = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
CONTENT = b"abcdefghij"


def url_of(tus: Tus, response: TestResponse) -> str:
    """Where the upload is that a creation was answered with."""
    assert response.status_code == 201, response.text
    return urljoin(tus.endpoint, response.headers["Location"])


def fail(upload: object) -> None:
    """A hook of the app that breaks down."""
    raise RuntimeError


def refuse(upload: object) -> None:
    """A hook of the app that does not want the file."""
    raise UploadRejected(415, "Not this one.")


# What a client may send, and send again: one request that makes a whole upload.


def send_final(server: Server) -> Callable[[], TestResponse]:
    """The last request of tus-js-client with parallelUploads."""
    parts = [server.tus.part(CONTENT[:4]), server.tus.part(CONTENT[4:])]
    server.hooks.calls.clear()
    return lambda: server.tus.create(headers={**final(*parts), "Upload-Metadata": metadata(filename="whole")})


def send_whole(server: Server) -> Callable[[], TestResponse]:
    """A whole file in one request, with a key."""
    return lambda: server.tus.create_with(CONTENT, len(CONTENT), KEY)


def send_empty(server: Server) -> Callable[[], TestResponse]:
    """A file without content, with a key."""
    return lambda: server.tus.create(0, KEY)


whichever = pytest.mark.parametrize("request_of", [send_final, send_whole, send_empty])
RequestOf = Callable[[Server], Callable[[], TestResponse]]


@whichever
def test_a_repeated_creation_finds_the_first(server: Server, request_of: RequestOf) -> None:
    """Every answer is that of the first; hooks were called for the first alone, and there is one file."""
    send = request_of(server)
    first, *others = [send() for _ in range(3)]
    url = url_of(server.tus, first)
    for response in others:
        assert (response.status_code, dict(response.headers)) == (201, dict(first.headers))
    expected = b"" if request_of is send_empty else CONTENT
    assert server.finished(url).read_bytes() == expected
    assert server.hooks.count("on_create") == server.hooks.count("on_complete") == 1
    assert server.hooks.count("pre_save") == (1 if request_of is send_whole else 0)
    assert len([name for name in server.files() if "/" not in name]) == 1


@whichever
def test_while_the_first_is_being_finished_the_others_wait(server: Server, request_of: RequestOf) -> None:
    """While on_complete runs no other answer comes; then all are the same, and the hook has run once."""
    send = request_of(server)
    others: list[Future[TestResponse]] = []
    with ThreadPoolExecutor(3) as elsewhere:

        def finish(upload: Any) -> None:
            others.extend(elsewhere.submit(send) for _ in range(3))
            time.sleep(0.5)
            assert not any(other.done() for other in others)

        server.hooks.during["on_complete"] = finish
        url = url_of(server.tus, send())
        assert {url_of(server.tus, other.result()) for other in others} == {url}
    assert server.hooks.count("on_create") == server.hooks.count("on_complete") == 1


@whichever
def test_a_wait_has_an_end(server: Server, request_of: RequestOf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first request that takes too long: the others are told to come again, as clients do on 423."""
    monkeypatch.setattr(repeating, "PATIENCE", 0.2)
    send = request_of(server)
    answers: list[TestResponse] = []

    def finish(upload: Any) -> None:
        with ThreadPoolExecutor(1) as elsewhere:
            answers.append(elsewhere.submit(send).result())

    server.hooks.during["on_complete"] = finish
    first = send()
    refused(answers[0], 423)
    assert answers[0].headers["Retry-After"] == "1"
    assert url_of(server.tus, send()) == url_of(server.tus, first)
    assert server.hooks.count("on_complete") == 1


@whichever
def test_while_on_create_decides_the_others_wait(server: Server, request_of: RequestOf) -> None:
    """A request that comes during on_create does not ask the app a second time."""
    send = request_of(server)
    others: list[Future[TestResponse]] = []
    with ThreadPoolExecutor(1) as elsewhere:

        def create(upload: Any) -> None:
            others.append(elsewhere.submit(send))
            time.sleep(0.3)
            assert not others[0].done()

        server.hooks.during["on_create"] = create
        url = url_of(server.tus, send())
        assert url_of(server.tus, others[0].result()) == url
    assert server.hooks.count("on_create") == server.hooks.count("on_complete") == 1


@whichever
def test_creations_at_the_same_moment_make_one_upload(server: Server, request_of: RequestOf) -> None:
    """However close together they come, they get one upload."""
    send = request_of(server)
    with ThreadPoolExecutor(6) as pool:
        answers = [*pool.map(lambda _: send(), range(12))]
    assert len({url_of(server.tus, answer) for answer in answers}) == 1
    assert server.hooks.count("on_create") == server.hooks.count("on_complete") == 1


@whichever
def test_a_completion_that_failed_is_made_up_for(server: Server, request_of: RequestOf) -> None:
    """The upload whose on_complete failed is finished by the next of the same requests."""
    send = request_of(server)
    server.hooks.during["on_complete"] = fail
    assert send().status_code == 500
    assert send().status_code == 500
    del server.hooks.during["on_complete"]
    url = url_of(server.tus, send())
    assert server.tus.head(url).headers["Upload-Length"] == str(server.finished(url).stat().st_size)
    assert server.hooks.count("on_create") == 1
    assert server.hooks.count("on_complete", url) == 3


@whichever
@pytest.mark.parametrize("hook", ["on_create", "on_complete"])
def test_what_was_refused_is_asked_about_again(server: Server, request_of: RequestOf, hook: str) -> None:
    """A refusal leaves nothing behind, the key included: the app may think otherwise the next time."""
    send = request_of(server)
    server.hooks.during[hook] = refuse
    for _ in range(2):
        refused(send(), 415)
    assert server.hooks.count(hook) == 2
    del server.hooks.during[hook]
    url = url_of(server.tus, send())
    assert server.hooks.count("on_complete", url) == 1


@whichever
def test_a_removed_upload_is_not_found_again(server: Server, request_of: RequestOf) -> None:
    """After DELETE, the same request makes another upload."""
    send = request_of(server)
    first = url_of(server.tus, send())
    assert server.tus.delete(first).status_code == 204
    second = url_of(server.tus, send())
    assert second != first
    assert server.hooks.count("on_complete") == 2


# --- final uploads ---


def test_a_final_is_found_when_its_parts_are_gone(server: Server) -> None:
    """What was made of parts that have expired since is still the answer to the request that made it."""
    send = send_final(server)
    first = send()
    server.clock.advance(**EXPIRED)
    server.cli("tus", "delete_expired")
    assert url_of(server.tus, send()) == url_of(server.tus, first)
    server.tus.delete(url_of(server.tus, first))
    refused(send(), 404)


def test_a_final_that_waits_for_its_parts_is_found(server: Server) -> None:
    """A final whose parts are still on their way is found at once, and finished once."""
    tus = server.tus
    one, two = tus.new(4, PARTIAL), tus.part(CONTENT[4:])
    urls = {tus.new(headers=final(one, two)) for _ in range(3)}
    assert tus.patch(one, 0, CONTENT[:4]).status_code == 204
    assert {tus.new(headers=final(one, two))} == urls
    assert server.finished(urls.pop()).read_bytes() == CONTENT
    assert server.hooks.count("on_complete") == 1


def test_a_final_that_expired_is_not_found(server: Server) -> None:
    """A final that has waited in vain is no answer, whether it has been removed yet or not."""
    tus = server.tus
    waiting = tus.new(headers=final(tus.new(4, PARTIAL)))
    server.clock.advance(**EXPIRED)
    refused(tus.create(headers=final(tus.new(4, PARTIAL), waiting)), 410)
    one, two = tus.new(4, PARTIAL), tus.part(b"b")
    server.clock.advance(hours=12)
    first = tus.new(headers=final(one, two))
    assert tus.new(headers=final(one, two)) == first


@pytest.mark.parametrize("spelling", ["path", "id", "absolute"])
def test_the_parts_of_a_final_may_be_spelt_in_other_words(server: Server, spelling: str) -> None:
    """The same parts are the same upload, whatever their URLs look like."""
    tus = server.tus
    part = tus.part(CONTENT)
    spelled = {
        "path": part.removeprefix(tus.root),
        "id": part.rpartition("/")[2],
        "absolute": "https://x.example" + part[16:],
    }
    assert tus.new(headers=final(part)) == tus.new(headers=final(spelled[spelling]))


def test_other_finals_of_the_same_parts_are_uploads_of_their_own(server: Server) -> None:
    """Another order, another number of times, other metadata: another file."""
    tus = server.tus
    one, two = tus.part(b"abc"), tus.part(b"def")
    wishes: list[Headers] = [
        final(one, two),
        final(two, one),
        final(one, two, one),
        {**final(one, two), "Upload-Metadata": metadata(filename="a")},
        {**final(one, two), "Upload-Metadata": metadata(filename="b")},
    ]
    assert len({tus.new(headers=wish) for wish in wishes}) == len(wishes)


def test_a_final_of_somebody_else_is_not_found(server: Server) -> None:
    """Whose parts they are not learns nothing of the upload made of them."""
    alice, bob = server.tus.with_headers(X_User="alice"), server.tus.with_headers(X_User="bob")
    part = alice.part(CONTENT)
    alice.new(headers=final(part))
    refused(bob.create(headers=final(part)), 404)


def test_a_repeated_final_takes_no_content(server: Server) -> None:
    """Bytes with a final are refused, the second time as well as the first."""
    part = server.tus.part(b"abc")
    server.tus.new(headers=final(part))
    refused(server.tus.create_with(b"x", 0, {**final(part), "Upload-Length": None}), 403)


# --- whole files in one request ---


@pytest.mark.parametrize("pieces", [(CONTENT,), (CONTENT[:3], CONTENT[3:]), (CONTENT[:3], OSError("cut"))])
@pytest.mark.parametrize("chunked", [False, True])
def test_content_that_is_there_is_read_and_dropped(
    server: Server, pieces: tuple[bytes | OSError, ...], chunked: bool
) -> None:
    """A client may hear no answer before it has sent all; nothing of it is stored again."""
    first = server.tus.create_with(CONTENT, len(CONTENT), KEY)
    url = url_of(server.tus, first)
    with server.unchanged(url):
        body = Body(*pieces)
        again = server.tus.create_with(body, 10, KEY, announced=None if chunked else 10, chunked=chunked)
    assert url_of(server.tus, again) == url
    assert again.headers["Upload-Offset"] == str(len(CONTENT))
    assert body.taken == sum(len(piece) for piece in pieces if isinstance(piece, bytes))


def test_content_without_end_is_not_read_for_ever(server: Server) -> None:
    """What goes on past the end of the upload is left alone."""
    url = url_of(server.tus, server.tus.create_with(CONTENT, len(CONTENT), KEY))
    body = EndlessBody()
    assert url_of(server.tus, server.tus.create_with(body, len(CONTENT), KEY, chunked=True)) == url
    assert body.taken < body.PATIENCE


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("cut", [0, 1, 4, 9])
def test_a_file_that_was_cut_is_completed_by_the_same_request(server: Server, cut: int, chunked: bool) -> None:
    """The content comes from the start again: what is there is skipped, the rest is added."""
    announced = None if chunked else len(CONTENT)
    first = server.tus.create_with(
        Body(CONTENT[:cut], OSError("cut")), len(CONTENT), KEY, announced=announced, chunked=chunked
    )
    again = server.tus.create_with(CONTENT, len(CONTENT), KEY, chunked=chunked)
    url = url_of(server.tus, again)
    assert url == url_of(server.tus, first)
    assert again.headers["Upload-Offset"] == str(len(CONTENT))
    assert server.finished(url).read_bytes() == CONTENT
    assert server.hooks.count("on_create") == server.hooks.count("on_complete") == 1


def test_a_file_that_is_cut_again_and_again_gets_on(server: Server) -> None:
    """What one request has brought further than the others is kept, whatever lengths they reach."""
    kept = 0
    for cut in (2, 5, 3, 1, 7):
        response = server.tus.create_with(Body(CONTENT[:cut], OSError("cut")), 10, KEY, announced=10)
        kept = max(kept, cut)
        assert response.headers["Upload-Offset"] == str(kept)
    url = url_of(server.tus, server.tus.create_with(Body(CONTENT[:4], CONTENT[4:]), 10, KEY, announced=10))
    assert server.finished(url).read_bytes() == CONTENT
    assert server.hooks.count("on_complete") == 1


def test_the_client_may_go_on_with_patch_instead(server: Server) -> None:
    """After a repeated request that was cut too, its offset is where a PATCH begins."""
    for cut in (2, 5):
        response = server.tus.create_with(Body(CONTENT[:cut], OSError("cut")), 10, KEY, announced=10)
    url = url_of(server.tus, response)
    assert server.tus.patch(url, int(response.headers["Upload-Offset"]), CONTENT[5:]).status_code == 204
    again = server.tus.create_with(CONTENT, 10, KEY)
    assert (url_of(server.tus, again), again.headers["Upload-Offset"]) == (url, "10")
    assert server.finished(url).read_bytes() == CONTENT


def test_a_first_request_that_hangs_is_taken_over(server: Server) -> None:
    """Whoever sends the content again does not wait for the connection that was given up."""
    answers: list[TestResponse] = []
    taken, done = Event(), Event()

    def hang() -> None:
        taken.set()
        assert done.wait(20)

    def send() -> TestResponse:
        return server.tus.create_with(Body(CONTENT[:4], b"", hang, CONTENT[4:]), 10, KEY, announced=10)

    with ThreadPoolExecutor(1) as elsewhere:
        first = elsewhere.submit(send)
        assert taken.wait(20)
        answers.append(server.tus.create_with(CONTENT, 10, KEY))
        done.set()
        answers.append(first.result())
    (url,) = {url_of(server.tus, answer) for answer in answers}
    assert answers[0].headers["Upload-Offset"] == "10"
    assert server.finished(url).read_bytes() == CONTENT
    assert server.hooks.count("on_create") == server.hooks.count("on_complete") == 1


def test_an_upload_that_is_removed_under_its_creation_does_not_come_back(server: Server) -> None:
    """DELETE while the content of a repeated request comes in: the rest of the content makes no upload."""
    tus = server.tus
    url = url_of(tus, tus.create_with(Body(CONTENT[:4], OSError("cut")), 10, KEY, announced=10))

    def remove() -> None:
        with ThreadPoolExecutor(1) as elsewhere:
            assert elsewhere.submit(tus.delete, url).result().status_code == 204

    refused(tus.create_with(Body(CONTENT[:6], remove, CONTENT[6:]), 10, KEY, announced=10), 423)
    assert server.kept() == (0, {})


def test_the_first_bytes_of_a_file_are_repeated(server: Server) -> None:
    """A request that brings the beginning only is answered with it; a later one with what is there by then."""
    tus = server.tus
    first = tus.create_with(CONTENT[:4], 10, KEY)
    url = url_of(tus, first)
    assert tus.create_with(CONTENT[:4], 10, KEY).headers["Upload-Offset"] == "4"
    tus.patch(url, 4, CONTENT[4:7])
    assert tus.create_with(CONTENT[:4], 10, KEY).headers["Upload-Offset"] == "7"
    tus.patch(url, 7, CONTENT[7:])
    assert server.finished(url).read_bytes() == CONTENT


@pytest.mark.parametrize("sent", [checksum(CONTENT), checksum(CONTENT, "crc32")])
def test_a_checksum_holds_for_the_repeated_content_too(server: Server, sent: str) -> None:
    """Of guarded content that was cut nothing is kept; it is verified as a whole when it comes again."""
    guarded = {**KEY, "Upload-Checksum": sent}
    first = server.tus.create_with(Body(CONTENT[:4], OSError("cut")), 10, guarded, announced=10)
    assert first.headers["Upload-Offset"] == "0"
    refused(server.tus.create_with(CONTENT[::-1], 10, guarded), 460)
    again = server.tus.create_with(CONTENT, 10, guarded)
    assert url_of(server.tus, again) == url_of(server.tus, first)
    assert server.finished(url_of(server.tus, again)).read_bytes() == CONTENT


def test_a_checksum_of_the_whole_is_not_held_against_a_rest(server: Server) -> None:
    """If there is a beginning that was not guarded, the client learns where to go on, and nothing is lost."""
    first = server.tus.create_with(Body(CONTENT[:4], OSError("cut")), 10, KEY, announced=10)
    again = server.tus.create_with(CONTENT, 10, {**KEY, "Upload-Checksum": checksum(CONTENT)})
    assert again.headers["Upload-Offset"] == "4"
    assert server.tus.patch(url_of(server.tus, first), 4, CONTENT[4:]).status_code == 204


def test_what_does_not_match_its_checksum_leaves_nothing(server: Server) -> None:
    """A first request that is refused for its content is none: the next one with the key begins anew."""
    refused(server.tus.create_with(b"x" * 10, 10, {**KEY, "Upload-Checksum": checksum(CONTENT)}), 460)
    assert server.dump() == []
    server.tus.create_with(CONTENT, 10, {**KEY, "Upload-Checksum": checksum(CONTENT)})
    assert server.hooks.count("on_complete") == 1


def test_content_past_the_end_is_refused_however_often(server: Server) -> None:
    """A repeated request whose content is longer than the upload is too large, as the first was."""
    server.tus.create_with(Body(CONTENT[:4], OSError("cut")), 10, KEY, announced=10)
    refused(server.tus.create_with(CONTENT + b"x", 10, KEY), 413)
    again = server.tus.create_with(CONTENT, 10, KEY)
    assert server.finished(url_of(server.tus, again)).read_bytes() == CONTENT


def test_a_deferred_length_may_be_declared_meanwhile(server: Server) -> None:
    """The request that did not know the length finds the upload after its length was declared."""
    tus = server.tus
    first = tus.create(headers={**DEFERRED, **KEY})
    url = url_of(tus, first)
    assert url_of(tus, tus.create(headers={**DEFERRED, **KEY})) == url
    tus.patch(url, 0, CONTENT, {"Upload-Length": "10"})
    assert url_of(tus, tus.create(headers={**DEFERRED, **KEY})) == url


def test_a_creation_without_content_is_repeated(server: Server) -> None:
    """A client that did not hear the first URL gets it, and sends to it."""
    tus = server.tus
    assert tus.new(10, KEY) == (url := tus.new(10, KEY))
    assert "Upload-Offset" not in tus.create(10, KEY).headers
    tus.patch(url, 0, CONTENT)
    assert tus.new(10, KEY) == url
    assert server.hooks.count("on_create") == 1


@pytest.mark.parametrize("removed", [False, True])
def test_a_key_lives_as_long_as_its_upload(server: Server, removed: bool) -> None:
    """Once the upload has expired the key makes another one, whether the old one was removed yet or not."""
    first = server.tus.new(10, KEY)
    server.clock.advance(**EXPIRED)
    if removed:
        server.cli("tus", "delete_expired")
    second = url_of(server.tus, server.tus.create_with(CONTENT, 10, KEY))
    assert second != first
    assert server.finished(second).read_bytes() == CONTENT
    server.cli("tus", "delete_expired")
    server.clock.advance(days=4000)
    assert url_of(server.tus, server.tus.create_with(CONTENT, 10, KEY)) == second


@pytest.mark.parametrize(
    ("length", "headers"),
    [
        (11, {}),
        (10, {"Upload-Metadata": metadata(filename="other")}),
        (10, {"Upload-Metadata": None}),
        (0, {}),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_a_key_is_for_one_upload(server: Server, length: int, headers: Headers, whole: bool) -> None:
    """Another length or other metadata under the same key answers 422 with a reason, and changes nothing."""
    tus = server.tus
    named = {**KEY, "Upload-Metadata": metadata(filename="one", filetype="text/plain")}
    url = tus.new(10, named)
    if whole:
        tus.patch(url, 0, CONTENT)
    with server.unchanged(url):
        refused(tus.create(length, {**named, **headers}), 422)
    reordered = {**KEY, "Upload-Metadata": metadata(filetype="text/plain", filename="one").replace(",", " , ")}
    assert tus.new(10, reordered) == url


def test_keys_belong_to_their_owners(server: Server) -> None:
    """The same key of two users names two uploads, of which neither learns."""
    urls = [
        url_of(tus, tus.create_with(CONTENT, 10, KEY))
        for tus in (server.tus.with_headers(X_User=name) for name in ("alice", "bob", "alice", None))
    ]
    assert urls[0] == urls[2] and len(set(urls)) == 3
    refused(server.tus.with_headers(X_User="bob").head(urls[0]), 404)
    assert server.tus.with_headers(X_User="bob").create(11, KEY).status_code == 422


def test_without_a_key_every_creation_is_another_upload(server: Server) -> None:
    """Nothing but a key tells a repeated request from the wish to upload the same file once more."""
    assert len({url_of(server.tus, server.tus.create_with(CONTENT, 10)) for _ in range(3)}) == 3


def test_parts_are_told_apart_though_they_share_a_key(server: Server) -> None:
    """tus-js-client sends the headers of a file with each part and with the final: equal parts stay two parts."""
    tus = server.tus
    one, two = (url_of(tus, tus.create_with(piece, 5, {**KEY, **PARTIAL})) for piece in (CONTENT[:5], CONTENT[5:]))
    assert one != two
    whole = tus.new(headers={**KEY, **final(one, two)})
    assert server.finished(whole).read_bytes() == CONTENT
    assert tus.new(headers={**KEY, **final(one, two)}) == whole


@pytest.mark.parametrize(
    ("one", "other"),
    [('"abc"', "abc"), ('"a\\"b"', '"a\\"b"'), ("  abc ", '"abc"'), ('"a-b:c/d+e=="', "a-b:c/d+e==")],
)
def test_a_key_may_come_with_quotes_or_without(server: Server, one: str, other: str) -> None:
    """A string of RFC 8941, or a single word as many clients send it."""
    urls = {server.tus.new(10, {"Idempotency-Key": value}) for value in (one, other)}
    assert len(urls) == 1


@pytest.mark.parametrize(
    "value",
    ["", '""', '"abc', 'abc"', "a b", "a,b", '"a", "b"', "a;b", "ä", '"ä"', '"a\\b"', "x" * 256, '"\x7f"', "\\"],
)
def test_what_is_no_key_is_refused(server: Server, value: str) -> None:
    """Two keys, none, or something that is not a string: 400, and nothing is created."""
    with server.unchanged():
        refused(server.tus.create_with(CONTENT, 10, {"Idempotency-Key": value}), 400)


def test_a_key_says_nothing_elsewhere(server: Server) -> None:
    """tus-js-client sends it with every request of the upload."""
    tus = server.tus.with_headers(Idempotency_Key=KEY["Idempotency-Key"])
    url = tus.upload(CONTENT)
    assert tus.head(url).status_code == 200
    assert tus.delete(url).status_code == 204


def test_pages_of_other_origins_may_send_a_key(serve: Serve) -> None:
    """The preflight allows the header."""
    tus = serve(CORS_ORIGINS=["https://app.example"]).tus
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "idempotency-key"}
    response = tus.options("", {"Origin": "https://app.example", **asked})
    assert "idempotency-key" in words(response.headers["Access-Control-Allow-Headers"].lower())


def test_a_page_without_content_type_keeps_its_key(server: Server) -> None:
    """A body that is no upload content does not count, the second time as well."""
    headers = {**KEY, "Content-Type": "text/plain"}
    first = server.tus.create(10, headers, body=b"x")
    again = server.tus.create_with(CONTENT, 10, {**KEY, "Content-Type": OCTETS})
    assert url_of(server.tus, first) == url_of(server.tus, again)
    assert server.finished(url_of(server.tus, again)).read_bytes() == CONTENT


def test_a_key_of_yesterday_does_not_wait_for_a_dead_cleaner(server: Server) -> None:
    """It was killed before it had removed what has expired."""
    first = server.tus.new(4, KEY)
    server.clock.advance(**EXPIRED)
    with server.app.app_context():
        leave_claim(server.app.extensions["resumable"].repository, first.rpartition("/")[2], server.clock.now)
    assert server.tus.new(4, KEY) != first
