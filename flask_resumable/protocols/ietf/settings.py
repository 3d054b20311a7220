"""The settings of the IETF draft."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...settings import checks
from ...settings.base import ProtocolSettings
from ...settings.base import setting
from .messages import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class IetfSettings(ProtocolSettings):
    """The settings of the IETF draft."""

    upload_url: str = setting(
        checks.url,
        "/files/",
        "The URL path of the IETF draft. The default is the value of `TUS_UPLOAD_URL`.",
        is_common=False,
        otherwise="TUS_UPLOAD_URL",
    )
    public_path: str | None = setting(
        checks.public_path,
        None,
        "The path of the IETF draft below `PUBLIC_URL`, if a proxy renames it. The default is the value of "
        "`TUS_PUBLIC_PATH`, or else `UPLOAD_URL`.",
        is_common=False,
        otherwise="TUS_PUBLIC_PATH",
    )
    absolute_location: bool = setting(
        checks.flag,
        False,
        "Send a full URL as `Location`, made from the request. With `PUBLIC_URL`, it is always a full URL.",
    )
    interim_responses: str = setting(
        checks.choice("off", "auto", "on"),
        "off",
        'Send 104 responses while a request is running, where the server supports that: `"off"`, `"auto"` if the '
        'request does not show any sign of a proxy, or `"on"`.',
    )
    min_size: int = setting(
        checks.size(0, 10**15 - 1),
        0,
        "The smallest upload that is offered as resumable, in bytes. Smaller ones are still accepted.",
    )
    max_append_size: int | None = setting(
        checks.optional_size(1, 10**15 - 1),
        None,
        "The maximum size of the content of one request, in bytes. `None` means no limit.",
    )
    min_append_size: int = setting(
        checks.size(0, 10**15 - 1), 0, "The minimum size of the content of each request but the last, in bytes."
    )

    def mistakes(self, read_before: Sequence[Any]) -> list[str]:
        """List contradictions within this section."""
        found = ProtocolSettings.mistakes(self, read_before)
        if self.max_append_size is not None and self.min_append_size > self.max_append_size:
            found.append("MIN_APPEND_SIZE: must not exceed MAX_APPEND_SIZE")
        return found

    def policy(self) -> Policy:
        """Return what this server allows."""
        return Policy(
            max_size=self.max_size,
            min_size=self.min_size,
            max_append_size=self.max_append_size,
            min_append_size=self.min_append_size,
            lifetime=self.expiration,
            max_metadata=self.max_metadata,
        )
