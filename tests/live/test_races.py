"""Completion under fire: on_complete takes effect exactly once, however many requests are the last one."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from .conftest import Serve
from .dialects import Client
from .dialects import clients
from .dialects import Dialects
from .dialects import DRAFT
from .dialects import MIXED
from .raw import Answer
from .servers import id_of
from .servers import Server

pytestmark = pytest.mark.live

ROUNDS = 1000
BEGIN = b"begin" * 100
TAILS = (b"x" * 700, b"y" * 700)  # what two clients believe to be the rest


def finish_twice(servers: Sequence[Server], path: str) -> list[Answer]:
    """Two PATCHes at the same time, each of which would be the last."""
    barrier = Barrier(2)

    def last(server: Server, tail: bytes) -> Answer:
        with server.tus.connect() as connection:
            barrier.wait()
            connection.start_patch(path, len(BEGIN), {"Content-Length": len(tail)}, body=tail)
            return connection.answer("PATCH")

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(last, servers, TAILS))


def play(servers: Sequence[Server], number: int) -> str:
    """One round: every other one in two threads of one process, the rest in two processes. The upload's id."""
    server = servers[0]
    path = server.tus.create(len(BEGIN) + len(TAILS[0]), body=BEGIN)
    answers = finish_twice(servers if number % 2 else (server, server), path)
    statuses = [answer.status for answer in answers]
    assert {*statuses} <= {204, 409, 423}, (number, statuses)
    if number % 2 and sorted(statuses) == [409, 423]:
        # One process wrote the rest, but lost the upload before it saved. The other one took over and found it written.
        server.tus.until_complete(path)
        tails = [*TAILS]
    else:
        assert statuses.count(204) == 1, (number, statuses)
        tails = [TAILS[statuses.index(204)]]
    content = server.finished(path).read_bytes()
    assert content in [BEGIN + tail for tail in tails]
    assert server.receipts(path) == [hashlib.sha256(content).hexdigest()]
    assert server.tus.offset(path) == len(content)
    assert len({answer.worker for answer in answers}) == 1 + number % 2
    return id_of(path)


def test_on_complete_takes_effect_once_in_a_thousand_races(serve: Serve, quick_disk: Path) -> None:
    """Of two simultaneous last PATCHes, in threads and in processes, one finishes the upload; on_complete runs once."""
    servers = [serve("gthread", quick_disk / "home") for _ in range(2)]  # on the same database and folder
    with ThreadPoolExecutor(2) as pool:
        uploads = list(pool.map(lambda number: play(servers, number), range(ROUNDS)))
    calls = Counter(note.subject for note in servers[0].journal.notes("on_complete"))
    assert calls == {upload: 1 for upload in uploads}


@pytest.mark.parametrize("dialects", [DRAFT, MIXED])
def test_last_requests_of_the_ietf_draft_finish_an_upload_once(
    serve: Serve, quick_disk: Path, dialects: Dialects
) -> None:
    """Two of them, or one of tus and one of the draft, in threads and in processes: one is applied, and on_complete
    runs once.
    """
    servers = [serve("gthread", quick_disk / "home") for _ in range(2)]
    barrier = Barrier(2)

    def last(client: Client, tail: bytes) -> int:
        barrier.wait()
        return client.append(path, len(BEGIN), tail).status

    with ThreadPoolExecutor(2) as pool:
        for number in range(200):
            both = clients(dialects, servers[0].port, servers[number % 2].port)
            path = servers[0].tus.create(len(BEGIN) + len(TAILS[0]), body=BEGIN)
            statuses = list(pool.map(last, both, TAILS))
            applied = [tail for tail, status in zip(TAILS, statuses, strict=True) if status in (200, 204)]
            assert len(applied) == 1 and {*statuses} <= {200, 204, 409, 423, 503}, (number, statuses)
            content = BEGIN + applied[0]
            assert servers[0].finished(path).read_bytes() == content
            assert servers[0].receipts(path) == [hashlib.sha256(content).hexdigest()]
    calls = Counter(note.subject for note in servers[0].journal.notes("on_complete"))
    assert len(calls) == 200 and {*calls.values()} == {1}


def test_delete_and_the_last_patch_agree(serve: Serve, quick_disk: Path) -> None:
    """Of DELETE and the last PATCH at the same time, either may win, but not both: an upload that was removed has left
    no file, and whatever else happened, on_complete took effect at most once.
    """
    server = serve("gthread2", quick_disk / "home")
    outcomes = Counter[tuple[int, int]]()
    content = BEGIN + TAILS[0]

    def last(path: str) -> int:
        return server.tus.patch(path, len(BEGIN), TAILS[0]).status

    def delete(path: str) -> int:
        return server.tus.request("DELETE", path).status

    with ThreadPoolExecutor(2) as pool:
        for _ in range(150):
            path = server.tus.create(len(content), body=BEGIN)
            patched, deleted = pool.submit(last, path), pool.submit(delete, path)
            outcome = patched.result(), deleted.result()
            outcomes[outcome] += 1
            assert outcome[0] in (204, 404, 423) and outcome[1] in (204, 423), outcome
            assert len(server.receipts(path)) <= 1
            if outcome[1] == 204:
                assert server.tus.head(path).status == 404
                assert [file for file in server.folder.rglob("*") if id_of(path) in file.name] == []
            else:
                assert outcome[0] == 204
                assert server.finished(path).read_bytes() == content
                assert len(server.receipts(path)) == 1
    assert len(outcomes) > 1, outcomes


def test_the_last_parts_of_a_concatenation_finish_it_once(serve: Serve, quick_disk: Path) -> None:
    """Two parts that are completed at the same time finish the waiting final upload: neither leaves it to the other."""
    server = serve("gthread2", quick_disk / "home")

    def last(path: str, tail: bytes) -> Answer:
        return server.tus.patch(path, 1, tail)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(100):
            parts = [server.tus.create(701, {"Upload-Concat": "partial"}, b"-") for _ in TAILS]
            created = server.tus.request("POST", "/files/", {"Upload-Concat": "final;" + " ".join(parts)})
            final = "/files/" + created.headers["location"]
            answers = list(pool.map(last, parts, TAILS))
            assert [answer.status for answer in answers] == [204, 204]
            content = b"-" + TAILS[0] + b"-" + TAILS[1]
            assert server.receipts(final) == [hashlib.sha256(content).hexdigest()]
            assert server.finished(final).read_bytes() == content
            assert server.tus.offset(final) == len(content)


def test_a_failed_on_complete_is_made_up_once_by_whoever_comes_next(serve: Serve, quick_disk: Path) -> None:
    """Uploads whose on_complete failed are finished, once, by racing HEADs, PATCHes and ``complete_pending``."""
    server = serve("gthread2", quick_disk / "home")
    server.order("on_complete", "fail")
    content = BEGIN + TAILS[0]
    paths = [server.tus.create(len(content), body=BEGIN) for _ in range(60)]
    for path in paths:
        assert server.tus.patch(path, len(BEGIN), TAILS[0]).status == 500
        assert server.receipts(path) == []
    server.countermand("on_complete")
    choices = random.Random(9)
    asked = [path for path in paths[:50] for _ in range(4)]
    choices.shuffle(asked)

    def ask(path: str) -> int:
        if choices.random() < 0.5:
            return server.tus.head(path).status
        return server.tus.patch(path, len(content), b"").status

    with ThreadPoolExecutor(5) as pool:
        command = pool.submit(server.flask, "tus", "complete_pending")
        statuses = {*pool.map(ask, asked)}
        assert command.result().returncode == 0, command.result().stderr
    assert statuses <= {200, 204, 423}
    assert server.flask("tus", "complete_pending").returncode == 0
    for path in paths:
        assert server.tus.offset(path) == len(content)
        assert server.receipts(path) == [hashlib.sha256(content).hexdigest()]
        assert server.finished(path).read_bytes() == content
