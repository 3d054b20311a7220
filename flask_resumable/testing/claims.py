"""Tests for a state repository: claims, hooks and races."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from ..core.metadata import UploadMetadata
from ..core.ranges import ByteRanges
from ..core.upload import Status
from ..core.upload import Upload
from ..errors import ClaimLost
from ..errors import UploadExists
from ..errors import UploadLocked
from ..errors import UploadNotFound
from ..interfaces import Claim
from ..interfaces import StateRepository
from .samples import an_upload
from .samples import claim_free
from .samples import id_of
from .samples import LATER
from .samples import NOW
from .samples import SOON
from .samples import take


class ClaimContract:
    """Who may change an upload, and with what effect."""

    def test_the_newest_claim_wins(self, repository: StateRepository) -> None:
        """After a newer claim, the former holder can neither save, renew nor remove, and its release has no effect."""
        old = repository.add(an_upload(), until=SOON)
        upload, new = take(repository)
        assert new.fence > old.fence
        acts: list[Callable[[], object]] = [
            lambda: repository.save(upload, old, until=SOON),
            lambda: repository.renew(old, until=SOON),
            lambda: repository.rehearse_removal(upload, old),
            lambda: repository.remove(upload, old),
            lambda: repository.save_with_hook(upload, old, lambda instance: None, until=None),
        ]
        for act in acts:
            with pytest.raises(ClaimLost):
                act()
        repository.release(old)
        assert repository.get(id_of(1)).is_claimed(NOW)
        repository.save(replace(upload, received=ByteRanges.prefix(3)), new, until=SOON)
        assert repository.get(id_of(1)).offset == 3

    def test_a_holder_that_has_come_to_the_end_is_not_taken_over(self, repository: StateRepository) -> None:
        """A holder that was asked to let go may be finishing the upload by now, and its hook must not run twice."""
        claim = repository.add(an_upload(), until=SOON, by="a")
        asked = repository.get(id_of(1))
        repository.save(replace(asked, status=Status.FINISHING), claim, until=SOON)
        with pytest.raises(UploadLocked):
            repository.claim(id_of(1), now=NOW, until=SOON, known=asked, by="b", over=asked.fence)
        found = repository.get(id_of(1))  # unless it is known to be gone
        repository.claim(id_of(1), now=NOW, until=SOON, known=found, by="b", over=found.fence)

    def test_a_free_upload_is_claimed_in_one_step(self, repository: StateRepository) -> None:
        """The result is that of reading the record and claiming it, or ``None`` if the repository needs both."""
        upload = an_upload(
            owner="ann", received=ByteRanges.prefix(3), expires_at=LATER, metadata=UploadMetadata("filename YQ==")
        )
        first = repository.add(upload, until=SOON, by="a")
        repository.release(first)
        known = repository.get(id_of(1))
        made = repository.claim_free(id_of(1), owner="ann", now=NOW, until=SOON, by="b")
        if made is None:
            assert repository.get(id_of(1)) == known
            return
        taken, claim = made
        assert taken == repository.get(id_of(1))
        assert taken == replace(
            known, updated_at=NOW, claimed_until=SOON, claimed_by="b", fence=claim.fence, version=taken.version
        )
        assert claim.fence > first.fence
        assert taken.version > known.version
        with pytest.raises(ClaimLost):
            repository.save(known, first, until=None)
        repository.save(replace(taken, received=ByteRanges.prefix(5)), claim, until=None)
        assert repository.get(id_of(1)).offset == 5

    @pytest.mark.parametrize(
        "changes",
        [
            {"owner": "bob"},
            {"owner": None},
            {"owner": "ANN"},
            {"expires_at": NOW},
            *({"status": status} for status in Status if status is not Status.ACTIVE),
        ],
        ids=str,
    )
    def test_only_a_free_upload_is_claimed_in_one_step(
        self, repository: StateRepository, changes: dict[str, Any]
    ) -> None:
        """Whatever needs a closer look is left unchanged."""
        repository.release(repository.add(an_upload(**{"owner": "ann"} | changes), until=SOON, by="a"))
        before = repository.get(id_of(1))
        assert repository.claim_free(id_of(1), owner="ann", now=NOW, until=SOON, by="b") is None
        after = repository.get(id_of(1))
        assert (after.claimed_until, after.status, after.offset) == (None, before.status, before.offset)

    @pytest.mark.parametrize("owner", [None, "ann"])
    def test_a_claimed_upload_is_not_free(self, repository: StateRepository, owner: str | None) -> None:
        """Not even after the claim has expired, because its holder may have left something to recover."""
        assert repository.claim_free(id_of(1), owner=owner, now=NOW, until=SOON) is None
        claim = repository.add(an_upload(owner=owner), until=SOON, by="a")
        for now in (NOW, LATER):
            assert repository.claim_free(id_of(1), owner=owner, now=now, until=LATER) is None
        repository.save(repository.get(id_of(1)), claim, until=None)

    def test_a_fence_is_never_reused(self, repository: StateRepository) -> None:
        """A claim after a release has a new fence."""
        first = repository.add(an_upload(), until=SOON)
        repository.release(first)
        assert take(repository)[1].fence > first.fence

    @pytest.mark.parametrize("status", [status for status in Status if status is not Status.GONE])
    def test_a_claim_is_respected_until_it_has_run_out(self, repository: StateRepository, status: Status) -> None:
        """Whatever the status of the upload, a holder is not interrupted by accident."""
        repository.add(an_upload(status=status), until=SOON)
        with pytest.raises(UploadLocked):
            claim_free(repository)
        repository.claim(id_of(1), now=SOON, until=LATER)

    @pytest.mark.parametrize("status", [Status.ACTIVE, Status.FINISHING])
    def test_a_claim_whose_holder_is_gone_is_not_respected(self, repository: StateRepository, status: Status) -> None:
        """The claim of a holder that is known to have died can be replaced at once, but not one made since then."""
        repository.add(an_upload(status=status), until=SOON, by="a")
        known = repository.get(id_of(1))
        assert known.claimed_by == "a"
        upload, claim = repository.claim(id_of(1), now=NOW, until=SOON, known=known, by="b", over=known.fence)
        assert (upload.claimed_by, upload.fence, upload.is_released) == ("a", known.fence, False)
        current = repository.get(id_of(1))
        assert (current.claimed_by, current.fence) == ("b", claim.fence)
        for knows in (None, known):
            with pytest.raises(UploadLocked):
                repository.claim(id_of(1), now=NOW, until=SOON, known=knows, over=known.fence)

    def test_what_a_holder_has_received_can_be_told_by_others(self, repository: StateRepository) -> None:
        """Telling leaves the claim unchanged, and never undoes what the holder has saved in the meantime."""
        claim = repository.add(an_upload(), until=SOON, by="a")
        known = repository.get(id_of(1))
        assert repository.save_progress(replace(known, received=ByteRanges.prefix(3)))
        told = repository.get(id_of(1))
        assert (told.offset, told.is_claimed(NOW), told.fence, told.claimed_by) == (3, True, claim.fence, "a")
        assert told.version > known.version
        repository.save(_with_bytes(5), claim, until=SOON)
        assert not repository.save_progress(replace(told, received=ByteRanges.prefix(4)))
        assert repository.get(id_of(1)).offset == 5
        repository.remove(repository.get(id_of(1)), claim)
        assert not repository.save_progress(replace(told, received=ByteRanges.prefix(4)))

    def test_a_wish_waits_for_the_holder_that_it_is_about(self, repository: StateRepository) -> None:
        """The holder finds it until it saves, releases or loses its claim. A later holder never gets it."""
        repository.add(an_upload(2), until=SOON)
        assert [*repository.messages()] == []
        claim = repository.add(an_upload(), until=SOON)
        known = repository.get(id_of(1))
        ends: list[Callable[[Claim], object]] = [
            lambda claim: repository.save(an_upload(), claim, until=SOON),
            repository.release,
            lambda claim: take(repository),
        ]
        for end in ends:
            repository.leave_message(known, "show")
            assert repository.get(id_of(1)).version == known.version
            repository.leave_message(known, "leave")
            assert [*repository.messages()] == [(claim, "leave")]
            end(claim)
            assert [*repository.messages()] == []
            repository.leave_message(known, "show")
            if repository.get(id_of(1)).fence != claim.fence:
                assert [*repository.messages()] == []
            else:
                claim = take(repository)[1]
                known = repository.get(id_of(1))

    def test_saving_renews_or_gives_up_the_claim(self, repository: StateRepository) -> None:
        """A save extends the claim or ends it, and renewing extends it."""
        claim = repository.add(an_upload(), until=SOON)
        repository.renew(claim, until=LATER)
        assert repository.get(id_of(1)).claimed_until == LATER
        repository.save(an_upload(), claim, until=SOON)
        assert repository.get(id_of(1)).claimed_until == SOON
        repository.save(an_upload(), claim, until=None)
        assert repository.get(id_of(1)).claimed_until is None

    def test_renewing_comes_too_late_after_the_release(self, repository: StateRepository) -> None:
        """Another thread renews, perhaps a moment after the request has ended. The upload must stay free."""
        claim = repository.add(an_upload(), until=SOON)
        for end in (
            lambda: repository.save(an_upload(), claim, until=None),
            lambda: repository.release(claim),
            lambda: repository.save_with_hook(an_upload(), claim, lambda _: None, until=None),
        ):
            repository.save(an_upload(), claim, until=SOON)
            end()
            with pytest.raises(ClaimLost):
                repository.renew(claim, until=LATER)
            assert repository.get(id_of(1)).claimed_until is None

    def test_every_change_has_its_version(self, repository: StateRepository) -> None:
        """Every claim, save, renewal and release changes the version."""
        claim = repository.add(an_upload(), until=SOON)
        versions = [repository.get(id_of(1)).version]
        acts: list[Callable[[], object]] = [
            lambda: repository.save(an_upload(), claim, until=SOON),
            lambda: repository.renew(claim, until=LATER),
            lambda: repository.release(claim),
        ]
        for act in acts:
            act()
            versions.append(repository.get(id_of(1)).version)
        assert versions == sorted(set(versions))

    def test_settling_calls_the_hook_with_the_next_state(self, repository: StateRepository) -> None:
        """The hook sees the upload as it is about to be saved."""
        claim = repository.add(an_upload(status=Status.FINISHING), until=SOON)
        seen: list[str] = []
        done = an_upload(status=Status.COMPLETE)
        repository.save_with_hook(done, claim, lambda instance: seen.append(instance.status), until=None)
        assert seen == ["complete"]
        assert repository.get(id_of(1)).status is Status.COMPLETE

    def test_notes_that_a_hook_changes_are_saved(self, repository: StateRepository) -> None:
        """If the hook moves the bytes, the record says where they are afterwards."""
        claim = repository.add(an_upload(status=Status.FINISHING), until=SOON)
        notes: dict[str, object] = {"path": "before", "size": 1}
        done = an_upload(status=Status.COMPLETE, storage=notes)

        def hook(instance: object) -> None:
            notes.clear()
            notes["path"] = "after"

        repository.save_with_hook(done, claim, hook, until=None)
        assert repository.get(done.id).storage == {"path": "after"}

    def test_a_limit_that_a_hook_sets_is_saved(self, repository: StateRepository) -> None:
        """A hook may set the maximum size of its upload. Later saves, and hooks that do not set it, leave it alone."""
        claim = repository.add(an_upload(status=Status.NEW, max_size=20), until=SOON)

        def hook(instance: Any) -> None:
            assert instance.max_size == 20
            instance.max_size = 2**40

        saved = repository.save_with_hook(an_upload(max_size=20), claim, hook, until=SOON)
        assert (saved.max_size, repository.get(id_of(1)).max_size) == (2**40, 2**40)
        repository.save(saved.with_status(Status.FINISHING), claim, until=SOON)
        done = saved.with_status(Status.FINISHING).with_status(Status.COMPLETE)
        assert repository.save_with_hook(done, claim, lambda instance: None, until=None).max_size == 2**40
        assert repository.get(id_of(1)).max_size == 2**40

    def test_a_failing_hook_leaves_the_state(self, repository: StateRepository) -> None:
        """If the hook raises, the upload is unchanged and the exception propagates."""
        claim = repository.add(an_upload(status=Status.FINISHING), until=SOON)

        def hook(instance: Any) -> None:
            raise LookupError("no")

        with pytest.raises(LookupError):
            repository.save_with_hook(an_upload(status=Status.COMPLETE), claim, hook, until=None)
        assert repository.get(id_of(1)).status is Status.FINISHING

    def test_amending_respects_claims_and_refusals(self, repository: StateRepository) -> None:
        """A change without a claim respects living claims, may raise to refuse, and may change nothing."""
        claim = repository.add(an_upload(), until=SOON)

        def refuse(upload: Upload) -> Upload:
            raise LookupError

        with pytest.raises(UploadLocked):
            repository.amend(id_of(1), refuse, now=NOW)
        repository.release(claim)
        with pytest.raises(LookupError):
            repository.amend(id_of(1), refuse, now=NOW)
        version = repository.get(id_of(1)).version
        assert repository.amend(id_of(1), lambda upload: upload, now=NOW).version == version
        with pytest.raises(UploadNotFound):
            repository.amend(id_of(2), refuse, now=NOW)

    def test_amending_ends_a_claim_that_has_run_out(self, repository: StateRepository) -> None:
        """A holder that slept past the end of its claim cannot undo what was changed in the meantime."""
        claim = repository.add(an_upload(), until=SOON)
        repository.amend(id_of(1), lambda upload: replace(upload, received=ByteRanges.prefix(3)), now=SOON)
        with pytest.raises(ClaimLost):
            repository.save(an_upload(), claim, until=None)
        assert repository.get(id_of(1)).offset == 3

    def test_a_claim_does_not_believe_what_is_no_longer_so(self, repository: StateRepository) -> None:
        """If ``known`` is older than another save, the claim returns what was saved, and has a new fence."""
        claim = repository.add(an_upload(), until=None)
        stale = repository.get(id_of(1))
        repository.save(_with_bytes(3), claim, until=None)
        upload, newer = repository.claim(id_of(1), now=NOW, until=SOON, known=stale)
        assert (upload.offset, newer.fence > claim.fence) == (3, True)
        with pytest.raises(ClaimLost):
            repository.save(an_upload(), claim, until=None)
        repository.save(_with_bytes(5), newer, until=None)
        assert repository.get(id_of(1)).offset == 5

    def test_a_claim_looks_itself_who_holds_the_upload(self, repository: StateRepository) -> None:
        """A holder that ``known`` does not show is respected. One that has let go since then is not."""
        claim = repository.add(an_upload(), until=SOON)
        held = repository.get(id_of(1))
        repository.release(claim)
        free = repository.get(id_of(1))
        repository.claim(id_of(1), now=NOW, until=SOON, known=held)
        with pytest.raises(UploadLocked):
            repository.claim(id_of(1), now=NOW, until=SOON, known=free)
        repository.claim(id_of(1), now=NOW, until=SOON, known=free, over=repository.get(id_of(1)).fence)

    def test_amending_does_not_believe_what_is_no_longer_so(self, repository: StateRepository) -> None:
        """If ``known`` is older than another change, both changes are kept. A holder that appeared since then is
        respected, one that has let go is not.
        """
        claim = repository.add(an_upload(), until=SOON)
        held = repository.get(id_of(1))
        repository.release(claim)
        stale = repository.get(id_of(1))
        for known, start in ((held, 0), (stale, 4), (stale, 8)):
            repository.amend(id_of(1), partial(_with_byte, start), now=NOW, known=known)
        received = repository.get(id_of(1)).received
        assert [received.covers(start, start + 1) for start in (0, 1, 4, 8)] == [True, False, True, True]
        free = repository.get(id_of(1))
        take(repository)
        for change in (partial(_with_byte, 5), lambda upload: upload):
            with pytest.raises(UploadLocked):
                repository.amend(id_of(1), change, now=NOW, known=free)
        assert repository.get(id_of(1)).received == received

    def test_an_upload_that_is_gone_is_gone_whoever_knew_it(self, repository: StateRepository) -> None:
        """If ``known`` is older than the removal, neither a claim nor a change finds the upload or brings it back."""
        claim = repository.add(an_upload(), until=None)
        known = repository.get(id_of(1))
        repository.remove(known, claim)
        acts: list[Callable[[], object]] = [
            lambda: repository.claim(id_of(1), now=NOW, until=SOON, known=known),
            lambda: repository.amend(id_of(1), partial(_with_byte, 0), now=NOW, known=known),
            lambda: repository.amend(id_of(1), lambda upload: upload, now=NOW, known=known),
            lambda: repository.get(id_of(1)),
        ]
        for act in acts:
            with pytest.raises(UploadNotFound):
                act()

    def test_changes_side_by_side_are_all_kept(self, repository: StateRepository) -> None:
        """When many ranges are added at once, none is lost, and each call returns a record that has its range."""
        repository.add(an_upload(length=160), until=None)

        def add(number: int) -> bool:
            start = (number * 7) % 160
            changed = repository.amend(
                id_of(1), lambda upload: replace(upload, received=upload.received.add(start, start + 1, 1)), now=NOW
            )
            return changed.received.covers(start, start + 1)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(add, range(160)))
        assert repository.get(id_of(1)).received == ByteRanges.prefix(160)

    def test_racing_creations_have_one_winner(self, repository: StateRepository) -> None:
        """Of many records with the same id, one is created."""
        barrier = threading.Barrier(8)

        def create(number: int) -> bool:
            barrier.wait()
            try:
                repository.add(an_upload(), until=None)
            except UploadExists:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(create, range(8))) == 1

    def test_racing_claims_all_count(self, repository: StateRepository) -> None:
        """Each of many claims gets its own fence, and only the last one can save."""
        repository.add(an_upload(), until=None)

        def claim(number: int) -> list[int]:
            return [take(repository)[1].fence for _ in range(20)]

        with ThreadPoolExecutor(4) as pool:
            fences = [fence for some in pool.map(claim, range(4)) for fence in some]
        assert sorted(fences) == list(range(2, 82))


def _with_bytes(count: int) -> Upload:
    return an_upload(received=ByteRanges.prefix(count))


def _with_byte(start: int, upload: Upload) -> Upload:
    return replace(upload, received=upload.received.add(start, start + 1, 1))
