"""Names of objects. Nothing that a client says becomes part of one, except an id."""

from __future__ import annotations

import os
import re
import secrets

from ...core.ids import ID_PATTERN
from ...core.placement import Place
from ...core.upload import Upload

_HELPER = rf"\.partial/({ID_PATTERN.pattern})/(?:(?:tail|part|chunk)-[0-9a-f-]+|multipart|folder|whole|moved)"

_LONGEST = 1024  # bytes of a key


class Keys:
    """The keys below one prefix.

    A finished upload is ``<prefix><folder><id>``. All that is needed on the way there, and parts for a concatenation,
    is below ``<prefix>.partial/<id>/``.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.partial = f"{prefix}.partial/"
        self._target = re.compile(re.escape(prefix) + rf"({ID_PATTERN.pattern})")
        self._helper = re.compile(re.escape(prefix) + _HELPER)

    def target(self, upload: Upload) -> str:
        """Where the finished upload is: where it is published, unless the app has moved it."""
        moved_to: str | None = upload.storage.get("moved_to")
        return moved_to or self.published(upload)

    def published(self, upload: Upload) -> str:
        """Where the upload is published. A part for a concatenation never is: it stays with what is unfinished."""
        upload_id = checked(upload.id)
        if upload.is_partial:
            return self.helper(upload_id, "whole")
        return self.target_in(Place.of(upload.storage).folder, upload_id)

    def target_in(self, folder: str, upload_id: str) -> str:
        """Where an upload with this id is published in a folder, or in none."""
        return f"{self.prefix}{folder}{'/' if folder else ''}{checked(upload_id)}"

    def chosen(self, target: str | os.PathLike[str]) -> str:
        """A key for a finished upload that the app has chosen: below the prefix, or with ``/`` in front, anywhere.

        :raises ValueError: It is not a valid key, or it is reserved for unfinished uploads.
        """
        given = os.fspath(target)
        key = given[1:] if given.startswith("/") else self.prefix + given
        if any(segment in ("", ".", "..") for segment in key.split("/")) or len(key.encode()) > _LONGEST:
            raise ValueError(f"{given!r} is not a valid key for a finished upload.")
        if key.startswith(self.partial):
            raise ValueError(f"{given!r} is reserved for unfinished uploads.")
        return key

    def helper(self, upload_id: str, name: str) -> str:
        """What an upload needs on its way."""
        return f"{self.helpers(upload_id)}{name}"

    def helpers(self, upload_id: str) -> str:
        """What the keys of all that an upload needs on its way begin with."""
        return f"{self.partial}{checked(upload_id)}/"

    def id_of_helper(self, key: str) -> str | None:
        """The upload that this object belongs to, if it is one of ours."""
        match = self._helper.fullmatch(key)
        return match[1] if match else None

    def id_of_target(self, key: str) -> str | None:
        """The upload that a multipart upload of this key belongs to, if it is one of ours.

        One in a folder is not known by its key: it could be of another app, with a prefix that is longer than ours.
        """
        match = self._target.fullmatch(key)
        return match[1] if match else self.id_of_helper(key)


def fresh(kind: str, number: int) -> str:
    """A name for a helper that was never used before: an object that is there is never written again."""
    return f"{kind}-{number}-{secrets.token_hex(6)}"


def checked(upload_id: str) -> str:
    """An id, and nothing else."""
    if not ID_PATTERN.fullmatch(upload_id):
        raise ValueError(f"{upload_id!r} is not an upload id.")
    return upload_id
