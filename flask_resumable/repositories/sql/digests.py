"""Remembers digests in a SQL database.

While a hook runs, its session may hold the only connection. So digests that a hook requests are read through that
session, and new ones are saved after the session has returned its connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from ...core.upload import Upload
from .database import Database
from .statements import Statements


@dataclass
class HookAtWork:
    """A running hook. ``digests`` are those to be saved, if any."""

    upload_id: str
    session: Session
    digests: dict[str, Any] | None = None


_at_work: ContextVar[HookAtWork | None] = ContextVar("resumable_hook", default=None)


class Digests:
    """The column of digests: a mapping from names to values, and the number of bytes they were computed for."""

    def __init__(self, model: type[Any], say: Statements, database: Database) -> None:
        self._model = model
        self._statements = say
        self._database = database

    def get(self, upload: Upload, name: str) -> str | None:
        """Return a digest of exactly the bytes that ``upload`` has, or ``None``."""
        value: str | None = self._known(upload).get(name)
        return value

    def remember(self, upload: Upload, name: str, value: str) -> None:
        """Remember a digest, immediately or when the running hook returns."""
        digests = self._known(upload) | {"bytes": upload.received.total, name: value}
        if hook := self._hook(upload):
            hook.digests = digests
        else:
            self._save(upload, digests)

    @contextmanager
    def at_work(self, upload: Upload, session: Session) -> Iterator[HookAtWork]:
        """Run a hook for ``upload`` in ``session``. Whatever is left in ``digests`` afterwards is saved."""
        hook = HookAtWork(upload.id, session)
        token = _at_work.set(hook)
        try:
            yield hook
        finally:
            _at_work.reset(token)
        if hook.digests:
            self._save(upload, hook.digests)

    def _known(self, upload: Upload) -> dict[str, Any]:
        hook = self._hook(upload)
        if hook is not None and hook.digests is not None:
            return hook.digests
        query, parameters = self._statements.digests, self._statements.by_id(upload.id)
        if hook is not None:
            known = hook.session.execute(query, parameters, bind_arguments={"mapper": self._model}).scalar()
        else:
            row = self._database.first(query, parameters)
            known = row["digests"] if row else None
        return known if known and known.get("bytes") == upload.received.total else {}

    def _save(self, upload: Upload, digests: dict[str, Any]) -> None:
        self._database.change(
            self._statements.remember,
            self._statements.at(upload.id, upload.created_at, upload.offset, {"digests": digests}),
        )

    @staticmethod
    def _hook(upload: Upload) -> HookAtWork | None:
        hook = _at_work.get()
        return hook if hook is not None and hook.upload_id == upload.id else None
