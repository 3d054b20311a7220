"""The statements on single records, built once: to build one takes longer than the database needs to execute it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam
from sqlalchemy import delete
from sqlalchemy import insert
from sqlalchemy import null
from sqlalchemy import select
from sqlalchemy import Table
from sqlalchemy import update

from ...interfaces import Claim
from ...models.record import FIELDS
from ...models.record import OWN_FIELDS
from ...models.record import STATE_FIELDS

# Parameters must not be called like columns: SQLAlchemy would take them for new values.
_ID, _VERSION, _FENCE, _KEY, _OFFSET = "the_id", "the_version", "the_fence", "the_key", "the_offset"
_NEW = "new_"

Parameters = dict[str, Any]


class Statements:
    """What can be said about one record. Each comes with a method that makes its parameters."""

    def __init__(self, table: Table, column: Mapping[str, Any]) -> None:
        self._columns = {name: bindparam(_NEW + name, type_=column[name].type) for name in (*FIELDS, *OWN_FIELDS)}
        c = self._c = column
        has_id = c["id"] == bindparam(_ID)
        is_known = has_id & (c["version"] == bindparam(_VERSION))
        is_held = has_id & (c["fence"] == bindparam(_FENCE))
        grown = {c["version"]: c["version"] + 1}
        until = self._new("claimed_until")
        answered = {c["asked"]: null()}  # whatever was asked of a holder is done when it saves or lets go
        #: Without conditions, for queries over many records.
        self.select = select(*(c[name].label(name) for name in FIELDS))
        self.get = self.select.where(has_id)
        self.find = self.select.where(c["client_key"] == bindparam(_KEY))
        self.find_request = self.select.where(c["request_key"] == bindparam(_KEY))
        self.digests = select(c["digests"].label("digests")).where(has_id)
        self.held = select(c["id"]).where(is_held)
        self.held_and_locked = self.held.with_for_update(skip_locked=True)
        self.insert = insert(table).values(self._new(*FIELDS, *OWN_FIELDS))
        taken = self._new("claimed_until", "claimed_by", "updated_at", "version", "fence")
        self.claim = update(table).where(is_known).values(taken | answered)
        saved = self._new(*STATE_FIELDS, "claimed_until") | grown | answered
        self.save = update(table).where(is_held).values(saved | self._new("digests"))
        self.save_with_hook = update(table).where(is_held).values(saved | self._new("answer"))
        self.save_with_hook_and_digests = self.save_with_hook.values(self._new("digests"))
        self.tell = update(table).where(is_known).values(self._new("offset", "chunks", "digests", "version"))
        self.ask = update(table).where(is_held).values(self._new("asked"))
        self.asked = select(*(c[name].label(name) for name in ("id", "fence", "asked"))).where(c["asked"] > "")
        self.amend = update(table).where(is_known).values(self._new(*STATE_FIELDS, "digests", "version", "fence"))
        self.amend_with_keys = self.amend.values(self._new("client_key", "request_key"))
        self.renew = update(table).where(is_held).values(until | grown)
        self.release = self.renew.values(answered)
        self.remember = update(table).where(has_id & (c["offset"] == bindparam(_OFFSET))).values(self._new("digests"))
        self.remove = delete(table).where(is_held)

    def _new(self, *names: str) -> dict[Any, Any]:
        return {self._c[name]: self._columns[name] for name in names}

    @staticmethod
    def by_id(upload_id: str) -> Parameters:
        """For ``get`` and ``digests``."""
        return {_ID: upload_id}

    @staticmethod
    def by_key(key: str) -> Parameters:
        """For ``find`` and ``find_request``."""
        return {_KEY: key}

    @staticmethod
    def known(upload_id: str, version: int, values: Mapping[str, Any]) -> Parameters:
        """For changes to a record that is still as it was read; they put up a new fence.

        A fence is the version at which it was put up, and so never used again.
        """
        return {**Statements.told(upload_id, version, values), _NEW + "fence": version + 1}

    @staticmethod
    def told(upload_id: str, version: int, values: Mapping[str, Any]) -> Parameters:
        """The same for ``tell``, which leaves the fence as it is."""
        return {_ID: upload_id, _VERSION: version, _NEW + "version": version + 1, **new(values)}

    @staticmethod
    def at(upload_id: str, offset: int, values: Mapping[str, Any]) -> Parameters:
        """For ``remember``, which is about as many bytes as there were."""
        return {_ID: upload_id, _OFFSET: offset, **new(values)}

    @staticmethod
    def under(claim: Claim, values: Mapping[str, Any] | None = None) -> Parameters:
        """For changes that happen only while the claim holds."""
        return {_ID: claim.upload_id, _FENCE: claim.fence, **new(values or {})}


def new(values: Mapping[str, Any]) -> Parameters:
    """Values as parameters."""
    return {_NEW + name: value for name, value in values.items()}
