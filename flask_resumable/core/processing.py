"""What the app does with a complete upload, and how far it is. The app decides; ``Status`` does not depend on it."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

MAX_REASON = 500  # characters
RETRY_AFTER = 5  # seconds after which a client may ask again


class ProcessingState(enum.Enum):
    """How far the app's processing of an upload is."""

    PROCESSING = "processing"  # the file must not be downloaded yet
    READY = "ready"
    FAILED = "failed"  # the file cannot be downloaded


@dataclass(frozen=True, slots=True)
class Processing:
    """The state of the app's processing, and for ``FAILED`` the reason, in one line for the person who uploads."""

    state: ProcessingState
    reason: str | None = None

    @classmethod
    def of(cls, state: str, reason: str | None) -> Self:
        """Check what the app says.

        :raises ValueError: There is no such state, or a reason for anything but a failure.
        """
        known = [known.value for known in ProcessingState]
        if state not in known:
            raise ValueError(f"{state!r} is not a state of processing; use {', '.join(map(repr, known))}.")
        if reason is not None and state != ProcessingState.FAILED.value:
            raise ValueError(f"Only 'failed' has a reason, not {state!r}.")
        if reason is not None:
            shown = (character if character.isprintable() else " " for character in reason)
            reason = " ".join("".join(shown).split())[:MAX_REASON] or None
        return cls(ProcessingState(state), reason)

    def to_json(self) -> dict[str, str | None]:
        """Return the state and the reason for a JSON response."""
        return {"state": self.state.value, "reason": self.reason}

    def headers(self) -> dict[str, str]:
        """Return the header fields that tell clients. The reason is percent-encoded UTF-8."""
        reason = {} if self.reason is None else {"Upload-Processing-Reason": quote(self.reason, safe="")}
        return {"Upload-Processing": self.state.value, **reason}


def processing_headers(processing: Processing | None) -> dict[str, str]:
    """Return the header fields about the app's processing, if it has said anything."""
    return {} if processing is None else processing.headers()


HEADERS = ("Upload-Processing", "Upload-Processing-Reason")


class Mark:
    """What a hook says about the upload that it was called for. It is saved when the hook returns."""

    def __init__(self, upload_id: str) -> None:
        self.upload_id = upload_id
        self.processing: Processing | None = None


_mark: ContextVar[Mark | None] = ContextVar("resumable_mark", default=None)


@contextmanager
def collecting_mark(upload_id: str) -> Iterator[Mark]:
    """Collect what a hook says about this upload until the context ends, for a repository to save."""
    token = _mark.set(Mark(upload_id))
    try:
        mark = _mark.get()
        assert mark is not None
        yield mark
    finally:
        _mark.reset(token)


def mark_in_hook(upload_id: str, processing: Processing) -> bool:
    """Note what a running hook says about its upload. Return whether a hook of this upload is running."""
    mark = _mark.get()
    if mark is None or mark.upload_id != upload_id:
        return False
    mark.processing = processing
    return True
