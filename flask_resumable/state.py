"""What the extension keeps for an app, in ``app.extensions["resumable"]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from typing import cast
from typing import Protocol

from flask import Blueprint
from flask import current_app
from flask import Flask

from .core.owner import owner_of
from .interfaces import StateRepository
from .interfaces import Storage
from .service.files import UploadFiles
from .service.uploads import UploadService
from .settings.app import Settings


class KnowsOwner(Protocol):
    """The extension, which the app may have subclassed."""

    def current_owner(self) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything that belongs to one app. Private: use the methods of ``FlaskResumable`` instead."""

    model: type[Any] | None  # the mapped class; None if a repository was passed
    settings: Settings
    service: UploadService
    protocols: Mapping[str, object]  # by protocol, what its views work with
    endpoints: Mapping[str, str | None]  # by protocol, the public URL, if the app has set one
    blueprints: Mapping[str, Blueprint]  # by protocol, for csrf.exempt, rate limits and the like
    owners: KnowsOwner
    files: UploadFiles  # for models

    @property
    def repository(self) -> StateRepository:
        return self.service.repository

    @property
    def storage(self) -> Storage:
        return self.service.storage

    def owner(self) -> str | None:
        """Return the owner that the current request acts for.

        The app may have queried its database to find out. This returns the connection to the pool: if each request kept
        one and waited for another, as many requests as there are connections would wait forever.

        :raises TypeError: ``current_owner`` returned something that cannot be an owner; see
            :func:`~.core.owner.owner_of`.
        :raises ValueError: The same.
        """
        owner = owner_of(current_app.ensure_sync(self.owners.current_owner)())
        self.service.repository.release_connection()
        return owner


def current_state() -> State:
    """Return the state of the current app.

    :raises RuntimeError: There is no app context, or FlaskResumable is not set up for the app.
    """
    return state_of(current_app)


def state_of(app: Flask) -> State:
    """Return the state of an app.

    :raises RuntimeError: FlaskResumable is not set up for the app.
    """
    if "resumable" not in app.extensions:
        raise RuntimeError(f"FlaskResumable is not set up for {app.name!r}; call init_app(app) first.")
    return cast(State, app.extensions["resumable"])
