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

    upload_url: str = setting(checks.url, "/files/", "The URL path of tus.", is_common=False)
    parts_expiration: timedelta = setting(
        checks.seconds,
        timedelta(days=7),
        "How long to keep a part of a concatenation after its last content, if `EXPIRATION` is `None`, or if it slides "
        "and is shorter. Once the part is in a file, it is removed within a day.",
    )
    absolute_location: bool = setting(
        checks.flag, False, "Send a full URL as `Location`. The default, a relative URL, works without ProxyFix."
    )
    require_checksum: bool = setting(checks.flag, False, "Refuse content without an `Upload-Checksum` header.")
    strict_head: bool = setting(checks.flag, False, "Refuse HEAD requests without a `Tus-Resumable` header, too.")
    disabled_extensions: tuple[str, ...] = setting(
        checks.names(*EXTENSIONS), (), "A list of tus extensions to turn off."
    )

    def limits(self) -> Limits:
        """What uploads through tus may be."""
        return replace(ProtocolSettings.limits(self), parts_expiration=self.parts_expiration)
