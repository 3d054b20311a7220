"""Mistakes that the histories must show, each made on purpose in all processes.

A mistake whose window is too short to be hit in a few histories waits a moment in it.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import bindparam
from sqlalchemy import update

from flask_resumable.core.upload import Upload
from flask_resumable.repositories.sql.records import Records
from flask_resumable.repositories.sql.statements import Statements
from flask_resumable.storage.local import fence

STALE = 0.03  # seconds


def _unconditional(*names: str) -> Callable[[], None]:
    """Let statements change the record whatever it has become since it was read."""

    def make() -> None:
        begin = Statements.__init__

        def init(self: Statements, table: Any, column: Any) -> None:
            begin(self, table, column)
            for name in names:
                values = getattr(self, name)._values
                setattr(self, name, update(table).where(column["id"] == bindparam("the_id")).values(values))

        Statements.__init__ = init  # type: ignore[method-assign]

    return make


def _saves_are_late_and_unconditional() -> None:
    """Save a moment later, whoever has taken the upload over by then."""
    _unconditional("save")()
    save = Records.save

    def save_late(self: Records, *arguments: Any, **more: Any) -> None:
        time.sleep(STALE)
        save(self, *arguments, **more)

    Records.save = save_late  # type: ignore[method-assign]


def _leases_are_ignored() -> None:
    """Take every claim for one that has run out."""
    Upload.is_claimed = lambda self, now: False  # type: ignore[method-assign]


def _reads_are_stale() -> None:
    """Answer from what was read a moment ago."""
    get, kept = Records.get, dict[str, tuple[float, Upload]]()

    def get_stale(self: Records, upload_id: str) -> Upload:
        at, upload = kept.get(upload_id, (0.0, None))
        if upload is None or time.monotonic() - at > STALE:
            upload = get(self, upload_id)
            kept[upload_id] = time.monotonic(), upload
        return upload

    Records.get = get_stale  # type: ignore[method-assign]


def _the_fence_is_open() -> None:
    """Let a writer write whose number is not the newest."""

    def enter(self: Any) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    fence._Held.__enter__ = enter  # type: ignore[method-assign]


def _the_fence_is_not_raised() -> None:
    """Begin to write without locking the older writers out."""
    fence.Fence.raise_to = lambda self, number, progress=None: None  # type: ignore[method-assign]
    fence._Held.__enter__ = lambda self: None  # type: ignore[method-assign]
    fence._Held.__exit__ = lambda self, *error: None  # type: ignore[method-assign]


# The name of each mistake, what makes it, and the layer that must show it.
MUTANTS: dict[str, tuple[Callable[[], None], str]] = {
    "a claim does not check the version": (_unconditional("claim"), "records"),
    "a save does not check the fence": (_unconditional("save"), "records"),
    "progress is told without checking the version": (_unconditional("save_progress"), "records"),
    "a release does not check the fence": (_unconditional("release"), "records"),
    "a change without a claim does not check the version": (_unconditional("amend"), "records"),
    "leases are not respected": (_leases_are_ignored, "records"),
    "reads are stale": (_reads_are_stale, "records"),
    "a save does not check the fence, seen by requests": (_saves_are_late_and_unconditional, "requests"),
    "the fence lets an older writer write": (_the_fence_is_open, "requests"),
    "the fence is not raised": (_the_fence_is_not_raised, "requests"),
}


def make_mistake(name: str | None) -> None:
    """Make a mistake in this process, or none."""
    if name:
        MUTANTS[name][0]()
