"""A repository whose calls are measured."""

from __future__ import annotations

from typing import cast

from ..interfaces import StateRepository
from ..interfaces.observer import Kind
from ..interfaces.observer import Observer
from .timed import Timed

# Not those that mainly wait for a hook of the app, or only return a connection.
_OPERATIONS = (
    "add",
    "add_within",
    "amend",
    "awaiting",
    "claim",
    "claim_free",
    "digest",
    "expired",
    "find",
    "find_request",
    "get",
    "ids_with_unfinished_bytes",
    "instance",
    "instances",
    "leave_message",
    "list",
    "mark",
    "messages",
    "pending",
    "rehearse_removal",
    "release",
    "remember_digest",
    "renew",
    "save",
    "save_progress",
)


def observed_repository(repository: StateRepository, observer: Observer) -> StateRepository:
    """Return a repository that tells ``observer`` how long its calls take."""
    return cast(StateRepository, Timed(repository, observer, Kind.DATABASE, _OPERATIONS))
