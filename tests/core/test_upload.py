"""The rules by which an upload moves."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from typing import Any

import pytest

from flask_resumable.core import upload as rules
from flask_resumable.core.answer import Answer
from flask_resumable.core.answer import MAX_BODY
from flask_resumable.core.concat import Concat
from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.upload import Creation
from flask_resumable.core.upload import Limits
from flask_resumable.core.upload import MAX_LENGTH
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.core.upload import Write
from flask_resumable.errors import BeyondLength
from flask_resumable.errors import LengthConflict
from flask_resumable.errors import OffsetMismatch
from flask_resumable.errors import TooLarge
from flask_resumable.errors import UploadClosed
from flask_resumable.errors import UploadExpired

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ID = "0" * 32
NONE = Limits()
UPLOAD = Upload(id=ID, length=10, received=ByteRanges.prefix(4), status=Status.ACTIVE, created_at=NOW)


def _write(start: int = 4, size: int | None = 6, length: int | None = None) -> Write:
    return Write(start=start, size=size, declares_length=length)


def test_a_write_at_the_offset_gets_what_is_missing() -> None:
    """The room for a write is the rest of the upload."""
    assert rules.begin(UPLOAD, _write(), NONE, NOW) == (UPLOAD, 6)


def test_a_write_elsewhere_is_refused() -> None:
    """A stale offset is told both numbers."""
    with pytest.raises(OffsetMismatch) as caught:
        rules.begin(UPLOAD, _write(start=3), NONE, NOW)
    assert (caught.value.expected, caught.value.provided) == (4, 3)


def test_a_write_past_the_end_is_refused() -> None:
    """Content that announces more than is missing is refused before it is read."""
    with pytest.raises(TooLarge):
        rules.begin(UPLOAD, _write(size=7), NONE, NOW)


def test_without_a_length_the_maximum_is_the_room() -> None:
    """While the length is deferred, the configured maximum bounds the content."""
    deferred = replace(UPLOAD, length=None)
    assert rules.begin(deferred, _write(size=None), Limits(max_size=9), NOW)[1] == 5
    assert rules.begin(deferred, _write(size=None), NONE, NOW)[1] == MAX_LENGTH - 4


def test_a_length_is_declared_once() -> None:
    """A length that is known cannot be declared again, not even the same; an unknown one can."""
    declared, _ = rules.begin(replace(UPLOAD, length=None), _write(length=10), NONE, NOW)
    assert declared.length == 10
    with pytest.raises(LengthConflict):
        rules.begin(UPLOAD, _write(length=10), NONE, NOW)
    with pytest.raises(LengthConflict):
        rules.begin(replace(UPLOAD, length=None), _write(length=3), NONE, NOW)
    with pytest.raises(TooLarge):
        rules.begin(replace(UPLOAD, length=None), _write(length=10), Limits(max_size=9), NOW)


def test_a_final_upload_takes_no_content() -> None:
    """Final uploads are made of others."""
    with pytest.raises(UploadClosed):
        rules.begin(replace(UPLOAD, concat=Concat("final;" + ID, (ID,))), _write(), NONE, NOW)


def test_an_upload_in_chunks_takes_no_other_content() -> None:
    """What was begun with flow.js is not continued with tus: its bytes may lie in another order, or in a folder."""
    with pytest.raises(UploadClosed):
        rules.begin(replace(UPLOAD, client_key="aa"), _write(), NONE, NOW)


@pytest.mark.parametrize(
    ("status", "partial", "expires"),
    [
        (Status.NEW, False, True),
        (Status.ACTIVE, False, True),
        (Status.FINISHING, False, False),
        (Status.COMPLETE, False, False),
        (Status.COMPLETE, True, True),
        (Status.DELETING, False, False),
    ],
)
def test_only_the_unfinished_expire(status: Status, partial: bool, expires: bool) -> None:
    """Time ends what is unfinished, and parts that were never used; never a finished upload."""
    upload = replace(UPLOAD, status=status, expires_at=NOW, concat=Concat("partial") if partial else None)
    assert upload.is_expired(NOW) == expires
    assert (upload.removable_at is not None) == (expires or status is Status.DELETING)


def test_an_expired_upload_takes_nothing() -> None:
    """The last moment is over when it is reached."""
    upload = replace(UPLOAD, expires_at=NOW)
    rules.begin(upload, _write(), NONE, NOW - timedelta(microseconds=1))
    with pytest.raises(UploadExpired):
        rules.begin(upload, _write(), NONE, NOW)


def test_expiry_slides_only_when_told_to() -> None:
    """The time to finish counts from the creation, unless content is to move it."""
    fixed, sliding = (Limits(expiration=timedelta(hours=1), sliding=sliding) for sliding in (False, True))
    upload = rules.create(ID, Creation(length=10), None, fixed, NOW)
    later = NOW + timedelta(minutes=10)
    assert rules.advance(upload, 0, 4, fixed, later).expires_at == NOW + timedelta(hours=1)
    assert rules.advance(upload, 0, 4, sliding, later).expires_at == later + timedelta(hours=1)


def test_the_last_byte_makes_it_finishing() -> None:
    """An upload is finishing when the length is known and every byte is here, not before."""
    whole = rules.advance(UPLOAD, 4, 10, NONE, NOW)
    assert rules.finish_if_ready(whole).status is Status.FINISHING
    assert rules.finish_if_ready(UPLOAD).status is Status.ACTIVE
    assert rules.finish_if_ready(replace(whole, length=None)).status is Status.ACTIVE


def test_lost_bytes_make_it_active_again() -> None:
    """If the storage lost bytes, the upload goes back to where they end, never forward."""
    finishing = rules.finish_if_ready(rules.advance(UPLOAD, 4, 10, NONE, NOW))
    back = rules.truncated(finishing, 2)
    assert (back.offset, back.status) == (2, Status.ACTIVE)
    assert rules.truncated(UPLOAD, 99).offset == 4


def test_parts_add_up() -> None:
    """A final upload's length is known as soon as those of all its parts are, and held against the maximum."""
    final = replace(UPLOAD, length=None)
    parts = [replace(UPLOAD, length=length) for length in (1, 2, 3)]
    assert rules.assemble(final, parts, NONE).length == 6
    assert rules.assemble(final, [*parts, replace(UPLOAD, length=None)], NONE).length is None
    with pytest.raises(TooLarge):
        rules.assemble(final, parts, Limits(max_size=5))


def test_impossible_transitions_are_bugs() -> None:
    """What is complete never accepts bytes again."""
    with pytest.raises(ValueError):
        replace(UPLOAD, status=Status.COMPLETE).with_status(Status.ACTIVE)


def _continued(upload: Upload, write: Write) -> Upload:
    """The upload after all that a write brings."""
    begun, _ = rules.begin(upload, write, NONE, NOW)
    assert write.size is not None
    moved = rules.advance(begun, write.start, write.start + write.size, NONE, NOW) if write.size else begun
    return rules.finish_if_ready(rules.end_here(moved, write, NONE))


def test_an_upload_can_be_kept_open_with_every_byte() -> None:
    """It is complete only when a client says so, be it without another byte; a crash in between changes nothing."""
    full = _continued(UPLOAD, Write(start=4, size=6, completes=False))
    assert (full.status, full.is_whole, full.is_ready, full.is_pending) == (Status.ACTIVE, True, False, False)
    assert rules.finish_if_ready(full) is full
    assert _continued(full, Write(start=10, size=0, completes=True)).status is Status.FINISHING
    assert _continued(full, Write(start=10, size=0)).status is Status.FINISHING, "in a protocol that knows only lengths"


def test_content_can_say_that_it_is_the_last() -> None:
    """Then its end is the length of an upload that had none; one whose length is another is refused."""
    deferred = replace(UPLOAD, length=None)
    for write in (Write(start=4, size=3, completes=True), Write(start=4, size=3, completes=None, declares_length=7)):
        done = _continued(deferred, write)
        assert (done.length, done.status) == (7, Status.FINISHING)
    assert rules.end_here(deferred, Write(start=0, size=None, completes=True), NONE).length == 4
    with pytest.raises(LengthConflict):
        rules.begin(UPLOAD, Write(start=4, size=3, completes=True), NONE, NOW)
    with pytest.raises(TooLarge):
        rules.begin(deferred, Write(start=4, size=3, completes=True), Limits(max_size=6), NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": 404},
        {"status": 101},
        {"body": "x" * (MAX_BODY + 1)},
        {"headers": {"X-A": "b\r\nC: d"}},
        {"headers": {"X A": "b"}},
        {"headers": {"": "b"}},
        {"headers": {"X-A": "\u00e9"}},
    ],
    ids=str,
)
def test_an_impossible_answer_is_a_bug_of_the_app(wrong: dict[str, Any]) -> None:
    """It is refused where it is made."""
    with pytest.raises(ValueError):
        Answer(**wrong)


@pytest.mark.parametrize("body", ["Grüße", b"\xff\x00", ""])
def test_an_answer_comes_back_from_its_record(body: str | bytes) -> None:
    """As JSON, whatever it says; the protocol's own header fields are not the app's to set."""
    answer = Answer(body, {"X-File": "1", "Upload-Offset": "5", "Location": "/"}, 201)
    assert Answer.from_record(json.loads(json.dumps(answer.to_record()))) == answer
    assert answer.added_headers == {"X-File": "1"}


def test_an_upload_can_be_open_from_the_start() -> None:
    """Then even an empty one is complete only when a client says so."""
    creation = Creation(length=0, awaits_completion=True)
    upload = rules.create(ID, creation, None, NONE, NOW).with_status(Status.ACTIVE)
    assert not upload.is_ready
    assert _continued(upload, Write(start=0, size=0, completes=True)).status is Status.FINISHING


def test_a_complete_upload_is_not_opened_again() -> None:
    """Content that says more will follow is refused; an empty end is the repetition of the last one."""
    complete = replace(UPLOAD, received=ByteRanges.prefix(10), status=Status.COMPLETE)
    with pytest.raises(UploadClosed):
        rules.begin(complete, Write(start=10, size=0, completes=False), NONE, NOW)
    for completes in (True, None):
        assert rules.begin(complete, Write(start=10, size=0, completes=completes), NONE, NOW) == (complete, 0)


def test_a_length_may_be_repeated_where_the_protocol_says_so() -> None:
    """It has to be the same one."""
    again = replace(_write(length=10), may_repeat_length=True)
    assert rules.begin(UPLOAD, again, NONE, NOW) == (UPLOAD, 6)
    for write in (_write(length=10), replace(again, declares_length=11)):
        with pytest.raises(LengthConflict):
            rules.begin(UPLOAD, write, NONE, NOW)


def test_a_request_may_have_a_maximum_of_its_own() -> None:
    """What is announced is refused at once, anything else is cut there; the end of the upload is told apart."""
    write = replace(_write(size=None), at_most=5)
    assert rules.begin(UPLOAD, write, NONE, NOW) == (UPLOAD, 5)
    for refused, error in ((replace(write, size=6), TooLarge), (replace(write, size=7), BeyondLength)):
        with pytest.raises(TooLarge) as caught:
            rules.begin(UPLOAD, refused, NONE, NOW)
        assert type(caught.value) is error
    assert type(rules.overlong(UPLOAD, write, 5)) is TooLarge
    assert type(rules.overlong(UPLOAD, write, 4)) is BeyondLength
