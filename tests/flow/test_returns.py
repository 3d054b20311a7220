"""Users who come back to a file when its upload has just expired, while others remove it, or are about to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_resumable import UploadRejected
from flask_resumable.core.upload import Status
from flask_resumable.service import client_keys as keys
from tests.conformance.server import EXPIRED
from tests.conformance.tus_client import Body
from tests.live.journal import PATIENCE

from .client import form
from .client import Sample
from .conftest import Serve
from .site import sample
from .site import Site
from .test_ends import fail
from .test_ends import held
from .test_ends import refuse
from .test_ends import told
from .test_idempotence import together

FILE = sample(45)


def left(site: Site, numbers: list[int]) -> str:
    """Chunks that were sent a day ago; the id of their upload."""
    answer = site.flow.send(FILE, numbers)
    site.server.clock.advance(**EXPIRED)
    return str((answer.json or {})["id"])


def clean(site: Site) -> threading.Thread:
    """The cleaner at work."""
    runner = site.server.app.test_cli_runner()
    cleaner = threading.Thread(target=lambda: runner.invoke(args=["tus", "delete_expired"]))
    cleaner.start()
    return cleaner


def test_an_upload_that_the_cleaner_has_in_hand_is_not_there_any_more(site: Site) -> None:
    """pre_delete is under way: tests say 204, also for what was sent, and a chunk waits, and is
    the first one of a new upload.
    """
    old = left(site, [1, 2])
    with ThreadPoolExecutor(3) as pool:
        with held(site, "pre_delete") as has_begun:
            cleaner = clean(site)
            assert has_begun.wait(PATIENCE)
            assert [site.flow.test(FILE, number).status_code for number in FILE.numbers] == [204] * 4
            assert (site.flow.status(FILE).json or {})["status"] == "unknown"
            assert site.flow.open("GET", path=old).status_code == 404
            chunks = [pool.submit(site.client().post, FILE, number) for number in (1, 2, 4)]
            assert not any(chunk.done() for chunk in chunks)
        answers = [chunk.result(PATIENCE) for chunk in chunks]
        cleaner.join()
    assert [answer.status_code for answer in answers] == [200] * 3
    ids = {(answer.json or {})["id"] for answer in answers}
    assert len(ids) == 1 and old not in ids
    assert site.stored(site.flow.post(FILE, 3)) == FILE.content
    assert (len(site.uploads()), site.count("pre_delete"), site.count("on_create")) == (1, 1, 2)


@pytest.mark.parametrize("numbers", [[1, 2, 3], [4], [1, 3]])
def test_first_chunks_that_come_at_once_make_one_new_upload(site: Site, numbers: list[int]) -> None:
    """Nobody has removed what has expired: one new upload, with all the chunks that got 200, and no hook is called for
    the old one but by the cleaner.
    """
    old = left(site, numbers)
    answers = together(
        site, *(lambda flow, n=n: flow.post(FILE, n) for n in FILE.numbers), lambda flow: flow.test(FILE, numbers[0])
    )
    assert [answer.status_code for answer in answers[:4]] == [200] * 4
    ids = {(answer.json or {})["id"] for answer in answers if answer.data}
    assert len(ids) == 1 and old not in ids
    finals = [answer for answer in answers[:4] if answer.json and answer.json["complete"]]
    assert site.stored(finals[0]) == FILE.content
    assert (site.count("pre_delete"), site.count("on_create"), site.count("on_complete")) == (0, 2, 1)
    site.server.cli("tus", "delete_expired")
    assert [upload.id for upload in site.uploads()] == [*ids]
    assert site.files() == [*ids]
    assert site.count("post_delete") == 1


@pytest.mark.parametrize("end", [refuse, fail])
def test_a_hook_that_does_not_let_the_old_upload_go_stops_nobody(site: Site, end: Callable[[Any], None]) -> None:
    """pre_delete keeps the old upload, by refusing or by failing: the file is uploaded anew beside it."""
    old = left(site, [1, 2])
    site.during("pre_delete", end)
    assert site.server.app.test_cli_runner().invoke(args=["tus", "delete_expired"]).exit_code == 1
    assert site.flow.test(FILE, 1).status_code == 204
    assert site.stored(site.flow.send(FILE)) == FILE.content
    assert {upload.id: upload.status for upload in site.uploads()}[old] is Status.ACTIVE
    site.server.hooks.during.clear()
    site.server.cli("tus", "delete_expired")
    assert old not in {upload.id for upload in site.uploads()}
    assert len(site.files()) == 1


def test_a_cleaner_that_takes_too_long_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After: not 404, which would end the file, and not 200."""
    monkeypatch.setattr(keys, "PATIENCE", 0.1)
    left(site, [1, 2])
    with held(site, "pre_delete") as has_begun:
        cleaner = clean(site)
        assert has_begun.wait(PATIENCE)
        answer = site.flow.post(FILE, 1)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    cleaner.join()
    assert site.stored(site.flow.send(FILE)) == FILE.content


@pytest.mark.parametrize("memory", ["finished", "cancelled", "refused"])
def test_a_memory_that_runs_out_makes_way_for_one_new_upload(serve: Serve, memory: str) -> None:
    """A finished file, a cancelled one, a refused one, each after its time: tests and chunks at once."""
    site = serve(COMPLETED_TTL=60, CANCELLED_TTL=60)
    match memory:
        case "finished":
            site.flow.send(FILE)
        case "cancelled":
            site.flow.send(FILE, [1])
            site.flow.cancel(FILE)
        case _:
            site.during("on_complete", refuse)
            site.flow.send(FILE, [1, 2, 3])
            site.flow.post(FILE, 4)
            site.server.hooks.during.clear()
    before = {upload.id for upload in site.uploads()}
    site.server.clock.advance(seconds=61)
    answers = together(site, *(lambda flow, n=n: flow.octet(FILE, n) for n in FILE.numbers))
    assert [answer.status_code for answer in answers] == [200] * 4
    ids = {(answer.json or {})["id"] for answer in answers}
    assert len(ids) == 1 and not ids & before
    assert (200, True) in map(told, answers)
    assert len(site.uploads()) == (2 if memory == "finished" else 1)


@pytest.mark.parametrize("sliding", [True, False])
@pytest.mark.parametrize("way", ["octet", "form"])
def test_a_chunk_that_was_on_its_way_begins_the_next_upload(serve: Serve, way: str, sliding: bool) -> None:
    """Its upload expires while its body comes, and the cleaner removes it: 200, with the chunk in a new upload."""
    site = serve(SLIDING_EXPIRATION=sliding)
    old = (site.flow.send(FILE, [1]).json or {})["id"]

    def expire() -> None:
        site.server.clock.advance(**EXPIRED)
        site.server.cli("tus", "delete_expired")

    answer = slow(site, way, FILE, 2, expire)
    assert answer.status_code == 200 and (answer.json or {})["id"] != old
    assert site.flow.test(FILE, 2).status_code == 200
    assert site.flow.test(FILE, 1).status_code == 204
    assert site.stored(site.flow.send(FILE, [1, 3, 4])) == FILE.content
    assert len(site.files()) == 1


def slow(site: Site, way: str, file: Sample, number: int, meanwhile: Callable[[], object]) -> Any:
    """Send a chunk, in the midst of whose body something happens."""
    flow = site.client()
    whole = file.piece(number) if way == "octet" else form(flow.parts(file, number))
    at = whole.index(file.piece(number)) + len(file.piece(number)) // 2
    query = flow.spelled(file, number) if way == "octet" else {}
    kind = {"content_type": "application/octet-stream"} if way == "octet" else {}
    # What comes within a few milliseconds is read together: a pause, so that the first half is seen by itself.
    body = Body(whole[: at - 1], lambda: time.sleep(0.05), whole[at - 1 : at], meanwhile, whole[at:])
    return flow.stream(body, len(whole), query, **kind)


@pytest.mark.parametrize("is_there", [False, True])
def test_a_large_chunk_that_was_on_its_way_may_come_again(serve: Serve, is_there: bool) -> None:
    """It was being put in its place in a file that is gone now, or it was there already and its bytes were not kept:
    503, then 200.
    """
    site = serve()
    file = Sample(bytes(300_000), 100_000)
    site.flow.send(file, [1, 2] if is_there else [1])

    def expire() -> None:
        site.server.clock.advance(**EXPIRED)
        site.server.cli("tus", "delete_expired")

    first = slow(site, "octet", file, 2, expire)
    if site.chunks is None or is_there:
        assert (first.status_code, first.headers.get("Retry-After")) == (503, "1")
        assert site.flow.test(file, 2).status_code == 204
        first = site.flow.octet(file, 2)
    assert told(first) == (200, False)
    assert site.stored(site.flow.send(file, [1, 3])) == file.content
    assert len(site.files()) == 1


@pytest.mark.parametrize("others", ["a new upload", "nobody"])
def test_a_chunk_never_counts_for_an_upload_that_has_lost_its_name(serve: Serve, others: str) -> None:
    """Without sliding, an upload expires while a chunk comes, and the next one begins anew: both are in the new one."""
    site = serve(SLIDING_EXPIRATION=False)
    old = (site.flow.send(FILE, [1]).json or {})["id"]

    def expire() -> None:
        site.server.clock.advance(**EXPIRED)
        if others == "a new upload":
            assert site.client().post(FILE, 3).status_code == 200

    answer = slow(site, "form", FILE, 2, expire)
    assert answer.status_code == 200 and (answer.json or {})["id"] != old
    assert (answer.json or {})["received"] == (20 if others == "a new upload" else 10)
    assert site.stored(site.flow.send(FILE)) == FILE.content
    assert site.count("on_complete") == 1


def test_a_sliding_upload_goes_on_with_the_chunk_that_was_on_its_way(site: Site) -> None:
    """It expires while a chunk comes, and nobody has begun anew: the chunk prolongs it."""
    old = (site.flow.send(FILE, [1]).json or {})["id"]
    answer = slow(site, "form", FILE, 2, lambda: site.server.clock.advance(**EXPIRED))
    assert (answer.status_code, (answer.json or {})["id"]) == (200, old)
    assert site.flow.test(FILE, 1).status_code == 200


@pytest.mark.parametrize("way", ["test", "status", "post"])
def test_who_comes_at_the_last_moment_has_time_to_go_on(site: Site, way: str) -> None:
    """What a client has been told of does not expire before it could send the rest: a question prolongs it, too."""
    site.flow.send(FILE, [1, 2, 3])
    site.server.clock.advance(hours=23, minutes=59)
    assert (site.flow.status(FILE) if way == "status" else getattr(site.flow, way)(FILE, 1)).status_code == 200
    site.server.clock.advance(hours=23)
    assert site.flow.test(FILE, 2).status_code == 200
    assert told(site.flow.post(FILE, 4)) == (200, True)


def test_a_time_that_is_fixed_is_not_prolonged(serve: Serve) -> None:
    """Without sliding, neither questions nor chunks do that."""
    site = serve(SLIDING_EXPIRATION=False)
    site.flow.send(FILE, [1])
    site.server.clock.advance(hours=23, minutes=59)
    site.flow.test(FILE, 1)
    site.flow.post(FILE, 2)
    site.server.clock.advance(minutes=2)
    assert site.flow.test(FILE, 1).status_code == 204


def test_a_cancelled_upload_that_is_still_being_removed_is_refused(site: Site) -> None:
    """Not a miss: a client whose user has cancelled must not begin anew, although the upload would have expired."""
    site.flow.send(FILE, [1])
    storage = site.server.app.extensions["resumable"].storage
    delete = storage.delete
    answers: list[int] = []

    def delete_late(upload: Any) -> Any:
        site.server.clock.advance(seconds=1)
        answers.extend(site.client().test(FILE, number).status_code for number in (1, 2))
        answers.append(site.client().post(FILE, 2).status_code)
        return delete(upload)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "delete", delete_late)
        assert site.flow.cancel(FILE).status_code == 204
    assert answers == [404] * 3
    assert site.count("on_create") == 1


def test_a_refused_upload_whose_removal_was_interrupted_stays_refused(serve: Serve) -> None:
    """The server dies as it removes what on_complete has refused; the cleaner goes on, and leaves the tombstone."""
    site = serve(COMPLETED_TTL=600)
    site.during("on_complete", refuse)
    site.flow.send(FILE, [1, 2, 3])
    storage = site.server.app.extensions["resumable"].storage
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "delete", fail)
        assert site.flow.post(FILE, 4).status_code == 503
    assert [upload.status for upload in site.uploads()] == [Status.DELETING]
    assert [site.flow.test(FILE, 4).status_code, site.flow.post(FILE, 4).status_code] == [404, 404]
    site.server.clock.advance(seconds=60)
    site.server.cli("tus", "delete_expired")
    assert (site.files(), [upload.status for upload in site.uploads()]) == ([], [Status.GONE])
    assert site.flow.post(FILE, 4).status_code == 404
    site.server.clock.advance(seconds=600)
    site.server.cli("tus", "delete_expired")
    assert site.uploads() == []


def test_on_create_that_refuses_the_second_time_ends_the_file(site: Site) -> None:
    """Who comes back is asked anew, and may be refused: all chunks get the hook's status, and nothing new is left."""
    old = left(site, [1])

    def refuse_it(upload: Any) -> None:
        raise UploadRejected(403, "Not any more.")

    site.during("on_create", refuse_it)
    answers = together(site, *(lambda flow, n=n: flow.post(FILE, n) for n in FILE.numbers))
    assert {answer.status_code for answer in answers} == {403}
    assert [upload.id for upload in site.uploads()] == [old]
    site.server.cli("tus", "delete_expired")
    assert (site.uploads(), site.files()) == ([], [])
