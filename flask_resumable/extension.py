"""The extension object, which wires everything together."""

from __future__ import annotations

from collections.abc import Awaitable
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from enum import Enum
from typing import Any
from typing import Generic
from typing import TypeVar

from flask import Blueprint
from flask import current_app
from flask import Flask
from flask import Response
from flask import url_for as flask_url_for

from .cli import is_command
from .cli import tus_commands
from .core import upload as rules
from .core.answer import Answer
from .core.health import CheckResult
from .core.ids import checked_choice
from .core.ids import ID_PATTERN
from .core.owner import ANYBODY
from .core.owner import Anybody
from .core.owner import owner_of
from .core.processing import mark_in_hook
from .core.processing import Processing
from .core.processing import ProcessingState
from .core.quota import Quota
from .core.selection import Selection
from .core.upload import LEAVING
from .core.upload import Status
from .errors import ConfigurationError
from .errors import UploadNotFound
from .hooks import AppHooks
from .hooks import hook
from .hooks import is_in_hook
from .interfaces import StateRepository
from .interfaces import Storage
from .interfaces.observer import Observer
from .interfaces.observer import Observers
from .logs import UploadLog
from .models.interface import bind_files
from .models.interface import UploadInterface
from .models.interface import UploadView
from .models.upload import Upload
from .models.upload import UploadT
from .observing.start import observe
from .protocols.blueprint import blueprints_for
from .protocols.observed import observed
from .protocols.registry import PROTOCOLS
from .protocols.responses import public_url_for
from .repositories import model_for
from .repositories import repository_for
from .service.claims import Clock
from .service.files import UploadFiles
from .service.health import check as run_checks
from .service.uploads import UploadService
from .settings.app import Settings
from .settings.base import read_settings
from .settings.base import Section
from .settings.storage import ChunkSettings
from .signing import Signer
from .startup import check_writable
from .state import current_state
from .state import State
from .state import state_of
from .storage.factory import storage_for
from .storage.multiple import MultiStorage
from .wsgi.stopping import is_stopping

_PAGE = 100  # uploads held in memory at a time
_MAIN = "main"  # the name of the only storage
Storages = Storage | Mapping[str, Storage]
Result = Answer | Response | str | bytes | Mapping[str, Any] | list[Any] | tuple[Any, ...] | None  # of on_complete


def utc_now() -> datetime:
    """Return the current time in UTC. The default for ``now``."""
    return datetime.now(UTC)


class FlaskResumable(Generic[UploadT]):
    """Adds resumable uploads to a Flask app.

    ``FlaskResumable(app)`` is all you need: it serves tus and the IETF draft at ``/files/``, and keeps state in an
    SQLite file and bytes in a folder, both in the instance folder. Subclass it to override hooks such as
    :meth:`on_complete`, or :meth:`current_owner`::

        class Uploads(FlaskResumable):
            def on_complete(self, upload: Upload) -> None:
                app.logger.info("%r is in %s", upload.filename, upload.path)

        uploads = Uploads(app)

    If you have a model of your own, the hooks get its instances. Name it in the base class, and type checkers know its
    columns::

        class Uploads(FlaskResumable[MyUpload]):
            def on_complete(self, upload: MyUpload) -> None:
                upload.caption = upload.filename or "untitled"

        uploads = Uploads(app, model=MyUpload, db=db)

    :param app: The app to serve. Leave it out to call :meth:`init_app` later.
    :param model: The model for uploads in your database: ``SQLAlchemyModel``, ``MongoengineModel`` or your own.
    :param db: The database that ``model`` belongs to: a Flask-SQLAlchemy or Flask-SQLAlchemy-Lite object, a
        ``scoped_session`` or a ``sessionmaker``. MongoEngine models do not need it.
    :param repository: Keeps the state instead of a model; see :class:`~flask_resumable.interfaces.StateRepository`.
    :param storage: Keeps the bytes instead of the upload folder; see :class:`~flask_resumable.interfaces.Storage`. Pass
        a dict to use several storages by name. :meth:`choose_storage` picks one; the first is the default.
    :param now: Returns the current time as an aware ``datetime`` in UTC. Replace it in tests.
    :raises ConfigurationError: Settings or arguments are wrong; the message lists every problem.
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
        # Mapped here if possible, so that migrations and db.create_all() see the table.
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
        now: Clock | None = None,
    ) -> None:
        """Set up the extension for ``app``.

        Arguments override those of the constructor for this app. Settings are read once, here; docs/settings.md lists
        them.

        ::

            uploads = FlaskResumable()

            def create_app():
                app = Flask(__name__)
                uploads.init_app(app)
                return app

        :raises ConfigurationError: Settings or arguments are wrong; the message lists every problem.
        :raises RuntimeError: The extension is already set up for this app.
        """
        if "resumable" in app.extensions:
            raise RuntimeError("FlaskResumable is already set up for this app; pass app= or call init_app(), not both.")
        settings, chunks, *of_protocols = read_settings(app.config, sections(app))
        if any(own.enabled and own.require_signature for own in of_protocols) and not app.config.get("SECRET_KEY"):
            raise ConfigurationError("REQUIRE_SIGNATURE: needs a secret key; set SECRET_KEY before init_app().")
        repository = repository or self._repository
        db = db if db is not None else self._db
        mapped = None
        if repository is None:
            mapped = model_for(model, db) if model is not None or db is not self._db else self._mapped_model(app)
            repository = repository_for(app, mapped, db, settings)
        given = self._storage if storage is None else storage
        given = _given(given, chunks) or storage_for(settings, chunks, settings.inline_types)
        if settings.check_writable and any(own.enabled for own in of_protocols):
            check_writable(settings, chunks, given, repository, only_warn=is_command())
        observer = _observer(settings, _default_name(given))
        repository, bytes_, hooks = observe(
            observer, repository, _choice(self, given), AppHooks(self, FlaskResumable), _each(given)
        )
        service = UploadService(
            repository,
            bytes_,
            hooks,
            lease=settings.lease,
            completed_ttl=chunks.completed_ttl,
            cancelled_ttl=chunks.cancelled_ttl,
            now=now or self._now,
            is_stopping=is_stopping,
            observer=observer,
            quotas=self._quotas(settings),
            choose_id=_id_chooser(self),
        )
        dialects = [plug.serve(own, service) for plug, own in zip(PROTOCOLS, of_protocols, strict=True) if own.enabled]
        if settings.metrics is not False or settings.metrics_url is not None:
            dialects = [observed(dialect, observer) for dialect in dialects]
        blueprints = blueprints_for(dialects)
        files = UploadFiles(service, settings.digest_block_size, is_in_hook)
        app.extensions["resumable"] = State(
            model=mapped,
            settings=settings,
            service=service,
            protocols={dialect.name: dialect.server for dialect in dialects},
            endpoints={dialect.name: dialect.endpoint for dialect in dialects},
            blueprints=blueprints,
            owners=self,
            signer=Signer(app.config),
            files=files,
        )
        bind_files(app, files)
        for blueprint in dict.fromkeys(blueprints.values()):
            app.register_blueprint(blueprint)
        app.cli.add_command(tus_commands)
        if settings.metrics_url is not None:
            app.add_url_rule(settings.metrics_url, "resumable_metrics", _metrics_view(settings))

    def _quotas(self, settings: Settings) -> Callable[[str], Quota | None] | None:
        """Return what finds the quota of an owner, or ``None`` if the app sets none."""
        sizes = settings.max_active_uploads, settings.max_reserved_bytes
        default = None if sizes == (None, None) else Quota(*sizes)
        if type(self).quota is FlaskResumable.quota:
            return None if default is None else lambda owner: default

        def find(owner: str) -> Quota | None:
            found: Any = current_app.ensure_sync(self.quota)(owner)
            if not isinstance(found, Quota | None):
                raise TypeError(f"quota() returned a value of type {type(found).__name__}: it must be a Quota or None.")
            return default if found is None else found

        return find

    def _mapped_model(self, app: Flask) -> type[Any] | None:
        db = self._db if self._db is not None else app.extensions.get("sqlalchemy")
        return None if self.model is None else model_for(self.model, db)

    # --- for the app to call, within an app context; they work on the current app's uploads ---

    def get(self, upload_id: str) -> UploadT | None:
        """Return the upload with this id, or ``None`` if it does not exist.

        ::

            upload = resumable.get(upload_id) or abort(404)
            if upload.owner != current_user.get_id():
                abort(404)

        This does not check the owner; do that yourself. The result is an instance of your model, loaded in
        ``db.session``. With a plain ``sessionmaker`` it is detached, and without a model it is a read-only view.

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
        processing_state: str | None = None,
        parts: bool = False,
        after: str = "",
        limit: int | None = None,
    ) -> Iterator[UploadT]:
        """Iterate over the current app's uploads. At most a hundred are held in memory at a time.

        ::

            mine = resumable.uploads(owner=current_user.get_id(), status="complete")
            page = [*resumable.uploads(limit=20, after=request.args.get("after", ""))]   # the next: after=page[-1].id

        They are sorted by id. For random ids, the order means nothing, but it is stable. For another order or other
        conditions, query your model.

        :param status: Only uploads with this status, such as ``"complete"``; see :attr:`Upload.status`.
        :param owner: Only uploads of this owner, a value that ``current_owner`` may return. ``None`` selects uploads
            that have no owner.
        :param processing_state: Only uploads that :meth:`mark` has given this state, such as ``"failed"``.
        :param parts: Whether to include partial uploads (tus concatenation).
        :param after: Only uploads whose id is greater than this one.
        :param limit: The maximum number of uploads.
        :raises ValueError: ``status`` or ``processing_state`` is unknown.
        :raises Unavailable: The database cannot be reached.
        """
        selection = Selection(
            status=None if status is None else _member(Status, "status", status),
            leaving=False,
            parts=parts,
            owner=owner if isinstance(owner, Anybody) else owner_of(owner),
            processing=None
            if processing_state is None
            else _member(ProcessingState, "processing_state", processing_state),
        )
        return _pages(current_state().repository, selection, after=after, limit=limit)

    def delete(self, upload: Upload | str) -> bool:
        """Remove an upload and its bytes, as if its client had deleted it.

        This commits ``db.session`` first, interrupts a request that is sending content to the upload, and calls
        ``pre_delete`` and ``post_delete``. It does not check the owner; do that yourself.

        :param upload: The upload or its id.
        :return: Whether the upload existed.
        :raises UploadRejected: ``pre_delete`` or the database refused; the upload is unchanged.
        :raises UploadLocked: The upload is being completed or removed right now; try again in a moment.
        :raises Unavailable: The database or the storage cannot be reached.
        :raises RuntimeError: A hook is running for this upload. Raise :exc:`UploadRejected` there instead.
        """
        upload_id = upload if isinstance(upload, str) else upload.id
        if is_in_hook(upload_id):
            raise RuntimeError("A hook cannot delete the upload it was called for; raise UploadRejected instead.")
        state = current_state()
        state.repository.release_connection()
        if not ID_PATTERN.fullmatch(upload_id):
            return False
        try:
            state.service.delete(upload_id, owner=state.repository.get(upload_id).owner)
        except UploadNotFound:
            return False
        return True

    def blueprints(self, app: Flask | None = None) -> Mapping[str, Blueprint]:
        """Return the blueprints that serve uploads, by protocol: ``"tus"``, ``"flow"`` and ``"ietf"``.

        ::

            csrf.exempt(uploads.blueprints(app)["tus"])
            for blueprint in uploads.blueprints(app).values():
                limiter.exempt(blueprint)

        Pass them to extensions that treat some URLs differently, or compare their names with ``request.blueprint``.
        Protocols at the same URL share a blueprint, as tus and the IETF draft do by default.

        :param app: The app that serves them. The default is the current app.
        :raises RuntimeError: FlaskResumable is not set up for the app, or there is no current app.
        """
        return (current_state() if app is None else state_of(app)).blueprints

    def mark(self, upload: Upload | str, state: str, reason: str | None = None) -> bool:
        """Say how far your processing of an upload is, for clients and downloads.

        ::

            def on_complete(self, upload: Upload) -> None:
                self.mark(upload, "processing")

            def scan(upload_id: str) -> None:  # in a worker, within an app context
                resumable.mark(upload_id, "failed", "A virus was found.")

        Uploads have no state until you set one. While it is ``"processing"``, downloads get a 425 with ``Retry-After``.
        When it is ``"failed"``, they get a 410 with the reason. HEAD and the status of flow.js show both.

        In a hook, the state is saved when the hook returns, in the same transaction; unless another process has set
        one in the meantime. Elsewhere this commits ``db.session`` first, and saves it at once.

        :param upload: The upload or its id.
        :param state: ``"processing"``, ``"ready"`` or ``"failed"``.
        :param reason: Why it has failed, in one line of up to 500 characters for the person who uploads.
        :return: Whether the upload exists.
        :raises ValueError: There is no such state, or a reason without a failure.
        :raises Unavailable: The database cannot be reached.
        """
        processing = Processing.of(state, reason)
        upload_id = upload if isinstance(upload, str) else upload.id
        if not ID_PATTERN.fullmatch(upload_id):
            return False
        if not mark_in_hook(upload_id, processing):
            repository = current_state().repository
            repository.release_connection()
            if not repository.mark(upload_id, processing):
                return False
        if isinstance(upload, UploadInterface):
            upload._set_processing(processing)
        return True

    def check(self, *, quick: bool = False) -> list[CheckResult]:
        """Check whether uploads can work here. Call it in an app context; it never raises.

        ::

            @app.get("/ready")
            def ready():
                broken = [result for result in resumable.check(quick=True) if result.level == "error"]
                return {"broken": [result.name for result in broken]}, 503 if broken else 200

        It reads and writes the database without changing a record, writes a file to the upload folder and renames it,
        and compares the clocks and the free space. Then it looks for what has been left undone.

        :param quick: Leave out the search for what has been left undone, so that a probe can call this often.
        :return: A :class:`~flask_resumable.core.health.CheckResult` for each thing that was checked.
        """
        return [*run_checks(current_state().service, quick=quick)]

    def url_for(self, upload: Upload | str | None = None, *, protocol: str | None = None, **values: Any) -> str:
        """Return the URL of an upload, or the URL for creating uploads if you pass none.

        ::

            <script>new tus.Upload(file, { endpoint: "{{ resumable.url_for(_external=True) }}" })</script>
            <a href="{{ resumable.url_for(upload) }}">{{ upload.filename }}</a>

        tus clients send every request about an upload to its URL. With ``RESUMABLE_DOWNLOADS``, browsers can download
        the file there, whichever protocol it was uploaded with. The URL for flow.js reports the progress of the upload.

        With ``RESUMABLE_PUBLIC_URL``, the URL is a full one and begins with it, even without a request. Otherwise it is
        a path, unless you pass ``_external=True``.

        :param upload: The upload or its id.
        :param protocol: ``"tus"``, ``"flow"`` or ``"ietf"``. The default is the first one that the app serves.
        :param values: As for :func:`flask.url_for`: ``_external``, ``_anchor``, and values for the query string.
            ``_external=False`` leaves out the scheme and host of ``RESUMABLE_PUBLIC_URL``.
        :raises ValueError: The app does not serve this protocol.
        """
        state = current_state()
        blueprints = state.blueprints
        served = protocol or next(iter(blueprints), "")
        if served not in blueprints:
            raise ValueError(f"protocol={served!r}: this app serves {', '.join(blueprints) or 'no protocol'}.")
        upload_id = upload if upload is None or isinstance(upload, str) else upload.id
        endpoint = state.endpoints[served]
        if endpoint is not None:
            return public_url_for(endpoint, upload_id or "", **values)
        if upload_id is None:
            return flask_url_for(f"{blueprints[served].name}.collection", **values)
        return flask_url_for(f"{blueprints[served].name}.resource", upload_id=upload_id, **values)

    def sign(
        self,
        *,
        owner: object = None,
        max_size: int | None = None,
        length: int | None = None,
        metadata: Mapping[str, str] | None = None,
        expires: timedelta | float = timedelta(hours=1),
    ) -> str:
        """Return a token with which a client that has no session may create one upload.

        ::

            @app.post("/invitations/<name>")
            @login_required
            def invite(name: str):
                token = resumable.sign(owner=current_user.get_id(), max_size=50 * 2**20, metadata={"for": name})
                return {"token": token}

        The client sends the token with every request, in the header ``Upload-Token`` or as ``upload_token`` in the
        query. It is signed with the app's ``SECRET_KEY`` and not encrypted: clients can read what it contains.

        :param owner: The owner of the upload, a value that :meth:`current_owner` may return.
        :param max_size: The maximum size of the upload in bytes. The setting ``MAX_SIZE`` applies as well.
        :param length: The exact length of the upload in bytes, which the client must declare when it creates it.
        :param metadata: Replaces what the client says for the same keys.
        :param expires: How long the upload can be created, as a ``timedelta`` or in seconds. An upload that was created
            in time can be continued later.
        :raises ConfigurationError: The app has no ``SECRET_KEY``.
        :raises ValueError: An argument is out of range, or the token would be longer than 4096 characters.
        """
        lifetime = expires if isinstance(expires, timedelta) else timedelta(seconds=expires)
        if lifetime <= timedelta(0):
            raise ValueError(f"expires={expires!r}: must be positive.")
        state = current_state()
        return state.signer.sign(
            owner=owner,
            max_size=max_size,
            length=length,
            metadata=metadata or {},
            expires_at=state.service.now() + lifetime,
        )

    # --- for subclasses to override; each may be async, and hooks may leave out the argument ---

    def current_owner(self) -> Any:
        """Return the id of the user who makes the current request, or ``None`` if uploads have no owner.

        ::

            def current_owner(self) -> str | None:
                return current_user.get_id()

        An upload belongs to the owner who created it; to everybody else it does not exist. This is called in every
        request, before anything is stored. Call ``abort(401)`` to refuse the request.

        The id is stored as text, in ``upload.owner``. It may be a ``str`` of up to 255 characters, an ``int``, a
        ``UUID`` or an ``ObjectId``. Anything else raises :exc:`TypeError` or :exc:`ValueError` in the request.
        """
        return None

    def quota(self, owner: str) -> Quota | Awaitable[Quota | None] | None:
        """Return what an owner may have in unfinished uploads, or ``None`` to apply the settings.

        ::

            def quota(self, owner: str) -> Quota | None:
                user = db.session.get(User, owner)
                return Quota(uploads=3, bytes=user.space - user.used)

        This is called when an owner creates an upload, and not for uploads that have no owner. The settings are
        ``MAX_ACTIVE_UPLOADS`` and ``MAX_RESERVED_BYTES``.
        """
        return None

    def choose_id(self, upload: Upload) -> str | Awaitable[str | None] | None:
        """Return the id of a new upload, or ``None`` for a random one.

        ::

            def choose_id(self, upload: Upload) -> str | None:
                report = upload.metadata.get("report", "")
                return f"report-{report}" if report.isdecimal() else None

        The id has 1 to 64 lower-case letters, digits, ``-`` and ``_``, and does not begin with ``-``. Anything else
        raises :exc:`ValueError` in the request, and so does ``"status"``, which flow.js uses.

        If another upload has the id, even one that has expired or was cancelled and is still recorded, the client gets
        a 409, and nothing happens to the other one. Once that is removed, its id can be used again.

        This is called once for each upload, before all other hooks. ``upload`` is what :meth:`choose_storage` gets.
        Raise :exc:`UploadRejected` to refuse the upload. It is not called for partial uploads (tus concatenation).
        """
        return None

    def choose_storage(self, upload: Upload) -> str | Awaitable[str | None] | None:
        """Return the name of the storage for a new upload, or ``None`` for the first one.

        ::

            def choose_storage(self, upload: Upload) -> str | None:
                return "archive" if (upload.length or 0) > 2**30 else None

        This is called once per upload, before ``on_create``, and the choice never changes. ``upload`` has what the
        request says (``metadata``, ``length``, ``owner``); there is no record yet. Raise :exc:`UploadRejected` to
        refuse the upload.
        """
        return None

    def choose_folder(self, upload: Upload) -> str | Awaitable[str | None] | None:
        """Return a folder for a new upload within its storage, such as ``"tenant-7"``, or ``None``.

        ::

            def choose_folder(self, upload: Upload) -> str | None:
                return f"tenant-{current_user.tenant_id}"

        This is called when :meth:`choose_storage` is. A folder consists of up to eight names, separated by ``/``. Each
        has 1 to 64 letters, digits, ``-`` and ``_``. Anything else raises :exc:`ValueError` in the request.
        """
        return None

    def choose_object_parameters(
        self, upload: Upload
    ) -> Mapping[str, Any] | Awaitable[Mapping[str, Any] | None] | None:
        """Return what the store is told about a new upload, in the store's own words, or ``None``.

        ::

            def choose_object_parameters(self, upload: Upload) -> dict[str, Any]:
                return {"StorageClass": "STANDARD_IA", "Tagging": {"tenant": "7"}, "Metadata": {"owner": upload.owner}}

        This is called when :meth:`choose_storage` is, and is for uploads in a bucket. It adds to ``object_parameters``
        of :class:`~flask_resumable.storage.S3Storage`, and overrides them. docs/s3.md lists the parameters. An unknown
        one raises :exc:`ValueError` in the request.
        """
        return None

    def on_create(self, upload: UploadT) -> Awaitable[None] | None:
        """Called before an upload is created. Raise :exc:`UploadRejected` to refuse it.

        ::

            def on_create(self, upload: Upload) -> None:
                if not (upload.filename or "").endswith(".csv"):
                    raise UploadRejected(415, "Only CSV files, please.")

        The client gets its response when this returns. What you write in your database session is committed if the
        upload is created, and rolled back if it is not.
        """

    def pre_save(self, upload: UploadT) -> Awaitable[None] | None:
        """Called before the content of a request is saved. Raise :exc:`UploadRejected` to refuse it.

        The upload stays unchanged, and its client may try again. An upload whose content came with its creation is
        removed, since the client has no URL yet. A chunk of flow.js may have been received already.
        """

    def on_progress(self, upload: UploadT) -> Awaitable[None] | None:
        """Called while content arrives, at most once a second for each upload and process.

        ::

            def on_progress(self, upload: Upload) -> None:
                redis.setex(f"progress:{upload.id}", 60, f"{upload.offset}/{upload.length}")
                if is_blocked(upload.owner):
                    raise UploadRejected(403, "Your account is blocked.")

        ``upload.offset`` is how far the content has arrived in this process, in bytes. It is ahead of what is saved.
        For flow.js, chunks that arrive side by side count together, whichever part of the file they are. The first call
        is made when the first content arrives, and none once every byte has arrived.

        Raise :exc:`UploadRejected` to end the request with that status. What has arrived is kept, unless a checksum
        covers it, or it is part of an incomplete chunk of flow.js. The client can continue later, if this lets it. If
        the content came with the creation of the upload, the upload is removed, since the client has no URL yet.

        This runs in the request that receives the content, which waits for it. What you write in your database session
        is committed when it returns. No connection is held in between. If you don't override this, nothing is done.
        """

    def post_save(self, upload: UploadT) -> Awaitable[None] | None:
        """Called after the content of a request was received and saved: ``upload.offset`` is where it ends."""

    def on_complete(self, upload: UploadT) -> Result | Awaitable[Result]:
        """Called when every byte has arrived, at ``upload.path``.

        What you write in your database session is committed together with the completion of the upload, or not at all.
        If this raises an exception, the client gets an error, and this is called again by the client's next request or
        by ``flask tus complete_pending``. The same happens after a crash. Raise :exc:`UploadRejected` to refuse the
        file; the upload is then removed.

        This runs within the request, so hand long work to a task queue. It is not called for partial uploads (tus
        concatenation).

        What you return is the response to the client, as from a view. It is stored with the upload and sent again if
        the client missed it::

            def on_complete(self, upload: Upload) -> dict[str, str]:
                return {"url": url_for("photo", photo_id=upload.id)}

        It may be ``None``, ``str``, ``bytes``, ``dict``, ``list``, a tuple of one of these and a status, headers or
        both, a ``Response`` that does not stream, or an :class:`Answer`, which says what is allowed. Anything else
        raises :exc:`TypeError` or :exc:`ValueError`, as if the hook had raised it.
        """

    def post_complete(self, upload: UploadT) -> Awaitable[None] | None:
        """Called after the upload is complete and committed: other processes now see what ``on_complete`` wrote.

        This is the place to tell a task queue or another service::

            def post_complete(self, upload: Upload) -> None:
                make_thumbnail.delay(upload.id)

        It is called at most once. If the server dies between the commit and this call, it is not called at all; and if
        it raises an exception, the exception is logged, and the upload is complete all the same. For work that must
        not be lost, write to an outbox table in ``on_complete``: see ``docs/after-completion.md``.

        The client gets its response when this returns. It is not called for partial uploads (tus concatenation).
        """

    def pre_delete(self, upload: UploadT) -> Awaitable[None] | None:
        """Called before the upload is removed, by its client, by :meth:`delete`, or because it has expired.

        ::

            def pre_delete(self, upload: Upload) -> None:
                if upload.complete:
                    raise UploadRejected(403, "Finished files are kept.")

        Raise :exc:`UploadRejected` to keep it. ``upload.complete`` says whether it was complete.
        """

    def post_delete(self, upload: UploadT) -> Awaitable[None] | None:
        """Called after the upload and its bytes were removed: delete here what your app keeps about it."""


_Named = TypeVar("_Named", bound=Enum)


def _member(kind: type[_Named], argument: str, value: str) -> _Named:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(member.value) for member in kind)
        raise ValueError(f"{argument}={value!r}: must be one of {known}.") from None


def _pages(repository: StateRepository, selection: Selection, *, after: str, limit: int | None) -> Iterator[Any]:
    left = limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        page = repository.instances(selection, limit=size, after=after)
        if not page:
            return
        after = page[-1].id  # read now, because the app may delete the upload before the next page
        left = None if left is None else left - len(page)
        yield from page


def _given(storage: Storages | None, chunks: ChunkSettings) -> Storages | None:
    """Return the storage that was passed, and refuse settings that it would silently ignore."""
    if storage is not None and chunks.keeps_chunks_apart:
        raise ConfigurationError(
            "FLOW_TEMP_DIR, FLOW_PRE_PROCESS_CALLBACK and FLOW_DELETE_CHUNKS_ON_SAVE do not apply to storage=; "
            "pass LocalStorage(..., chunks=ChunkFolder(...)) instead."
        )
    if isinstance(storage, Mapping) and not storage:
        raise ConfigurationError("storage= is empty: pass at least one storage.")
    for kind in {} if storage is None else storage.values() if isinstance(storage, Mapping) else [storage]:
        if not hasattr(kind, "capabilities"):
            raise ConfigurationError(
                f"storage={kind!r} does not say what it can do: give it capabilities = StorageCapabilities(...)."
            )
    return storage


def _choice(extension: FlaskResumable[Any], storage: Storages) -> Storage:
    """Return a storage that asks the app's hooks where uploads go, if there are such hooks or several storages."""

    def chooser(name: str) -> Callable[[rules.Upload], object] | None:
        method = hook(extension, FlaskResumable, name)
        return None if method is None else lambda upload: method(UploadView(upload))

    choose_storage, choose_folder = chooser("choose_storage"), chooser("choose_folder")
    choose_parameters = chooser("choose_object_parameters")
    if not isinstance(storage, Mapping):
        if choose_storage is choose_folder is choose_parameters is None:
            return storage
        storage = {_MAIN: storage}
    return MultiStorage(storage, storage=choose_storage, folder=choose_folder, parameters=choose_parameters)


def _id_chooser(extension: FlaskResumable[Any]) -> Callable[[rules.Upload], str | None] | None:
    """Return what asks the app for the ids of new uploads, or ``None`` if all ids are random."""
    method = hook(extension, FlaskResumable, "choose_id")
    if method is None:
        return None
    reserved = frozenset[str]().union(*(plug.reserved for plug in PROTOCOLS))

    def choose(upload: rules.Upload) -> str | None:
        chosen: object = method(UploadView(upload))
        return None if chosen is None else checked_choice(chosen, reserved)

    return choose


def _each(storage: Storages) -> list[Storage]:
    return list(storage.values()) if isinstance(storage, Mapping) else [storage]


def _observer(settings: Settings, storage: str) -> Observer:
    """Return what listens to the service: the log, and what else the app has asked for.

    :param storage: The name of the default storage.
    """
    observers: list[Observer] = [UploadLog(storage)]
    if settings.metrics is not False or settings.metrics_url is not None:
        with _needing("prometheus_client", "RESUMABLE_METRICS", "metrics"):
            from .metrics.observer import Metrics
        observers.append(Metrics(storage) if isinstance(settings.metrics, bool) else Metrics(storage, settings.metrics))
    if settings.tracing:
        with _needing("opentelemetry", "RESUMABLE_TRACING", "tracing"):
            from .tracing import Tracing
        observers.append(Tracing())
    return observers[0] if len(observers) == 1 else Observers(observers)


@contextmanager
def _needing(package: str, key: str, extra: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(f'{key} needs {package}: pip install "Flask-Resumable[{extra}]".') from error


def _metrics_view(settings: Settings) -> Callable[[], Any]:
    from .metrics import metrics_page

    return metrics_page if isinstance(settings.metrics, bool) else lambda: metrics_page(settings.metrics)


def _default_name(storage: Storages) -> str:
    """Return what the storage of most uploads is called, in logs and metrics."""
    return next(iter(storage)) if isinstance(storage, Mapping) else _MAIN


def sections(app: Flask) -> list[Section]:
    """List all sections of settings: the app's own, then one for each protocol."""
    of_the_app: list[type[Any]] = [Settings, ChunkSettings]
    return [
        *(
            Section(kind, app.instance_path, tuple(plug.prefix for plug in PROTOCOLS if kind in plug.also_sets))
            for kind in of_the_app
        ),
        *(Section(plug.settings, app.instance_path, (plug.prefix,)) for plug in PROTOCOLS),
    ]
