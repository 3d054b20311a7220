"""tus 1.0, Core Protocol: the integers in headers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from .server import Serve
from .server import Server
from .tus_client import DEFERRED
from .tus_client import refused
from .tus_client import Tus

BAD_INTEGERS = [
    "-1",
    "abc",
    "+5",
    "1_0",
    " 5",
    "5 ",
    "1.0",
    "",
    "0x10",
    "1e3",
    "5, 5",
    "9223372036854775808",
    "99999999999999999999",
    "\u00b2",  # str.isdigit() says yes
    "\u0665".encode().decode("latin-1"),  # an Arabic five, as WSGI spells its bytes
]


def _patch_offset(tus: Tus, url: str, value: str) -> TestResponse:
    return tus.patch(url, value, b"abc")


def _patch_length(tus: Tus, url: str, value: str) -> TestResponse:
    return tus.patch(url, 0, b"abc", {"Upload-Length": value})


def _post_length(tus: Tus, url: str, value: str) -> TestResponse:
    return tus.create(headers={"Upload-Length": value})


@pytest.mark.parametrize("value", BAD_INTEGERS)
@pytest.mark.parametrize("send", [_patch_offset, _patch_length, _post_length])
def test_only_ascii_digits_are_integers(
    server: Server, send: Callable[[Tus, str, str], TestResponse], value: str
) -> None:
    """Upload-Offset and Upload-Length take ASCII digits up to 2^63-1; all else answers 400 and changes nothing."""
    url = server.tus.new(headers=DEFERRED)
    with server.unchanged(url):
        response = send(server.tus, url, value)
    refused(response, 400)


def test_the_largest_integer_is_taken(serve: Serve) -> None:
    """2^63-1 bytes may be announced, and come back unharmed, if the disk is not asked."""
    tus = serve(MIN_FREE_SPACE=None).tus
    url = tus.new(2**63 - 1)
    assert tus.head(url).headers["Upload-Length"] == "9223372036854775807"
    assert tus.patch(url, 0, b"abc").headers["Upload-Offset"] == "3"
    refused(tus.patch(url, 2**63 - 1, b"abc"), 409)


def test_leading_zeros_are_digits(tus: Tus) -> None:
    """Zeros in front change nothing about the number."""
    url = tus.new(headers={"Upload-Length": "0007"})
    assert tus.head(url).headers["Upload-Length"] == "7"
    assert tus.patch(url, "000", b"abc").headers["Upload-Offset"] == "3"
