"""Between frozen uploads and the app's own model instances, for the hooks."""

from __future__ import annotations

from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from ...core.upload import Upload
from ...models.record import values_of


class Instances:
    """Gives out instances that say what the extension knows, whatever an older snapshot of the database says."""

    def __init__(self, model: type[Any]) -> None:
        self._model = model

    def attached(self, session: Session, upload: Upload) -> Any:
        """The instance in ``session``: columns of the app are the app's, columns of the extension are ``upload``."""
        instance = session.get(self._model, upload.id, populate_existing=not self._is_changed(session, upload.id))
        if instance is None:
            # A transaction of the app that began before the upload was created does not see it.
            instance = self._model(id=upload.id)
            make_transient_to_detached(instance)
            session.add(instance)
        return self._told(instance, upload)

    def detached(self, session: Session, upload: Upload) -> Any:
        """The instance as it was, of no session: for the time after its record is gone."""
        instance = self._told(session.get(self._model, upload.id) or self._model(id=upload.id), upload)
        if instance in session:
            session.expunge(instance)
        return instance

    def _is_changed(self, session: Session, upload_id: str) -> bool:
        """Whether the app has changed the instance and not committed yet; a reload would undo that."""
        key = inspect(self._model).identity_key_from_primary_key((upload_id,))
        known = session.identity_map.get(key)
        return known is not None and session.is_modified(known)

    @staticmethod
    def _told(instance: Any, upload: Upload) -> Any:
        for name, value in values_of(upload).items():
            set_committed_value(instance, name, value)
        return instance
