"""Who asks about which upload of flow.js."""

from __future__ import annotations

from functools import cached_property

from ...core.concat import ID_PATTERN
from ...core.upload import Upload
from ...errors import UploadExpired
from ...errors import UploadNotFound
from ...state import current_state
from ...state import FlowState
from . import messages as flow


class Asker:
    """One request's client. What only the app knows of it, the app is asked once."""

    def __init__(self, state: FlowState) -> None:
        self.state = state
        self._known: tuple[flow.File, str] | None = None

    @cached_property
    def owner(self) -> str | None:
        """Whose uploads these are."""
        return current_state().owner()

    def key(self, file: flow.File) -> str:
        """What the upload of a file is found by."""
        if self._known is None or self._known[0] != file:
            callback = self.state.settings.hash_name_callback
            self._known = file, file.key(self.owner, None if callback is None else str(callback(file)))
        return self._known[1]

    def look(self, file: flow.File) -> Upload | None:
        """The upload of a file, as far as it is."""
        return self.state.keys.look(self.key(file), self.state.limits)

    def find(self, upload_id: str) -> Upload:
        """An upload by its id.

        :raises UploadNotFound: No such upload of this client, or its time is over.
        """
        if not ID_PATTERN.fullmatch(upload_id):
            raise UploadNotFound(upload_id)
        try:
            return current_state().service.look(upload_id, owner=self.owner)
        except UploadExpired:  # what is told of that goes for who may begin anew, under the name of the file
            raise UploadNotFound(upload_id) from None

    def cancel(self, upload: Upload) -> None:
        """Remove an upload, and refuse what comes late for a while."""
        self.state.chunks.cancel(upload, owner=self.owner)
