"""The extension object: wiring. The only file that knows everybody."""

from __future__ import annotations

import os
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from datetime import datetime
from datetime import UTC
from typing import Any
from typing import Generic

from flask import Flask
from flask import url_for as flask_url_for

from .cli import tus_commands
from .core import upload as rules
from .core.answer import Answer
from .core.ids import ID_PATTERN
from .core.owner import ANYBODY
from .core.owner import Anybody
from .core.owner import owner_of
from .core.upload import LEAVING
from .core.upload import Status
from .errors import ConfigurationError
from .errors import UploadNotFound
from .hooks import AppHooks
from .hooks import hook
from .hooks import is_in_hook
from .interfaces import StateRepository
from .interfaces import Storage
from .models.interface import bind_files
from .models.interface import UploadView
from .models.upload import Upload
from .models.upload import UploadT
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
from .state import current_state
from .state import State
from .storage.factory import storage_for
from .storage.multiple import MultiStorage

_PAGE = 100  # uploads in memory at a time
Storages = Storage | Mapping[str, Storage]


def utc_now() -> datetime:
    """The default clock."""
    return datetime.now(UTC)


class FlaskResumable(Generic[UploadT]):
    """Resumable uploads for a Flask app.

    ``FlaskResumable(app)`` is all it takes: tus at ``/files/``, state in a SQLite file and bytes in a folder, both in
    the instance folder. Subclass it to have a say: override :meth:`on_create` and the other hooks, or
    :meth:`current_owner`::

        class Uploads(FlaskResumable):
            def on_complete(self, upload: Upload) -> None:
                app.logger.info("%r is in %s", upload.filename, upload.path)

        uploads = Uploads(app)

    With a model of your own, the hooks get its instances. Name it for type checkers, and they know its columns::

        class Uploads(FlaskResumable[MyUpload]):
            def on_complete(self, upload: MyUpload) -> None:
                upload.caption = upload.filename or "untitled"

    :param app: The app to serve, if it is known already; otherwise call :meth:`init_app`.
    :param model: The model of uploads in the app's database, such as ``SQLAlchemyModel`` or the app's own.
    :param db: The database of ``model``: an object of Flask-SQLAlchemy or Flask-SQLAlchemy-Lite, a ``scoped_session``
        or a ``sessionmaker``.
    :param repository: Keeps the state instead of a model; see :class:`~flask_resumable.interfaces.StateRepository`.
    :param storage: Keeps the bytes instead of a folder; see :class:`~flask_resumable.interfaces.Storage`. Or several by
        name, for :meth:`choose_storage`; the first takes what has not been chosen another for.
    :param now: The clock, for tests: returns the time in UTC, with time zone.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        model: type[UploadT] | None = None,
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
        #: The mapped class, for queries; ``None`` if the embedded database or a repository keeps the state.
        self.model: Any = model_for(model, db) if model is None or db is not None else model
        if app is not None:
            self.init_app(app)

    def init_app(
        self,
        app: Flask,
        *,
        model: type[UploadT] | None = None,
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
            completed_ttl=chunks.completed_ttl,
            cancelled_ttl=chunks.cancelled_ttl,
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

    # --- for the app to call, in an app context: about the uploads of the current app ---

    def get(self, upload_id: str) -> UploadT | None:
        """The upload with this id, or ``None`` if there is none (any more)::

            upload = resumable.get(upload_id) or abort(404)
            if upload.owner != current_user.get_id():
                abort(404)

        Whom it belongs to is for you to check. You get the instance of your model from ``db.session``, as it is there;
        without a model, a read-only view. With a plain ``sessionmaker``, the instance is of no session.

        :raises Unavailable: The database cannot be reached.
        """
        if not ID_PATTERN.fullmatch(upload_id):
            return None
        found: Any = current_state().repository.instance(upload_id)
        return None if found is None or Status(found.status) in LEAVING else found

    def uploads(
        self,
        *,
        status: str | None = None,
        owner: object = ANYBODY,
        parts: bool = False,
        after: str = "",
        limit: int | None = None,
    ) -> Iterator[UploadT]:
        """The uploads of the current app, one after the other; a hundred at a time are in memory.

        ::

            mine = resumable.uploads(owner=current_user.get_id(), status="complete")
            page = [*resumable.uploads(limit=20, after=request.args.get("after", ""))]   # the next: after=page[-1].id

        They come in the order of their ids, which are random: always the same order, and no other one. To sort by
        something else, or for other conditions, query your model.

        :param status: Only those in this status, such as ``"complete"``; see :attr:`Upload.status`.
        :param owner: Only those of this owner, whom ``current_owner`` may return. ``None`` is nobody in particular.
        :param parts: Whether parts of concatenations are wanted too.
        :param after: Only those whose id comes after this one.
        :param limit: How many at most.
        :raises ValueError: There is no such status.
        :raises Unavailable: The database cannot be reached.
        """
        if status is not None and status not in (known.value for known in Status):
            raise ValueError(f"status={status!r}: must be one of {', '.join(known.value for known in Status)}.")
        wanted = owner if isinstance(owner, Anybody) else owner_of(owner)
        return _pages(current_state().repository, status, wanted, parts=parts, after=after, limit=limit)

    def delete(self, upload: Upload | str) -> bool:
        """Remove an upload with its bytes, as if its client had done so; whether there was such an upload.

        A request that sends content to it is interrupted, ``pre_delete`` and ``post_delete`` are called, and what your
        ``db.session`` has written so far is committed before. Whom it belongs to is for you to check.

        :param upload: The upload, or its id.
        :raises UploadRejected: ``pre_delete`` refused, or the database did; the upload is as it was.
        :raises UploadLocked: A hook is running for it, or another removal; try again in a moment.
        :raises Unavailable: The database or the storage cannot be reached.
        :raises RuntimeError: A hook is running for this upload: raise :exc:`UploadRejected` there.
        """
        upload_id = upload if isinstance(upload, str) else upload.id
        if is_in_hook(upload_id):
            raise RuntimeError("A hook cannot delete the upload that it is called for: raise UploadRejected instead.")
        state = current_state()
        state.repository.let_go()
        if not ID_PATTERN.fullmatch(upload_id):
            return False
        try:
            state.service.delete(upload_id, owner=state.repository.get(upload_id).owner)
        except UploadNotFound:
            return False
        return True

    def url_for(self, upload: Upload | str | None = None, *, protocol: str | None = None, **values: Any) -> str:
        """The URL of an upload, or without one the URL at which clients create uploads.

        ::

            <script>new tus.Upload(file, { endpoint: "{{ resumable.url_for() }}" })</script>
            <a href="{{ resumable.url_for(upload) }}">{{ upload.filename }}</a>

        tus clients use the URL of an upload for everything; with ``RESUMABLE_DOWNLOADS``, browsers get the file there,
        by whatever protocol it came. For flow.js, it tells how far the upload is.

        :param upload: The upload, or its id.
        :param protocol: ``"tus"`` or ``"flow"``; ``None``: the first of them that the app serves.
        :param values: Passed to :func:`flask.url_for`, such as ``_external=True``.
        :raises ValueError: The app does not serve this protocol.
        """
        blueprints = current_state().blueprints
        served = protocol or next(iter(blueprints), "tus")
        if served not in blueprints:
            raise ValueError(f"protocol={served!r}: this app serves {' and '.join(blueprints) or 'none'}.")
        if upload is None:
            return flask_url_for(f"{blueprints[served].name}.collection", **values)
        upload_id = upload if isinstance(upload, str) else upload.id
        return flask_url_for(f"{blueprints[served].name}.resource", upload_id=upload_id, **values)

    # --- for subclasses to override; each may be async, and may also be written without the argument ---

    def current_owner(self) -> Any:
        """Who is asking: a user's id, or ``None`` for nobody in particular.

        A ``str`` of up to 255 characters, or what has only one text: an ``int``, a ``UUID``, an ``ObjectId``. Anything
        else is an error of the app, raised in the request. ``upload.owner`` is that text.

        An upload belongs to who created it; to all others it does not exist. Called in each request.
        """
        return None

    def choose_storage(self, upload: Upload) -> str | Awaitable[str | None] | None:
        """Which of several storages gets a new upload: its name, or ``None`` for the first.

        Asked once, before ``on_create``; the answer is kept with the upload. May refuse, as ``on_create`` may.
        ``upload`` has what is known from the request (``metadata``, ``length``, ``owner``); there is no record yet.
        """
        return None

    def choose_folder(self, upload: Upload) -> str | Awaitable[str | None] | None:
        """The folder for a new upload below its storage, such as ``"tenant-7"``, or ``None``. Asked once, as above.

        Names of letters, digits, ``-`` and ``_``, with ``/`` between them; anything else is an error of the app.
        """
        return None

    def on_create(self, upload: UploadT) -> Awaitable[None] | None:
        """An upload is about to exist. Raise :exc:`UploadRejected` to refuse it.

        Commits together with the upload: what is written in the app's session is there if the upload is, and only then.
        """

    def pre_save(self, upload: UploadT) -> Awaitable[None] | None:
        """Content is about to be received. May refuse it; the upload stays as it is."""

    def post_save(self, upload: UploadT) -> Awaitable[None] | None:
        """Content was received and saved."""

    def on_complete(self, upload: UploadT) -> Answer | Awaitable[Answer | None] | None:
        """Every byte is here, at ``upload.path``. Not called for parts of a concatenation.

        What is written in the app's session commits together with the upload's completion: both or neither. If this
        raises, the client gets an error and this is called again, by the client's next request or by
        ``flask tus complete_pending``; so is it after a crash. To refuse the file, raise :exc:`UploadRejected`: then
        the upload is removed. Runs within the request; long work belongs in a queue.

        May return an :class:`Answer` for the client::

            def on_complete(self, upload: Upload) -> Answer:
                return Answer(f"Thank you for {upload.filename}!", headers={"X-Upload": upload.id})
        """

    def pre_delete(self, upload: UploadT) -> Awaitable[None] | None:
        """The upload is about to be removed, by the client or because it has expired. May refuse."""

    def post_delete(self, upload: UploadT) -> Awaitable[None] | None:
        """The upload is gone."""


def _pages(
    repository: StateRepository,
    status: str | None,
    owner: str | None | Anybody,
    *,
    parts: bool,
    after: str,
    limit: int | None,
) -> Iterator[Any]:
    left = limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        page = repository.instances(status=status, owner=owner, parts=parts, limit=size, after=after)
        if not page:
            return
        after = page[-1].id  # now: it may be deleted before the next page
        left = None if left is None else left - len(page)
        yield from page


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


def _choice(extension: FlaskResumable[Any], storage: Storages) -> Storage:
    """A storage that chooses, if there is something to choose."""

    def chooser(name: str) -> Callable[[rules.Upload], object] | None:
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
