"""State in MongoDB, through a MongoEngine document.

Races are decided by conditional updates of one document, which are atomic and acknowledged by a majority.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from datetime import UTC
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from ...core.answer import Answer
from ...core.owner import ANYBODY
from ...core.placement import KEY
from ...core.processing import collecting_mark
from ...core.processing import Mark
from ...core.processing import Processing
from ...core.quota import Quota
from ...core.quota import reserve
from ...core.quota import takes_quota
from ...core.quota import usage_of
from ...core.selection import ALL
from ...core.selection import Selection
from ...core.selection import UNSETTLED
from ...core.upload import LEAVING
from ...core.upload import Status
from ...core.upload import Upload
from ...errors import ClaimLost
from ...errors import QuotaExceeded
from ...errors import TooLarge
from ...errors import UploadExists
from ...errors import UploadLocked
from ...errors import UploadNotFound
from ...interfaces import Claim
from ...interfaces import RepositoryCapabilities
from ...models.record import answer_of
from ...models.record import FIELDS
from ...models.record import FORMAT
from ...models.record import processing_of
from ...models.record import state_of
from ...models.record import upload_from
from ...models.record import values_of
from ..amending import amended
from .collection import Collection
from .documents import Documents
from .owner_locks import locked

# Records of later versions stay as they are. One of them must not keep anybody from all the others.
_READABLE = {"format": {"$not": {"$gt": FORMAT}}}


class MongoengineRepository:
    """Keeps records in MongoDB; implements :class:`~flask_resumable.interfaces.StateRepository`.

    :param model: A subclass of :class:`~flask_resumable.models.MongoengineBaseModel`, or the ready-made one.
    :param makes_indexes: Whether to create the document's indexes on first use. The default is the document's own
        ``auto_create_index``.
    """

    def __init__(self, model: type[Any], *, makes_indexes: bool | None = None) -> None:
        self.model = model
        self._documents = Documents(model)
        self.capabilities = RepositoryCapabilities(clock=self)
        self._collection = Collection(model, makes_indexes)
        self._shown = dict.fromkeys(self._documents.names(FIELDS), 1)

    def time(self) -> datetime | None:
        told = self._collection.run(lambda collection: collection.database.client.admin.command("hello"))
        time: datetime | None = told.get("localTime")
        return time if time is None or time.tzinfo is not None else time.replace(tzinfo=UTC)

    # --- one record ---

    def add(self, upload: Upload, *, until: datetime | None, by: str | None = None) -> Claim:
        numbers = {"fence": upload.fence + 1, "version": upload.version + 1}
        values = values_of(upload) | {"id": upload.id, "claimed_until": until, "claimed_by": by} | numbers
        document = self._documents.new(values)
        tries: list[None] = []

        def insert(collection: Any) -> None:
            tries.append(None)
            collection.insert_one(document)

        try:
            self._collection.run(insert)
        except DuplicateKeyError:
            if len(tries) == 1 or not self._is_there(upload):
                raise UploadExists from None
        return Claim(upload.id, upload.fence + 1)

    def add_within(
        self, upload: Upload, quota: Quota, *, now: datetime, until: datetime | None, by: str | None = None
    ) -> tuple[Upload, Claim]:
        while True:
            with locked(self._collection, f"quota {upload.owner}") as lock:
                try:
                    made = reserve(upload, quota, usage_of(self._counted(upload, now)))
                except (QuotaExceeded, TooLarge):
                    if self._is_taken(upload):
                        raise UploadExists from None
                    raise
                claim = self.add(made, until=until, by=by)
                if lock.is_held():
                    return made, claim
                self._collection.delete({"_id": upload.id})  # others may not have seen it when they counted

    def _counted(self, upload: Upload, now: datetime) -> list[Upload]:
        query = {"owner": upload.owner, "reserved": {"$gte": 0}, "_id": {"$ne": upload.id}}
        return [other for other in self._uploads(query, 0) if takes_quota(other, now)]

    def _is_taken(self, upload: Upload) -> bool:
        keys = {"client_key": upload.client_key, "request_key": upload.request_key}
        taken = [{"_id": upload.id}, *({name: key} for name, key in keys.items() if key is not None)]
        return bool(self._uploads({"$or": taken}, 1))

    def get(self, upload_id: str) -> Upload:
        return self._one({"_id": upload_id}, upload_id)

    def find(self, key: str) -> Upload:
        return self._one({"client_key": key}, key)

    def find_request(self, request_key: str) -> Upload:
        return self._one({"request_key": request_key}, request_key)

    def claim(
        self,
        upload_id: str,
        *,
        now: datetime,
        until: datetime,
        known: Upload | None = None,
        by: str | None = None,
        over: int | None = None,
    ) -> tuple[Upload, Claim]:
        free = self._is_unclaimed(now)
        if over is not None:
            status = {} if known is None else {"status": known.status.value}
            free["$or"].append({"fence": over, **status})
        taken = self._taken({"_id": upload_id} | free, now, until, by)
        if taken is None:
            self.get(upload_id)
            raise UploadLocked
        before = replace(taken, fence=taken.fence - 1, version=taken.version - 1)
        if known is not None and known.version == before.version:
            before = replace(before, claimed_until=known.claimed_until, claimed_by=known.claimed_by)
        # Otherwise another holder may have left something to recover, so the upload still shows as claimed.
        return before, Claim(upload_id, taken.fence)

    def claim_free(
        self, upload_id: str, *, owner: str | None, now: datetime, until: datetime, by: str | None = None
    ) -> tuple[Upload, Claim] | None:
        is_free = {"_id": upload_id, "status": Status.ACTIVE.value, "owner": owner, "claimed_until": None}
        is_alive = {"$or": [{"expires_at": None}, {"expires_at": {"$gt": now}}]}
        taken = self._taken(is_free | is_alive, now, until, by)
        return None if taken is None else (taken, Claim(upload_id, taken.fence))

    def _taken(self, query: dict[str, Any], now: datetime, until: datetime, by: str | None) -> Upload | None:
        """Claim the upload that ``query`` finds, and return it with the claim."""
        values = {"claimed_until": until, "claimed_by": by, "updated_at": now, "claim_message": None}
        change = self._documents.change(values, grows=("fence", "version"))
        query = query | _READABLE
        found = self._collection.run(
            lambda collection: collection.find_one_and_update(query, change, return_document=ReturnDocument.AFTER)
        )
        return None if found is None else upload_from(self._documents.record(found))

    def save(self, upload: Upload, claim: Claim, *, until: datetime | None) -> None:
        self._change(claim, state_of(upload) | {"claimed_until": until, "digests": None, "claim_message": None})

    def amend(
        self, upload_id: str, change: Callable[[Upload], Upload], *, now: datetime, known: Upload | None = None
    ) -> Upload:
        return amended(lambda: self.get(upload_id), self._amend, change, now, known)

    def _amend(self, upload: Upload, changed: Upload) -> bool:
        keys = {"client_key": changed.client_key, "request_key": changed.request_key}
        update = self._documents.change(state_of(changed) | keys | {"digests": None}, grows=("fence", "version"))
        return self._update({"_id": upload.id, "version": upload.version}, update)

    def renew(self, claim: Claim, *, until: datetime) -> None:
        is_claimed = {**_held(claim), "claimed_until": {"$ne": None}}  # a renewal may come after the release
        if not self._update(is_claimed, self._documents.change({"claimed_until": until})):
            raise ClaimLost

    def release(self, claim: Claim) -> None:
        self._update(_held(claim), self._documents.change({"claimed_until": None, "claim_message": None}))

    def save_progress(self, upload: Upload) -> bool:
        state = state_of(upload)
        values = {"offset": state["offset"], "chunks": state["chunks"], "digests": None}
        return self._update({"_id": upload.id, "version": upload.version}, self._documents.change(values))

    def leave_message(self, upload: Upload, message: str) -> None:
        # The version stays, because the upload itself does not change.
        self._update(
            _held(Claim(upload.id, upload.fence)), self._documents.change({"claim_message": message}, grows=())
        )

    def messages(self) -> Sequence[tuple[Claim, str]]:
        shown = dict.fromkeys(("fence", "claim_message"), 1)
        found = self._collection.run(lambda collection: [*collection.find({"claim_message": {"$gt": ""}}, shown)])
        return [(Claim(document["_id"], document["fence"]), document["claim_message"]) for document in found]

    def rehearse_removal(self, upload: Upload, claim: Claim) -> None:
        self._found(_held(claim))
        self._collection.check_references(upload.id)

    def remove(self, upload: Upload, claim: Claim, hook: Callable[[Any], object] | None = None) -> None:
        document = self._found(_held(claim))
        if not self._collection.delete(_held(claim)):
            raise ClaimLost
        if hook is not None:
            hook(self._documents.instance(document, upload))

    # --- with the app's hooks ---

    def save_with_hook(
        self, upload: Upload, claim: Claim, hook: Callable[[Any], Answer | None], *, until: datetime | None
    ) -> Upload:
        """See the interface. If a crash happens between the hook and the save, the hook is called again.

        What the hook changed in the document itself, and the upload's next status, are saved in one update.
        """
        instance = self._documents.instance(self._found(_held(claim)), upload)
        own = self._documents.watch(instance)
        with collecting_mark(upload.id) as mark:
            answer = hook(instance)
        self._mark_if(upload, mark)  # first, because the hook is called again if a crash prevents the save
        marked = mark.processing or upload.processing
        upload = replace(upload, answer=answer, max_size=instance.max_size, processing=marked)
        values = state_of(upload) | {"answer": answer_of(upload), "max_size": upload.max_size}
        values |= {"claimed_until": until, "claim_message": None}
        self._change(claim, values, own.changes())
        return upload

    def call(self, upload: Upload, hook: Callable[[Any], object]) -> None:
        document = self._collection.run(lambda collection: collection.find_one({"_id": upload.id}))
        instance = self._documents.instance(document or {}, upload)
        own = self._documents.watch(instance)
        with collecting_mark(upload.id) as mark:
            hook(instance)
        self._mark_if(upload, mark)
        if changes := own.changes():
            self._update({"_id": upload.id}, changes)

    def mark(self, upload_id: str, processing: Processing) -> bool:
        return self._update({"_id": upload_id}, self._documents.change(processing_of(processing), grows=()))

    def _mark_if(self, upload: Upload, mark: Mark) -> None:
        """Save a hook's mark, unless another process has marked the upload meanwhile."""
        if mark.processing is not None:
            known = {"_id": upload.id, "processing_state": processing_of(upload.processing)["processing_state"]}
            self._update(known, self._documents.change(processing_of(mark.processing), grows=()))

    def release_connection(self) -> None:
        """Do nothing, because no connection is held between operations."""

    # --- many records ---

    def expired(self, now: datetime, *, limit: int, after: Upload | None = None) -> Sequence[Upload]:
        due: dict[str, Any] = {"removable_at": {"$lte": now}}
        conditions = [due]
        if after is not None:
            at = due["removable_at"]["$gte"] = after.removable_at  # redundant, but lets the index start there
            conditions.append({"$or": [{"removable_at": {"$gt": at}}, {"removable_at": at, "_id": {"$gt": after.id}}]})
        return self._uploads({"$and": conditions} | _READABLE, limit, order=("removable_at", "_id"))

    def pending(self, *, limit: int, after: str = "") -> Sequence[Upload]:
        waits = {"$or": [{"status": Status.FINISHING.value}, {"status": Status.ACTIVE.value, "concat_kind": "final"}]}
        return self._uploads(waits | {"_id": {"$gt": after}} | _READABLE, limit)

    def list(self, selection: Selection = ALL, *, limit: int, after: str = "") -> Sequence[Upload]:
        return self._uploads({"_id": {"$gt": after}} | self._wanted(selection), limit)

    def instance(self, upload_id: str) -> Any | None:
        document = self._collection.run(lambda collection: collection.find_one({"_id": upload_id}))
        return None if document is None else self._instance(document)

    def instances(self, selection: Selection, *, limit: int, after: str = "") -> Sequence[Any]:
        query = {"_id": {"$gt": after}} | self._wanted(selection)
        found = self._collection.run(lambda collection: [*collection.find(query).sort("_id").limit(limit)])
        return [self._instance(document) for document in found]

    def _wanted(self, selection: Selection) -> dict[str, Any]:
        """Return the query for the selected uploads."""
        query: dict[str, Any] = dict(_READABLE)
        conditions: list[dict[str, Any]] = []
        if selection.status is not None:
            query["status"] = selection.status.value
        elif not selection.leaving:
            query["status"] = {"$nin": [leaving.value for leaving in LEAVING]}
        if not selection.parts:
            query["concat_kind"] = {"$ne": "partial"}
        if selection.owner is not ANYBODY:
            query["owner"] = selection.owner
        if selection.processing is not None:
            query["processing_state"] = selection.processing.value
        if selection.storages:
            conditions.append({"$or": [_is_in(name) for name in selection.storages]})
        if selection.created_before is not None:
            query["created_at"] = {"$lt": selection.created_before}
        if selection.larger_than is not None:
            size = {"$gt": selection.larger_than}
            conditions.append({"$or": [{"length": size}, {"offset": size}]})
        if selection.removable_at is not None:
            query["removable_at"] = {"$lte": selection.removable_at}
            conditions.append(self._is_unclaimed(selection.removable_at))
        if selection.stuck_at is not None:
            conditions.append({"status": {"$in": [status.value for status in UNSETTLED]}})
            conditions.append(self._is_unclaimed(selection.stuck_at))
        return query | {"$and": conditions} if conditions else query

    def _instance(self, document: dict[str, Any]) -> Any:
        return self._documents.instance(document, upload_from(self._documents.record(document)))

    def awaiting(self, part_id: str) -> Sequence[Upload]:
        query = {"status": Status.ACTIVE.value, "concat_kind": "final", "concat": {"$regex": re.escape(part_id)}}
        query |= _READABLE
        return [upload for upload in self._uploads(query, 0) if upload.concat and part_id in upload.concat.parts]

    def ids_with_unfinished_bytes(self, upload_ids: Sequence[str]) -> set[str]:
        is_unpublished = {"$or": [{"status": {"$ne": Status.COMPLETE.value}}, {"concat_kind": "partial"}]}
        query = {"_id": {"$in": [*upload_ids]}} | is_unpublished
        found = self._collection.run(lambda collection: [*collection.find(query, {"_id": 1})])
        return {document["_id"] for document in found}

    # --- digests ---

    def digest(self, upload: Upload, name: str) -> str | None:
        known = self._digests(upload)
        value: str | None = known.get(name) if known.get("bytes") == upload.received.total else None
        return value

    def remember_digest(self, upload: Upload, name: str, value: str) -> None:
        known = self._digests(upload)
        kept = known if known.get("bytes") == upload.received.total else {"bytes": upload.received.total}
        change = self._documents.change({"digests": kept | {name: value}}, grows=())
        same = {"_id": upload.id, "created_at": upload.created_at, "offset": upload.offset}  # ids can be used again
        self._update(same, change)

    def _digests(self, upload: Upload) -> dict[str, Any]:
        found = self._collection.run(lambda collection: collection.find_one({"_id": upload.id}, {"digests": 1}))
        return self._documents.record(found or {})["digests"] or {}

    # --- operations ---

    def _change(self, claim: Claim, values: dict[str, Any], own: dict[str, Any] | None = None) -> None:
        """Apply a change if the claim is still valid."""
        if not self._update(_held(claim), self._documents.change(values, own)):
            raise ClaimLost

    def _update(self, query: dict[str, Any], change: dict[str, Any]) -> bool:
        return bool(self._collection.run(lambda collection: collection.update_one(query, change)).matched_count)

    def _found(self, query: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] | None = self._collection.run(lambda collection: collection.find_one(query))
        if found is None:
            raise ClaimLost
        return found

    def _one(self, query: dict[str, Any], wanted: str) -> Upload:
        found = self._collection.run(lambda collection: collection.find_one(query, self._shown))
        if found is None:
            raise UploadNotFound(wanted)
        return upload_from(self._documents.record(found))

    def _uploads(self, query: dict[str, Any], limit: int, *, order: tuple[str, ...] = ("_id",)) -> Sequence[Upload]:
        sort = [(name, 1) for name in order]
        found = self._collection.run(lambda collection: [*collection.find(query, self._shown).sort(sort).limit(limit)])
        return [upload_from(self._documents.record(document)) for document in found]

    def _is_there(self, upload: Upload) -> bool:
        """Whether a first try succeeded and only its response was lost."""
        try:
            return self.get(upload.id).is_same(upload)
        except UploadNotFound:
            return False

    @staticmethod
    def _is_unclaimed(now: datetime) -> dict[str, Any]:
        return {"$or": [{"claimed_until": None}, {"claimed_until": {"$lte": now}}]}


def _is_in(storage: str | None) -> dict[str, Any]:
    """Return the condition that the record names a storage, or none. The field is JSON in a text."""
    noted = re.escape(f'"{KEY}": {{"storage": ')
    if storage is None:
        return {"storage": {"$not": re.compile(noted)}}
    return {"storage": re.compile(noted + re.escape(f'"{storage}"'))}


def _held(claim: Claim) -> dict[str, Any]:
    return {"_id": claim.upload_id, "fence": claim.fence}
