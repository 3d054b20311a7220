"""Records of uploads in a SQL database: everything that a repository does, apart from calling hooks.

Races are decided by conditional updates, each in its own transaction: a record is read, and changed only if it is still
the same. This works across threads, processes and machines, at any isolation level.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from datetime import datetime
from datetime import UTC
from functools import lru_cache
from functools import partial
from typing import Any

from sqlalchemy import and_
from sqlalchemy import Engine
from sqlalchemy import func
from sqlalchemy import or_
from sqlalchemy import select
from sqlalchemy.exc import DataError
from sqlalchemy.exc import IntegrityError

from ...core.owner import Anybody
from ...core.placement import KEY
from ...core.processing import Processing
from ...core.quota import Quota
from ...core.quota import reserve
from ...core.quota import Usage
from ...core.selection import ALL
from ...core.selection import Selection
from ...core.selection import UNSETTLED
from ...core.upload import LEAVING
from ...core.upload import Status
from ...core.upload import Upload
from ...errors import ClaimLost
from ...errors import QuotaExceeded
from ...errors import TooLarge
from ...errors import Unavailable
from ...errors import UploadExists
from ...errors import UploadLocked
from ...errors import UploadNotFound
from ...interfaces import Claim
from ...interfaces import RepositoryCapabilities
from ...models.record import answer_of
from ...models.record import FIELDS
from ...models.record import OWN_FIELDS
from ...models.record import processing_of
from ...models.record import state_of
from ...models.record import upload_from
from ...models.record import values_of
from ..amending import amended
from ..amending import TRIES
from .database import Database
from .database import RetryConflict
from .database import Run
from .digests import Digests
from .refusals import telling_refusals
from .statements import exactly
from .statements import new
from .statements import Parameters
from .statements import Statements
from .turns import is_in_memory

_TRIES = 5  # to insert a record whose key others take and free
_CLOCKS = {
    "postgresql": select(func.current_timestamp().label("time")),
    # CURRENT_TIMESTAMP would be in the time zone of the session.
    **dict.fromkeys(("mysql", "mariadb"), select(func.utc_timestamp().label("time"))),
}


def _columns(mapper: Any) -> dict[str, Any]:
    return {name: mapper.columns[name] for name in (*FIELDS, *OWN_FIELDS)}


@lru_cache(maxsize=2)  # tests make an app for each test, and building statements is a good part of that
def _statements(table: Any, mapper: Any) -> Statements:
    return Statements(table, _columns(mapper))


class Records:
    """Keeps records in SQL; implements :class:`~flask_resumable.interfaces.StateRepository`, apart from hooks."""

    setting = "The database"  # what names the database in messages

    def __init__(self, model: type[Any], database: Database) -> None:
        self.model = model
        self.capabilities = RepositoryCapabilities(location=self, clock=self)
        self._database = database
        self._table = model.__table__
        self._c = _columns(model.__mapper__)
        self._statements = _statements(model.__table__, model.__mapper__)
        self._digests = Digests(model, self._statements, database)

    @property
    def engine(self) -> Engine:
        """The engine that SQLAlchemy connects with."""
        return self._database.engine

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        self._database.dispose()

    def is_in_memory(self) -> bool:
        engine = self._database.peek()
        return engine.dialect.name == "sqlite" and is_in_memory(engine)

    def file(self) -> str | None:
        engine = self._database.peek()
        path = engine.url.database
        if engine.dialect.name != "sqlite" or is_in_memory(engine) or not path or path.startswith("file:"):
            return None
        return path

    def time(self) -> datetime | None:
        query = _CLOCKS.get(self._database.engine.dialect.name)
        if query is None:  # SQLite has no clock of its own
            return None
        told: datetime = self._database.all(query)[0]["time"]
        return told if told.tzinfo is not None else told.replace(tzinfo=UTC)

    # --- one record ---

    def add(self, upload: Upload, *, until: datetime | None, by: str | None = None) -> Claim:
        record = _new_record(upload, until, by)
        self._inserted(upload, lambda less: self._database.change(self._statements.insert, record | less))
        return Claim(upload.id, upload.fence + 1)

    def add_within(
        self, upload: Upload, quota: Quota, *, now: datetime, until: datetime | None, by: str | None = None
    ) -> tuple[Upload, Claim]:
        made = upload

        def add(less: Parameters, run: Run) -> None:
            nonlocal made
            row = run.first(self._statements.usage, self._statements.of_owner(upload.id, upload.owner, now))
            assert row is not None
            made = reserve(upload, quota, Usage(int(row["uploads"]), int(row["bytes"])))
            run.change(self._statements.insert, _new_record(made, until, by) | less)

        def insert(less: Parameters) -> None:
            self._database.exclusively(self._table, upload.owner or "", partial(add, less))

        try:
            self._inserted(upload, insert)
        except (QuotaExceeded, TooLarge):
            if self._taken(upload):  # another request has created it, which is why there is no room
                raise UploadExists from None
            raise
        return made, Claim(upload.id, upload.fence + 1)

    def _inserted(self, upload: Upload, insert: Callable[[Parameters], object]) -> None:
        """Call ``insert`` with parameters that replace those of the record."""
        try:
            return self._tried(upload, partial(insert, {}))
        except Unavailable as error:
            if upload.metadata.filename is None or not isinstance(error.__cause__, DataError):
                raise
        # The database's encoding does not have these letters. Only the metadata has the name then.
        self._tried(upload, partial(insert, new({"filename": None})))

    def _tried(self, upload: Upload, insert: Callable[[], object]) -> None:
        for left in reversed(range(_TRIES)):
            try:
                insert()
                break
            except (IntegrityError, RetryConflict) as error:
                taken = self._taken(upload)
                if upload.id in taken and isinstance(error, RetryConflict) and self._is_there(upload):
                    break  # the first attempt succeeded, and only its response was lost
                if taken:
                    raise UploadExists from None
                if not left:
                    raise  # it is a constraint of the app's; before, others may have had the key and freed it at once

    def _is_there(self, upload: Upload) -> bool:
        try:
            return self.get(upload.id).is_same(upload)
        except UploadNotFound:
            return False

    def get(self, upload_id: str) -> Upload:
        return self._one(self._statements.get, self._statements.by_id(upload_id), upload_id)

    def find(self, key: str) -> Upload:
        return self._one(self._statements.find, self._statements.by_key(key), key)

    def find_request(self, request_key: str) -> Upload:
        return self._one(self._statements.find_request, self._statements.by_key(request_key), request_key)

    def _one(self, query: Any, parameters: Parameters, wanted: str) -> Upload:
        row = self._database.first(query, parameters)
        if row is None:
            raise UploadNotFound(wanted)
        return upload_from(row)

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
        status = None if known is None else known.status
        for _ in range(TRIES):
            read, known = known, None
            upload = read or self.get(upload_id)
            may_take = upload.fence == over and status in (None, upload.status)
            if upload.is_claimed(now) and not may_take:
                if read is None:
                    raise UploadLocked
                continue  # read it again, because that claim may have been released
            taken = {"claimed_until": until, "claimed_by": by, "updated_at": now}
            values = self._statements.known(upload_id, upload.version, taken)
            # A power failure that loses this claim also ends its holder.
            if self._database.change(self._statements.claim, values, lasting=False) == 1:
                return upload, Claim(upload_id, upload.version + 1)
        raise UploadLocked

    def claim_free(
        self, upload_id: str, *, owner: str | None, now: datetime, until: datetime, by: str | None = None
    ) -> tuple[Upload, Claim] | None:
        if not self._database.can_return:
            return None
        statement = self._statements.claim_free if owner is None else self._statements.claim_owned
        taken = {"claimed_until": until, "claimed_by": by, "updated_at": now}
        row = self._database.first(statement, self._statements.free(upload_id, owner, now, taken))
        if row is None:
            return None
        upload, claim = upload_from(row), Claim(upload_id, row["fence"])
        if upload.owner != owner:  # a collation of the app's may find them equal
            self.release(claim)
            return None
        return upload, claim

    def save(self, upload: Upload, claim: Claim, *, until: datetime | None) -> None:
        values = state_of(upload) | {"claimed_until": until, "digests": None}
        self._check(self._database.change(self._statements.save, self._statements.under(claim, values)))

    def amend(
        self, upload_id: str, change: Callable[[Upload], Upload], *, now: datetime, known: Upload | None = None
    ) -> Upload:
        return amended(lambda: self.get(upload_id), self._amend, change, now, known)

    def _amend(self, upload: Upload, changed: Upload) -> bool:
        statement, values = self._statements.amend, state_of(changed) | {"digests": None}
        if (changed.client_key, changed.request_key) != (upload.client_key, upload.request_key):
            statement = self._statements.amend_with_keys
            values |= {"client_key": changed.client_key, "request_key": changed.request_key}
        return self._database.change(statement, self._statements.known(upload.id, upload.version, values)) == 1

    def renew(self, claim: Claim, *, until: datetime) -> None:
        held = self._statements.under(claim)
        if self._database.first(self._statements.claimed_and_locked, held) is not None:
            renewed = self._statements.under(claim, {"claimed_until": until})
            return self._check(self._database.change(self._statements.renew, renewed, lasting=False))
        # The transaction of a hook locks the row, which is as good as a claim. Waiting would delay other renewals.
        if self._database.first(self._statements.claimed, held) is None:
            raise ClaimLost

    def release(self, claim: Claim) -> None:
        self._database.change(
            self._statements.release, self._statements.under(claim, {"claimed_until": None}), lasting=False
        )

    def save_progress(self, upload: Upload) -> bool:
        state = state_of(upload)
        values = {"offset": state["offset"], "chunks": state["chunks"], "digests": None}
        return (
            self._database.change(
                self._statements.save_progress, self._statements.at_version(upload.id, upload.version, values)
            )
            == 1
        )

    def leave_message(self, upload: Upload, message: str) -> None:
        parameters = self._statements.under(Claim(upload.id, upload.fence), {"claim_message": message})
        self._database.change(self._statements.leave_message, parameters, lasting=False)

    def messages(self) -> Sequence[tuple[Claim, str]]:
        return [
            (Claim(row["id"], row["fence"]), row["claim_message"])
            for row in self._database.all(self._statements.messages)
        ]

    def _hook_save(
        self, upload: Upload, claim: Claim, until: datetime | None, digests: dict[str, Any] | None = None
    ) -> tuple[Any, Parameters]:
        """Return the save after a hook. It leaves digests alone, apart from those that the hook has requested."""
        values = state_of(upload) | {"claimed_until": until, "answer": answer_of(upload)}
        values["max_size"] = upload.max_size
        if digests is None:
            return self._statements.save_with_hook, self._statements.under(claim, values)
        return self._statements.save_with_hook_and_digests, self._statements.under(claim, values | {"digests": digests})

    def mark(self, upload_id: str, processing: Processing) -> bool:
        parameters = self._statements.marking(upload_id, processing_of(processing))
        if self._database.change(self._statements.mark, parameters) == 1:
            return True
        # Some databases count a row only if it has changed.
        return self._database.first(self._statements.get, self._statements.by_id(upload_id)) is not None

    def _hook_mark(self, upload: Upload, processing: Processing) -> tuple[Any, Parameters]:
        """Return the statement that saves a hook's mark, unless another process has marked the upload meanwhile."""
        known = processing_of(upload.processing)["processing_state"]
        return self._statements.mark_if, self._statements.marking_if(upload.id, known, processing_of(processing))

    def rehearse_removal(self, upload: Upload, claim: Claim) -> None:
        with telling_refusals():
            self._check(self._database.rehearse(self._statements.remove, self._statements.under(claim)))

    def _remove(self, claim: Claim) -> None:
        with telling_refusals():
            self._check(self._database.change(self._statements.remove, self._statements.under(claim)))

    # --- many records ---

    def expired(self, now: datetime, *, limit: int, after: Upload | None = None) -> Sequence[Upload]:
        at, upload_id = self._c["removable_at"], self._c["id"]
        query = self._statements.select.where(at <= now, self._statements.is_readable)
        if after is not None:
            behind = or_(at > after.removable_at, and_(at == after.removable_at, upload_id > after.id))
            query = query.where(at >= after.removable_at, behind)  # redundant, but helps the index
        return self._uploads(query.order_by(at, upload_id).limit(limit))

    def pending(self, *, limit: int, after: str = "") -> Sequence[Upload]:
        status = self._c["status"]
        waits = or_(
            status == Status.FINISHING.value,
            and_(status == Status.ACTIVE.value, self._c["concat_kind"] == "final"),
        )
        query = self._statements.select.where(waits, self._c["id"] > after, self._statements.is_readable)
        return self._uploads(query.order_by(self._c["id"]).limit(limit))

    def list(self, selection: Selection = ALL, *, limit: int, after: str = "") -> Sequence[Upload]:
        return self._uploads(self._page(self._statements.select, selection, limit=limit, after=after))

    def _page(self, query: Any, selection: Selection, *, limit: int, after: str) -> Any:
        """Return a query for a page of the selected uploads."""
        wanted = (*self._conditions(selection), self._c["id"] > after, self._statements.is_readable)
        return query.where(*wanted).order_by(self._c["id"]).limit(limit)

    def _conditions(self, selection: Selection) -> Iterator[Any]:
        c = self._c
        if selection.status is not None:
            yield c["status"] == selection.status.value
        elif not selection.leaving:
            yield c["status"].not_in([leaving.value for leaving in LEAVING])
        if not selection.parts:
            yield or_(c["concat_kind"].is_(None), c["concat_kind"] != "partial")
        if selection.owner is None:
            yield c["owner"].is_(None)
        elif not isinstance(selection.owner, Anybody):
            yield c["owner"] == selection.owner  # for the index
            yield exactly(c["owner"], selection.owner)
        if selection.processing is not None:
            yield c["processing_state"] == selection.processing.value
        if selection.storages:
            name = c["storage"][KEY]["storage"].as_string()
            names = name.in_([known for known in selection.storages if known is not None])
            yield or_(names, name.is_(None)) if None in selection.storages else names
        if selection.created_before is not None:
            yield c["created_at"] < selection.created_before
        if selection.larger_than is not None:
            yield or_(c["length"] > selection.larger_than, c["offset"] > selection.larger_than)
        if selection.removable_at is not None:
            yield c["removable_at"] <= selection.removable_at
            yield self._is_unclaimed(selection.removable_at)
        if selection.stuck_at is not None:
            yield c["status"].in_([status.value for status in UNSETTLED])
            yield self._is_unclaimed(selection.stuck_at)

    def awaiting(self, part_id: str) -> Sequence[Upload]:
        query = self._statements.select.where(
            self._c["status"] == Status.ACTIVE.value,
            self._c["concat_kind"] == "final",
            self._c["concat"].contains(part_id),
            self._statements.is_readable,
        )
        return [upload for upload in self._uploads(query) if upload.concat and part_id in upload.concat.parts]

    def ids_with_unfinished_bytes(self, upload_ids: Sequence[str]) -> set[str]:
        is_unfinished = or_(self._c["status"] != Status.COMPLETE.value, self._c["concat_kind"] == "partial")
        return self._ids(and_(self._c["id"].in_(upload_ids), is_unfinished))

    # --- digests ---

    def digest(self, upload: Upload, name: str) -> str | None:
        return self._digests.get(upload, name)

    def remember_digest(self, upload: Upload, name: str, value: str) -> None:
        self._digests.remember(upload, name, value)

    # --- statements ---

    @staticmethod
    def _check(count: int) -> None:
        if count != 1:
            raise ClaimLost

    def _is_unclaimed(self, now: datetime) -> Any:
        return or_(self._c["claimed_until"].is_(None), self._c["claimed_until"] <= now)

    def _uploads(self, query: Any) -> Sequence[Upload]:
        return [upload_from(row) for row in self._database.all(query)]

    def _taken(self, upload: Upload) -> set[str]:
        """Return the ids of records that conflict with a new one."""
        unique = {"id": upload.id, "client_key": upload.client_key, "request_key": upload.request_key}
        return self._ids(or_(*(self._c[name] == value for name, value in unique.items() if value is not None)))

    def _ids(self, condition: Any) -> set[str]:
        return {row["id"] for row in self._database.all(select(self._c["id"].label("id")).where(condition))}


def _new_record(upload: Upload, until: datetime | None, by: str | None) -> Parameters:
    """Return the parameters of the statement that inserts a record."""
    numbers = {"fence": upload.fence + 1, "version": upload.version + 1}
    claim = {"claimed_until": until, "claimed_by": by} | numbers
    return new(values_of(upload) | {"id": upload.id} | claim | {"digests": None, "claim_message": None})
