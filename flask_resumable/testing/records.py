"""Tests for a state repository: keeping, finding, listing and removing records."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from datetime import UTC
from typing import Any

import pytest

from ..core.answer import Answer
from ..core.concat import Concat
from ..core.metadata import UploadMetadata
from ..core.processing import mark_in_hook
from ..core.processing import Processing
from ..core.processing import ProcessingState
from ..core.ranges import ByteRanges
from ..core.selection import Selection
from ..core.upload import MAX_LENGTH
from ..core.upload import Status
from ..core.upload import Upload
from ..core.upload import with_chosen_id
from ..errors import ClaimLost
from ..errors import UploadExists
from ..errors import UploadNotFound
from ..interfaces import StateRepository
from .samples import an_upload
from .samples import id_of
from .samples import LATER
from .samples import NOW
from .samples import SOON
from .samples import take


class RecordContract:
    """What is expected of one record, and of many."""

    def test_an_upload_comes_back_as_it_was_saved(self, repository: StateRepository) -> None:
        """Every field survives: large numbers, fractions of seconds, any metadata, ranges and the storage's data."""
        upload = an_upload(
            length=MAX_LENGTH,
            received=ByteRanges.prefix(5).add(2**61, MAX_LENGTH - 1, 2**60),
            metadata=UploadMetadata.from_header("filename 8J+Zgg==,null AA==,empty"),
            concat=Concat.from_header("final;/files/" + id_of(7) + " " + id_of(8)),
            owner="Ünicode 🙂",
            client_key="ab" * 32,
            request_key="cd" * 32,
            expires_at=LATER,
            awaits_completion=True,
            max_size=MAX_LENGTH,
            reserved=MAX_LENGTH,
            protocol="tus",
            request_count=3,
            signed_until=LATER,
            answer=Answer("Grüße", {"X-File": "1"}, 201),
            processing=Processing.of("failed", "Grüße 🙂"),
            storage={"path": "a/b", "parts": [1, {"n": None}]},
        )
        repository.add(upload, until=None)
        back = repository.get(upload.id)
        assert replace(back, version=0, fence=0) == upload
        assert back.created_at.utcoffset() == timedelta(0)

    def test_what_a_hook_answers_is_kept(self, repository: StateRepository) -> None:
        """The answer is saved along with the state, and later saves leave it alone."""
        repository.add(an_upload(status=Status.ACTIVE), until=None)
        answer = Answer(b"\xff", {"X-File": "1"})
        upload, claim = take(repository)
        settled = repository.save_with_hook(
            upload.with_status(Status.FINISHING), claim, lambda instance: answer, until=SOON
        )
        assert settled.answer == answer
        repository.save(settled.with_status(Status.COMPLETE), claim, until=None)
        assert repository.get(upload.id).answer == answer

    def test_a_mark_is_kept(self, repository: StateRepository) -> None:
        """It needs no claim, saves leave it alone, and the last one counts."""
        ready, failed = Processing.of("ready", None), Processing.of("failed", "It has a virus.")
        repository.add(an_upload(status=Status.ACTIVE), until=None)
        upload, claim = take(repository)
        assert repository.mark(upload.id, failed) and repository.mark(upload.id, failed)
        repository.save(upload, claim, until=None)
        assert repository.get(upload.id).processing == failed
        assert repository.mark(upload.id, ready)
        assert repository.get(upload.id).processing == ready
        instance = repository.instance(upload.id)
        assert instance is not None
        assert (instance.processing_state, instance.processing_reason) == ("ready", None)
        assert not repository.mark(id_of(2), ready)

    def test_a_hook_can_mark_its_upload(self, repository: StateRepository) -> None:
        """The mark is saved when the hook returns, and not if it raises."""
        repository.add(an_upload(status=Status.ACTIVE), until=None)
        upload, claim = take(repository)

        def hook(instance: Any) -> None:
            assert mark_in_hook(instance.id, Processing.of("processing", None))

        def fail(instance: Any) -> None:
            hook(instance)
            raise ZeroDivisionError

        for call in (repository.call, lambda one, act: repository.save_with_hook(one, claim, act, until=SOON)):
            with pytest.raises(ZeroDivisionError):
                call(upload, fail)
        assert repository.get(upload.id).processing is None
        finished = upload.with_status(Status.FINISHING)
        assert repository.save_with_hook(finished, claim, hook, until=SOON).processing is not None
        saved = repository.get(upload.id)
        assert saved.status is Status.FINISHING and saved.processing == Processing.of("processing", None)

        def finish(instance: Any) -> None:
            assert instance.processing_state == "processing"
            assert mark_in_hook(instance.id, Processing.of("ready", None))

        repository.call(saved, finish)
        assert repository.get(upload.id).processing == Processing.of("ready", None)
        assert not mark_in_hook(upload.id, Processing.of("ready", None))

    def test_a_mark_of_another_process_is_newer_than_that_of_a_hook(self, repository: StateRepository) -> None:
        """A worker may be done before the hook that started it returns."""
        repository.add(an_upload(status=Status.ACTIVE), until=None)
        upload, claim = take(repository)
        ready = Processing.of("ready", None)

        def hook(instance: Any) -> None:
            mark_in_hook(instance.id, Processing.of("processing", None))
            repository.mark(instance.id, ready)

        repository.save_with_hook(upload.with_status(Status.FINISHING), claim, hook, until=SOON)
        assert repository.get(upload.id).processing == ready

    def test_it_says_where_the_records_are(self, repository: StateRepository) -> None:
        """Commands rely on this: either other processes see the records, or the repository says that they do not."""
        location = repository.capabilities.location
        if location is not None:
            assert location.setting
            path = location.file()
            assert path is None or not location.is_in_memory()
            repository.add(an_upload(), until=None)
            assert path is None or os.path.exists(path)

    def test_its_clock_has_a_time_zone(self, repository: StateRepository) -> None:
        """The time can be compared with that of this machine. It need not agree with it."""
        clock = repository.capabilities.clock
        time = None if clock is None else clock.time()
        assert time is None or (time.utcoffset() is not None and abs(time - datetime.now(UTC)) < timedelta(days=1))

    def test_unknown_uploads_are_not_found(self, repository: StateRepository) -> None:
        """Neither reading nor claiming creates a record."""
        with pytest.raises(UploadNotFound):
            repository.get(id_of(1))
        with pytest.raises(UploadNotFound):
            take(repository)

    def test_an_id_is_taken_once(self, repository: StateRepository) -> None:
        """A second record with the same id is refused, and the first one is unchanged."""
        repository.add(an_upload(), until=None)
        with pytest.raises(UploadExists):
            repository.add(an_upload(length=99), until=None)
        assert repository.get(id_of(1)).length == 10

    def test_ids_can_be_long(self, repository: StateRepository) -> None:
        """An app may choose ids of up to 64 characters, which differ in the last one."""
        for last in "ab":
            repository.add(replace(an_upload(), id="x" * 63 + last, length=ord(last)), until=None)
        for last in "ab":
            found = repository.get("x" * 63 + last)
            assert (found.id[-1], found.length) == (last, ord(last))

    def test_an_id_that_is_used_again_has_other_numbers(self, repository: StateRepository) -> None:
        """Fences and versions begin where the new upload says, so nothing of its predecessor can be saved."""
        old = replace(an_upload(), received=ByteRanges.prefix(9))
        first = repository.add(old, until=SOON)
        old = replace(old, version=repository.get(old.id).version)
        repository.remove(old, first)
        new = with_chosen_id(replace(an_upload(), id="89abcdef" * 4), old.id)
        claim = repository.add(new, until=SOON)
        assert claim.fence == new.fence + 1 > 2**59
        with pytest.raises(ClaimLost):
            repository.save(old, first, until=None)
        with pytest.raises(ClaimLost):
            repository.remove(old, first)
        with pytest.raises(ClaimLost):
            repository.renew(first, until=LATER)
        repository.release(first)
        assert not repository.save_progress(old)
        repository.remember_digest(replace(old, created_at=old.created_at - timedelta(days=1)), "md5", "aa")
        found = repository.get(old.id)
        assert (found.offset, found.stored_as, found.claimed_until) == (0, new.stored_as, SOON)
        assert found.is_same(new) and not found.is_same(old)
        repository.save(replace(found, received=ByteRanges.prefix(4)), claim, until=None)
        assert repository.get(old.id).offset == 4

    def test_a_key_is_taken_once(self, repository: StateRepository) -> None:
        """Uploads are found by the key that their client chose. A key is unique, and most uploads have none."""
        for number in (1, 2):
            repository.add(an_upload(number), until=None)
        repository.add(an_upload(3, client_key="aa"), until=None)
        with pytest.raises(UploadExists):
            repository.add(an_upload(4, client_key="aa"), until=None)
        assert repository.find("aa").id == id_of(3)
        repository.amend(id_of(3), lambda upload: replace(upload, client_key=None), now=NOW)
        with pytest.raises(UploadNotFound):
            repository.find("aa")
        repository.add(an_upload(4, client_key="aa"), until=None)

    def test_a_request_key_is_taken_once(self, repository: StateRepository) -> None:
        """A repeated creation finds the first one. Keys of the two kinds do not conflict with each other."""
        for number in (1, 2):
            repository.add(an_upload(number), until=None)
        claim = repository.add(an_upload(3, request_key="aa"), until=SOON)
        repository.add(an_upload(4, client_key="aa", request_key="bb"), until=None)
        for clash in (
            {"request_key": "aa"},
            {"client_key": "cc", "request_key": "bb"},
            {"client_key": "aa", "request_key": "cc"},
        ):
            with pytest.raises(UploadExists):
                repository.add(an_upload(5, **clash), until=None)
        repository.save(replace(repository.get(id_of(3)), received=ByteRanges.prefix(4)), claim, until=None)
        assert (repository.find_request("aa").id, repository.find("aa").id) == (id_of(3), id_of(4))
        repository.amend(id_of(4), lambda upload: replace(upload, received=ByteRanges.prefix(4)), now=NOW)
        assert repository.find_request("bb").offset == 4
        repository.amend(id_of(3), lambda upload: replace(upload, request_key=None), now=NOW)
        with pytest.raises(UploadNotFound):
            repository.find_request("aa")
        claim = repository.add(an_upload(5, request_key="aa"), until=SOON)
        repository.remove(repository.get(id_of(5)), claim)
        repository.add(an_upload(6, request_key="aa"), until=None)
        assert repository.find_request("aa").id == id_of(6)

    def test_removing_leaves_nothing(self, repository: StateRepository) -> None:
        """A removed record is gone, and its hook is called afterwards with the upload as it was."""
        claim = repository.add(an_upload(received=ByteRanges.prefix(4)), until=SOON)
        seen: list[Any] = []

        def hook(instance: Any) -> None:
            seen.append((instance.id, instance.offset))
            with pytest.raises(UploadNotFound):
                repository.get(id_of(1))

        repository.remove(repository.get(id_of(1)), claim, hook)
        assert seen == [(id_of(1), 4)]

    def test_a_rehearsed_removal_removes_nothing(self, repository: StateRepository) -> None:
        """It only checks whether the record may be removed, and the claim stays valid."""
        claim = repository.add(an_upload(received=ByteRanges.prefix(4)), until=SOON)
        before = repository.get(id_of(1))
        repository.rehearse_removal(before, claim)
        assert repository.get(id_of(1)) == before
        repository.save(before, claim, until=None)

    def test_expired_uploads_are_found_by_pages(self, repository: StateRepository) -> None:
        """Every upload that is due is listed once, the longest overdue first, and no other is."""
        overdue = [an_upload(number, expires_at=NOW - timedelta(seconds=number % 3)) for number in range(1, 8)]
        others = [
            an_upload(20, expires_at=LATER),
            an_upload(21, expires_at=None),
            an_upload(22, expires_at=NOW, status=Status.COMPLETE),
            an_upload(23, expires_at=NOW, status=Status.FINISHING),
        ]
        part = an_upload(24, expires_at=NOW, status=Status.COMPLETE, concat=Concat("partial"))
        halfway = an_upload(25, expires_at=None, status=Status.DELETING, created_at=NOW - timedelta(days=1))
        for upload in (*overdue, *others, part, halfway):
            repository.add(upload, until=None)
        repository.add(an_upload(26, expires_at=NOW), until=SOON)  # claimed
        repository.add(an_upload(27, expires_at=NOW), until=NOW)  # its claim has expired

        buried = an_upload(28, expires_at=NOW - timedelta(days=2), status=Status.GONE)
        repository.add(buried, until=None)
        repository.add(replace(buried, id=id_of(29), expires_at=LATER), until=None)

        found: list[Upload] = []
        while page := repository.expired(NOW, limit=3, after=found[-1] if found else None):
            found += page
        assert sorted(upload.id for upload in found) == sorted(
            [upload.id for upload in (*overdue, part, halfway, buried)] + [id_of(26), id_of(27)]
        )
        assert [upload.removable_at for upload in found] == sorted(upload.removable_at or NOW for upload in found)

    def test_pending_uploads_are_those_that_wait_for_the_server(self, repository: StateRepository) -> None:
        """Uploads whose hook has not run are listed, and final uploads that wait for their parts."""
        final = Concat.from_header("final;" + id_of(9))
        repository.add(an_upload(1, status=Status.FINISHING), until=None)
        repository.add(an_upload(2, concat=final), until=None)
        repository.add(an_upload(3), until=None)
        repository.add(an_upload(4, status=Status.FINISHING), until=SOON)
        repository.add(an_upload(5, status=Status.COMPLETE, concat=final), until=None)
        assert [upload.id for upload in repository.pending(limit=9)] == [id_of(1), id_of(2), id_of(4)]
        assert [upload.id for upload in repository.pending(limit=1, after=id_of(1))] == [id_of(2)]
        assert [upload.id for upload in repository.awaiting(id_of(9))] == [id_of(2)]
        assert not repository.awaiting(id_of(8))

    def test_uploads_are_listed_by_pages_and_status(self, repository: StateRepository) -> None:
        """Uploads are listed by id, and the list can be limited to one status."""
        for number in range(1, 6):
            repository.add(an_upload(number, status=Status.COMPLETE if number % 2 else Status.ACTIVE), until=None)
        assert [upload.id for upload in repository.list(limit=2, after=id_of(2))] == [id_of(3), id_of(4)]
        assert [upload.id for upload in repository.list(Selection(status=Status.ACTIVE), limit=9)] == [
            id_of(2),
            id_of(4),
        ]

    def test_uploads_are_selected_by_any_of_their_properties(self, repository: StateRepository) -> None:
        """The database selects the same uploads as ``Selection.covers``, and all conditions must be met."""
        day = timedelta(days=1)
        uploads = [
            an_upload(1, owner="ann", storage={"place": {"storage": "fast"}, "n": 1}),
            an_upload(2, owner="Ann", storage={"place": {"storage": "fast2", "folder": "a"}}),
            an_upload(3, storage={"place": {"folder": "fast"}}, created_at=NOW - day, status=Status.NEW),
            an_upload(4, length=2**40, status=Status.COMPLETE, processing=Processing.of("failed", "A virus.")),
            an_upload(5, length=None, received=ByteRanges.prefix(11), expires_at=NOW),
            an_upload(6, status=Status.FINISHING, processing=Processing.of("ready", None), concat=Concat("partial")),
            an_upload(7, status=Status.DELETING, created_at=NOW - day),
            an_upload(8, status=Status.GONE, expires_at=LATER, storage={"n": '"place": {"storage": "fast"}'}),
        ]
        for upload in uploads:
            repository.add(upload, until=None)
        repository.add(an_upload(9, status=Status.NEW, expires_at=NOW, owner="ann"), until=SOON)
        every = repository.list(limit=99)
        selections = {
            Selection(): [1, 2, 3, 4, 5, 6, 7, 8, 9],
            Selection(leaving=False, parts=False): [1, 2, 3, 4, 5, 9],
            Selection(status=Status.NEW): [3, 9],
            Selection(owner="ann"): [1, 9],
            Selection(owner="ANN"): [],
            Selection(owner=None): [3, 4, 5, 6, 7, 8],
            Selection(processing=ProcessingState.FAILED): [4],
            Selection(storages=frozenset({"fast"})): [1],
            Selection(storages=frozenset({"fast", None})): [1, 3, 4, 5, 6, 7, 8, 9],
            Selection(created_before=NOW): [3, 7],
            Selection(larger_than=10): [4, 5],
            Selection(removable_at=NOW): [5, 7],
            Selection(stuck_at=NOW): [3, 6, 7],
            Selection(stuck_at=SOON): [3, 6, 7, 9],
            Selection(owner=None, larger_than=10, removable_at=NOW): [5],
            Selection(storages=frozenset({None}), removable_at=LATER, stuck_at=LATER): [7, 9],
        }
        for selection, numbers in selections.items():
            assert [int(upload.id, 16) for upload in repository.list(selection, limit=99)] == numbers, selection
            assert [int(upload.id, 16) for upload in every if selection.covers(upload)] == numbers, selection
        assert [upload.id for upload in repository.list(Selection(owner=None), limit=2, after=id_of(4))] == [
            id_of(5),
            id_of(6),
        ]

    def test_an_instance_is_found_by_its_id(self, repository: StateRepository) -> None:
        """Instances outside of hooks have the same attributes as in hooks. An unknown id finds nothing."""
        upload = an_upload(received=ByteRanges.prefix(4), owner="7", metadata=UploadMetadata("filename YS50eHQ="))
        repository.add(upload, until=None)
        found = repository.instance(id_of(1))
        assert found is not None
        assert (found.id, found.offset, found.received, found.length, found.owner) == (id_of(1), 4, 4, 10, "7")
        assert (found.filename, found.status, found.complete, found.created_at) == ("a.txt", "active", False, NOW)
        assert repository.instance(id_of(2)) is None

    def test_instances_are_found_by_pages_status_and_owner(self, repository: StateRepository) -> None:
        """Instances are found by id. Parts are included on request only; uploads being removed, by status only."""
        partial = Concat("partial")
        statuses = {1: Status.ACTIVE, 2: Status.COMPLETE, 3: Status.DELETING, 4: Status.GONE, 5: Status.COMPLETE}
        for number, status in statuses.items():
            repository.add(an_upload(number, status=status, owner="7" if number < 4 else None), until=None)
        repository.add(an_upload(6, status=Status.COMPLETE, owner="7", concat=partial), until=None)

        def found(**wanted: Any) -> list[int]:
            page = {"limit": wanted.pop("limit", 9), "after": wanted.pop("after", "")}
            selection = Selection(**{"leaving": False, "parts": False} | wanted)
            return [int(instance.id, 16) for instance in repository.instances(selection, **page)]

        assert found() == [1, 2, 5]
        assert found(limit=2) == [1, 2]
        assert found(after=id_of(1)) == [2, 5]
        assert found(parts=True) == [1, 2, 5, 6]
        assert found(status=Status.COMPLETE) == [2, 5]
        assert found(status=Status.DELETING) == [3]
        assert found(owner="7") == [1, 2]
        assert found(owner="7", status=Status.COMPLETE, parts=True) == [2, 6]
        assert found(owner=None) == [5]
        assert found(owner="8") == []

    def test_what_may_have_unfinished_bytes_is_known(self, repository: StateRepository) -> None:
        """Published uploads and unknown ids have no unfinished bytes. All others may have some."""
        repository.add(an_upload(1), until=None)
        repository.add(an_upload(2, status=Status.COMPLETE), until=None)
        repository.add(an_upload(3, status=Status.COMPLETE, concat=Concat("partial")), until=None)
        repository.add(an_upload(4, status=Status.DELETING), until=None)
        assert repository.ids_with_unfinished_bytes([id_of(number) for number in range(1, 6)]) == {
            id_of(1),
            id_of(3),
            id_of(4),
        }
        assert repository.ids_with_unfinished_bytes([]) == set()

    def test_digests_are_remembered_until_the_bytes_change(self, repository: StateRepository) -> None:
        """Several digests can be remembered, and new bytes invalidate them all."""
        claim = repository.add(an_upload(received=ByteRanges.prefix(4)), until=SOON)
        upload = repository.get(id_of(1))
        assert repository.digest(upload, "md5") is None
        repository.remember_digest(upload, "md5", "aa")
        repository.remember_digest(upload, "sha1", "bb")
        assert (repository.digest(upload, "md5"), repository.digest(upload, "sha1")) == ("aa", "bb")
        more = replace(upload, received=ByteRanges.prefix(5))
        repository.save(more, claim, until=SOON)
        assert repository.digest(more, "md5") is None
        repository.remember_digest(upload, "md5", "stale")
        assert repository.digest(more, "md5") is None

    def test_digests_of_bytes_that_were_lost_are_forgotten(self, repository: StateRepository) -> None:
        """An upload that lost bytes and received others instead has no digest, although its length is the same."""
        claim = repository.add(an_upload(received=ByteRanges.prefix(4)), until=SOON)
        upload = repository.get(id_of(1))
        repository.remember_digest(upload, "md5", "aa")
        for offset in (3, 4):
            repository.save(replace(upload, received=ByteRanges.prefix(offset)), claim, until=SOON)
        assert repository.digest(upload, "md5") is None

    def test_a_digest_from_within_a_hook_is_kept(self, repository: StateRepository) -> None:
        """A digest that on_complete computed does not need to be computed again."""
        claim = repository.add(an_upload(received=ByteRanges.prefix(10), status=Status.FINISHING), until=SOON)
        done = an_upload(received=ByteRanges.prefix(10), status=Status.COMPLETE)
        repository.save_with_hook(
            done, claim, lambda instance: repository.remember_digest(done, "md5", "aa"), until=None
        )
        assert repository.digest(done, "md5") == "aa"
        repository.call(done, lambda instance: repository.remember_digest(done, "sha1", "bb"))
        assert (repository.digest(done, "md5"), repository.digest(done, "sha1")) == ("aa", "bb")

    def test_moments_are_kept_whatever_their_zone(self, repository: StateRepository) -> None:
        """A time with another UTC offset comes back as the same moment."""
        elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
        repository.add(an_upload(created_at=elsewhere, expires_at=elsewhere), until=None)
        back = repository.get(id_of(1))
        assert (back.created_at, back.expires_at) == (NOW, NOW)
        assert [upload.id for upload in repository.expired(NOW, limit=9)] == [id_of(1)]
        assert not repository.expired(NOW - timedelta(milliseconds=1), limit=9)

    def test_any_json_is_kept_for_the_storage(self, repository: StateRepository) -> None:
        """The storage's data may have keys and strings that need special care in databases."""
        notes = {"$set": 1, "a.b": [True, None], "": {"\x00": "nul \x00"}, "pi": 3.5}
        repository.add(an_upload(storage=notes), until=None)
        assert repository.get(id_of(1)).storage == notes

    def test_metadata_may_be_long_and_strange(self, repository: StateRepository) -> None:
        """The longest header that the settings allow comes back unchanged, and so do unusual keys."""
        metadata = UploadMetadata.from_header("$where.a MQ==,__proto__ MQ==,big " + "QUFB" * 16_000)
        repository.add(an_upload(metadata=metadata), until=None)
        assert repository.get(id_of(1)).metadata.raw == metadata.raw

    @pytest.mark.parametrize("name", ["日本.txt", "🎬.mov", "a\0b", "x" * 12_000, "'; DROP TABLE --"])
    def test_file_names_may_be_strange(self, repository: StateRepository, name: str) -> None:
        """The name of an instance is the one that the client sent; NUL, which some databases reject, is replaced."""
        repository.add(an_upload(metadata=UploadMetadata.from_values({"filename": name})), until=None)
        shown = repository.instance(id_of(1))
        assert shown is not None and shown.filename in (name, name.replace("\0", "\ufffd"))
        assert repository.get(id_of(1)).metadata.filename == name

    def test_many_parts_can_be_listed(self, repository: StateRepository) -> None:
        """A final upload may consist of thousands of parts."""
        concat = Concat.from_header("final;" + " ".join(f"/files/{id_of(number)}" for number in range(5000)))
        repository.add(an_upload(concat=concat), until=None)
        assert repository.get(id_of(1)).concat == concat
        assert [upload.id for upload in repository.awaiting(id_of(4999))] == [id_of(1)]
