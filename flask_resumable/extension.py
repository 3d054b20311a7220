"""The extension object: wiring. The only file that knows everybody."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime
from datetime import UTC
from typing import Any
from typing import Generic

from flask import current_app
from flask import Flask
from flask import url_for as flask_url_for
from werkzeug.exceptions import HTTPException

from . import signals
from .abilities import Concatenates
from .abilities import PlacesChunks
from .blueprints import flow as flow_blueprint
from .blueprints import tus
from .chunks import ChunkService
from .cli import tus_commands
from .errors import ConfigurationError
from .errors import UploadNotFound
from .errors import UploadRejected
from .holding import Clock
from .interfaces import StateRepository
from .interfaces import Storage
from .keys import Keys
from .models.interface import UploadView
from .models.upload import Upload
from .models.upload import UploadT
from .repositories import model_for
from .repositories import repository_for
from .sansio import upload as rules
from .sansio.concat import ID_PATTERN
from .sansio.flow import FlowPolicy
from .sansio.owner import ANYBODY
from .sansio.owner import Anybody
from .sansio.owner import owner_of
from .sansio.tus import EXTENSIONS
from .sansio.tus import Policy
from .sansio.upload import LEAVING
from .sansio.upload import Limits
from .sansio.upload import Status
from .service import UploadService
from .settings import FlowSettings
from .settings import ProtocolSettings
from .settings import read_settings
from .settings import Settings
from .state import current_state
from .state import Files
from .state import FlowState
from .state import State
from .storage.choice import Choice
from .storage.configured import storage_for

_PAGE = 100  # uploads in memory at a time
_in_hook: ContextVar[tuple[str, ...]] = ContextVar("resumable_in_hook", default=())  # ids of uploads
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
        settings, flow = read_settings(app)
        repository = repository or self._repository
        db = db if db is not None else self._db
        mapped = None
        if repository is None:
            mapped = model_for(model, db) if model is not None or db is not self._db else self._mapped_model(app)
            repository = repository_for(app, mapped, db, settings)
        given = self._storage if storage is None else storage
        kept_in = _choice(self, _given(given, flow) or storage_for(settings, flow))
        service = UploadService(
            repository,
            kept_in,
            _HookCaller(self),
            lease=settings.lease,
            remembered=flow.remember,
            now=self._now,
        )
        state = State(
            extension=self,
            model=mapped,
            settings=settings,
            service=service,
            repository=repository,
            storage=kept_in,
            files=Files(service, settings.chunk_size),
            limits=replace(
                _limits(settings, sliding=settings.sliding_expiration), parts_expiration=settings.parts_expiration
            ),
            tus=_tus_policy(settings, kept_in),
            flow=_flow_state(flow, service, kept_in),
            blueprints={
                **({"tus": tus.create_blueprint(settings.upload_url)} if settings.enabled else {}),
                **({"flow": flow_blueprint.create_blueprint(flow.upload_url)} if flow.enabled else {}),
            },
        )
        app.extensions["resumable"] = state
        for blueprint in state.blueprints.values():
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
        if upload_id in _in_hook.get():
            raise RuntimeError("A hook cannot delete the upload that it is called for: raise UploadRejected instead.")
        state = current_state()
        state.repository.let_go()
        if not ID_PATTERN.fullmatch(upload_id):
            return False
        try:
            found = state.repository.get(upload_id)
            if found.key is not None and state.flow is not None:
                state.flow.chunks.cancel(found, owner=found.owner)
            else:
                state.service.delete(upload_id, owner=found.owner)
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

    def on_complete(self, upload: UploadT) -> Awaitable[None] | None:
        """Every byte is here, at ``upload.path``. Not called for parts of a concatenation.

        What is written in the app's session commits together with the upload's completion: both or neither. If this
        raises, the client gets an error and this is called again, by the client's next request or by
        ``flask tus complete_pending``; so is it after a crash. To refuse the file, raise :exc:`UploadRejected`: then
        the upload is removed. Runs within the request; long work belongs in a queue.
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


class _HookCaller:
    """Finds out which hooks an app has, and how to call them."""

    def __init__(self, extension: FlaskResumable[Any]) -> None:
        self._hooks = {name: _hook(extension, name) for name in signals.BY_NAME}

    def named(self, name: str) -> Callable[[Any], object] | None:
        return self._hooks[name]

    def observer(self, name: str) -> Callable[[Any], object] | None:
        signal = signals.BY_NAME[name]
        if not signal.receivers:
            return None

        def send(upload: Any) -> None:
            app = current_app._get_current_object()  # type: ignore[attr-defined]
            try:
                signal.send(app, upload=upload)
            except Exception:  # it has happened, whatever an observer makes of it
                app.logger.exception("An observer of %s failed.", name)

        return send


def _hook(extension: FlaskResumable[Any], name: str) -> Callable[[Any], object] | None:
    """The app's hook, or ``None`` if it was not overridden: then nothing needs to be loaded for it."""
    method = getattr(extension, name)
    if getattr(method, "__func__", None) is getattr(FlaskResumable, name):
        return None
    takes_upload = bool(inspect.signature(method).parameters)

    def call(upload: Any) -> object:
        before = _in_hook.set((*_in_hook.get(), upload.id))
        try:
            return current_app.ensure_sync(method)(*((upload,) if takes_upload else ()))
        except HTTPException as error:
            if error.code is not None and 400 <= error.code < 500:
                raise UploadRejected(error.code, error.description or error.name) from error
            raise
        finally:
            _in_hook.reset(before)

    return call


def _given(storage: Storages | None, flow: FlowSettings) -> Storages | None:
    """The storage that was passed. Settings for one that was not must not be left without effect in silence."""
    if storage is not None and flow.enabled and flow.keeps_chunks_apart:
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
        method = _hook(extension, name)
        return None if method is None else lambda upload: method(UploadView(upload))

    choose_storage, choose_folder = chooser("choose_storage"), chooser("choose_folder")
    if not isinstance(storage, Mapping):
        if choose_storage is choose_folder is None:
            return storage
        storage = {"main": storage}
    return Choice(storage, storage=choose_storage, folder=choose_folder)


def _limits(settings: ProtocolSettings, *, sliding: bool) -> Limits:
    return Limits(max_size=settings.max_size, expiration=settings.expiration, sliding=sliding)


def _flow_state(settings: FlowSettings, service: UploadService, storage: Storage) -> FlowState | None:
    if not settings.enabled:
        return None
    if not isinstance(storage, PlacesChunks):
        raise ConfigurationError("This storage does not take flow.js chunks: set FLOW_ENABLED = False.")
    keys = Keys(service)
    return FlowState(
        settings=settings,
        policy=FlowPolicy(
            max_size=settings.max_size,
            max_chunks=settings.max_chunks,
            max_chunk_size=settings.max_chunk_size,
            max_metadata=settings.max_metadata,
            identity_parameters=settings.identity_parameters,
        ),
        limits=_limits(settings, sliding=settings.sliding_expiration),
        keys=keys,
        chunks=ChunkService(service, keys, storage, tombstone=settings.tombstone),
        layout=storage.layout,
    )


def _tus_policy(settings: Settings, storage: Storage) -> Policy:
    offered = set(EXTENSIONS) - set(settings.disabled_extensions)
    if not isinstance(storage, Concatenates):
        offered -= {"concatenation", "concatenation-unfinished"}
    if settings.expiration is None and "concatenation" not in offered:
        offered -= {"expiration"}  # else parts expire all the same
    return Policy(
        extensions=frozenset(offered),
        max_size=settings.max_size,
        max_metadata=settings.max_metadata,
        require_checksum=settings.require_checksum,
        strict=settings.strict,
    )
