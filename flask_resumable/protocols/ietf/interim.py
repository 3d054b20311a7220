"""Sends 104 responses: where the upload is, before its content is read, and how much of it is stored."""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from ...core.fields import Fields
from ...core.upload import Upload
from ...wsgi.interim import send_interim
from .versions import is_supported

STATUS = 104
REASON = "Upload Resumption Supported"
# Seconds before each progress response. They are few, because some clients give up after five interim responses.
INTERVALS = (5.0, 15.0, 60.0)
# What proxies add to requests. Some proxies add nothing, so that their absence proves nothing.
PROXY_MARKS = (
    "HTTP_VIA",
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
    "HTTP_CDN_LOOP",
)


class Announcer:
    """Sends the 104 responses of one request; implements :class:`~flask_resumable.interfaces.Watch`.

    :param location: Returns the URL of an upload. Without it, the request is not a creation.
    :param limits: Returns ``Upload-Limit`` for an upload.
    """

    def __init__(
        self,
        environ: dict[str, Any],
        version_headers: Mapping[str, str],
        location: Callable[[Upload], str] | None = None,
        limits: Callable[[Upload], Mapping[str, str]] | None = None,
    ) -> None:
        self._environ = environ
        self._version_headers = version_headers
        self._location = location
        self._limits = limits
        self._intervals = iter(INTERVALS)
        self.every = next(self._intervals)

    def announce(self, upload: Upload) -> None:
        """Tell where the upload is."""
        if self._location is None or self._limits is None:
            return
        headers = {"Location": self._location(upload), **self._limits(upload), **self._version_headers}
        send_interim(self._environ, STATUS, REASON, headers)

    def tell(self, upload: Upload) -> None:
        """Tell how much of the upload is stored. Never repeats the URL."""
        self.every = next(self._intervals, math.inf)
        send_interim(self._environ, STATUS, REASON, {"Upload-Offset": str(upload.offset), **self._version_headers})


def may_announce(setting: str, environ: Mapping[str, Any], fields: Fields) -> bool:
    """Whether the client understands 104 responses, and they probably reach it."""
    if setting == "off" or not is_supported(fields):
        return False
    return setting == "on" or not any(mark in environ for mark in PROXY_MARKS)
