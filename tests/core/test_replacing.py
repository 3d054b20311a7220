"""Changed copies of uploads."""

from __future__ import annotations

import dataclasses

import pytest

from flask_resumable.core.replacing import replace
from flask_resumable.testing.samples import an_upload


def test_a_copy_differs_in_what_was_changed() -> None:
    """It is what ``dataclasses.replace`` returns, and the original stays as it is."""
    upload = an_upload(owner="ann")
    changed = replace(upload, owner="bob", length=None)
    assert changed == dataclasses.replace(upload, owner="bob", length=None)
    assert (upload.owner, upload.length, type(changed)) == ("ann", 10, type(upload))
    assert replace(upload) == upload


def test_a_field_that_does_not_exist_is_refused() -> None:
    """A slip must not add an attribute that nobody reads."""
    with pytest.raises(TypeError, match="Upload has no field lenght"):
        replace(an_upload(), lenght=5)  # type: ignore[call-arg]
