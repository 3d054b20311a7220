"""The edges of the rules: the exact byte, moment, combination and message."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from typing import Any

import pytest

from flask_resumable.core import upload as rules
from flask_resumable.core.concat import Concat
from flask_resumable.core.grant import Grant
from flask_resumable.core.metadata import UploadMetadata
from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.upload import Creation
from flask_resumable.core.upload import Limits
from flask_resumable.core.upload import MAX_LENGTH
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.core.upload import Write
from flask_resumable.errors import BeyondLength
from flask_resumable.errors import LengthConflict
from flask_resumable.errors import TokenRefused
from flask_resumable.errors import TooLarge
from flask_resumable.errors import UploadClosed
from flask_resumable.errors import UploadCompleted
from flask_resumable.errors import UploadNotFound

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ID = "0" * 32
NONE = Limits()
UPLOAD = Upload(id=ID, length=10, received=ByteRanges.prefix(4), status=Status.ACTIVE, created_at=NOW)
DEFERRED = replace(UPLOAD, length=None)
PART = replace(UPLOAD, concat=Concat("partial"))
FINAL = replace(UPLOAD, concat=Concat(f"final;{ID}", (ID,)))
WHOLE = replace(UPLOAD, received=ByteRanges.prefix(10))
CLAIMED = replace(UPLOAD, claimed_until=NOW + HOUR)


# --- what an upload is ---


def test_a_part_and_a_final_upload_are_told_apart() -> None:
    """Neither is the other, and an ordinary upload is none of them."""
    assert [(found.is_partial, found.is_final) for found in (UPLOAD, PART, FINAL)] == [
        (False, False),
        (True, False),
        (False, True),
    ]


@pytest.mark.parametrize("status", Status)
def test_which_uploads_are_pending(status: Status) -> None:
    """Those whose bytes are all here before they are complete; while they are finishing, in any case."""
    unfinished = status in (Status.NEW, Status.ACTIVE)
    assert replace(WHOLE, status=status).is_pending == (unfinished or status is Status.FINISHING)
    assert replace(UPLOAD, status=status).is_pending == (status is Status.FINISHING)
    assert not replace(WHOLE, status=Status.ACTIVE, awaits_completion=True).is_pending


def test_which_uploads_are_whole() -> None:
    """Those with every byte of their length, the first and the last included."""
    for length, received, is_whole in ((0, 0, True), (1, 0, False), (1, 1, True), (2, 1, False), (None, 1, False)):
        upload = replace(UPLOAD, length=length, received=ByteRanges.prefix(received))
        assert (upload.is_whole, upload.is_ready) == (is_whole, is_whole)
        assert not replace(upload, awaits_completion=True).is_ready


@pytest.mark.parametrize("status", Status)
def test_which_uploads_are_visible(status: Status) -> None:
    """Those of the same owner that are not being removed."""
    upload = replace(UPLOAD, status=status, owner="a")
    assert upload.is_visible_to("a") == (status not in (Status.DELETING, Status.GONE))
    assert not upload.is_visible_to("b") and not upload.is_visible_to(None)
    assert not replace(upload, owner=None).is_visible_to("a")


def test_a_claim_ends_at_its_last_moment() -> None:
    """Until then, the upload is claimed."""
    assert CLAIMED.is_claimed(NOW + HOUR - MOMENT)
    assert not CLAIMED.is_claimed(NOW + HOUR)
    assert not UPLOAD.is_claimed(NOW)


def test_who_receives() -> None:
    """An active upload with a claim; a final one only joins others."""
    assert CLAIMED.is_receiving and not CLAIMED.is_released
    assert not UPLOAD.is_receiving and UPLOAD.is_released
    assert not replace(CLAIMED, status=Status.FINISHING).is_receiving
    assert replace(PART, claimed_until=NOW + HOUR).is_receiving
    assert not replace(FINAL, claimed_until=NOW + HOUR).is_receiving


def test_what_is_free() -> None:
    """Active, released, of the same owner, and not expired."""
    assert UPLOAD.is_free(None, NOW)
    assert not UPLOAD.is_free("a", NOW)
    assert not CLAIMED.is_free(None, NOW)
    assert not replace(UPLOAD, status=Status.NEW).is_free(None, NOW)
    assert not replace(UPLOAD, expires_at=NOW).is_free(None, NOW)
    assert replace(UPLOAD, expires_at=NOW + MOMENT).is_free(None, NOW)


def test_when_the_cleaner_may_come() -> None:
    """At once for what was being removed; at its expiry for what can expire, or is only remembered."""
    removable = {status: replace(UPLOAD, status=status, expires_at=NOW + HOUR).removable_at for status in Status}
    later = NOW + HOUR
    assert removable == {
        Status.NEW: later,
        Status.ACTIVE: later,
        Status.FINISHING: None,
        Status.COMPLETE: None,
        Status.DELETING: NOW,
        Status.GONE: later,
    }
    assert replace(PART, status=Status.COMPLETE, expires_at=later).removable_at == later
    assert replace(PART, status=Status.FINISHING, expires_at=later).removable_at is None


def test_an_upload_without_an_expiry_never_expires() -> None:
    """Whatever the time is."""
    assert not UPLOAD.is_expired(NOW + 1000 * DAY)


def test_an_impossible_transition_names_both_ends() -> None:
    """For whoever reads the traceback."""
    with pytest.raises(ValueError, match="from complete to active"):
        replace(UPLOAD, status=Status.COMPLETE).with_status(Status.ACTIVE)


# --- ids that the app chose ---


def test_uploads_with_one_id_are_told_apart_by_their_bytes() -> None:
    """Random ids are never used twice; chosen ones are, one after another."""
    assert UPLOAD.is_same(replace(UPLOAD, version=9))
    assert not UPLOAD.is_same(replace(UPLOAD, id="1" * 32))
    first, second = (rules.with_chosen_id(replace(UPLOAD, id=number * 32), "mine") for number in "12")
    assert first.id == second.id == "mine"
    assert first.is_same(replace(first, version=9))
    assert not first.is_same(second)
    random = replace(UPLOAD, id="mine")
    assert not first.is_same(random) and not random.is_same(first)


def test_the_bytes_of_a_chosen_id_have_a_name_of_their_own() -> None:
    """The numbers of claims and versions start far from those of others, and a place stays."""
    placed = replace(UPLOAD, id="1" * 32, storage={"place": {"folder": "a"}, "other": 1})
    chosen = rules.with_chosen_id(placed, "mine")
    assert chosen.stored_as == f"mine-{'1' * 32}"
    assert chosen.storage == {"place": {"folder": "a", "name": chosen.stored_as}, "other": 1}
    assert chosen.fence == chosen.version == int("1" * 15, 16)
    assert placed.stored_as == placed.id
    largest = rules.with_chosen_id(replace(UPLOAD, id="f" * 32), "mine")
    assert 2**59 < largest.fence < 2**60


def test_a_change_is_only_for_the_upload_it_was_meant_for() -> None:
    """Another upload with its id is not changed, and the error has the id."""
    first, second = (rules.with_chosen_id(replace(UPLOAD, id=number * 32), "mine") for number in "12")
    change = rules.only_for(first, lambda upload: replace(upload, max_size=3))
    assert change(replace(first, version=9)).max_size == 3
    with pytest.raises(UploadNotFound) as caught:
        change(second)
    assert caught.value.upload_id == "mine"


# --- creations ---


def _grant(**changes: Any) -> Grant:
    return replace(Grant(nonce="n", expires_at=NOW + HOUR), **changes)


def _granted(grant: Grant | None, **wishes: Any) -> Creation:
    return rules.granted(
        Creation(length=10, grant=grant, metadata=UploadMetadata.from_values({"a": "1", "b": "2"}), **wishes)
    )


def test_a_token_replaces_metadata() -> None:
    """What it does not name stays as the client said it; without a token, everything does."""
    assert dict(_granted(None).metadata) == {"a": "1", "b": "2"}
    assert dict(_granted(_grant(metadata={"b": "3"})).metadata) == {"a": "1", "b": "3"}


def test_a_token_may_fix_the_length() -> None:
    """Another one is refused with both lengths; a token without a length allows any."""
    assert _granted(_grant(length=10)).length == 10
    assert replace(_granted(_grant()), length=None).length is None
    with pytest.raises(TokenRefused, match="of 9 bytes, not for 10 bytes"):
        _granted(_grant(length=9))
    with pytest.raises(TokenRefused, match="of 9 bytes, not for one of unknown length"):
        rules.granted(Creation(length=None, grant=_grant(length=9)))
    assert rules.granted(Creation(length=None, grant=_grant())).length is None


def test_a_token_is_for_one_upload() -> None:
    """Not for parts."""
    with pytest.raises(TokenRefused, match="without parts"):
        _granted(_grant(), concat=Concat("partial"))


def test_a_token_expires_at_its_last_moment() -> None:
    """It is told when that was."""
    creation = Creation(length=1, grant=_grant(expires_at=NOW + MOMENT))
    assert rules.create(ID, creation, None, NONE, NOW).signed_until == NOW + MOMENT
    with pytest.raises(TokenRefused, match="expired at 2026-01-02 03:04:05 UTC"):
        rules.create(ID, Creation(length=1, grant=_grant(expires_at=NOW)), None, NONE, NOW)


def test_a_token_can_be_required() -> None:
    """The error says where it is expected."""
    limits = Limits(requires_token=True)
    with pytest.raises(TokenRefused, match="Upload-Token, or as upload_token in the query"):
        rules.create(ID, Creation(length=1), None, limits, NOW)
    assert rules.create(ID, Creation(length=1, grant=_grant()), None, limits, NOW).length == 1
    assert rules.create(ID, Creation(length=1), None, NONE, NOW).signed_until is None


def test_a_new_upload_is_what_was_asked_for() -> None:
    """Everything the client and its token say is in the record."""
    creation = Creation(
        length=7,
        metadata=UploadMetadata.from_values({"a": "1"}),
        concat=Concat("partial"),
        client_key="k",
        awaits_completion=True,
        protocol="tus",
        storage={"s": 1},
        grant=_grant(max_size=8),
    )
    created = rules.create(ID, creation, "me", Limits(expiration=HOUR), NOW)
    assert created == Upload(
        id=ID,
        length=7,
        metadata=creation.metadata,
        concat=creation.concat,
        owner="me",
        protocol="tus",
        client_key="k",
        signed_until=NOW + HOUR,
        created_at=NOW,
        updated_at=NOW,
        expires_at=NOW + HOUR,
        max_size=8,
        awaits_completion=True,
        storage={"s": 1},
    )
    assert rules.create(ID, Creation(length=7), None, NONE, NOW).max_size is None


def test_a_final_upload_remembers_the_maximum() -> None:
    """The lengths of its parts may become known when the setting has changed."""
    creation = Creation(length=None, concat=FINAL.concat)
    assert rules.create(ID, creation, None, Limits(max_size=9), NOW).max_size == 9
    assert rules.create(ID, Creation(length=None), None, Limits(max_size=9), NOW).max_size is None


# --- sizes ---


def test_the_maximum_itself_is_allowed() -> None:
    """One byte more is refused, and the error has the maximum, of all uploads or of this one."""
    NONE.check_length(MAX_LENGTH)
    limits, own = Limits(max_size=9), replace(UPLOAD, max_size=8)
    limits.check_length(9)
    limits.check_length(None)
    limits.check_length(8, own)
    limits.check_length(9, UPLOAD)
    with pytest.raises(TooLarge, match="^Uploads may have at most 9 bytes") as caught:
        limits.check_length(10)
    assert caught.value.limit == 9
    with pytest.raises(TooLarge, match="^This upload may have at most 8 bytes") as caught:
        limits.check_length(9, own)
    assert caught.value.limit == 8


@pytest.mark.parametrize(
    ("own", "every", "found"), [(None, None, None), (3, None, 3), (None, 4, 4), (3, 4, 3), (5, 4, 4)]
)
def test_the_smaller_maximum_counts(own: int | None, every: int | None, found: int | None) -> None:
    """That of all uploads, and that of this one."""
    assert Limits(max_size=every).max_size_of(replace(UPLOAD, max_size=own)) == found


def test_a_token_cannot_raise_the_maximum() -> None:
    """Whichever is smaller, its number is the one that is told."""
    for own, every, told in ((5, 8, 5), (8, 5, 5), (None, 5, 5), (5, None, 5)):
        creation = Creation(length=9, grant=_grant(max_size=own))
        with pytest.raises(TooLarge) as caught:
            rules.create(ID, creation, None, Limits(max_size=every), NOW)
        assert caught.value.limit == told


@pytest.mark.parametrize("wrong", [-1, MAX_LENGTH + 1, True, "5", 1.5])
def test_a_maximum_that_is_no_number_of_bytes_is_a_bug(wrong: object) -> None:
    """The app set it in a hook; the message shows the value."""
    with pytest.raises(ValueError, match="must be an integer"):
        rules.limit_size(UPLOAD, wrong)


def test_a_hook_can_only_lower_the_maximum() -> None:
    """It may leave it alone; a declared length must fit."""
    for chosen, had, found in ((None, None, None), (None, 20, 20), (30, 20, 20), (15, 20, 15), (10, None, 10)):
        assert rules.limit_size(replace(UPLOAD, max_size=had), chosen).max_size == found
    assert rules.limit_size(DEFERRED, 0).max_size == 0
    assert rules.limit_size(DEFERRED, MAX_LENGTH).max_size == MAX_LENGTH
    with pytest.raises(TooLarge):
        rules.limit_size(UPLOAD, 9)


# --- expiry ---


def test_when_an_upload_expires() -> None:
    """After the lifetime of uploads; parts that wait for others live longer, if their expiry slides."""
    short, long = timedelta(minutes=5), timedelta(minutes=9)
    done = replace(PART, received=ByteRanges.prefix(10))
    assert NONE.expiry(UPLOAD, NOW) is None
    assert NONE.expiry(PART, NOW) is None
    assert Limits(expiration=short).expiry(PART, NOW) == NOW + short
    only_parts = Limits(parts_expiration=long)
    assert only_parts.expiry(UPLOAD, NOW) is None
    assert only_parts.expiry(PART, NOW) == NOW + long
    both = Limits(expiration=short, parts_expiration=long, sliding=True)
    assert both.expiry(replace(UPLOAD, received=ByteRanges.prefix(10)), NOW) == NOW + short
    assert both.expiry(PART, NOW) == NOW + short
    assert both.expiry(done, NOW) == NOW + long
    assert replace(both, sliding=False).expiry(done, NOW) == NOW + short
    assert replace(both, parts_expiration=MOMENT).expiry(done, NOW) == NOW + short


def test_which_expiries_slide() -> None:
    """All if it is set, and those of parts that have only a lifetime of their own."""
    assert Limits(sliding=True).slides(UPLOAD)
    assert not NONE.slides(UPLOAD)
    assert NONE.slides(PART)
    assert not Limits(expiration=HOUR).slides(PART)


def test_an_expiry_is_postponed_in_steps() -> None:
    """An hour slides by a hundredth of it, a week by a minute; content never brings it nearer without need."""
    for lifetime, step in ((HOUR, HOUR / 100), (7 * DAY, timedelta(minutes=1))):
        limits = Limits(expiration=lifetime, sliding=True)
        upload = replace(UPLOAD, expires_at=NOW + lifetime)
        assert rules.postpone(upload, limits, NOW) is upload
        assert rules.postpone(upload, limits, NOW + step - MOMENT) is upload
        assert rules.postpone(upload, limits, NOW + step).expires_at == NOW + step + lifetime
        assert rules.postpone(upload, limits, NOW - MOMENT).expires_at == NOW - MOMENT + lifetime
        assert rules.postpone(replace(upload, expires_at=None), limits, NOW).expires_at == NOW + lifetime
        assert rules.postpone(upload, replace(limits, sliding=False), NOW + DAY) is upload
    assert rules.postpone(upload, Limits(sliding=True), NOW).expires_at is None
    assert rules.postpone(UPLOAD, Limits(sliding=True), NOW) is UPLOAD


def test_a_used_part_expires_within_a_day() -> None:
    """Or sooner, if it would have; its bytes are stored twice, so it takes nothing of a quota."""
    part = replace(PART, reserved=10)
    for before, after in ((None, DAY), (DAY + MOMENT, DAY), (DAY, DAY), (HOUR, HOUR)):
        expiring = replace(part, expires_at=None if before is None else NOW + before)
        assert rules.expire_soon(expiring, NOW) == replace(part, expires_at=NOW + after, reserved=None)
    for lifetime in (HOUR, DAY):
        done = replace(PART, expires_at=NOW + lifetime)
        assert rules.expire_soon(done, NOW) is done


# --- content ---


def test_an_upload_larger_than_it_may_be_now_has_no_room() -> None:
    """The maximum was lowered; the room is zero, not negative."""
    write = Write(start=4, size=None)
    assert rules.begin(replace(DEFERRED, max_size=3), write, NONE, NOW)[1] == 0
    assert rules.begin(replace(DEFERRED, max_size=4), write, NONE, NOW)[1] == 0
    assert rules.begin(replace(DEFERRED, max_size=5), write, NONE, NOW)[1] == 1
    with pytest.raises(TooLarge, match="exceeds the 0 bytes") as caught:
        rules.begin(replace(DEFERRED, max_size=3), Write(start=4, size=1), NONE, NOW)
    assert caught.value.limit == 0 and not isinstance(caught.value, BeyondLength)


def test_refused_content_says_why() -> None:
    """What the upload is, and what to do."""
    with pytest.raises(UploadClosed, match="concatenated from others"):
        rules.begin(FINAL, Write(start=4, size=1), NONE, NOW)
    with pytest.raises(UploadClosed, match="sent in chunks"):
        rules.begin(replace(UPLOAD, client_key="k"), Write(start=4, size=1), NONE, NOW)
    with pytest.raises(BeyondLength, match="exceeds the 6 bytes") as caught:
        rules.begin(UPLOAD, Write(start=4, size=7), NONE, NOW)
    assert caught.value.limit == 6


@pytest.mark.parametrize(
    ("size", "completes", "error"),
    [
        (0, False, UploadCompleted),
        (3, False, UploadCompleted),
        (None, False, UploadCompleted),
        (3, True, UploadCompleted),
        (3, None, BeyondLength),
        (0, True, None),
        (0, None, None),
        (None, True, None),
        (None, None, None),
    ],
)
def test_what_a_complete_upload_takes(size: int | None, completes: bool | None, error: type[Exception] | None) -> None:
    """A repetition of its end, and nothing else."""
    complete = replace(WHOLE, status=Status.COMPLETE)
    write = Write(start=10, size=size, completes=completes)
    if error is None:
        assert rules.begin(complete, write, NONE, NOW) == (complete, 0)
    else:
        with pytest.raises(error) as caught:
            rules.begin(complete, write, NONE, NOW)
        assert type(caught.value) is error


def test_content_that_says_that_more_follows_keeps_an_upload_open() -> None:
    """And content that does not say so closes it again."""
    opened, _ = rules.begin(UPLOAD, Write(start=4, size=2, completes=False), NONE, NOW)
    assert opened == replace(UPLOAD, awaits_completion=True)
    assert rules.begin(opened, Write(start=4, size=2, completes=False), NONE, NOW)[0] is opened
    for completes in (None, True):
        write = Write(start=4, size=6, completes=completes)
        assert rules.begin(opened, write, NONE, NOW)[0] == UPLOAD
        assert rules.begin(UPLOAD, write, NONE, NOW)[0] is UPLOAD


def test_the_length_that_content_declares() -> None:
    """It may be what is here already, and replaces what is reserved; the errors name both numbers."""
    write = Write(start=4, size=0, declares_length=4)
    assert rules.begin(DEFERRED, write, NONE, NOW) == (replace(DEFERRED, length=4), 0)
    assert rules.begin(replace(DEFERRED, reserved=9), write, NONE, NOW)[0].reserved == 4
    with pytest.raises(LengthConflict, match="declared to have 10 bytes"):
        rules.begin(UPLOAD, write, NONE, NOW)
    with pytest.raises(TooLarge, match="This upload may have at most 3 bytes"):
        rules.begin(replace(DEFERRED, max_size=3), write, Limits(max_size=4), NOW)
    with pytest.raises(LengthConflict, match="already has 4 bytes; its length cannot be 3"):
        rules.begin(DEFERRED, replace(write, declares_length=3), NONE, NOW)
    with pytest.raises(LengthConflict, match="is 10 bytes long, but the content marked as last ends at 7"):
        rules.begin(UPLOAD, Write(start=4, size=3, completes=True), NONE, NOW)
    again = replace(write, declares_length=10, may_repeat_length=True)
    assert rules.begin(DEFERRED, again, NONE, NOW)[0].length == 10
    assert rules.begin(DEFERRED, Write(start=4, size=None, completes=True), NONE, NOW)[0] == DEFERRED


def test_the_end_of_content_without_a_size_is_known_when_it_is_here() -> None:
    """Only content that completes the upload sets its length then."""
    write = Write(start=0, size=None, completes=True)
    assert rules.end_here(DEFERRED, write, NONE).length == 4
    assert rules.end_here(DEFERRED, replace(write, completes=None), NONE) is DEFERRED
    assert rules.end_here(DEFERRED, replace(write, completes=False), NONE) is DEFERRED
    with pytest.raises(TooLarge):
        rules.end_here(DEFERRED, write, Limits(max_size=3))


def test_the_maximum_of_a_request() -> None:
    """It bounds the room, is itself allowed, and is what the error says."""
    write = Write(start=4, size=5, at_most=5)
    assert rules.begin(UPLOAD, write, NONE, NOW) == (UPLOAD, 5)
    assert rules.begin(UPLOAD, replace(write, at_most=50), NONE, NOW) == (UPLOAD, 6)
    with pytest.raises(TooLarge, match="A request may have at most 4 bytes") as caught:
        rules.begin(UPLOAD, replace(write, at_most=4), NONE, NOW)
    assert caught.value.limit == 4


def test_a_body_without_an_announced_size_that_was_too_long() -> None:
    """The error says which end it went beyond."""
    write = Write(start=4, size=None, at_most=5)
    of_request, of_upload = rules.overlong(UPLOAD, write, 5), rules.overlong(UPLOAD, write, 3)
    assert (str(of_request), of_request.limit) == ("A request may have at most 5 bytes.", 5)
    assert (str(of_upload), of_upload.limit) == ("The body exceeds the end of this upload, which is at 7 bytes.", 3)
    assert type(of_upload) is BeyondLength
    assert type(rules.overlong(DEFERRED, write, 3)) is TooLarge


def test_received_bytes_count_once_and_requests_as_told() -> None:
    """Chunks in any order keep their size."""
    assert rules.advance(UPLOAD, 4, 6, NONE, NOW) == replace(UPLOAD, received=ByteRanges.prefix(6))
    with pytest.raises(ValueError, match="not whole chunks"):
        rules.advance(UPLOAD, 6, 8, NONE, NOW)
    moved = rules.advance(replace(UPLOAD, request_count=2), 8, 10, NONE, NOW, unit=2, requests=3)
    assert (moved.offset, moved.request_count) == (4, 5)
    assert moved.received.covers(8, 10) and not moved.received.covers(6, 8)


# --- after content ---


def test_the_place_that_the_app_chose_stays() -> None:
    """Whatever the storage writes; and nothing is changed for nothing."""
    placed = replace(UPLOAD, storage={"place": {"folder": "a"}, "parts": 1})
    assert rules.with_storage(placed, {"parts": 2}).storage == {"place": {"folder": "a"}, "parts": 2}
    assert rules.with_storage(placed, {"parts": 1}) is placed


def test_completion_frees_what_was_reserved() -> None:
    """But not for a part, whose bytes are still only there."""
    for upload, left in ((UPLOAD, None), (PART, 10), (FINAL, None)):
        done = rules.completed(replace(upload, status=Status.FINISHING, reserved=10))
        assert (done.status, done.reserved) == (Status.COMPLETE, left)
    assert rules.completed(replace(UPLOAD, status=Status.FINISHING)).reserved is None


def test_a_hook_can_lower_what_is_reserved() -> None:
    """If the length is not known, by the maximum size that it sets."""
    for length, reserved, max_size, left in (
        (None, 10, 4, 4),
        (None, 4, 4, 4),
        (None, 3, 4, 3),
        (None, 10, None, 10),
        (None, None, 4, None),
        (10, 10, 4, 10),
    ):
        upload = replace(UPLOAD, length=length, reserved=reserved, max_size=max_size)
        assert rules.with_less_reserved(upload).reserved == left
        assert (rules.with_less_reserved(upload) is upload) == (left == reserved)


def test_lost_bytes_leave_an_unfinished_upload_in_its_status() -> None:
    """Only a finishing one goes back."""
    assert rules.truncated(UPLOAD, 2) == replace(UPLOAD, received=ByteRanges.prefix(2))
    assert rules.truncated(replace(UPLOAD, status=Status.NEW), 4).status is Status.NEW


def test_the_known_parts_of_a_final_upload_must_fit_already() -> None:
    """Others may become known later, and can only make it larger."""
    parts = [replace(UPLOAD, length=length) for length in (4, None, 5)]
    assert rules.assemble(DEFERRED, parts, Limits(max_size=9)) is DEFERRED
    with pytest.raises(TooLarge):
        rules.assemble(DEFERRED, parts, Limits(max_size=8))
    with pytest.raises(TooLarge):
        rules.assemble(replace(DEFERRED, max_size=8), parts, NONE)
    assert rules.assemble(DEFERRED, [], NONE).length == 0
