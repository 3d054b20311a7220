"""The settings of tus."""

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
    """The settings of tus 1.0."""

    upload_url: str = setting(checks.url, "/files/", "The URL path of tus.", is_common=False)
    parts_expiration: timedelta = setting(
        checks.seconds,
        timedelta(days=7),
        "How long to keep a part of a concatenation after it last received content. Applies if `EXPIRATION` is `None`, "
        "or sliding and shorter. Once the final upload contains the part, the part is removed within a day.",
    )
    absolute_location: bool = setting(
        checks.flag,
        False,
        "Send a full URL as `Location`, made from the request. With `PUBLIC_URL`, it is always a full URL.",
    )
    require_checksum: bool = setting(checks.flag, False, "Refuse content without an `Upload-Checksum` header.")
    strict_head: bool = setting(checks.flag, False, "Refuse HEAD requests without a `Tus-Resumable` header, too.")
    disabled_extensions: tuple[str, ...] = setting(
        checks.names(*EXTENSIONS), (), "A list of tus extensions to turn off."
    )

    def limits(self) -> Limits:
        """Return the limits for uploads through tus."""
        return replace(ProtocolSettings.limits(self), parts_expiration=self.parts_expiration)
