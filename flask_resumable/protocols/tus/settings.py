"""Settings of tus."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace
from datetime import timedelta

from ...core.upload import Limits
from ...settings import checks
from ...settings.base import ProtocolSettings
from ...settings.base import setting
from .messages import EXTENSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class TusSettings(ProtocolSettings):
    """tus 1.0."""

    upload_url: str = setting(checks.url, "/files/", "Where tus listens.", is_common=False)
    parts_expiration: timedelta = setting(
        checks.seconds,
        timedelta(days=7),
        "How long a part of a concatenation waits for the others after its last content, if `EXPIRATION` is `None` or "
        "slides and is shorter. Once a file is made of it, it is removed after a day at the latest.",
    )
    absolute_location: bool = setting(
        checks.flag, False, "Send a full URL as Location. Relative ones work without ProxyFix."
    )
    require_checksum: bool = setting(checks.flag, False, "Refuse content without Upload-Checksum.")
    strict_head: bool = setting(checks.flag, False, "Refuse HEAD without Tus-Resumable, too.")
    disabled_extensions: tuple[str, ...] = setting(checks.names(*EXTENSIONS), (), "tus extensions not to offer.")

    def limits(self) -> Limits:
        """What uploads through tus may be."""
        return replace(ProtocolSettings.limits(self), parts_expiration=self.parts_expiration)
