"""Parts of a concatenation have a time of their own: they wait for each other, and do not stay for ever."""

from __future__ import annotations

from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from werkzeug.test import TestResponse

from .server import Serve
from .server import Server
from .tus_client import final
from .tus_client import PARTIAL
from .tus_client import refused
from .tus_client import words

FOR_EVER: dict[str, Any] = {"EXPIRATION": None}
A_YEAR: dict[str, Any] = {"EXPIRATION": timedelta(days=365)}
SLIDING: dict[str, Any] = {"SLIDING_EXPIRATION": True}
FIXED: dict[str, Any] = {"SLIDING_EXPIRATION": False}


def ends_in(server: Server, response: TestResponse) -> timedelta:
    """How long an upload still has, by what the answer says."""
    return parsedate_to_datetime(response.headers["Upload-Expires"]) - server.clock.now


def clean_up(server: Server, **later: float) -> None:
    """What cron does, some time later."""
    server.clock.advance(**later)
    server.cli("tus", "delete_expired")


@pytest.mark.parametrize("settings", [FOR_EVER, A_YEAR, SLIDING, FIXED, {**A_YEAR, **FIXED}], ids=str)
def test_what_a_file_was_made_of_is_gone_a_day_later(serve: Serve, settings: dict[str, Any]) -> None:
    """However long uploads may take, the space is not taken twice for long; the file stays for ever."""
    server = serve(**settings)
    one, two = server.tus.part(b"abc"), server.tus.part(b"def")
    whole = server.tus.new(headers=final(one, two, one))
    assert ends_in(server, server.tus.head(one)) == timedelta(days=1)
    clean_up(server, hours=23)
    assert server.tus.offset(one) == 3
    clean_up(server, hours=2)
    assert server.files_of(one) == server.files_of(two) == []
    refused(server.tus.head(one), 404)
    clean_up(server, days=4000)
    assert server.finished(whole).read_bytes() == b"abcdefabc"
    assert len(server.dump()) == 1
    assert server.tus.new(headers=final(one, two, one)) == whole


def test_within_that_day_other_files_can_be_made_of_it(serve: Serve) -> None:
    """A part that is used again keeps the end that it has."""
    server = serve(**FOR_EVER)
    part = server.tus.part(b"abc")
    server.tus.new(headers=final(part))
    server.clock.advance(hours=20)
    url = server.tus.new(headers=final(part, part))
    assert ends_in(server, server.tus.head(part)) == timedelta(hours=4)
    assert server.finished(url).read_bytes() == b"abcabc"


@pytest.mark.parametrize("settings", [FOR_EVER, {**FOR_EVER, **FIXED}], ids=str)
@pytest.mark.parametrize("sent", [b"", b"abc", b"abcdef"])
def test_a_part_that_nobody_comes_back_for_expires(serve: Serve, settings: dict[str, Any], sent: bytes) -> None:
    """Where uploads never expire a part does, begun or whole, and every answer says when."""
    server = serve(**settings, PARTS_EXPIRATION=timedelta(hours=5))
    created = server.tus.create(6, PARTIAL)
    url = server.tus.endpoint + created.headers["Location"]
    for response in (created, server.tus.head(url), server.tus.patch(url, 0, sent), server.tus.head(url)):
        assert ends_in(server, response) == timedelta(hours=5)
    other = server.tus.new(6)
    server.tus.patch(other, 0, b"abc")
    clean_up(server, hours=4, minutes=59)
    assert server.tus.offset(url) == len(sent)
    server.clock.advance(minutes=2)
    refused(server.tus.head(url), 410)
    clean_up(server)
    assert server.files_of(url) == []
    assert server.tus.offset(other) == 3
    assert "Upload-Expires" not in server.tus.head(other).headers


@pytest.mark.parametrize("settings", [FOR_EVER, SLIDING], ids=str)
def test_a_part_that_is_whole_waits_for_the_others(serve: Serve, settings: dict[str, Any]) -> None:
    """On a slow link one part is done days before another: while that goes on, nothing is lost."""
    server = serve(**settings)
    early, late = server.tus.part(b"abc"), server.tus.new(8, PARTIAL)
    for offset in range(8):
        clean_up(server, hours=20)
        assert server.tus.patch(late, offset, b"x").status_code == 204
    whole = server.tus.new(headers=final(early, late))
    assert server.finished(whole).read_bytes() == b"abc" + 8 * b"x"


def test_a_part_that_is_coming_in_does_not_expire(serve: Serve) -> None:
    """Each write moves the end of a part where uploads have none, also if they do not slide."""
    server = serve(**FOR_EVER, PARTS_EXPIRATION=timedelta(hours=5))
    url = server.tus.new(8, PARTIAL)
    for offset in range(8):
        clean_up(server, hours=4)
        assert ends_in(server, server.tus.patch(url, offset, b"x")) == timedelta(hours=5)


def test_uploads_with_a_fixed_time_share_it_with_their_parts(serve: Serve) -> None:
    """Without SLIDING_EXPIRATION no write moves the end of a part, whole or not."""
    server = serve(**FIXED)
    part = server.tus.new(6, PARTIAL)
    server.clock.advance(hours=20)
    for offset in (0, 3):
        assert ends_in(server, server.tus.patch(part, offset, b"abc")) == timedelta(hours=4)


def test_the_last_part_of_a_waiting_file_tells_when_it_ends(serve: Serve) -> None:
    """The PATCH by which a final upload becomes complete says for how long its own part is kept from then on."""
    server = serve(**FOR_EVER)
    one, two = server.tus.part(b"abc"), server.tus.new(3, PARTIAL)
    whole = server.tus.new(headers=final(one, two))
    assert ends_in(server, server.tus.head(one)) == timedelta(days=7)
    answer = server.tus.patch(two, 0, b"def")
    assert [ends_in(server, told) for told in (answer, server.tus.head(two), server.tus.head(one))] == [
        timedelta(days=1)
    ] * 3
    assert server.finished(whole).read_bytes() == b"abcdef"


def test_expiration_is_offered_as_long_as_anything_expires(serve: Serve) -> None:
    """Without EXPIRATION parts still do; without concatenation as well, nothing does."""
    assert "expiration" in words(serve(**FOR_EVER).tus.options().headers["Tus-Extension"])
    without = serve(**FOR_EVER, DISABLED_EXTENSIONS=["concatenation"])
    assert "expiration" not in words(without.tus.options().headers["Tus-Extension"])
