"""The keys of objects. They contain nothing of an upload except the name of its bytes."""

from __future__ import annotations

import os
import re
import secrets

from ...core.ids import NAME_PATTERN
from ...core.ids import RANDOM_PATTERN
from ...core.placement import Place
from ...core.upload import Upload

_HELPER = rf"\.partial/(?P<name>{NAME_PATTERN.pattern})/(?:(?:tail|part|chunk)-[0-9a-f-]+|multipart|folder|whole|moved)"

_LONGEST = 1024  # the maximum size of a key, in bytes


class Keys:
    """The keys below one prefix.

    A finished upload is ``<prefix><folder><name>``. Helpers of unfinished uploads, and partial uploads (tus
    concatenation), are below ``<prefix>.partial/<name>/``. The name is ``Upload.stored_as``.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.partial = f"{prefix}.partial/"
        self._target = re.compile(re.escape(prefix) + rf"({RANDOM_PATTERN.pattern})")
        self._helper = re.compile(re.escape(prefix) + _HELPER)

    def target(self, upload: Upload) -> str:
        """Return the key of the finished upload: where it was published, or where the app has moved it."""
        moved_to: str | None = upload.storage.get("moved_to")
        return moved_to or self.published(upload)

    def published(self, upload: Upload) -> str:
        """Return the key at which the upload is published. A partial upload stays below ``.partial/``."""
        name = checked(upload.stored_as)
        if upload.is_partial:
            return self.helper(name, "whole")
        return self.target_in(Place.of(upload.storage).folder, name)

    def target_in(self, folder: str, stored_as: str) -> str:
        """Return the key at which an upload is published in a folder, or in none."""
        return f"{self.prefix}{folder}{'/' if folder else ''}{checked(stored_as)}"

    def chosen(self, target: str | os.PathLike[str]) -> str:
        """Return the key that the app has chosen for a finished upload: below the prefix, or after a ``/``, anywhere.

        :raises ValueError: It is not a valid key, or it is reserved for unfinished uploads.
        """
        given = os.fspath(target)
        key = given[1:] if given.startswith("/") else self.prefix + given
        if any(segment in ("", ".", "..") for segment in key.split("/")) or len(key.encode()) > _LONGEST:
            raise ValueError(f"{given!r} is not a valid key for a finished upload.")
        if key.startswith(self.partial):
            raise ValueError(f"{given!r} is reserved for unfinished uploads.")
        return key

    def helper(self, stored_as: str, name: str) -> str:
        """Return the key of a helper of an unfinished upload."""
        return f"{self.helpers(stored_as)}{name}"

    def helpers(self, stored_as: str) -> str:
        """Return the prefix of the keys of an upload's helpers."""
        return f"{self.partial}{checked(stored_as)}/"

    def owner_of_helper(self, key: str) -> str | None:
        """Return the name of the upload that a helper belongs to, or ``None`` if it is not a helper."""
        match = self._helper.fullmatch(key)
        return match["name"] if match else None

    def owner_of_target(self, key: str) -> str | None:
        """Return the name of the upload that a multipart upload of this key belongs to, or ``None`` if it is not ours.

        A key in a folder does not show this: it could belong to another app whose prefix begins with ours. The key of
        an upload whose id the app chose does not, either.
        """
        match = self._target.fullmatch(key)
        return match[1] if match else self.owner_of_helper(key)


def fresh(kind: str, number: int) -> str:
    """Return a new name for a helper, because existing helpers are never overwritten."""
    return f"{kind}-{number}-{secrets.token_hex(6)}"


def checked(stored_as: str) -> str:
    """Return the name of an upload's bytes, after checking that it is one."""
    if not NAME_PATTERN.fullmatch(stored_as):
        raise ValueError(f"{stored_as!r} is not the name of an upload's bytes.")
    return stored_as
