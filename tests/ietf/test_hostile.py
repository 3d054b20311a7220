"""Fields made to hurt: never a 5xx, never a redirect, and nothing stored that should not be."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from flask_resumable.protocols.ietf.disposition import filename_of
from flask_resumable.protocols.ietf.disposition import media_type_of
from flask_resumable.protocols.ietf.structured_fields import byte_sequence
from flask_resumable.protocols.ietf.structured_fields import parse_boolean
from flask_resumable.protocols.ietf.structured_fields import parse_bytes
from flask_resumable.protocols.ietf.structured_fields import parse_dictionary
from flask_resumable.protocols.ietf.structured_fields import parse_integer
from tests.conformance.server import Server
from tests.conformance.test_hostile import anything
from tests.conformance.test_hostile import everything_below
from tests.conformance.test_hostile import hostile
from tests.conformance.test_hostile import integers
from tests.conformance.test_hostile import metadatas
from tests.conformance.test_hostile import sane
from tests.conformance.test_hostile import traversals
from tests.conformance.tus_client import UNKNOWN

from .client import ALL
from .client import Ietf
from .client import PARTIAL_UPLOAD
from .client import VERSION
from .conftest import Serve

booleans = st.sampled_from(["?0", "?1", "?1;x", "?2", "1", "?1, ?0", "? 1", "?1;;"]) | anything
names = st.builds(
    str.format,
    st.sampled_from(["{}", "inline; filename={}", 'inline; filename="{}"', "a; filename*=UTF-8''{}"]),
    anything | traversals,
)
digests = st.one_of(
    anything,
    st.binary(max_size=70).map(lambda raw: f"sha-256=:{base64.b64encode(raw).decode()}:"),
    st.sampled_from(
        ["sha-256=:=:", "sha-512=::", "sha-256=?1", "sha-256=(:YQ==: 1)", "a=1,", "sha-256=:" + "A" * 9000 + ":"]
    ),
)
odd_fields = st.fixed_dictionaries(
    {},
    optional={
        VERSION: integers | st.sampled_from([str(version) for version in ALL if version]),
        "Upload-Complete": booleans,
        "Upload-Incomplete": booleans,
        "Upload-Offset": integers,
        "Upload-Length": integers,
        "Upload-Metadata": metadatas,
        "Content-Disposition": names,
        "Content-Type": st.sampled_from([PARTIAL_UPLOAD, "multipart/form-data; boundary=x", "a/b;" * 99]) | anything,
        "Content-Digest": digests,
        "Repr-Digest": digests,
        "Want-Repr-Digest": digests,
        "Idempotency-Key": anything,
        "X-HTTP-Method-Override": st.sampled_from(["PATCH", "DELETE", "PUT", "HEAD"]) | anything,
        "Content-Encoding": st.just("gzip") | anything,
        "Content-Range": anything,
        "Expect": anything,
        "Origin": anything,
        "X-Forwarded-For": anything,
    },
)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
urls = st.sampled_from(["", "mine", UNKNOWN, "/files/%2e%2e", "/files/a/b", "/files/.partial"])


def _start(serve: Serve) -> tuple[Server, str]:
    """An app whose pages may be anywhere, with an upload."""
    server = serve(CORS_ORIGINS="*", MAX_SIZE=1000, MAX_APPEND_SIZE=100, INTERIM_RESPONSES="on")
    return server, Ietf(server.app.test_client(), 10).new(20, b"abc")


def test_no_request_does_harm(serve: Serve) -> None:
    """Whatever the fields are, the answer blames the client, and only files of uploads are written."""
    server, url = _start(serve)

    @hostile
    @given(methods, urls, odd_fields, st.sampled_from([b"", b"abc", b"x" * 30]), st.booleans())
    def check(method: str, where: str, fields: dict[str, str], body: bytes, is_chunked: bool) -> None:
        client = Ietf(server.app.test_client())
        response = client.request(method, url if where == "mine" else where, fields, body=body, chunked=is_chunked)
        sane(response)

    check()
    inside = everything_below(server.folder)
    assert all(re.fullmatch(r"[0-9a-f]{32}|\.partial/[0-9a-f]{32}\.(part|lock)", name) for name in inside)


def test_a_refused_creation_stores_nothing(serve: Serve) -> None:
    """Not a row, not a file; and an accepted one stores what was sent."""
    server, _ = _start(serve)

    @hostile
    @given(odd_fields, st.sampled_from([b"", b"abc"]), st.sampled_from(ALL))
    def check(fields: dict[str, str], body: bytes, version: int | None) -> None:
        client = Ietf(server.app.test_client(), version)
        before = server.kept()
        response = client.request("POST", "", fields, body=body)
        sane(response)
        if response.status_code >= 400:
            assert server.kept() == before
        else:
            found = client.url_of(response)
            assert server.content(found) == body
            server.tus.delete(found)

    check()


def test_a_refused_append_changes_nothing(serve: Serve) -> None:
    """The next good one is accepted; only content beyond the length ends an upload."""
    server, _ = _start(serve)

    @hostile
    @given(odd_fields, st.sampled_from([b"", b"def"]), st.sampled_from(ALL))
    def check(fields: dict[str, str], body: bytes, version: int | None) -> None:
        client = Ietf(server.app.test_client(), version)
        url = Ietf(server.app.test_client(), 6).new(30, b"abc")
        fields = {name: value for name, value in fields.items() if name != "X-HTTP-Method-Override"}
        response = client.request("PATCH", url, fields, body=body)
        sane(response)
        is_stored = response.status_code < 300
        assert server.content(url) == b"abc" + (body if is_stored else b"")
        server.tus.delete(url)

    check()


@settings(max_examples=300, deadline=None, database=None)
@given(anything | names | digests | integers)
def test_fields_are_parsed_or_absent(value: str) -> None:
    """Nothing is raised, and what is found has its type."""
    assert parse_boolean(value) in (True, False, None)
    number = parse_integer(value)
    assert number is None or 0 <= number < 10**15
    for member in parse_dictionary(value).values():
        assert isinstance(parse_bytes(member), bytes | None)
    name, kind = filename_of(value), media_type_of(value)
    assert name is None or (name.isprintable() and "/" not in name and name)
    assert kind is None or kind.isascii()


@settings(max_examples=300, deadline=None, database=None)
@given(st.dictionaries(st.from_regex(r"[a-z*][a-z0-9_\-.*]{0,9}", fullmatch=True), st.binary(max_size=40), max_size=5))
def test_dictionaries_come_back(members: dict[str, bytes]) -> None:
    """As they were written, with parameters, spaces and inner lists around them."""
    for separator in (",", ", ", " \t, "):
        text = separator.join(f"{key}={byte_sequence(value)};a=1; b" for key, value in members.items())
        found = parse_dictionary(text)
        assert {key: parse_bytes(value) for key, value in found.items()} == members
    assert parse_dictionary('a=(1 "x";y ?0), b;c, d=@1, e=%"x%20"') == {
        "a": '(1 "x";y ?0)',
        "b": "?1",
        "d": "@1",
        "e": '%"x%20"',
    }


@pytest.mark.parametrize("member", [":YWI=:", ":YWI:", ":YWJ:"])
def test_bytes_need_no_padding(member: str) -> None:
    """Nor zeros in the bits that are left. (RFC 9651, 4.2.7)"""
    assert parse_bytes(member) == b"ab"


def test_a_blank_after_the_last_member_is_none_of_the_members() -> None:
    """RFC 9651, 4.2.2: tabs, too."""
    assert parse_dictionary("a, b=1 \t") == {"a": "?1", "b": "1"}


@settings(max_examples=300, deadline=None, database=None)
@given(st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/\\"), min_size=1, max_size=80))
def test_file_names_come_back(name: str) -> None:
    """As browsers and Apple's clients write them."""
    assert filename_of(f"inline; filename*=UTF-8''{quote(name, safe='')}") == name
    quoted = name.replace('"', '\\"').encode().decode("latin-1")
    assert filename_of(f'inline; filename="{quoted}"') == name
