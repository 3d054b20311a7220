"""The versions of the draft, and in what they differ. If a new draft appears, add a row.

A client says which version it speaks in ``Upload-Draft-Interop-Version``. The RFC will not have that field, so requests
without it are served as the newest version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...core.fields import Fields
from .structured_fields import boolean
from .structured_fields import parse_boolean
from .structured_fields import parse_integer

HEADER = "Upload-Draft-Interop-Version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of the draft, as the server has to follow it."""

    number: int
    draft: str  # the drafts with this number
    completeness: str = "Upload-Complete"  # the field; the first drafts have its opposite
    needs_media_type: bool = True  # whether content that is appended must be application/partial-upload
    may_omit_completeness: bool = False  # whether content completes the upload if it does not say otherwise
    ends_at_length: bool = False  # whether clients take an upload for complete that has reached its length
    refuses_state_in_questions: bool = False  # whether HEAD and DELETE must not have the fields of content
    appended: int = 204  # the status for content after which more will follow
    expired: int = 410  # the status for uploads that have expired
    lifetimes: tuple[str, ...] = ("max-age",)  # what Upload-Limit calls the remaining lifetime
    has_completed_problem: bool = False  # whether "completed-upload" is a problem type
    is_fatal_beyond_length: bool = False  # whether content beyond the length makes the upload invalid
    limits_creation: bool = False  # whether the limits for appended content are also for content of creations

    def is_last(self, fields: Fields) -> bool | None:
        """Return whether a client says that the upload is complete after this content, or ``None``."""
        value = parse_boolean(fields.get(self.completeness))
        return value if value is None else value is not self.is_inverted

    @property
    def is_inverted(self) -> bool:
        """Whether the field says that an upload is *incomplete*."""
        return self.completeness == "Upload-Incomplete"

    def state(self, *, is_complete: bool) -> dict[str, str]:
        """Return the field that says whether an upload is complete."""
        return {self.completeness: boolean(is_complete is not self.is_inverted)}


_EARLY: dict[str, Any] = {
    "may_omit_completeness": True,
    "ends_at_length": True,  # not in the drafts, but tus-js-client and tusd rely on it
    "refuses_state_in_questions": True,
    "appended": 201,
    "expired": 404,
}
VERSIONS = {
    version.number: version
    for version in (
        Version(number=3, draft="01", completeness="Upload-Incomplete", needs_media_type=False, lifetimes=(), **_EARLY),
        Version(number=4, draft="02", needs_media_type=False, lifetimes=(), **_EARLY),
        Version(number=5, draft="03", needs_media_type=False, lifetimes=(), **_EARLY),
        Version(number=6, draft="04, 05", lifetimes=("expires", "max-age"), has_completed_problem=True, **_EARLY),
        Version(number=7, draft="06-08", has_completed_problem=True),
        Version(number=8, draft="09-11", has_completed_problem=True, is_fatal_beyond_length=True),
        Version(number=9, draft="12", is_fatal_beyond_length=True, limits_creation=True),
        Version(number=10, draft="13", is_fatal_beyond_length=True, limits_creation=True),
    )
}
NEWEST = VERSIONS[max(VERSIONS)]
OLDEST = VERSIONS[min(VERSIONS)]


def number_of(fields: Fields) -> int | None:
    """Return the number of the version that a client speaks, or ``None`` if it does not say."""
    return parse_integer(fields.get(HEADER))


def version_of(fields: Fields) -> Version:
    """Return the version in which to understand a request. For numbers that are not supported, it is the newest."""
    number = number_of(fields)
    if number is None and NEWEST.is_last(fields) is None and OLDEST.is_last(fields) is not None:
        return OLDEST
    return NEWEST if number is None else VERSIONS.get(number, NEWEST)


def is_supported(fields: Fields) -> bool:
    """Whether the client says which version it speaks, and that one is supported."""
    return number_of(fields) in VERSIONS
