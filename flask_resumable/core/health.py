"""The result of one check of an installation."""

from __future__ import annotations

from dataclasses import dataclass

OK = "ok"
WARNING = "warning"
ERROR = "error"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What :meth:`~flask_resumable.FlaskResumable.check` has found in one place.

    It contains no secrets, and nothing that comes from clients.
    """

    name: str
    """What was checked, such as ``"database"``."""
    level: str
    """``"ok"``, ``"warning"`` (it works, but something should be done) or ``"error"`` (uploads fail)."""
    message: str
    """One sentence. If the level is not ``"ok"``, it says what to do."""
