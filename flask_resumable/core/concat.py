"""Uploads made of uploads: the ``Upload-Concat`` header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from ..errors import InvalidRequest
from .ids import ID_PATTERN


@dataclass(frozen=True, slots=True)
class Concat:
    """What an upload has to do with concatenation.

    ``raw`` is the header as it came, which HEAD must return unchanged. ``parts`` are the ids of a final upload's
    partial uploads, in order, possibly repeated; empty for a partial upload.
    """

    raw: str
    parts: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether this upload is made of others (else it is a part)."""
        return bool(self.parts)

    @property
    def is_partial(self) -> bool:
        """Whether this upload is a part for others."""
        return not self.parts

    @classmethod
    def from_header(cls, raw: str, *, max_parts: int = 10_000) -> Self:
        """Parse ``partial`` or ``final;<url> <url> ...``, with absolute or relative URLs.

        An id is all that is taken from a URL, by a strict pattern: the rest of it reaches nothing.

        :raises InvalidRequest: Neither, or a URL that does not end in an upload id.

        Spec: tus 1.0 "Upload-Concat".
        """
        kind, semicolon, urls = raw.strip(" \t").partition(";")
        if kind == "partial" and not semicolon:
            return cls(raw)
        parts = urls.split()
        if kind != "final" or not parts:
            raise InvalidRequest("Upload-Concat is neither 'partial' nor 'final;<url> <url> ...'.")
        if len(parts) > max_parts:
            raise InvalidRequest(f"Upload-Concat lists more than {max_parts} uploads.")
        return cls(raw, tuple(_id_of(url) for url in parts))


def _id_of(url: str) -> str:
    try:
        name = urlsplit(url).path.rstrip("/").rpartition("/")[2]
    except ValueError:
        name = ""
    if not ID_PATTERN.fullmatch(name):
        raise InvalidRequest("Upload-Concat lists a URL that is not one of an upload.")
    return name
