"""Chunks that are written as they come in: by two processes at once, by the kernel alone, and step by step."""

from __future__ import annotations

import fcntl
import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from datetime import UTC
from pathlib import Path

import pytest

from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.errors import ClaimLost
from flask_resumable.storage.local import LocalStorage
from tests.live.conftest import Serve
from tests.live.raw import Connection
from tests.live.watching import watching

from .chunk_message import complete
from .chunk_message import KIB
from .chunk_message import leftovers
from .chunk_message import Message
from .chunk_message import sent
from .chunk_message import WAYS
from .client import Sample

ROUNDS = 240
RACERS = 3
SIZES = (64 * KIB, 200 * KIB, 1024 * KIB)
READ_AHEAD = 320 * KIB  # at most; what gunicorn has read along with the head, and a block in which a form begins
SLOWLY = "splice:delay_enter=3000"  # microseconds; a client that sends fast has filled the socket by then


def race(port: int, message: Message, share: float) -> int | None:
    """Send a chunk to its end, or ``share`` of it and leave; the status."""
    with Connection(port) as connection:
        rest = message.begin(connection, share)
        if share < 0.95:
            connection.reset()
            return None
        connection.send(rest)
        return connection.answer("POST").status


@pytest.mark.live
def test_the_same_chunk_with_different_bytes(quick_disk: Path, serve_live: Serve) -> None:
    """Two or three requests at once for each chunk, some cut in the middle, over two processes: of each chunk one body
    is there, whole; who is told 200 knows that the chunk is stored, and who is told 503 may send it again.
    """
    server = serve_live("gthread2", quick_disk / "home", DURABILITY="none")
    choices = random.Random(3)
    statuses: list[int | None] = []
    ids = []
    with ThreadPoolExecutor(RACERS) as pool:
        for number in range(ROUNDS // 2):
            size = SIZES[number % len(SIZES)]
            file = Sample(choices.randbytes(2 * size), size, f"{number}.bin")
            bodies: dict[int, list[bytes]] = {}
            for chunk in file.numbers:
                bodies[chunk] = [choices.randbytes(size) for _ in range(choices.choice([2, RACERS]))]
                messages = [Message(choices.choice(WAYS), file, chunk, body) for body in bodies[chunk]]
                shares = [choices.choice([0.97, 0.97, choices.random()]) for _ in messages]
                statuses += pool.map(race, [server.port] * len(messages), messages, shares)
            stored = complete(server, file)
            ids.append(hashlib.sha256(stored).hexdigest())
            for chunk in file.numbers:
                assert stored[(chunk - 1) * size : chunk * size] in [*bodies[chunk], file.piece(chunk)], (number, chunk)
    assert set(statuses) <= {200, 503, None}
    assert min(statuses.count(status) for status in (200, None)) > ROUNDS // 10
    assert sorted(row[0] for row in server.query("SELECT sha256 FROM receipt")) == sorted(ids)
    assert leftovers(server) == []


@pytest.mark.live
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_a_chunk_is_moved_by_the_kernel(quick_disk: Path, serve_live: Serve, kind: str, way: str) -> None:
    """All of it but what came along with the head goes from the socket to the file without being read."""
    server = serve_live(kind, quick_disk / "home", DURABILITY="none")
    file = Sample(random.Random(2).randbytes(4 * 1024 * KIB), 2 * 1024 * KIB, "spliced.bin")
    with watching(server, SLOWLY, calls="splice,pwrite64") as watch:
        for number in file.numbers:
            assert sent(server, Message(way, file, number)).status == 200
    put = [call.result for call in watch.calls("splice") if call.is_to_file and call.result > 0]
    assert file.size - file.count * (READ_AHEAD + KIB) <= sum(put) <= file.size
    written = [call for call in watch.calls("pwrite64") if call.is_to_file and call.result > 0]
    assert sum(put) + sum(call.result for call in written) == file.size
    assert complete(server, file) == file.content


@pytest.mark.live
@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_splice_that_fails_leaves_nothing_in_the_pipe(quick_disk: Path, serve_live: Serve, number: int) -> None:
    """The chunk is refused, and the next one, through whatever pipe, gets its own bytes."""
    server = serve_live("gthread", quick_disk / "home", DURABILITY="none")
    file = Sample(random.Random(4).randbytes(16 * 1024 * KIB), 8 * 1024 * KIB, "failing.bin")
    assert sent(server, Message("octet", file, 2)).status == 200
    (part,) = [path for path in server.folder.rglob("*.part")]
    with watching(server, f"splice:error=ENOSPC:when={number}", calls="splice", path=part), server.tus.connect() as one:
        try:
            assert Message("octet", file, 1, b"x" * file.chunk).send(one).status == 507
        except ConnectionError:
            pass
    assert complete(server, file) == file.content


# --- step by step ---


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    """A folder of the test's own."""
    return LocalStorage(tmp_path / "uploads", durability="none")


UPLOAD = Upload(
    id=f"{1:032x}", length=20, client_key="a key", status=Status.ACTIVE, created_at=datetime(2026, 1, 2, tzinfo=UTC)
)


def _files(storage: LocalStorage, suffix: str) -> list[Path]:
    return [path for path in storage.root.rglob(f"*{suffix}") if path.is_file()]


def test_who_saves_the_record_keeps_nobody_waiting_in_the_kernel(storage: LocalStorage) -> None:
    """While a greenlet saves, another one of the same thread may remove the upload: a lock would stop both for ever."""
    incoming = storage.receiving(UPLOAD, 1, 0, 10)
    assert incoming is not None
    incoming.write(b"0123456789")
    (fence,) = _files(storage, ".lock")
    with incoming.settling(), fence.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    incoming.close()


def test_one_who_is_late_for_a_finished_upload_makes_no_file(storage: LocalStorage) -> None:
    """Its record may be old: it is not the first there, so it looks again before anything is written."""
    first = storage.receiving(UPLOAD, 1, 0, 10)
    assert first is not None
    first.write(b"0123456789")
    second = storage.receiving(UPLOAD, 2, 10, 10)
    assert second is not None
    assert (first.is_first, second.is_first) == (False, True)
    storage.remove_orphans(UPLOAD)
    with pytest.raises(ClaimLost):
        second.write(b"0123456789")
    late = storage.receiving(UPLOAD, 2, 10, 10)
    assert late is not None
    assert not late.is_first
    assert _files(storage, ".part") == []
    late.withdraw()
    assert _files(storage, "") == []
    for incoming in (first, second):
        incoming.close()


def test_one_who_finds_the_upload_over_leaves_no_fence(storage: LocalStorage) -> None:
    """Also if it was to place a chunk that had been received whole."""
    with storage.placing(UPLOAD, 1, 0):
        assert len(_files(storage, ".lock")) == 1
    assert _files(storage, ".lock") == []


def test_nothing_is_written_behind_the_end(storage: LocalStorage) -> None:
    """What comes behind a chunk's end is dropped."""
    incoming = storage.receiving(UPLOAD, 1, 0, 10)
    assert incoming is not None
    for _ in range(3):
        incoming.write(b"0123456")
    incoming.close()
    (part,) = _files(storage, ".part")
    assert part.read_bytes() == b"0123456012"
