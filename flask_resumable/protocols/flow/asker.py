"""The client of a flow.js request, and the uploads that it may use."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from ...core.grant import Grant
from ...core.grant import PARAMETER
from ...core.ids import ID_PATTERN
from ...core.upload import JSONObject
from ...core.upload import Limits
from ...core.upload import Upload
from ...errors import UploadExpired
from ...errors import UploadNotFound
from ...service.chunks import ChunkService
from ...service.client_keys import Keys
from ...state import current_state
from . import messages as flow
from .settings import FlowSettings

NAME = "flow"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowServer:
    """flow.js as an app serves it."""

    settings: FlowSettings
    policy: flow.FlowPolicy
    limits: Limits
    keys: Keys
    chunks: ChunkService
    layout: Callable[[int, int], JSONObject]  # see PlacesChunks


def current_server() -> FlowServer:
    """Return the server of the current app."""
    return cast(FlowServer, current_state().protocols[NAME])


class Asker:
    """The client of one request. The app's callbacks are called at most once."""

    def __init__(self, server: FlowServer) -> None:
        self.server = server
        self._state = current_state()
        self._known: tuple[flow.File, str] | None = None
        self._token: str | None = None  # in a form
        self.grant: Grant | None = None  # what the client's token allows; known once ``owner`` is

    def note_token(self, parameters: Mapping[str, str]) -> None:
        """Note the token that a form may have, because some clients cannot send it elsewhere."""
        token = parameters.get(PARAMETER)
        if token and token != self._token:
            self._token = token
            self._known = None
            vars(self).pop("owner", None)

    @cached_property
    def owner(self) -> str | None:
        """The owner of the client's uploads."""
        owner, self.grant = self._state.acting(self._token)
        return owner

    def key(self, file: flow.File) -> str:
        """Return the key of a file's upload."""
        if self._known is None or self._known[0] != file:
            callback = self.server.settings.hash_name_callback
            name, owner = None if callback is None else str(callback(file)), self.owner
            self._known = file, file.key(owner, name, token=None if self.grant is None else self.grant.nonce)
        return self._known[1]

    def look(self, file: flow.File) -> Upload | None:
        """Return the upload of a file in its current state, or ``None`` if there is none."""
        return self.server.keys.look(self.key(file), self.server.limits)

    def find(self, upload_id: str) -> Upload:
        """Return an upload by its id.

        :raises UploadNotFound: The client has no such upload, or it has expired.
        """
        if not ID_PATTERN.fullmatch(upload_id):
            raise UploadNotFound(upload_id)
        try:
            return self._state.service.look(upload_id, owner=self.owner)
        except UploadExpired:  # the advice to create a new one does not apply to an id
            raise UploadNotFound(upload_id) from None

    def cancel(self, upload: Upload) -> None:
        """Remove an upload, and refuse its late chunks for a while."""
        self.server.chunks.cancel(upload, owner=self.owner)
