"""Statements on single records. They are built once, because building one takes longer than executing it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam
from sqlalchemy import case
from sqlalchemy import delete
from sqlalchemy import func
from sqlalchemy import insert
from sqlalchemy import literal_column
from sqlalchemy import null
from sqlalchemy import select
from sqlalchemy import String
from sqlalchemy import Table
from sqlalchemy import update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from ...core.upload import Status
from ...interfaces import Claim
from ...models.record import FIELDS
from ...models.record import FORMAT
from ...models.record import OWN_FIELDS
from ...models.record import STATE_FIELDS

# Parameters must not have the names of columns, because SQLAlchemy would take them for new values.
_ID, _OWNER, _VERSION, _FENCE = "the_id", "the_owner", "the_version", "the_fence"
_KEY, _OFFSET, _CREATED, _NOW, _STATE = "the_key", "the_offset", "the_creation", "the_time", "the_state"
_NEW = "new_"

Parameters = dict[str, Any]


class _Exact(FunctionElement[str]):
    """A text to compare by its characters, because MySQL and MariaDB take "Alice" and "alice" for the same."""

    name = "exact"
    type = String()
    inherit_cache = True


@compiles(_Exact)
def _plain(element: _Exact, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(_Exact, "mysql", "mariadb")
def _collated(element: _Exact, compiler: Any, **options: Any) -> str:
    return f"CONVERT({compiler.process(element.clauses, **options)} USING utf8mb4) COLLATE utf8mb4_bin"


def exactly(column: Any, text: Any) -> Any:
    """Return the condition that a column has a text, character by character."""
    return _Exact(column) == _Exact(text)


class Statements:
    """The statements on one record, and methods that create their parameters."""

    def __init__(self, table: Table, column: Mapping[str, Any]) -> None:
        self._columns = {name: bindparam(_NEW + name, type_=column[name].type) for name in (*FIELDS, *OWN_FIELDS)}
        c = self._c = column
        has_id = c["id"] == bindparam(_ID)
        is_known = has_id & (c["version"] == bindparam(_VERSION))
        is_held = has_id & (c["fence"] == bindparam(_FENCE))
        grown = {c["version"]: c["version"] + 1}
        until = self._new("claimed_until")
        answered = {c["claim_message"]: null()}  # a save or release clears the message to the holder
        #: Whether this version knows the format of a record. Queries that select many records leave the others out,
        #: because one record of a later version must not keep anybody from all the others.
        self.is_readable = c["format"].is_(None) | (c["format"] <= literal_column(str(FORMAT)))
        #: Without conditions, for queries that select many records.
        self.select = select(*(c[name].label(name) for name in FIELDS))
        self.get = self.select.where(has_id)
        self.find = self.select.where(c["client_key"] == bindparam(_KEY))
        self.find_request = self.select.where(c["request_key"] == bindparam(_KEY))
        self.digests = select(c["digests"].label("digests")).where(has_id)
        self.held = select(c["id"]).where(is_held)
        is_claimed = is_held & c["claimed_until"].is_not(None)  # a renewal may come after the release
        self.claimed = select(c["id"]).where(is_claimed)
        self.claimed_and_locked = self.claimed.with_for_update(skip_locked=True)
        self.insert = insert(table).values(self._new(*FIELDS, *OWN_FIELDS))
        unfinished = case((c["status"] != Status.COMPLETE.value, 1), else_=0)
        has_owner = (c["owner"] == bindparam(_OWNER)) & exactly(c["owner"], bindparam(_OWNER, type_=String()))
        is_counted = has_owner & c["reserved"].is_not(None) & (c["id"] != bindparam(_ID))
        is_alive = c["expires_at"].is_(None) | (c["expires_at"] > bindparam(_NOW, type_=c["expires_at"].type))
        counted = select(
            func.coalesce(func.sum(unfinished), 0).label("uploads"),
            func.coalesce(func.sum(c["reserved"]), 0).label("bytes"),
        )
        self.usage = counted.where(is_counted, is_alive | (c["status"] == Status.FINISHING.value))
        taken = self._new("claimed_until", "claimed_by", "updated_at", "version", "fence")
        self.claim = update(table).where(is_known).values(taken | answered)
        is_unclaimed = (c["status"] == Status.ACTIVE.value) & c["claimed_until"].is_(None)
        # The fence is the new version, as in ``known``: the right side of an assignment is the row as it was.
        taken_now = self._new("claimed_until", "claimed_by", "updated_at") | grown | {c["fence"]: c["version"] + 1}
        claim_free = (
            update(table).where(has_id & is_unclaimed & is_alive & self.is_readable).values(taken_now | answered)
        )
        claim_free = claim_free.returning(*(c[name].label(name) for name in FIELDS))
        self.claim_free = claim_free.where(c["owner"].is_(None))
        self.claim_owned = claim_free.where(c["owner"] == bindparam(_OWNER))
        saved = self._new(*STATE_FIELDS, "claimed_until") | grown | answered
        self.save = update(table).where(is_held).values(saved | self._new("digests"))
        self.save_with_hook = update(table).where(is_held).values(saved | self._new("answer", "max_size"))
        self.save_with_hook_and_digests = self.save_with_hook.values(self._new("digests"))
        self.save_progress = update(table).where(is_known).values(self._new("offset", "chunks", "digests", "version"))
        self.leave_message = update(table).where(is_held).values(self._new("claim_message"))
        self.messages = select(*(c[name].label(name) for name in ("id", "fence", "claim_message"))).where(
            c["claim_message"] > ""
        )
        self.amend = update(table).where(is_known).values(self._new(*STATE_FIELDS, "digests", "version", "fence"))
        self.amend_with_keys = self.amend.values(self._new("client_key", "request_key"))
        self.renew = update(table).where(is_claimed).values(until | grown)
        self.release = update(table).where(is_held).values(until | grown | answered)
        self.remember = (
            update(table)
            .values(self._new("digests"))
            .where(
                has_id,
                c["offset"] == bindparam(_OFFSET),
                c["created_at"] == bindparam(_CREATED, type_=c["created_at"].type),  # ids can be used again
            )
        )
        marked = update(table).values(self._new("processing_state", "processing_reason"))
        self.mark = marked.where(has_id)
        known_state = bindparam(_STATE, type_=c["processing_state"].type)
        self.mark_if = self.mark.where(c["processing_state"].is_not_distinct_from(known_state))
        self.remove = delete(table).where(is_held)

    def _new(self, *names: str) -> dict[Any, Any]:
        return {self._c[name]: self._columns[name] for name in names}

    @staticmethod
    def by_id(upload_id: str) -> Parameters:
        """Return parameters for ``get`` and ``digests``."""
        return {_ID: upload_id}

    @staticmethod
    def by_key(key: str) -> Parameters:
        """Return parameters for ``find`` and ``find_request``."""
        return {_KEY: key}

    @staticmethod
    def free(upload_id: str, owner: str | None, now: datetime, values: Mapping[str, Any]) -> Parameters:
        """Return parameters for ``claim_free`` and ``claim_owned``."""
        return {_ID: upload_id, _OWNER: owner, _NOW: now, **new(values)}

    @staticmethod
    def of_owner(upload_id: str, owner: str | None, now: datetime) -> Parameters:
        """Return parameters for ``usage``, which leaves one upload out."""
        return {_ID: upload_id, _OWNER: owner, _NOW: now}

    @staticmethod
    def known(upload_id: str, version: int, values: Mapping[str, Any]) -> Parameters:
        """Return parameters for changes that require the version that was read, and that set a new fence.

        The fence is the version that it was set at, so it is never used again.
        """
        return {**Statements.at_version(upload_id, version, values), _NEW + "fence": version + 1}

    @staticmethod
    def at_version(upload_id: str, version: int, values: Mapping[str, Any]) -> Parameters:
        """Return the same for ``save_progress``, which leaves the fence unchanged."""
        return {_ID: upload_id, _VERSION: version, _NEW + "version": version + 1, **new(values)}

    @staticmethod
    def at(upload_id: str, created_at: datetime, offset: int, values: Mapping[str, Any]) -> Parameters:
        """Return parameters for ``remember``, which requires the same upload with the same number of bytes."""
        return {_ID: upload_id, _CREATED: created_at, _OFFSET: offset, **new(values)}

    @staticmethod
    def marking(upload_id: str, values: Mapping[str, Any]) -> Parameters:
        """Return parameters for ``mark``."""
        return {_ID: upload_id, **new(values)}

    @staticmethod
    def marking_if(upload_id: str, state: str | None, values: Mapping[str, Any]) -> Parameters:
        """Return parameters for ``mark_if``, which requires the state that was read."""
        return {_ID: upload_id, _STATE: state, **new(values)}

    @staticmethod
    def under(claim: Claim, values: Mapping[str, Any] | None = None) -> Parameters:
        """Return parameters for changes that require the claim."""
        return {_ID: claim.upload_id, _FENCE: claim.fence, **new(values or {})}


def new(values: Mapping[str, Any]) -> Parameters:
    """Return values as parameters."""
    return {_NEW + name: value for name, value in values.items()}
