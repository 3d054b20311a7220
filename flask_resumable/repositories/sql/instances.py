"""Creates the app's own model instances for hooks from frozen uploads."""

from __future__ import annotations

from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import make_transient_to_detached
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from ...core.upload import Upload
from ...models.record import claim_of
from ...models.record import values_of


class Instances:
    """Creates instances that show the current state, even if the app's transaction sees an older one."""

    def __init__(self, model: type[Any]) -> None:
        self._model = model
        self._mapper = inspect(model)

    def attached(self, session: Session, upload: Upload) -> Any:
        """Return the instance in ``session``, with the app's columns from there and the extension's from ``upload``."""
        if self._may_be_lazy and self._known(session, upload.id) is None:
            return self._added(session, upload)
        instance = session.get(self._model, upload.id, populate_existing=not self._is_changed(session, upload.id))
        if instance is None:
            # A transaction that began before the upload was created does not see it.
            return self._added(session, upload)
        return _shown(instance, upload)

    @property
    def _may_be_lazy(self) -> bool:
        """Whether instances can be made without a query.

        Only a query knows of which subclass a row is, and calls the app's reconstructors and ``load`` listeners.
        """
        return self._mapper.polymorphic_on is None and not self._mapper.class_manager.dispatch.load

    def _added(self, session: Session, upload: Upload) -> Any:
        """Return an instance as if it had been loaded. The app's columns are loaded when they are first used."""
        instance = self._mapper.class_manager.new_instance()  # does not call __init__, which may need more
        vars(instance).update(_values(upload))
        make_transient_to_detached(instance)
        session.add(instance)
        return instance

    def detached(self, session: Session, upload: Upload) -> Any:
        """Return an instance without a session, for the time after its record is deleted."""
        instance = _shown(session.get(self._model, upload.id) or self._model(id=upload.id), upload)
        if instance in session:
            session.expunge(instance)
        return instance

    def _is_changed(self, session: Session, upload_id: str) -> bool:
        """Whether the app has uncommitted changes in the instance, which loading it again would undo."""
        known = self._known(session, upload_id)
        return known is not None and session.is_modified(known)

    def _known(self, session: Session, upload_id: str) -> Any:
        return session.identity_map.get(self._mapper.identity_key_from_primary_key((upload_id,)))


def _shown(instance: Any, upload: Upload) -> Any:
    for name, value in _values(upload).items():
        set_committed_value(instance, name, value)
    return instance


def _values(upload: Upload) -> dict[str, Any]:
    return {"id": upload.id, **values_of(upload), **claim_of(upload)}
