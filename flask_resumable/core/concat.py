"""Concatenation: the ``Upload-Concat`` header."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from ..errors import InvalidRequest
from .ids import ID_PATTERN

MAX_PARTS = 10_000


@dataclass(frozen=True, slots=True)
class Concat:
    """The role of an upload in a concatenation.

    ``raw`` is the header as it was sent, which HEAD must return unchanged. ``parts`` has the ids of a final upload's
    partial uploads, in order and possibly repeated. It is empty for a partial upload.
    """

    raw: str
    parts: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether this upload is made of partial uploads."""
        return bool(self.parts)

    @property
    def is_partial(self) -> bool:
        """Whether this upload is a part of final uploads."""
        return not self.parts

    @classmethod
    def from_header(cls, raw: str) -> Self:
        """Parse ``partial`` or ``final;<url> <url> ...``, with absolute or relative URLs.

        Only the id is taken from a URL, by a strict pattern. The rest of the URL is not used for anything.

        :raises InvalidRequest: The header has another form, a URL does not end with the id of an upload, or there are
            more than 10,000 of them.

        Spec: tus 1.0 "Upload-Concat".
        """
        kind, semicolon, urls = raw.strip(" \t").partition(";")
        if kind == "partial" and not semicolon:
            return cls(raw)
        parts = urls.split()
        if kind != "final" or not parts:
            raise InvalidRequest("Upload-Concat must be 'partial' or 'final;<url> <url> ...'.")
        if len(parts) > MAX_PARTS:
            raise InvalidRequest(f"Upload-Concat lists more than {MAX_PARTS} uploads; use fewer parts.")
        return cls(raw, tuple(_id_of(url) for url in parts))


def _id_of(url: str) -> str:
    with suppress(ValueError):  # a malformed URL
        name = urlsplit(url).path.rstrip("/").rpartition("/")[2]
        if ID_PATTERN.fullmatch(name):
            return name
    raise InvalidRequest("Upload-Concat lists a URL that is not the URL of an upload.")
