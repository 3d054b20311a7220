"""Creates the app's own model instances for hooks from frozen uploads."""

from __future__ import annotations

from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from ...core.upload import Upload
from ...models.record import values_of


class Instances:
    """Creates instances that show the current state, even if the app's transaction sees an older one."""

    def __init__(self, model: type[Any]) -> None:
        self._model = model

    def attached(self, session: Session, upload: Upload) -> Any:
        """Return the instance in ``session``, with the app's columns from there and the extension's from ``upload``."""
        instance = session.get(self._model, upload.id, populate_existing=not self._is_changed(session, upload.id))
        if instance is None:
            # A transaction that began before the upload was created does not see it.
            instance = self._model(id=upload.id)
            make_transient_to_detached(instance)
            session.add(instance)
        return self._told(instance, upload)

    def detached(self, session: Session, upload: Upload) -> Any:
        """Return an instance without a session, for the time after its record is deleted."""
        instance = self._told(session.get(self._model, upload.id) or self._model(id=upload.id), upload)
        if instance in session:
            session.expunge(instance)
        return instance

    def _is_changed(self, session: Session, upload_id: str) -> bool:
        """Whether the app has uncommitted changes in the instance, which loading it again would undo."""
        key = inspect(self._model).identity_key_from_primary_key((upload_id,))
        known = session.identity_map.get(key)
        return known is not None and session.is_modified(known)

    @staticmethod
    def _told(instance: Any, upload: Upload) -> Any:
        for name, value in values_of(upload).items():
            set_committed_value(instance, name, value)
        return instance
