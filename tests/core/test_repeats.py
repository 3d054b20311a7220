"""Creations that are sent again: how they are recognized, and which of them are refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from typing import Any

import pytest

from flask_resumable.core.checksum import Checksum
from flask_resumable.core.concat import Concat
from flask_resumable.core.grant import Grant
from flask_resumable.core.metadata import UploadMetadata
from flask_resumable.core.ranges import ByteRanges
from flask_resumable.core.repeats import check_same
from flask_resumable.core.repeats import is_wanted
from flask_resumable.core.repeats import parse_key
from flask_resumable.core.repeats import request_key_of
from flask_resumable.core.upload import Creation
from flask_resumable.core.upload import Status
from flask_resumable.core.upload import Upload
from flask_resumable.core.upload import Write
from flask_resumable.errors import InvalidRequest
from flask_resumable.errors import KeyReused
from flask_resumable.errors import TokenRefused

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PART, OTHER = "0" * 32, "1" * 32
AB = UploadMetadata.from_values({"a": "1", "b": "2"})
BA = UploadMetadata.from_values({"b": "2", "a": "1"})
UPLOAD = Upload(id="2" * 32, length=10, metadata=AB, status=Status.ACTIVE, created_at=NOW)
CREATION = Creation(length=10, metadata=BA, idempotency_key="k")
GRANT = Grant(nonce="n", expires_at=NOW)
PARTIAL, FINAL = Concat("partial"), Concat(f"final;{PART} {OTHER}", (PART, OTHER))


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ('"abc"', "abc"),
        ("abc", "abc"),
        ("X-1-X", "X-1-X"),
        ("\t abc \t", "abc"),
        (r'"a\"b\\c"', 'a"b\\c'),
        ('"a b,c;d"', "a b,c;d"),
        ("x" * 255, "x" * 255),
        (f'"{"x" * 255}"', "x" * 255),
    ],
)
def test_keys(sent: str, key: str) -> None:
    """In quotes or without, with what is escaped in quotes."""
    assert parse_key(sent) == key


@pytest.mark.parametrize(
    "sent",
    ["", '""', '"', 'a"b', '"a"b"', r'"\a"', "a b", "a,b", "a;b", "x" * 256, f'"{"x" * 256}"', "é", '"a\n"', "a\n"],
)
def test_what_is_no_key(sent: str) -> None:
    """The error names the header."""
    with pytest.raises(InvalidRequest, match="Idempotency-Key must be a string"):
        parse_key(sent)


def _key(owner: str | None = None, **wishes: Any) -> str | None:
    return request_key_of(replace(CREATION, **wishes), owner)


def test_a_key_finds_the_upload_of_its_owner() -> None:
    """Without one, and for parts, nothing is recognized. Length and metadata are compared later."""
    assert _key() == _key(length=7, metadata=UploadMetadata()) is not None
    different = {_key(), _key("a"), _key("b"), _key(idempotency_key="other"), _key("k", idempotency_key="a")}
    assert len(different) == 5
    assert _key(idempotency_key=None) is None
    assert _key(concat=PARTIAL) is None


def test_a_final_upload_is_recognized_by_its_parts() -> None:
    """In their order, with its metadata in any order, whatever key its client has sent."""
    key = _key(concat=FINAL)
    assert key is not None
    assert _key(concat=FINAL, idempotency_key=None) == _key(concat=FINAL, metadata=AB) == key
    assert _key(concat=replace(FINAL, raw=f"final;/files/{PART} /files/{OTHER}")) == key
    different = {
        key,
        _key(),
        _key("a", concat=FINAL),
        _key(concat=replace(FINAL, parts=(OTHER, PART))),
        _key(concat=FINAL, metadata=UploadMetadata()),
    }
    assert len(different) == 5


def test_a_token_is_a_key() -> None:
    """Whatever else is said."""
    assert _key(grant=GRANT) == _key("a", grant=GRANT, concat=FINAL) == GRANT.request_key
    assert _key(grant=replace(GRANT, nonce="m")) != GRANT.request_key


@pytest.mark.parametrize(
    ("wishes", "key"),
    [
        ({}, "af96d4e39f36b4eb6d21ee5cce885c94c35c4475765066e50ae4e07c5e4a6b78"),
        ({"concat": FINAL}, "b174bf8504bf9c66ccfb2636d3100cfa974b8e9f061642d3d5b011f12e4c0522"),
        ({"grant": GRANT}, "4f9e739860d2d77f06dd992951873fc6ad3f1ba1ebe008634345f8c544b3c158"),
    ],
)
def test_records_of_earlier_versions_are_found(wishes: dict[str, Any], key: str) -> None:
    """This version looks for what they stored; otherwise, a repeated creation would make a second upload."""
    assert _key("me", **wishes) == key


def _check(creation: Creation, **changes: Any) -> None:
    check_same(replace(UPLOAD, **changes), creation, NOW)


def test_a_repetition_has_the_same_length_and_metadata() -> None:
    """The metadata may be in another order, and the length may be left out; what differs is refused."""
    _check(CREATION)
    _check(replace(CREATION, length=None))
    for creation in (replace(CREATION, length=9), replace(CREATION, metadata=UploadMetadata())):
        with pytest.raises(KeyReused, match="Idempotency-Key"):
            _check(creation)
        with pytest.raises(TokenRefused):
            _check(replace(creation, grant=GRANT))
        _check(replace(creation, concat=FINAL))


def test_a_token_is_used_once() -> None:
    """The same request may be sent again, as long as its upload is there."""
    creation = replace(CREATION, grant=GRANT)
    _check(creation)
    _check(creation, expires_at=NOW + timedelta(microseconds=1))
    _check(replace(creation, client_key="c"), client_key="c")
    for changes in (
        {"status": Status.DELETING},
        {"status": Status.GONE},
        {"expires_at": NOW},
        {"client_key": "c"},
    ):
        with pytest.raises(TokenRefused, match="used already"):
            _check(creation, **changes)
        if "client_key" not in changes:
            _check(CREATION, **changes)


@pytest.mark.parametrize("status", Status)
def test_which_content_is_wanted_again(status: Status) -> None:
    """What has bytes that an unfinished upload lacks; with a checksum, only if nothing of it has come."""
    upload = replace(UPLOAD, status=status, received=ByteRanges.prefix(4))
    is_open = status in (Status.NEW, Status.ACTIVE)
    for size, has_more in ((None, True), (5, True), (4, False), (3, False)):
        write = Write(start=0, size=size)
        guarded = replace(write, checksum=Checksum("md5", b""))
        assert is_wanted(upload, write) == (is_open and has_more)
        assert not is_wanted(upload, guarded)
        assert not is_wanted(upload, replace(write, checksum_in_trailer=True))
        assert not is_wanted(replace(upload, received=ByteRanges.prefix(1)), guarded)
        nothing = replace(upload, received=ByteRanges())
        assert is_wanted(nothing, guarded) == is_open
        assert not is_wanted(replace(upload, received=ByteRanges.prefix(10)), write)
