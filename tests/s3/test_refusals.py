"""Stores that want parts of one size, as R2 does, and stores that refuse: what passes by itself, and what does not."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from flask_resumable.core.concat import Concat
from flask_resumable.errors import ConfigurationError
from flask_resumable.errors import StorageFull
from flask_resumable.errors import StorageRefuses
from flask_resumable.errors import TooLarge
from flask_resumable.errors import Unavailable
from flask_resumable.storage.multipart.geometry import MAX_PARTS
from flask_resumable.storage.s3 import S3Storage
from flask_resumable.testing.samples import an_upload
from flask_resumable.testing.storage import finish
from flask_resumable.testing.storage import put
from flask_resumable.testing.storage import read
from tests.flow.client import Sample
from tests.flow.socket_client import octet
from tests.live.servers import id_of
from tests.live.servers import Server

from .conftest import KIB
from .conftest import Store
from .record import Record
from .refusing_store import Refusal
from .refusing_store import RefusingStore
from .refusing_store import UNEQUAL
from .test_contract import needs_small_parts
from .test_contract import SmallParts

MIB = 1024 * KIB
CONTENT = random.Random(14).randbytes(20 * MIB + 5)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MORE_THAN_A_PART = 5 * MIB + 100_000  # behind the part, no more than the kernel takes while nobody reads
Serve = Callable[..., Server]


@pytest.fixture
def refusing(store: Store) -> Iterator[RefusingStore]:
    """A store that wants parts of one size."""
    made = RefusingStore(store)
    yield made
    made.close()


@pytest.fixture
def tiny_refusing(tiny_store: Store) -> Iterator[RefusingStore]:
    """The same, with parts from 1 KiB on."""
    made = RefusingStore(tiny_store)
    yield made
    made.close()


@pytest.fixture
def serve(tmp_path: Path, store: Store, refusing: RefusingStore) -> Iterator[Serve]:
    """Servers of the test's own, with the refusing store."""
    own: list[Server] = []

    def start(kind: str = "gthread", **settings: object) -> Server:
        wiring = {
            "STORAGE": "s3",
            "S3_BUCKET": store.bucket,
            "S3_PREFIX": store.prefix,
            "S3_ENDPOINT_URL": refusing.url,
            "S3_ACCESS_KEY": store.server.access_key,
            "S3_SECRET_KEY": store.server.secret_key,
            "S3_PART_SIZE": 5 * MIB,
        }
        own.append(Server(kind, tmp_path, {**wiring, **settings}))
        own[-1].start()
        return own[-1]

    yield start
    for server in own:
        server.stop()


def _tiny(store: Store, refusing: RefusingStore, **options: Any) -> S3Storage:
    return SmallParts(store.bucket, **{"part_size": KIB, **store.options, "endpoint_url": refusing.url, **options})


# --- parts of one size ---


@pytest.mark.live
@pytest.mark.parametrize(
    ("chunk", "size", "parts"),
    [
        (6 * MIB, 20 * MIB, [6 * MIB, 6 * MIB, 6 * MIB, 2 * MIB]),
        (6 * MIB, 12 * MIB + 1, [6 * MIB, 6 * MIB, 1]),
        (5 * MIB, 10 * MIB - 1, None),  # one chunk, which flow.js makes as long as that
        (6 * MIB, 12 * MIB, [6 * MIB, 6 * MIB]),
        (3 * MIB, 20 * MIB + 5, [5 * MIB] * 4 + [5]),
    ],
)
def test_the_long_last_chunk_of_flow_js_makes_two_parts(
    serve: Serve, store: Store, refusing: RefusingStore, chunk: int, size: int, parts: list[int] | None
) -> None:
    """flow.js gives the last chunk all that is left: the store is never asked for what it does not take, the file is
    whole, and on_complete is called once; in any order of chunks.
    """
    server = serve("gthread2")
    sample = Sample(CONTENT[:size], chunk=chunk)
    numbers = list(sample.numbers)
    random.Random(size).shuffle(numbers)

    def send(number: int) -> int:
        with server.tus.connect() as connection:
            return octet(connection, sample, number).status

    with ThreadPoolExecutor(3) as clients:
        assert set(clients.map(send, numbers)) == {200}
    (key,) = store.kept()
    assert store.content(key) == sample.content
    assert not refusing.refused
    assert parts is None or refusing.sizes == [parts]
    assert server.query("SELECT sha256 FROM receipt") == [(hashlib.sha256(sample.content).hexdigest(),)]
    assert server.flask("tus", "verify").returncode == 0


def test_what_is_wrong_with_either_part_of_a_long_last_chunk_is_told(store: Store) -> None:
    """The chunk is asked for again as a whole."""
    storage = S3Storage(store.bucket, **store.options)
    upload = an_upload(length=13 * MIB, storage=storage.layout(5 * MIB, 2))
    for number, stop in ((1, 5 * MIB), (2, 13 * MIB)):
        start = (number - 1) * 5 * MIB
        with storage.spool() as spool:
            spool.write(CONTENT[start:stop])
            spool.seek(0)
            with storage.placing(upload, number, start) as slot:
                slot.fill(spool)
    ((multipart, key),) = store.multiparts().items()
    place = {"Bucket": store.bucket, "Key": key, "UploadId": multipart}
    store.client.upload_part(**place, PartNumber=3, Body=b"short")
    seen = replace(upload, received=upload.received.add(0, 13 * MIB))
    assert storage.verify(seen) == [f"Part 3 of {key}, a chunk, has 5 bytes, not {3 * MIB}."]
    store.client.upload_part(**place, PartNumber=3, Body=CONTENT[10 * MIB : 13 * MIB])
    assert storage.verify(seen) == []
    assert read(storage, finish(storage, seen)) == CONTENT[: 13 * MIB]


@pytest.mark.live
@pytest.mark.parametrize("said", [None, True])
def test_parts_of_any_size_are_joined(serve: Serve, store: Store, refusing: RefusingStore, said: bool | None) -> None:
    """tus concatenation of parts that differ in size: what the store refuses is made once more, of equal parts, in the
    same request; from then on it is made so at once.
    """
    server = serve(S3_EQUAL_PARTS=said)
    cuts = (0, 6 * MIB, 13 * MIB, len(CONTENT))
    for _ in range(2):
        parts = [
            server.tus.create(stop - start, {"Upload-Concat": "partial"}, CONTENT[start:stop])
            for start, stop in pairwise(cuts)
        ]
        final = server.tus.request("POST", "/files/", {"Upload-Concat": f"final;{' '.join(parts)}"})
        assert final.status == 201
        path = "/files/" + final.headers["location"]
        assert server.tus.offset(path) == len(CONTENT)
        assert server.receipts(path) == [SHA256]
        assert store.content(store.prefix + id_of(path)) == CONTENT
        assert refusing.refused["complete"] == (0 if said else 1)
    assert store.multiparts() == {}


@needs_small_parts
@pytest.mark.parametrize("sizes", [(2000, 1500, 1024, 3000), (1024, 1025), (5000, 1024), (3000, 3000, 3001)])
def test_a_store_shows_once_that_it_wants_equal_parts(
    tiny_store: Store, tiny_refusing: RefusingStore, sizes: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """The first final upload is refused and made once more; the next ones are not refused. Parts of one size, with a
    smaller last one, are never read through this process.
    """
    storage = _tiny(tiny_store, tiny_refusing)
    for number in (10, 20):
        parts = [Record(size, number + at, concat=Concat("partial")) for at, size in enumerate(sizes)]
        content = b""
        for record in parts:
            piece = random.Random(record.upload.id).randbytes(record.upload.length or 0)
            record.put(storage, piece)
            record.finish(storage)
            content += piece
        final = Record(len(content), number + 9)
        final.assemble(storage, parts)
        done = final.finish(storage)
        assert read(storage, done) == content
        assert tiny_refusing.refused["complete"] == (0 if sizes == (5000, 1024) else 1)
        for record in parts:
            storage.delete(record.upload)
        storage.delete(done)
    assert tiny_store.kept() == set()
    assert (UNEQUAL in caplog.text) == (sizes != (5000, 1024))


@needs_small_parts
def test_parts_stay_as_they_are_while_a_length_is_unknown(tiny_store: Store, tiny_refusing: RefusingStore) -> None:
    """Unless it is known that the store takes parts that grow, they do not."""
    content = random.Random(7).randbytes(70 * KIB)
    for said in (None, True):
        storage = _tiny(tiny_store, tiny_refusing, equal_parts=said)
        record = Record(None, 1 + bool(said))
        record.put(storage, content)
        record.upload = replace(record.upload, length=70 * KIB + 5)
        record.put(storage, b"12345")
        assert read(storage, record.finish(storage)) == content + b"12345"
    assert not tiny_refusing.refused


@needs_small_parts
def test_a_length_that_equal_parts_cannot_hold_is_refused_when_it_is_declared(tiny_store: Store) -> None:
    """The error names the limit and says to declare the length first; an upload that does has larger parts."""
    storage = SmallParts(tiny_store.bucket, **{"part_size": KIB, **tiny_store.options})
    record = Record(None)
    record.put(storage, b"x" * 3000)
    record.upload = replace(record.upload, length=MAX_PARTS * KIB + 1)
    with pytest.raises(TooLarge, match=f"{MAX_PARTS * KIB} bytes") as caught:
        record.put(storage, b"y")
    assert caught.value.limit == MAX_PARTS * KIB
    with storage.writer(an_upload(2, length=MAX_PARTS * KIB + 1), 0, 1):
        pass


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("https://s3.eu-central-1.amazonaws.com", False),
        ("https://0123456789abcdef.r2.cloudflarestorage.com", True),
        ("https://0123456789abcdef.eu.r2.cloudflarestorage.com", True),
        ("https://amazonaws.com.example.org", None),
    ],
)
def test_what_well_known_stores_take_is_known(address: str, wanted: bool | None) -> None:
    """Nothing has to be tried there; what the app says counts more."""
    keys: Any = {"access_key": "a", "secret_key": "b", "region": "auto"}
    assert S3Storage("bucket", endpoint_url=address, **keys)._equal.are_wanted is wanted
    assert S3Storage("bucket", endpoint_url=address, equal_parts=not wanted, **keys)._equal.are_wanted is not wanted
    assert S3Storage("bucket", region="eu-central-1")._equal.are_wanted is False


def test_a_store_without_conditions_is_not_asked_for_them() -> None:
    """Backblaze B2 refuses If-None-Match, so chunks of flow.js are objects there before they are parts."""
    keys: Any = {"access_key": "a", "secret_key": "b"}
    b2 = S3Storage("bucket", endpoint_url="https://s3.eu-central-003.backblazeb2.com", **keys)
    assert b2.layout(5 * MIB, 2) == {"chunk_size": 5 * MIB, "chunks": 2}
    assert S3Storage("bucket", endpoint_url="https://backblazeb2.com.example.org", **keys).layout(5 * MIB, 2)["direct"]


# --- refusals ---

FOR_GOOD = [
    ("complete", 400, "InvalidPart"),
    ("complete", 400, "EntityTooSmall"),
    ("complete", 400, "InvalidArgument"),
    ("complete", 403, "AccessDenied"),
    ("complete", 400, "MadeUpByTheStore"),
    ("part", 403, "AccessDenied"),
    ("part", 403, "InvalidAccessKeyId"),
    ("begin", 404, "NoSuchBucket"),
    ("begin", 501, "NotImplemented"),
]
PASSING = [
    ("complete", 503, "SlowDown"),
    ("complete", 500, "InternalError"),
    ("complete", 400, "RequestTimeout"),
    ("part", 403, "RequestTimeTooSkewed"),
    ("part", 409, "OperationAborted"),
    ("begin", 429, "TooManyRequests"),
]


@pytest.mark.live
@pytest.mark.parametrize("protocol", ["tus", "flow"])
@pytest.mark.parametrize(("operation", "status", "code"), FOR_GOOD)
def test_a_refusal_that_does_not_pass_is_told_and_not_repeated(
    serve: Serve, store: Store, refusing: RefusingStore, protocol: str, operation: str, status: int, code: str
) -> None:
    """One request of a client is one request to the store; the client gets 500, which is not for sending on and on, and
    the log has the key and the store's own words. When the store has changed its mind, the upload is finished.
    """
    server = serve()
    words = "This is what the store says."
    refusing.refusals[operation] = Refusal(status, code, words)
    sample = Sample(CONTENT, chunk=10 * MIB)
    if protocol == "tus":
        path = server.tus.create(len(CONTENT))
        answer = server.tus.patch(path, 0, CONTENT if operation == "complete" else CONTENT[:MORE_THAN_A_PART])
    else:
        with server.tus.connect() as connection:
            answers = [octet(connection, sample, number) for number in sample.numbers]
        answer = answers[-1]
        (path,) = (f"/files/{row[0]}" for row in server.query("SELECT id FROM upload"))
    assert (answer.status, "retry-after" in answer.headers) == (500, False)
    if operation == "complete":
        assert refusing.asked["complete"] == 1
    else:
        assert refusing.asked[operation] <= 4  # as many parts are sent at once
    log = server.log.read_text()
    assert words in log and code in log and store.prefix + id_of(path) in log
    del refusing.refusals[operation]
    if protocol == "tus":
        server.tus.resume(path, CONTENT)
    else:
        with server.tus.connect() as connection:
            assert {octet(connection, sample, number).status for number in sample.numbers} == {200}
    assert server.receipts(path) == [SHA256]
    assert store.kept() == {store.prefix + id_of(path)}
    assert store.content(store.prefix + id_of(path)) == CONTENT


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "XAdminUserNotFound", ConfigurationError),
        (403, "MadeUpByTheStore", ConfigurationError),
        (400, "MadeUpByTheStore", ConfigurationError),
        (400, "IncompleteBody", Unavailable),
        (425, "MadeUpByTheStore", Unavailable),
    ],
)
def test_the_check_tells_what_passes_from_what_does_not(
    store: Store, refusing: RefusingStore, status: int, code: str, kind: type[Exception]
) -> None:
    """Whatever a store calls it: an app with a wrong key does not start, and one whose store is busy does."""
    storage = S3Storage(store.bucket, **{**store.options, "endpoint_url": refusing.url})
    refusing.refusals["begin"] = Refusal(status, code)
    with pytest.raises(kind) as caught:
        storage.check_access()
    assert kind is Unavailable or code in str(caught.value)


@pytest.mark.live
@pytest.mark.parametrize(("operation", "status", "code"), PASSING)
def test_a_refusal_that_passes_is_told_as_such(
    serve: Serve, store: Store, refusing: RefusingStore, operation: str, status: int, code: str
) -> None:
    """503, and Retry-After: the client sends again, and finds all as it was."""
    server = serve()
    path = server.tus.create(len(CONTENT))
    refusing.refusals[operation] = Refusal(status, code)
    answer = server.tus.patch(path, 0, CONTENT if operation == "complete" else CONTENT[:MORE_THAN_A_PART])
    assert (answer.status, "retry-after" in answer.headers) == (503, True)
    assert code in server.log.read_text()
    del refusing.refusals[operation]
    server.tus.resume(path, CONTENT)
    assert server.receipts(path) == [SHA256]
    assert store.kept() == {store.prefix + id_of(path)}


@pytest.mark.parametrize(
    ("status", "code"), [(403, "QuotaExceeded"), (507, "XMinioStorageFull"), (507, "InsufficientStorage")]
)
def test_a_store_that_is_full_says_so(store: Store, refusing: RefusingStore, status: int, code: str) -> None:
    """As a disk does, whatever the store calls it."""
    storage = S3Storage(store.bucket, **{**store.options, "endpoint_url": refusing.url})
    refusing.refusals["put"] = Refusal(status, code)
    with pytest.raises(StorageFull):
        put(storage, an_upload(length=10), b"01234")


def test_an_answer_that_breaks_off_is_asked_for_again(store: Store, refusing: RefusingStore) -> None:
    """The client of the store does not do that once an answer has begun. It is no bug of ours if that does not help."""
    storage = S3Storage(store.bucket, **{**store.options, "endpoint_url": refusing.url})
    upload = an_upload(length=10_000)
    upload = finish(storage, put(storage, upload, b"0123456789" * 1000))
    refusing.broken = 2
    assert read(storage, upload) == b"0123456789" * 1000
    assert refusing.broken == 0
    refusing.broken = 100
    with pytest.raises(Unavailable):
        read(storage, upload)


def test_an_answer_that_breaks_off_is_continued_where_it_broke(store: Store, refusing: RefusingStore) -> None:
    """Nobody gets bytes twice. What is read is never large, because a process hardly gives large blocks back."""
    storage = S3Storage(store.bucket, **{**store.options, "endpoint_url": refusing.url})
    content = bytes(range(250)) * 4000
    storage._store.put("content", content)
    refusing.broken = 2
    pieces: list[bytes] = []
    storage._store.get_into("content", 1, 900_000, pieces.append)
    assert b"".join(pieces) == content[1:900_000]
    assert refusing.broken == 0
    assert max(map(len, pieces)) <= 64 * 1024


def test_a_request_that_the_client_of_the_store_does_not_send_is_a_refusal(store: Store) -> None:
    """boto3 finds a mistake by itself."""
    storage = S3Storage("no/bucket", **store.options)
    with pytest.raises(StorageRefuses):
        put(storage, an_upload(length=10), b"01234")
    assert issubclass(StorageRefuses, Unavailable)
