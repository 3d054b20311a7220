"""What browsers call the files that they fetch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from flask_resumable.core.disposition import content_disposition
from flask_resumable.core.disposition import content_policy


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("report.txt", 'attachment; filename="report.txt"'),
        ("TAX.txt", 'attachment; filename="TAX.txt"'),
        ("grüße.txt", "attachment; filename=\"grue.txt\"; filename*=UTF-8''gr%C3%BC%C3%9Fe.txt"),
        ('a"b.txt', "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
    ],
)
def test_a_name_is_told_in_ascii_and_as_it_is(name: str, value: str) -> None:
    """The true one beside it only where it is another."""
    assert content_disposition("attachment", name) == value


@given(st.text())
def test_no_name_gets_out_of_the_header(name: str) -> None:
    """Whatever the name, it is one header, and read as that name."""
    name = name.encode(errors="ignore").decode()
    value = content_disposition("inline", name)
    assert value.isascii() and value.isprintable()
    kind, options = parse_options_header(value)
    assert (kind, options["filename"]) == ("inline", name)


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/xml", "text/css", "video/x-script", "a"])
def test_what_may_run_scripts_is_in_a_sandbox(kind: str) -> None:
    """Even if the app shows files of this type."""
    assert content_policy(kind) == "default-src 'none'; sandbox"


@pytest.mark.parametrize("kind", ["image/png", "audio/wav", "video/mp4", "application/pdf", "text/plain"])
def test_what_browsers_have_a_viewer_for_may_be_loaded_by_it(kind: str) -> None:
    """It needs the user's cookies, which a sandbox would keep from it."""
    policy = content_policy(kind)
    assert "media-src 'self'" in policy
    assert "sandbox" not in policy and "script" not in policy
