"""Requests that meet, in threads and in processes: several gunicorn workers on one database and one folder."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.conftest import Serve as ServeLive
from tests.live.servers import Server

from .client import Sample
from .site import sample
from .socket_client import address
from .socket_client import json_of
from .socket_client import octet
from .socket_client import post
from .socket_client import Racers

pytestmark = pytest.mark.live

ROUNDS = 1000
CLIENTS = 3  # that race at a time, so that their rounds disturb one another
MODES = ["in place", "chunks folder"]


@pytest.fixture(params=MODES)
def server(request: pytest.FixtureRequest, serve_live: ServeLive, quick_disk: Path) -> Server:
    """One of two processes with eight threads each, on one database and one folder."""
    folder = {"TEMP_DIR": str(quick_disk / "chunks")} if request.param == "chunks folder" else {}
    server, other = (serve_live("gthread", quick_disk / "home", DURABILITY="none", **folder) for _ in range(2))
    _siblings[server.port] = other.port
    return server


_siblings: dict[int, int] = {}  # ports


@contextmanager
def racing(server: Server, count: int) -> Iterator[Racers]:
    """Connections for some requests at once."""
    with closing(Racers([server.port, _siblings[server.port]], count)) as racers:
        racers.reconnect()
        yield racers


def leftovers(server: Server, *suffixes: str) -> list[str]:
    """Files of unfinished uploads."""
    folders = (server.folder, server.home.parent / "chunks")
    return [path.name for folder in folders for path in folder.rglob("*") if path.suffix in suffixes]


def check(server: Server, uploads: dict[str, Sample]) -> None:
    """Each upload is there once, created once, completed once, and the right bytes."""
    for upload_id, file in uploads.items():
        assert (server.folder / upload_id).read_bytes() == file.content, file.name
        assert server.receipts(upload_id) == [hashlib.sha256(file.content).hexdigest()], file.name
    for hook in ("on_create", "on_complete"):
        counts = Counter(note.subject for note in server.journal.notes(hook))
        assert counts == dict.fromkeys(uploads, 1), hook
    assert sorted(row[0] for row in server.query("SELECT id FROM upload")) == sorted(uploads)
    assert leftovers(server, ".part", ".lock", ".chunk") == []


def test_a_thousand_races_for_the_last_chunk(server: Server) -> None:
    """Two chunks at once, each of which may be the first and the last, or a third one was there: one completion each.

    Half of the rounds for each way of keeping chunks.
    """

    def play(client: int) -> dict[str, Sample]:
        uploads = {}
        with racing(server, 2) as racers:
            for number in range(client, ROUNDS // len(MODES), CLIENTS):
                file = sample(3, 1, name=f"{number}.bin") if number % 2 else sample(2, 1, name=f"{number}.bin")
                if number % 10 == 0:
                    racers.reconnect()
                if number % 2:
                    racers.run(lambda connection, file=file: octet(connection, file, 1))
                answers = racers.run(
                    lambda connection, file=file: octet(connection, file, file.count - 1),
                    lambda connection, file=file: post(connection, file, file.count),
                )
                ids = {json_of(answer)["id"] for answer in answers}
                assert len(ids) == 1
                processes[len({answer.worker for answer in answers})] += 1
                uploads[ids.pop()] = file
                last = racers.run(lambda connection, file=file: octet(connection, file, 1))
                assert json_of(last[0])["complete"]
        return uploads

    processes: Counter[int] = Counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        results = list(pool.map(play, range(CLIENTS)))
    uploads = {upload: file for result in results for upload, file in result.items()}
    assert len(uploads) == ROUNDS // len(MODES)
    assert min(processes[1], processes[2]) > 20, processes  # both kinds of race did happen
    check(server, uploads)


def test_the_same_chunk_with_different_bytes(server: Server) -> None:
    """Three requests for one chunk at once: all 200, and one of the three bodies, whole."""
    uploads = {}
    with racing(server, 3) as racers:
        for number in range(40):
            file = sample(120_000, 60_000, name=f"{number}.bin")
            bodies = [bytes([65 + index]) * 60_000 for index in range(3)]
            answers = racers.run(*(lambda connection, b=b, file=file: octet(connection, file, 2, b) for b in bodies))
            assert [answer.status for answer in answers] == [200, 200, 200]
            upload_id = json_of(racers.run(lambda connection, file=file: post(connection, file, 1))[0])["id"]
            stored = (server.folder / upload_id).read_bytes()
            assert stored[60_000:] in bodies
            uploads[upload_id] = Sample(stored, 60_000, file.name)
            assert stored[:60_000] == file.piece(1)
    check(server, uploads)


def test_the_first_three_chunks_over_processes(server: Server) -> None:
    """One upload row and one on_create, whoever comes first."""
    uploads = {}
    with racing(server, 3) as racers:
        for number in range(40):
            file = sample(3, 1, name=f"{number}.bin")
            answers = racers.run(*(lambda connection, n=n, file=file: octet(connection, file, n) for n in (1, 2, 3)))
            ids = {json_of(answer)["id"] for answer in answers}
            assert len(ids) == 1
            uploads[ids.pop()] = file
            racers.run(lambda connection, file=file: octet(connection, file, 1))
    check(server, uploads)


def test_any_order_over_processes(server: Server) -> None:
    """Six connections, shuffled chunks, some of them twice, forms and raw bodies: the file is identical."""
    choices = random.Random(7)
    file = Sample(choices.randbytes(2_000_000), 30_011, "large.bin")
    numbers = [*file.numbers, *choices.sample(file.numbers, 12)]
    choices.shuffle(numbers)
    with racing(server, 6) as racers:
        for at in range(0, len(numbers), 6):
            ways = [choices.choice([octet, post]) for _ in range(6)]
            answers = racers.run(
                *(lambda c, n=n, way=way: way(c, file, n) for way, n in zip(ways, numbers[at : at + 6], strict=False))
            )
            assert {answer.status for answer in answers} == {200}
    check(server, {json_of(answers[0])["id"]: file})


def test_a_cancel_while_a_chunk_comes(server: Server) -> None:
    """Half a chunk is on its way when its file is cancelled: the chunk gets 404 and no file comes back."""
    for number in range(5):
        file = sample(200_000, 100_000, name=f"{number}.bin")
        with racing(server, 1) as racers, server.tus.connect() as slow:
            racers.run(lambda connection, file=file: octet(connection, file, 1))
            slow.start("POST", address(file, 2), {"Content-Length": 100_000}, body=file.piece(2)[:50_000])
            slow.until_delivered()
            assert racers.run(lambda c, file=file: c.request("DELETE", address(file, 1)))[0].status == 204
            slow.send(file.piece(2)[50_000:])
            assert slow.answer("POST").status == 404
            assert racers.run(lambda connection, file=file: octet(connection, file, 2))[0].status == 404
    assert {row[0] for row in server.query("SELECT status FROM upload")} == {"gone"}
    assert leftovers(server, ".part", ".chunk") == []
    assert server.journal.notes("on_complete") == []


def test_the_client_leaves_within_a_chunk(server: Server) -> None:
    """By FIN or by RST, in a form or a raw body: not marked, and the next one goes through."""
    file = sample(200_000, 100_000)
    for way in ("finish", "reset"):
        with server.tus.connect() as leaving:
            leaving.start("POST", address(file, 1), {"Content-Length": 100_000}, body=file.piece(1)[:50_000])
            leaving.until_delivered()
            if way == "finish":
                leaving.finish()
                assert leaving.answer("POST").status == 503
            else:
                leaving.reset()
    with racing(server, 1) as racers:
        assert racers.run(lambda c: c.request("GET", address(file, 1)))[0].status == 204
        racers.run(lambda connection: post(connection, file, 2))
        answer = racers.run(lambda connection: octet(connection, file, 1))[0]
    check(server, {json_of(answer)["id"]: file})
