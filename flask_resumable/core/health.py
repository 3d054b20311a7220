"""The result of one check of an installation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta

OK = "ok"
WARNING = "warning"
ERROR = "error"

_SKEW = timedelta(seconds=5)  # by which two clocks may differ


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
    code: str | None = None
    """What is wrong, for programs, such as ``"clock_differs"``. ``None`` if the level is ``"ok"``."""


def clock_result(name: str, whose: str, theirs: datetime, earliest: datetime, latest: datetime) -> CheckResult:
    """Compare another clock with ours.

    :param whose: What the clock belongs to, as in "the database".
    :param earliest: Our time before we asked for theirs.
    :param latest: Our time after that.
    """
    ahead, late = theirs - latest, earliest - theirs
    if max(ahead, late) <= _SKEW:
        return CheckResult(name, OK, f"The clock of {whose} agrees with that of this machine.")
    seconds = f"{max(ahead, late).total_seconds():.0f} seconds {'ahead of' if ahead > late else 'behind'}"
    text = f"The clock of {whose} is {seconds} that of this machine: synchronize both (NTP)."
    return CheckResult(name, WARNING, text, "clock_differs")
