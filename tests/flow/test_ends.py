"""Files that have all their bytes and are not complete: nobody is told that there is nothing left to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from werkzeug.test import TestResponse

from flask_resumable import UploadRejected
from flask_resumable.core.upload import Status
from flask_resumable.protocols.flow.messages import DIALECTS
from flask_resumable.service import client_keys as keys
from tests.dead import leave_claim
from tests.live.journal import PATIENCE

from .conftest import Serve
from .site import sample
from .site import Site


@contextmanager
def held(site: Site, hook: str, then: Any = None) -> Iterator[threading.Event]:
    """The next call of a hook is under way for the length of the block: ``then`` is how it ends. Set when it begins."""
    has_begun, may_end, is_first = threading.Event(), threading.Event(), threading.Lock()

    def during(upload: Any) -> None:
        if is_first.acquire(blocking=False):
            has_begun.set()
            assert may_end.wait(PATIENCE)
            if then is not None:
                then(upload)

    site.during(hook, during)
    try:
        yield has_begun
    finally:
        may_end.set()


def fail(upload: Any) -> None:
    """A hook that fails."""
    raise RuntimeError("secret")


def refuse(upload: Any) -> None:
    """A hook that refuses."""
    raise UploadRejected(415, "No.")


def told(answer: TestResponse) -> tuple[int, bool | None]:
    """The status, and whether the file is called complete."""
    return answer.status_code, (answer.json or {}).get("complete") if answer.data else None


@pytest.mark.parametrize("dialect", [dialect.name for dialect in DIALECTS])
def test_while_somebody_completes_it_every_chunk_is_missing(site: Site, dialect: str) -> None:
    """Tests by GET and HEAD return 204 at once; a chunk that is sent then waits until the file is complete."""
    file = sample(45)
    site.flow.send(file, [1, 2, 3])
    with ThreadPoolExecutor(4) as pool:
        with held(site, "on_complete") as has_begun:
            last = pool.submit(site.client(dialect).post, file, 4)
            assert has_begun.wait(PATIENCE)
            for number in file.numbers:
                for method in ("GET", "HEAD"):
                    assert site.client(dialect).test(file, number, method=method).status_code == 204
            others = [pool.submit(site.client(dialect).octet, file, number) for number in (1, 2, 3)]
            assert not any(future.done() for future in (last, *others))
        answers = [future.result(PATIENCE) for future in (last, *others)]
    assert [told(answer) for answer in answers] == [(200, True)] * 4
    assert site.stored(answers[0]) == file.content
    assert site.count("on_complete") == 1
    assert [told(site.flow.test(file, number)) for number in file.numbers] == [(200, True)] * 4


@pytest.mark.parametrize("forced", [False, True])
def test_while_somebody_completes_it_the_status_lacks_the_last_chunk(site: Site, forced: bool) -> None:
    """Never complete with nothing missing, and never nothing missing without being complete."""
    file = sample(45, forced=forced)
    site.flow.send(file, file.numbers[:-1])
    with ThreadPoolExecutor(1) as pool:
        with held(site, "on_complete") as has_begun:
            last = pool.submit(site.client().post, file, file.count)
            assert has_begun.wait(PATIENCE)
            answer = site.flow.status(file).json or {}
            start = 10 * (file.count - 1)
            assert (answer["status"], answer["complete"]) == ("finishing", False)
            assert answer["missing"] == [[start, file.size]]
        assert told(last.result(PATIENCE)) == (200, True)
    answer = site.flow.status(file).json or {}
    assert (answer["status"], answer["complete"], answer["missing"]) == ("complete", True, [])


@pytest.mark.parametrize("hook", ["on_create", "on_complete"])
def test_an_empty_file_is_missing_until_it_is_complete(site: Site, hook: str) -> None:
    """A file of no bytes has all of them from the start."""
    file = sample(0)
    with ThreadPoolExecutor(2) as pool:
        with held(site, hook) as has_begun:
            first = pool.submit(site.client().post, file, 1)
            assert has_begun.wait(PATIENCE)
            assert site.flow.test(file, 1).status_code == 204
            answer = site.flow.status(file).json or {}
            assert (answer["status"], answer["complete"]) == ("finishing", False)
            second = pool.submit(site.client().octet, file, 1)
            assert not second.done()
        assert [told(future.result(PATIENCE)) for future in (first, second)] == [(200, True)] * 2
    assert (site.count("on_create"), site.count("on_complete")) == (1, 1)


def test_a_waiting_request_takes_over_when_the_hook_fails(site: Site) -> None:
    """``on_complete`` fails for the first request; the one that waits calls it again, and completes the file."""
    file = sample()
    site.flow.send(file, [1])
    with ThreadPoolExecutor(2) as pool:
        with held(site, "on_complete", fail) as has_begun:
            first = pool.submit(site.client().post, file, 2)
            assert has_begun.wait(PATIENCE)
            second = pool.submit(site.client().post, file, 1)
        assert told(first.result(PATIENCE))[0] == 503
        assert told(second.result(PATIENCE)) == (200, True)
    assert site.count("on_complete") == 2


def test_a_waiting_request_learns_of_a_refusal(serve: Serve) -> None:
    """``on_complete`` refuses: who waits gets 404, and does not bring the file back; then it stays refused."""
    site = serve(COMPLETED_TTL=60)
    file = sample()
    site.flow.send(file, [1])
    with ThreadPoolExecutor(4) as pool:
        with held(site, "on_complete", refuse) as has_begun:
            first = pool.submit(site.client().post, file, 2)
            assert has_begun.wait(PATIENCE)
            others = [pool.submit(site.client().post, file, number) for number in (1, 2, 1)]
        assert told(first.result(PATIENCE))[0] == 415
        assert [told(future.result(PATIENCE))[0] for future in others] == [404] * 3
    assert [site.flow.post(file, 2).status_code, site.flow.test(file, 1).status_code] == [404, 404]
    assert (site.files(), [upload.status for upload in site.uploads()]) == ([], [Status.GONE])
    site.server.clock.advance(seconds=61)
    site.server.hooks.during.clear()
    assert told(site.flow.send(file)) == (200, True)


def test_who_has_waited_for_too_long_may_come_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After, and not 200 for a file that is not complete."""
    monkeypatch.setattr(keys, "PATIENCE", 0.1)
    file = sample()
    site.flow.send(file, [1])
    with ThreadPoolExecutor(1) as pool:
        with held(site, "on_complete") as has_begun:
            last = pool.submit(site.client().post, file, 2)
            assert has_begun.wait(PATIENCE)
            for way in (site.flow.post, site.flow.octet):
                answer = way(file, 1)
                assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert told(last.result(PATIENCE)) == (200, True)
    assert told(site.flow.post(file, 1)) == (200, True)


@pytest.mark.parametrize("way", ["a test", "a chunk", "the status", "the command line"])
def test_a_file_that_was_left_for_long_is_remembered_from_its_end_on(serve: Serve, way: str) -> None:
    """The server was away for longer than COMPLETED_TTL: whoever completes the file, all its chunks are here then."""
    site = serve(COMPLETED_TTL=60)
    file = sample(45)
    site.during("on_complete", fail)
    site.flow.send(file, [1, 2, 3])
    assert site.flow.post(file, 4).status_code == 503
    site.server.hooks.during.clear()
    site.server.clock.advance(days=3)
    match way:
        case "a test":
            assert told(site.flow.test(file, 2)) == (200, True)
        case "a chunk":
            assert told(site.flow.post(file, 2)) == (200, True)
        case "the status":
            assert (site.flow.status(file).json or {})["missing"] == []
        case _:
            site.server.cli("tus", "complete_pending")
    assert [told(site.flow.test(file, number)) for number in file.numbers] == [(200, True)] * 4
    assert told(site.flow.post(file, 1)) == (200, True)
    assert (len(site.uploads()), site.count("on_create")) == (1, 1)
    site.server.clock.advance(seconds=61)
    assert site.flow.test(file, 1).status_code == 204


@pytest.mark.parametrize("ending", [None, refuse])
def test_a_hook_may_take_longer_than_a_file_is_remembered(serve: Serve, ending: Any) -> None:
    """The time begins when ``on_complete`` has returned, or refused."""
    site = serve(COMPLETED_TTL=60)

    def dawdle(upload: Any) -> None:
        site.server.clock.advance(seconds=100)
        if ending is not None:
            ending(upload)

    site.during("on_complete", dawdle)
    file = sample()
    site.flow.post(file, 1)
    assert site.flow.post(file, 2).status_code == (200 if ending is None else 415)
    site.server.clock.advance(seconds=50)
    assert site.flow.test(file, 1).status_code == (200 if ending is None else 404)
    site.server.clock.advance(seconds=61)
    assert site.flow.test(file, 1).status_code == 204


def test_bytes_that_the_storage_lost_are_asked_for_again(serve_plain: Serve) -> None:
    """They are gone when the file is to be published: the chunk that is sent is not taken for stored, and the file ends
    complete.
    """
    site = serve_plain()
    file = sample(35)
    site.flow.send(file, [1, 2])

    def lose(upload: Any) -> None:
        (part,) = site.server.folder.rglob("*.part")
        part.write_bytes(b"")
        site.server.hooks.during.clear()

    site.during("post_save", lose)
    assert site.flow.post(file, 3).status_code == 503
    for _ in range(3):
        for number in file.numbers:
            if site.flow.test(file, number).status_code != 200:
                site.flow.post(file, number)
    assert site.stored(site.flow.test(file, 1)) == file.content


def test_a_chunk_that_comes_as_others_complete_the_file_tells_the_end(site: Site) -> None:
    """Ten times, all chunks at once: the one that makes the file whole tells its end, whoever completes it."""
    for number in range(10):
        file = sample(45, name=f"{number}.bin")
        with ThreadPoolExecutor(8) as pool:
            sent = [pool.submit(site.client().octet, file, at) for at in file.numbers]
            asked = [pool.submit(site.client().test, file, at) for at in file.numbers]
            answers = [future.result(PATIENCE) for future in sent]
            assert {future.result(PATIENCE).status_code for future in asked} <= {200, 204}
        assert (200, True) in [told(answer) for answer in answers]
        for answer in answers:
            assert answer.json and answer.json["complete"] is (answer.json["received"] == file.size)
        assert site.count("on_complete") == number + 1


def test_a_chunk_does_not_wait_for_a_dead_process(site: Site) -> None:
    """A process that was killed as it had created the upload, or began to cancel it, has left its claim."""
    file = sample(45)
    for number in (1, 3, 2, 4):
        assert site.flow.octet(file, number).status_code == 200
        (upload,) = site.uploads()
        if upload.status is Status.ACTIVE:
            with site.server.app.app_context():
                leave_claim(site.server.app.extensions["resumable"].repository, upload.id, site.server.clock.now)
    assert told(site.flow.test(file, 1)) == (200, True)


def test_a_file_of_yesterday_does_not_wait_for_a_dead_cleaner(site: Site) -> None:
    """It was killed before it had removed what has expired."""
    file = sample(25)
    assert site.flow.octet(file, 1).status_code == 200
    site.server.clock.advance(days=30)
    (upload,) = site.uploads()
    with site.server.app.app_context():
        leave_claim(site.server.app.extensions["resumable"].repository, upload.id, site.server.clock.now)
    assert site.flow.octet(file, 1).status_code == 200
    assert site.flow.octet(file, 2).status_code == 200
    assert told(site.flow.test(file, 1)) == (200, True)
