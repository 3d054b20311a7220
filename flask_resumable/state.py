"""What an app has of this extension: ``app.extensions["resumable"]``."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import BinaryIO
from typing import cast
from typing import TYPE_CHECKING

from flask import Blueprint
from flask import current_app

from . import moving
from .chunks import ChunkService
from .interfaces import StateRepository
from .interfaces import Storage
from .keys import Keys
from .sansio.flow import FlowPolicy
from .sansio.owner import owner_of
from .sansio.tus import Policy
from .sansio.upload import JSONObject
from .sansio.upload import Limits
from .sansio.upload import Upload
from .service import UploadService
from .settings import FlowSettings
from .settings import Settings

if TYPE_CHECKING:
    from .extension import FlaskResumable


class Files:
    """The bytes of uploads, for the models."""

    def __init__(self, service: UploadService, block_size: int) -> None:
        self._service = service
        self._block_size = block_size

    def open(self, upload: Upload) -> BinaryIO:
        return self._service.storage.open(upload)

    def path(self, upload: Upload) -> Path | None:
        return self._service.storage.path(upload)

    def is_busy(self, upload: Upload) -> bool:
        return upload.is_claimed(self._service.now())

    def move(self, upload: Upload, target: str | os.PathLike[str], *, overwrite: bool) -> Upload:
        return moving.move(upload, target, overwrite=overwrite)

    def digest(self, upload: Upload, name: str) -> str:
        return self._service.digest(upload, name, self._block_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowState:
    """What belongs to flow.js."""

    settings: FlowSettings
    policy: FlowPolicy
    limits: Limits
    keys: Keys
    chunks: ChunkService
    layout: Callable[[int, int], JSONObject]  # see PlacesChunks


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything that belongs to one app."""

    extension: FlaskResumable[Any]
    model: type[Any] | None  # the mapped class; None if the repository has none
    settings: Settings
    service: UploadService
    repository: StateRepository
    storage: Storage
    files: Files
    limits: Limits
    tus: Policy
    flow: FlowState | None  # None: not served
    blueprints: dict[str, Blueprint]  # by protocol, for csrf.exempt, rate limits and the like

    def owner(self) -> str | None:
        """Who is asking. To find out, the app may have used its database; from here on it holds no connection.

        Else every request would hold one and wait for another: with as many requests as connections, for ever.

        :raises TypeError: The app says something that names nobody; see :func:`~.sansio.owner.owner_of`.
        :raises ValueError: The same.
        """
        owner = owner_of(current_app.ensure_sync(self.extension.current_owner)())
        self.repository.let_go()
        return owner


def current_state() -> State:
    """The state of the current app.

    :raises RuntimeError: There is no app context, or its app has no FlaskResumable.
    """
    if "resumable" not in current_app.extensions:
        raise RuntimeError("The current app has no FlaskResumable: call init_app(app) first.")
    return cast(State, current_app.extensions["resumable"])
