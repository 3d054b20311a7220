"""Requests that are overtaken, cut off or killed: no part of theirs ever gets into the object in another's place."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flask_resumable.core.concat import Concat
from flask_resumable.core.upload import Status
from flask_resumable.errors import BytesLost
from flask_resumable.errors import ClaimLost
from flask_resumable.errors import Unavailable
from flask_resumable.storage.multipart import StoreTraits
from flask_resumable.storage.s3 import S3Storage
from flask_resumable.testing.storage import read

from .conftest import KIB
from .conftest import Store
from .record import Record
from .test_contract import needs_small_parts

ON_CEPH = os.environ.get("S3_SERVER") == "ceph"
PART = 5 * 1024 * KIB if ON_CEPH else KIB
LENGTH = 20 * PART + 300
CONTENT = random.Random(5).randbytes(LENGTH)
OTHER = random.Random(6).randbytes(LENGTH)
STEP = PART * 7 // 10
BEGUN = PART * 3 // 2


class SmallParts(S3Storage):
    """Parts as small as the store takes them."""

    traits = StoreTraits(min_part=PART)


@pytest.fixture
def small_store(request: pytest.FixtureRequest) -> Store:
    """A bucket that takes parts as small as they can be here."""
    found: Store = request.getfixturevalue("store" if ON_CEPH else "tiny_store")
    return found


@pytest.fixture
def make(small_store: Store, tmp_path: Path) -> Callable[..., S3Storage]:
    """Makes storages on one bucket, as machines of their own have them."""

    def make(**changes: Any) -> S3Storage:
        options = {"part_size": PART, "spool_directory": tmp_path, **small_store.options, **changes}
        return SmallParts(small_store.bucket, **options)

    return make


@pytest.fixture
def storage(make: Callable[..., S3Storage]) -> S3Storage:
    """One of them."""
    return make()


def _target(store: Store, record: Record) -> str:
    return f"{store.prefix}{record.upload.id}"


def _land(store: Store, record: Record, number: int, content: bytes) -> None:
    """A part of a request that was overtaken arrives at last."""
    (multipart,) = [multipart for multipart, key in store.multiparts().items() if key == _target(store, record)]
    store.client.upload_part(
        Bucket=store.bucket, Key=_target(store, record), UploadId=multipart, PartNumber=number, Body=content
    )


def test_two_machines_take_turns(make: Callable[..., S3Storage], small_store: Store) -> None:
    """Requests of one upload may come to any machine; nothing is missing, and what is no longer needed goes away."""
    machines = [make(), make()]
    record = Record(LENGTH)
    for turn, start in enumerate(range(0, LENGTH, STEP)):
        record.put(machines[turn % 2], CONTENT[start : start + STEP])
        assert len(small_store.objects()) <= 6  # tails of one part, and of the one before it
    assert "busy" not in record.upload.storage and "tainted" not in record.upload.storage
    assert read(machines[0], record.finish(machines[1])) == CONTENT
    assert small_store.kept() == {_target(small_store, record)}


def test_parts_are_uploaded_once(storage: S3Storage, small_store: Store) -> None:
    """A whole upload in one request makes parts of all its bytes, with no helper objects on the way."""
    record = Record(LENGTH)
    record.put(storage, CONTENT)
    assert len(record.upload.storage["parts"]) == 21
    assert "tails" not in record.upload.storage
    assert small_store.objects() == set()
    assert read(storage, record.finish(storage)) == CONTENT


def test_a_part_that_lands_late_is_not_published(storage: S3Storage, small_store: Store) -> None:
    """A request was overtaken while its parts were on their way. They arrive after its successor's, and after all."""
    record = Record(LENGTH)
    with record.request(storage) as old:
        old.send(OTHER[: 3 * PART])
        old.end()
    with record.request(storage) as old:
        old.send(OTHER[3 * PART : 5 * PART])  # its note says that it may go on to part 12 or so
        overtaken_at = record.upload.offset
        record.put(storage, CONTENT[overtaken_at : 8 * PART])
        _land(small_store, record, 4, OTHER[5 * PART : 6 * PART])
        _land(small_store, record, 6, OTHER[5 * PART : 6 * PART])
        with pytest.raises(ClaimLost):
            old.save()
    offset = record.upload.offset
    assert offset == 8 * PART
    record.put(storage, CONTENT[offset:])
    assert any(part.startswith("@") for part in record.upload.storage["parts"])
    assert record.upload.storage["parts"][-1][0] != "@"  # behind the note, numbers are free again
    _land(small_store, record, 5, OTHER[5 * PART : 6 * PART])
    assert read(storage, record.finish(storage)) == OTHER[:overtaken_at] + CONTENT[overtaken_at:]
    assert small_store.kept() == {_target(small_store, record)}


def test_a_part_that_lands_in_the_last_moment_is_not_published(
    make: Callable[..., S3Storage], small_store: Store
) -> None:
    """It arrives between the look at the parts and the end: the store refuses, and another look puts it right."""
    record = Record(LENGTH)
    storage = make()
    record.put(storage, CONTENT[: 2 * PART])
    with record.request(storage) as old:
        old.send(CONTENT[2 * PART : 3 * PART])
        old.save()
        record.put(storage, CONTENT[record.upload.offset :])
    staged = [number for number, part in enumerate(record.upload.storage["parts"], 1) if part.startswith("@")]
    landed: list[int] = []

    def land(**event: Any) -> None:
        if len(landed) < 2:
            landed.append(staged[len(landed)])
            _land(small_store, record, landed[-1], OTHER[:PART])

    client = storage._bucket.client
    client.meta.events.register("before-call.s3.CompleteMultipartUpload", land)
    assert read(storage, record.finish(storage)) == CONTENT
    assert len(landed) == 2


def test_a_request_that_dies_costs_only_what_was_not_saved(storage: S3Storage, small_store: Store) -> None:
    """Parts that arrived after the last save do not count; the next request brings them again."""
    record = Record(LENGTH)
    with record.request(storage) as dying:
        dying.send(CONTENT[: 4 * PART])
        dying.save()
        saved = record.upload.offset
        dying.writer.write(OTHER[4 * PART : 9 * PART])
    assert record.upload.offset == saved <= 4 * PART
    record.put(storage, CONTENT[saved:])
    assert read(storage, record.finish(storage)) == CONTENT
    assert small_store.kept() == {_target(small_store, record)}


def test_a_request_that_dies_before_its_note_is_saved_leaves_nothing_in_the_way(
    storage: S3Storage, small_store: Store
) -> None:
    """A multipart upload that no record names is removed at the end."""
    record = Record(LENGTH)
    with record.request(storage) as dying:
        dying.writer.write(OTHER[: 2 * PART])
        dying.writer.checkpoint(counts=True)
    assert small_store.multiparts()
    record.put(storage, CONTENT)
    assert len(small_store.multiparts()) == 2
    assert read(storage, record.finish(storage)) == CONTENT
    assert small_store.kept() == {_target(small_store, record)}


@pytest.mark.parametrize("stop", [100, 2 * PART, 9 * PART + 7])
def test_content_that_fails_its_checksum_counts_for_nothing(storage: S3Storage, small_store: Store, stop: int) -> None:
    """Its parts are not noted, and their numbers are free again."""
    record = Record(LENGTH)
    record.put(storage, CONTENT[:BEGUN])
    before = record.upload
    with record.request(storage) as guarded:
        guarded.send(OTHER[BEGUN : BEGUN + stop], counts=False)
        guarded.save(counts=False)
        assert record.upload.offset == BEGUN
        guarded.fail(counts=False)
    assert record.upload.received == before.received
    record.put(storage, CONTENT[BEGUN:])
    assert not any(part.startswith("@") for part in record.upload.storage["parts"])
    assert read(storage, record.finish(storage)) == CONTENT
    assert small_store.kept() == {_target(small_store, record)}


def test_guarded_content_that_is_right_counts_at_its_end(storage: S3Storage) -> None:
    """Until it is verified nothing counts; then all does."""
    record = Record(LENGTH)
    with record.request(storage) as guarded:
        guarded.send(CONTENT, counts=False)
        assert record.upload.offset == 0
        guarded.end()
    assert read(storage, record.finish(storage)) == CONTENT


def test_a_writer_without_saves_needs_none(storage: S3Storage) -> None:
    """Who only writes and flushes gets every byte stored, too."""
    record = Record(LENGTH)
    with record.request(storage) as plain:
        for start in range(0, LENGTH, STEP // 2):
            plain.writer.write(CONTENT[start : start + STEP // 2])
        plain.end()
    assert read(storage, record.finish(storage)) == CONTENT


def test_slow_content_is_kept_before_it_fills_a_part(
    storage: S3Storage, small_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every half minute what came is saved, as one more object each time, until there are too many of them."""
    now = [1000.0]
    monkeypatch.setattr("flask_resumable.storage.multipart.writer.time.monotonic", lambda: now[0])
    record = Record(LENGTH)
    with record.request(storage) as slow:
        for start in range(0, 1000, 10):
            slow.writer.write(CONTENT[start : start + 10])
            now[0] += 31
            assert slow.writer.is_due
            slow.save()
            assert record.upload.offset == start + 10
            assert len(small_store.objects()) <= 34
        # The process dies here.
    record.put(storage, CONTENT[1000:])
    assert read(storage, record.finish(storage)) == CONTENT


def test_bytes_that_the_store_lost_are_asked_for_again(storage: S3Storage, small_store: Store) -> None:
    """Somebody removed a tail, a part, or the whole multipart upload: the upload goes on from where its bytes end."""
    record = Record(LENGTH)
    record.put(storage, CONTENT[:PART] + CONTENT[PART : PART + 100])
    for key in small_store.objects():
        small_store.client.delete_object(Bucket=small_store.bucket, Key=key)
    with pytest.raises(BytesLost) as caught:
        record.put(storage, CONTENT[PART + 100 :])
    record.upload = replace(record.upload, received=record.upload.received.prefix(caught.value.offset))
    record.put(storage, CONTENT[caught.value.offset :])
    for multipart, key in small_store.multiparts().items():
        small_store.client.abort_multipart_upload(Bucket=small_store.bucket, Key=key, UploadId=multipart)
    assert storage.verify(record.upload) == [
        f"The multipart upload of {_target(small_store, record)} is gone, and 21 parts with it."
    ]
    with pytest.raises(BytesLost) as caught:
        record.finish(storage)
    assert caught.value.offset == 0
    record.upload = replace(record.upload, received=record.upload.received.prefix(0))
    record.put(storage, CONTENT)
    assert read(storage, record.finish(storage)) == CONTENT


def test_a_multipart_upload_that_vanishes_under_a_writer_is_noticed(storage: S3Storage, small_store: Store) -> None:
    """A rule of the bucket removed it: the client starts again, in a new one."""
    record = Record(LENGTH)
    record.put(storage, CONTENT[: 3 * PART])
    for multipart, key in small_store.multiparts().items():
        small_store.client.abort_multipart_upload(Bucket=small_store.bucket, Key=key, UploadId=multipart)
    with pytest.raises(BytesLost) as caught:
        record.put(storage, CONTENT[3 * PART :])
    assert caught.value.offset == 0
    record.upload = replace(record.upload, received=record.upload.received.prefix(0))
    record.put(storage, CONTENT)
    assert read(storage, record.finish(storage)) == CONTENT


def test_a_staged_part_that_is_lost_is_noticed(storage: S3Storage, small_store: Store) -> None:
    """The upload goes back to where that part began."""
    record = Record(LENGTH)
    with record.request(storage) as plain:
        plain.writer.write(CONTENT)
        plain.end()
    third = sorted(small_store.objects(), key=lambda key: int(key.split("-")[1]))[2]
    small_store.client.delete_object(Bucket=small_store.bucket, Key=third)
    assert storage.verify(record.upload) == [f"The object {third} is missing."]
    with pytest.raises(BytesLost) as caught:
        record.finish(storage)
    assert caught.value.offset == 2 * PART
    record.upload = replace(record.upload, received=record.upload.received.prefix(2 * PART))
    record.put(storage, CONTENT[2 * PART :])
    assert read(storage, record.finish(storage)) == CONTENT
    assert small_store.kept() == {_target(small_store, record)}


def test_publishing_is_noticed_when_only_the_record_missed_it(storage: S3Storage, small_store: Store) -> None:
    """A process died between the end in the store and the save; verify finds nothing wrong, and finish is repeated."""
    for number, content in enumerate((CONTENT, CONTENT[:100]), 1):
        record = Record(len(content), number)
        record.put(storage, content)
        storage.finish(record.upload, 1)
        assert storage.verify(record.upload) == []
        assert read(storage, record.finish(storage)) == content
        assert storage.verify(record.upload) == []


@needs_small_parts
def test_parts_grow_while_the_length_is_unknown(make: Callable[..., S3Storage]) -> None:
    """Where the store takes it, parts grow while the length is unknown; once it is declared, they stay as they are."""
    storage = make(equal_parts=False)
    record = Record(None)
    content = random.Random(7).randbytes(70 * PART)
    record.put(storage, content)
    assert record.upload.storage["growth"] > 0
    record.upload = replace(record.upload, length=70 * PART + 5)
    record.put(storage, b"12345")
    assert read(storage, record.finish(storage)) == content + b"12345"


def test_joined_parts_survive_another_try(make: Callable[..., S3Storage], small_store: Store) -> None:
    """Concatenation can be cut off at any point and done again; parts that were put together are held fast by ETags."""
    storage = make()
    parts = [
        Record(size, number, concat=Concat("partial")) for number, size in enumerate((3 * PART, 10, 5 * PART, 1), 1)
    ]
    content = b""
    for record in parts:
        piece = random.Random(record.upload.id).randbytes(record.upload.length or 0)
        record.put(storage, piece)
        record.finish(storage)
        content += piece
    final = Record(len(content), 9)
    final.assemble(storage, parts)
    final.assemble(storage, parts)
    assert len(small_store.multiparts()) == 2
    assert storage.verify(final.upload) == []
    storage.finish(final.upload, 1)
    assert read(storage, final.finish(storage)) == content
    for record in parts:
        storage.delete(record.upload)
    assert small_store.kept() == {_target(small_store, final)}


def test_foreign_objects_are_not_touched(storage: S3Storage, small_store: Store) -> None:
    """Keys of others are no orphans, however similar; what is ours and has no record is found, in folders, too."""
    foreign = ["a.txt", f"other/{'a' * 32}", f"up/{'b' * 32}", "up/.partial/notes", f"up/.partial/{'c' * 32}/mine.txt"]
    for key in foreign:
        small_store.client.put_object(Bucket=small_store.bucket, Key=key, Body=b"mine")
    elsewhere = [f"other/{'a' * 32}", f"up/more/{'a' * 32}", "up/else"]
    for key in elsewhere:
        small_store.client.create_multipart_upload(Bucket=small_store.bucket, Key=key)
    records = [Record(LENGTH, 1), Record(LENGTH, 2, storage={"place": {"folder": "tenants/x"}})]
    for record in records:
        record.upload = replace(record.upload, status=Status.ACTIVE)
        record.put(storage, CONTENT[: 5 * PART])
    found = dict(storage.orphans(records[0].upload.created_at.replace(year=2100)))
    assert set(found) == {record.upload.id for record in records}
    assert sum(remove() for remove in found.values()) == 2 * 5 * PART + len("tenants/x")
    assert small_store.objects() == set(foreign)
    assert sorted(small_store.multiparts().values()) == sorted(elsewhere)


def test_an_upload_in_a_folder_is_published_there(storage: S3Storage, small_store: Store) -> None:
    """The folder that the app has chosen is a part of the key."""
    record = Record(LENGTH, storage={"place": {"folder": "tenants/x"}})
    with record.request(storage) as request:
        request.send(CONTENT)
        request.end()
    record.upload = replace(record.upload, storage={**record.upload.storage, "place": {"folder": "tenants/x"}})
    stored = storage.finish(record.upload, 1)
    assert small_store.kept() == {f"up/tenants/x/{record.upload.id}"}
    done = replace(record.upload, storage={**stored, "place": {"folder": "tenants/x"}}, status=Status.COMPLETE)
    assert read(storage, done) == CONTENT
    storage.delete(done)
    assert small_store.kept() == set()


def test_only_ids_become_keys(storage: S3Storage, small_store: Store) -> None:
    """Whatever is in a record, nothing but an id is ever a part of a key."""
    for hostile in ("../" + "a" * 29, "A" * 32, "a" * 31, "", "a" * 32 + "\n"):
        record = Record(LENGTH)
        record.upload = replace(record.upload, id=hostile)
        with pytest.raises(ValueError):
            record.put(storage, CONTENT)
        with pytest.raises(ValueError):
            storage.delete(record.upload)
    assert small_store.kept() == set()


def test_nothing_is_claimed_after_a_failure(storage: S3Storage, small_store: Store) -> None:
    """When a part could not be stored, what came before it is saved, and nothing that came after."""
    record = Record(LENGTH)
    record.put(storage, CONTENT[: 2 * PART])
    refused: list[int] = []

    def refuse(params: dict[str, Any], **event: Any) -> None:
        number = int(params["query_string"]["partNumber"])
        if number == 5:
            refused.append(number)
            raise ConnectionError("no way")

    client = storage._bucket.client
    client.meta.events.register("before-call.s3.UploadPart", refuse)
    with record.request(storage) as request:
        with pytest.raises(Unavailable):
            request.send(CONTENT[2 * PART : 6 * PART + 100])
            request.end()
        request.fail()
    client.meta.events.unregister("before-call.s3.UploadPart", refuse)
    assert refused
    assert record.upload.offset == 4 * PART
    record.put(storage, CONTENT[4 * PART :])
    assert read(storage, record.finish(storage)) == CONTENT


@pytest.mark.parametrize("counts", [True, False])
def test_an_upload_may_turn_out_to_be_shorter(storage: S3Storage, small_store: Store, counts: bool) -> None:
    """A request sent parts behind the end, which never counted. At worst, the client has to send all of it again."""
    record = Record(None)
    record.put(storage, CONTENT[: 2 * PART])
    with record.request(storage) as dying:
        dying.writer.write(OTHER[2 * PART : 3 * PART])
        dying.save(counts=counts)
        dying.writer.write(OTHER[3 * PART : 9 * PART])
        dying.writer._wait_for_all()
    assert record.upload.offset == 2 * PART
    record.upload = replace(record.upload, length=2 * PART + 5)
    record.put(storage, CONTENT[2 * PART : 2 * PART + 5])
    try:
        done = record.finish(storage)
    except BytesLost as error:
        assert ON_CEPH and counts and error.offset == 0
        record.upload = replace(record.upload, received=record.upload.received.prefix(0))
        record.put(storage, CONTENT[: 2 * PART + 5])
        done = record.finish(storage)
    assert read(storage, done) == CONTENT[: 2 * PART + 5]
    assert small_store.kept() == {_target(small_store, record)}
