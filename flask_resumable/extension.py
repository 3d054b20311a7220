"""The extension object: wiring. The only file that knows everybody."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Mapping
from datetime import datetime
from datetime import UTC
from typing import Any

from flask import Flask

from .cli import tus_commands
from .core.upload import Upload
from .errors import ConfigurationError
from .hooks import AppHooks
from .hooks import hook
from .interfaces import StateRepository
from .interfaces import Storage
from .models.interface import bind_files
from .models.interface import UploadView
from .protocols.blueprint import blueprints_for
from .protocols.registry import PROTOCOLS
from .repositories import model_for
from .repositories import repository_for
from .service.claims import Clock
from .service.files import UploadFiles
from .service.uploads import UploadService
from .settings.app import Settings
from .settings.base import read_settings
from .settings.base import Section
from .settings.storage import ChunkSettings
from .state import State
from .storage.factory import storage_for
from .storage.multiple import MultiStorage

Storages = Storage | Mapping[str, Storage]


def utc_now() -> datetime:
    """The default clock."""
    return datetime.now(UTC)


class FlaskResumable:
    """Resumable uploads for a Flask app.

    ``FlaskResumable(app)`` is all it takes: tus at ``/files/``, state in a SQLite file and bytes in a folder, both in
    the instance folder. Subclass it to have a say: override :meth:`on_create` and the other hooks, or
    :meth:`current_owner`.

    :param app: The app to serve, if it is known already; otherwise call :meth:`init_app`.
    :param model: The model of uploads in the app's database, such as ``SQLAlchemyModel`` or the app's own.
    :param db: The database of ``model``: a Flask-SQLAlchemy object, a ``scoped_session`` or a ``sessionmaker``.
    :param repository: Keeps the state instead of a model; see :class:`~flask_resumable.interfaces.StateRepository`.
    :param storage: Keeps the bytes instead of a folder; see :class:`~flask_resumable.interfaces.Storage`. Or several by
        name, for :meth:`choose_storage`; the first takes what has not been chosen another for.
    :param now: The clock, for tests: returns the time in UTC, with time zone.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        model: type[Any] | None = None,
        db: Any = None,
        repository: StateRepository | None = None,
        storage: Storages | None = None,
        now: Clock = utc_now,
    ) -> None:
        self._db = db
        self._repository = repository
        self._storage = storage
        self._now = now
        # Mapped now, if it can be, so that migrations and db.create_all() see the table.
        self.model = model_for(model, db) if model is None or db is not None else model
        if app is not None:
            self.init_app(app)

    def init_app(
        self,
        app: Flask,
        *,
        model: type[Any] | None = None,
        db: Any = None,
        repository: StateRepository | None = None,
        storage: Storages | None = None,
    ) -> None:
        """Serve ``app``. What is passed here counts for this app, in place of what the constructor was given.

        Settings are read now, and never again; the README lists them.

        :raises ConfigurationError: Settings or arguments are wrong; the message names each.
        :raises RuntimeError: The app has this extension already.
        """
        if "resumable" in app.extensions:
            raise RuntimeError("This app has FlaskResumable already; call init_app() once, or leave app= out.")
        settings, chunks, *of_protocols = read_settings(app.config, sections(app))
        repository = repository or self._repository
        db = db if db is not None else self._db
        mapped = None
        if repository is None:
            mapped = model_for(model, db) if model is not None or db is not self._db else self._mapped_model(app)
            repository = repository_for(app, mapped, db, settings)
        given = self._storage if storage is None else storage
        service = UploadService(
            repository,
            _choice(self, _given(given, chunks) or storage_for(settings, chunks)),
            AppHooks(self, FlaskResumable),
            lease=settings.lease,
            remembered=chunks.completed_ttl,
            now=self._now,
        )
        dialects = [plug.serve(own, service) for plug, own in zip(PROTOCOLS, of_protocols, strict=True) if own.enabled]
        blueprints = blueprints_for(dialects)
        app.extensions["resumable"] = State(
            model=mapped,
            settings=settings,
            service=service,
            protocols={dialect.name: dialect.server for dialect in dialects},
            blueprints=blueprints,
            current_owner=self.current_owner,
        )
        bind_files(app, UploadFiles(service, settings.digest_block_size))
        for blueprint in dict.fromkeys(blueprints.values()):
            app.register_blueprint(blueprint)
        app.cli.add_command(tus_commands)

    def _mapped_model(self, app: Flask) -> type[Any] | None:
        db = self._db if self._db is not None else app.extensions.get("sqlalchemy")
        return None if self.model is None else model_for(self.model, db)

    # --- for subclasses to override; each may also be written without the argument ---

    def current_owner(self) -> Any:
        """Who is asking: a user's id, or ``None`` for nobody in particular. May be ``async``.

        A ``str`` of up to 255 characters, or what has only one text: an ``int``, a ``UUID``, an ``ObjectId``. Anything
        else is an error of the app, raised in the request. ``upload.owner`` is that text.

        An upload belongs to who created it; to all others it does not exist. Called in each request.
        """
        return None

    def choose_storage(self, upload: Any) -> str | None:
        """Which of several storages gets a new upload: its name, or ``None`` for the first.

        Asked once, before ``on_create``; the answer is kept with the upload. May refuse, as ``on_create`` may.
        ``upload`` has what is known from the request (``metadata``, ``length``, ``owner``); there is no record yet.
        """
        return None

    def choose_folder(self, upload: Any) -> str | None:
        """The folder for a new upload below its storage, such as ``"tenant-7"``, or ``None``. Asked once, as above.

        Names of letters, digits, ``-`` and ``_``, with ``/`` between them; anything else is an error of the app.
        """
        return None

    def on_create(self, upload: Any) -> None:
        """An upload is about to exist. Raise :exc:`UploadRejected` to refuse it.

        Commits together with the upload: what is written in the app's session is there if the upload is, and only then.
        """

    def pre_save(self, upload: Any) -> None:
        """Content is about to be received. May refuse it; the upload stays as it is."""

    def post_save(self, upload: Any) -> None:
        """Content was received and saved."""

    def on_complete(self, upload: Any) -> None:
        """Every byte is here, at ``upload.path``. Not called for parts of a concatenation.

        What is written in the app's session commits together with the upload's completion: both or neither. If this
        raises, the client gets an error and this is called again, by the client's next request or by
        ``flask tus complete_pending``; so is it after a crash. To refuse the file, raise :exc:`UploadRejected`: then
        the upload is removed. Runs within the request; long work belongs in a queue.
        """

    def pre_delete(self, upload: Any) -> None:
        """The upload is about to be removed, by the client or because it has expired. May refuse."""

    def post_delete(self, upload: Any) -> None:
        """The upload is gone."""


def _given(storage: Storages | None, chunks: ChunkSettings) -> Storages | None:
    """The storage that was passed. Settings for one that was not must not be left without effect in silence."""
    if storage is not None and chunks.keeps_chunks_apart:
        raise ConfigurationError(
            "FLOW_TEMP_DIR, FLOW_PRE_PROCESS_CALLBACK and FLOW_DELETE_CHUNKS_ON_SAVE have no effect on storage=; "
            "pass LocalStorage(..., chunks=ChunkFolder(...))."
        )
    if isinstance(storage, Mapping) and not storage:
        raise ConfigurationError("storage= has no storage.")
    return storage


def _choice(extension: FlaskResumable, storage: Storages) -> Storage:
    """A storage that chooses, if there is something to choose."""

    def chooser(name: str) -> Callable[[Upload], object] | None:
        method = hook(extension, FlaskResumable, name)
        return None if method is None else lambda upload: method(UploadView(upload))

    choose_storage, choose_folder = chooser("choose_storage"), chooser("choose_folder")
    if not isinstance(storage, Mapping):
        if choose_storage is choose_folder is None:
            return storage
        storage = {"main": storage}
    return MultiStorage(storage, storage=choose_storage, folder=choose_folder)


def sections(app: Flask) -> list[Section]:
    """All settings that there are: the app's own, then each protocol's."""
    defaults = {
        "upload_dir": os.path.join(app.instance_path, "uploads"),
        "database_uri": "sqlite:///" + os.path.join(app.instance_path, "resumable.sqlite"),
    }
    of_the_app: list[type[Any]] = [Settings, ChunkSettings]
    return [
        *(
            Section(kind, tuple(plug.prefix for plug in PROTOCOLS if kind in plug.also_sets), defaults)
            for kind in of_the_app
        ),
        *(Section(plug.settings, (plug.prefix,)) for plug in PROTOCOLS),
    ]
