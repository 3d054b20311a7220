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
from flask import request

from .core.grant import Grant
from .core.grant import PARAMETER
from .core.owner import owner_of
from .errors import UploadNotFound
from .interfaces import StateRepository
from .interfaces import Storage
from .service.files import UploadFiles
from .service.uploads import UploadService
from .settings.app import Settings
from .signing import Signer
from .wsgi.query import query_of


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
    signer: Signer
    files: UploadFiles  # for models

    @property
    def repository(self) -> StateRepository:
        return self.service.repository

    @property
    def storage(self) -> Storage:
        return self.service.storage

    def grant(self, token: str | None = None) -> Grant | None:
        """Return what the token of the current request allows, or ``None`` if it has none.

        :param token: A token that the request has in another place than the header or the query.
        :raises TokenRefused: The app has not signed the token.
        """
        environ = request.environ
        token = environ.get("HTTP_UPLOAD_TOKEN") or token
        if not token and PARAMETER in environ.get("QUERY_STRING", ""):
            token = query_of(request).get(PARAMETER)
        return self.signer.read(token) if token else None

    def owner(self) -> str | None:
        """Return the owner that the current request acts for. See :meth:`acting`."""
        return self.acting()[0]

    def acting(self, token: str | None = None) -> tuple[str | None, Grant | None]:
        """Return the owner that the current request acts for, and what its token allows, if it has one.

        With a token, that is the owner for whom it was signed, and the request can only be about its upload.

        The app may have queried its database to find out. This returns the connection to the pool: if each request kept
        one and waited for another, as many requests as there are connections would wait forever.

        :raises TypeError: ``current_owner`` returned something that cannot be an owner; see
            :func:`~.core.owner.owner_of`.
        :raises ValueError: The same.
        :raises TokenRefused: See :meth:`grant`.
        :raises UploadNotFound: The token is for another upload.
        """
        environ = request.environ
        if token or "HTTP_UPLOAD_TOKEN" in environ or PARAMETER in environ.get("QUERY_STRING", ""):
            grant = self.grant(token)
        else:
            grant = None  # as in most requests, so it is found out without a call
        if grant is not None:
            upload_id = (request.view_args or {}).get("upload_id")
            if upload_id is not None and self.repository.find_request(grant.request_key).id != upload_id:
                raise UploadNotFound(upload_id)
            return grant.owner, grant
        owner = owner_of(current_app.ensure_sync(self.owners.current_owner)())
        self.service.repository.release_connection()
        return owner, None


def current_state() -> State:
    """Return the state of the current app.

    :raises RuntimeError: There is no app context, or FlaskResumable is not set up for the app.
    """
    if "resumable" not in current_app.extensions:
        return state_of(current_app)
    return cast(State, current_app.extensions["resumable"])


def state_of(app: Flask) -> State:
    """Return the state of an app.

    :raises RuntimeError: FlaskResumable is not set up for the app.
    """
    if "resumable" not in app.extensions:
        raise RuntimeError(f"FlaskResumable is not set up for {app.name!r}; call init_app(app) first.")
    return cast(State, app.extensions["resumable"])
