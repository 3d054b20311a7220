"""The same again, at once, too late, or only half of it, in one process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from werkzeug.test import TestResponse

from flask_resumable.core.upload import Status
from tests.conformance.tus_client import Body

from .client import BOUNDARY
from .client import FORM
from .client import form
from .client import Sample
from .conftest import Serve
from .site import sample
from .site import Site


def together(site: Site, *requests: Any) -> list[TestResponse]:
    """Several requests at once, each called with a client of its own."""
    barrier = Barrier(len(requests))

    def act(request: Any) -> TestResponse:
        client = site.client()
        barrier.wait()
        answer: TestResponse = request(client)
        return answer

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(act, requests))


def test_a_chunk_that_is_here_is_not_stored_again(site: Site) -> None:
    """Sent again, with other bytes: 200, counted once, and the stored ones stay."""
    file = sample()
    site.flow.post(file, 1)
    answer = site.flow.post(file, 1, b"x" * 10)
    assert (answer.status_code, answer.json and answer.json["received"]) == (200, 10)
    assert site.count("post_save") == 1
    assert site.stored(site.flow.post(file, 2)) == file.content


def test_the_same_chunk_twice_at_once(site: Site) -> None:
    """With different bytes: both 200, one upload, one of the two and whole."""
    for number in range(10):
        file = sample(name=f"{number}.bin")
        bodies = [bytes([65 + index]) * 10 for index in range(2)]
        answers = together(site, *(lambda flow, body=body, file=file: flow.post(file, 1, body) for body in bodies))
        assert [answer.status_code for answer in answers] == [200, 200]
        final = site.flow.post(file, 2)
        assert site.stored(final)[:10] in bodies
    assert len(site.uploads()) == 10


def test_two_last_chunks_at_once(site: Site) -> None:
    """Both 200, one completion, and whoever asks then gets the finished file."""
    for number in range(10):
        file = sample(35, name=f"{number}.bin")
        site.flow.send(file, [1])
        answers = together(site, *(lambda flow, n=n, file=file: flow.post(file, n) for n in (2, 3)))
        assert [answer.status_code for answer in answers] == [200, 200]
        assert site.count("on_complete") == number + 1
        assert site.stored(site.flow.test(file, 1)) == file.content


def test_a_chunk_after_the_end_changes_nothing(site: Site) -> None:
    """Sent again when the file is finished: 200 with the final JSON, no leftovers, no second event."""
    file = sample()
    last = site.flow.send(file)
    files, calls = site.files(), list(site.server.hooks.calls)
    answer = site.flow.post(file, 1, b"x" * 10)
    assert (answer.status_code, answer.json) == (200, last.json)
    assert (site.files(), site.server.hooks.calls) == (files, calls)
    assert site.stored(answer) == file.content


def test_every_chunk_of_a_finished_file_is_found(site: Site) -> None:
    """200 with the final JSON for 1 to N, 400 beyond."""
    file = sample(35)
    last = site.flow.send(file)
    for number in file.numbers:
        answer = site.flow.test(file, number)
        assert (answer.status_code, answer.json) == (200, last.json)
    assert site.flow.test(file, 1, {"chunkNumber": file.count + 1}).status_code == 400


def test_after_expiry_a_late_chunk_begins_anew(serve: Serve) -> None:
    """Purged or only expired: the chunk makes a new upload, which expires in its turn."""
    site = serve()
    file = sample()
    first = site.flow.send(file, [1]).json
    site.server.clock.advance(days=1, seconds=1)
    assert site.flow.test(file, 1).status_code == 204
    second = site.flow.send(file, [1]).json
    site.server.clock.advance(days=1, seconds=1)
    site.server.cli("tus", "delete_expired")
    assert (site.uploads(), site.files()) == ([], [])
    third = site.flow.send(file, [2]).json
    assert len({answer["id"] for answer in (first, second, third) if answer}) == 3
    assert site.uploads()[0].received.pairs == ((10, 25),)


def test_after_a_cancel_late_chunks_are_refused_for_a_while(serve: Serve) -> None:
    """404 for chunks and tests, which ends the file in both clients; a file of that name may come afterwards."""
    site = serve(CANCELLED_TTL=60)
    file = sample()
    site.flow.send(file, [1])
    assert site.flow.cancel(file).status_code == 204
    for answer in (site.flow.post(file, 2), site.flow.octet(file, 2), site.flow.test(file, 1), site.flow.status(file)):
        assert answer.status_code == 404
    assert (site.files(), len(site.uploads()), site.uploads()[0].status) == ([], 1, Status.GONE)
    assert (site.count("pre_delete"), site.count("post_delete")) == (1, 1)
    assert site.flow.cancel(file).status_code == 404
    site.server.clock.advance(seconds=61)
    assert site.flow.test(file, 1).status_code == 204
    assert site.stored(site.flow.send(file)) == file.content


def test_the_cleaner_removes_tombstones(site: Site) -> None:
    """``delete_expired`` takes the memory of a cancelled file away when its time is over."""
    site.flow.send(sample(), [1])
    site.flow.cancel(sample())
    site.server.cli("tus", "delete_expired")
    assert len(site.uploads()) == 1
    site.server.clock.advance(seconds=121)
    site.server.cli("tus", "delete_expired")
    assert site.uploads() == []
    assert (site.count("pre_delete"), site.count("post_delete")) == (1, 1)


@pytest.mark.parametrize("moment", ["while its body comes", "before it is placed", "before it is committed"])
def test_a_cancel_during_a_chunk(site: Site, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunk under way gets 404, the upload stays gone, and nothing of it is left."""
    file = sample()
    site.flow.send(file, [1])
    other = site.client()
    cancelled: list[int] = []

    def cancel(*_: Any) -> None:
        if not cancelled:
            cancelled.append(other.cancel(file).status_code)

    storage = site.server.app.extensions["resumable"].storage
    if moment == "before it is placed":
        site.during("pre_save", cancel)
        answer = site.flow.post(file, 2)
    elif moment == "before it is committed":
        fill = storage._fill

        def fill_then_cancel(*arguments: Any) -> None:
            fill(*arguments)
            cancel()

        monkeypatch.setattr(storage, "_fill", fill_then_cancel)
        answer = site.flow.post(file, 2)
    else:
        body = form(site.flow.parts(file, 2))
        at = body.index(file.piece(2)) + 4
        answer = site.flow.stream(Body(body[:at], cancel, body[at:]), len(body))
    assert cancelled == [204]
    assert answer.status_code == 404
    assert (site.files(), [upload.status for upload in site.uploads()]) == ([], [Status.GONE])
    assert site.count("on_complete") == 0
    assert site.flow.post(file, 2).status_code == 404


@pytest.mark.parametrize("finisher", ["a test", "a chunk", "the status", "the command line"])
def test_who_comes_next_finishes_what_a_crash_left(site: Site, finisher: str) -> None:
    """on_complete fails as the last chunk comes: 503; a test, a chunk, the status or the operator makes up for it."""

    def crash(upload: Any) -> None:
        raise RuntimeError("crash")

    file = sample()
    site.during("on_complete", crash)
    site.flow.send(file, [1])
    assert site.flow.post(file, 2).status_code == 503
    assert site.uploads()[0].status is Status.FINISHING
    site.server.hooks.during.clear()
    match finisher:
        case "a test":
            assert site.flow.test(file, 1).status_code == 200
        case "a chunk":
            assert site.flow.post(file, 1).status_code == 200
        case "the status":
            assert site.flow.status(file).status_code == 200
        case _:
            site.server.cli("tus", "complete_pending")
    assert site.uploads()[0].status is Status.COMPLETE
    assert site.count("on_complete") == 2
    assert site.stored(site.flow.test(file, 2)) == file.content


def test_the_first_three_chunks_at_once(site: Site) -> None:
    """One upload, one on_create."""
    for number in range(5):
        file = sample(45, name=f"{number}.bin")
        answers = together(site, *(lambda flow, n=n, file=file: flow.post(file, n) for n in (1, 2, 3)))
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert (len(site.uploads()), site.count("on_create")) == (number + 1, number + 1)
        assert site.stored(site.flow.post(file, 4)) == file.content


@pytest.mark.parametrize("way", ["octet", "form"])
@pytest.mark.parametrize("trouble", [b"", ConnectionResetError()])
def test_a_chunk_that_breaks_off_does_not_count(site: Site, way: str, trouble: Any) -> None:
    """The client leaves in the midst of the body: nothing is marked, the answer says try again, and that works."""
    file = sample()
    whole = file.piece(2) if way == "octet" else form(site.flow.parts(file, 2))
    site.flow.send(file, [1])
    answer = site.flow.stream(
        Body(whole[: len(whole) // 2], *([trouble] if trouble else [])),
        len(whole),
        site.flow.spelled(file, 2),
        "application/octet-stream" if way == "octet" else FORM,
    )
    assert answer.status_code == 503
    assert site.flow.test(file, 2).status_code == 204
    assert site.stored(site.flow.post(file, 2)) == file.content


@pytest.mark.parametrize(
    "end", [b"", b"--", f"--{BOUNDARY}".encode(), f"--{BOUNDARY}-x".encode(), b"\r\n--other--\r\n"]
)
def test_a_form_without_its_end_is_refused(site: Site, end: bytes) -> None:
    """As long as announced, but without the closing delimiter: 400, and not silently an empty form."""
    file = sample()
    answer = site.flow.form(form(site.flow.parts(file, 1), end=end))
    assert answer.status_code == 400
    assert site.flow.test(file, 1).status_code == 204


def test_a_chunk_may_come_again_while_others_are_missing_everywhere(site: Site) -> None:
    """Every chunk twice, in two orders: counted once each."""
    file = Sample(b"0123456789" * 6, 10, forced=True)
    site.flow.send(file, [6, 2, 4, 2, 6, 4])
    assert site.uploads()[0].received.total == 30
    assert site.stored(site.flow.send(file, [1, 1, 3, 5])) == file.content
