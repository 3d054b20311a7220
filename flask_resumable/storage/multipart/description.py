"""What the store is told about finished uploads besides their bytes."""

from __future__ import annotations

from collections.abc import Collection

from ...core.disposition import content_disposition
from ...core.disposition import download_name
from ...core.disposition import object_type
from ...core.placement import Place
from ...core.upload import Upload
from .store import ObjectInfo


class Descriptions:
    """Describes objects.

    :param inline_types: Media types that browsers may display.
    """

    def __init__(self, inline_types: Collection[str]) -> None:
        self._inline_types = frozenset(inline_types)

    def of(self, upload: Upload) -> ObjectInfo | None:
        """Return the description of a finished upload, or ``None`` for a part of one, which nobody downloads."""
        if upload.is_partial:
            return None
        content_type, kind = object_type(upload, self._inline_types)
        return ObjectInfo(
            content_type=content_type,
            content_disposition=content_disposition(kind, download_name(upload)),
            parameters=Place.of(upload.storage).parameters,
        )
