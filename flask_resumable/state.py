"""What an app has of this extension: ``app.extensions["resumable"]``."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from typing import cast

from flask import Blueprint
from flask import current_app

from .core.owner import owner_of
from .interfaces import StateRepository
from .interfaces import Storage
from .service.uploads import UploadService
from .settings.app import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything that belongs to one app."""

    model: type[Any] | None  # the mapped class; None if the repository has none
    settings: Settings
    service: UploadService
    protocols: Mapping[str, object]  # what the views of each protocol work with, by its name
    blueprints: Mapping[str, Blueprint]  # by protocol, for csrf.exempt, rate limits and the like
    current_owner: Callable[[], object]  # as the app has it

    @property
    def repository(self) -> StateRepository:
        return self.service.repository

    @property
    def storage(self) -> Storage:
        return self.service.storage

    def owner(self) -> str | None:
        """Who is asking. To find out, the app may have used its database; from here on it holds no connection.

        Else every request would hold one and wait for another: with as many requests as connections, for ever.

        :raises TypeError: The app says something that names nobody; see :func:`~.core.owner.owner_of`.
        :raises ValueError: The same.
        """
        owner = owner_of(current_app.ensure_sync(self.current_owner)())
        self.service.repository.let_go()
        return owner


def current_state() -> State:
    """The state of the current app.

    :raises RuntimeError: There is no app context, or its app has no FlaskResumable.
    """
    if "resumable" not in current_app.extensions:
        raise RuntimeError("The current app has no FlaskResumable: call init_app(app) first.")
    return cast(State, current_app.extensions["resumable"])
