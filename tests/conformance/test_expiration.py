"""tus 1.0, Expiration."""

from __future__ import annotations

import locale
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from datetime import UTC
from email.utils import parsedate_to_datetime

import pytest

from .server import EXPIRED
from .server import id_of
from .server import Serve
from .server import Server
from .server import START
from .tus_client import Body
from .tus_client import checksum
from .tus_client import DEFERRED
from .tus_client import PARTIAL
from .tus_client import refused
from .tus_client import words

TOMORROW = "Tue, 05 May 2026 12:00:00 GMT"


def test_it_is_offered_when_uploads_may_expire(serve: Serve) -> None:
    """expiration is listed exactly when unfinished uploads may be removed."""
    assert "expiration" in words(serve().tus.options().headers["Tus-Extension"])
    never = serve(
        EXPIRATION=None, DISABLED_EXTENSIONS=["concatenation"]
    )  # parts of a concatenation expire all the same
    assert "expiration" not in words(never.tus.options().headers["Tus-Extension"])


def test_without_it_nothing_expires(serve: Serve) -> None:
    """With EXPIRATION None an upload waits for ever, and no answer speaks of an end."""
    server = serve(EXPIRATION=None)
    created = server.tus.create(6)
    url = server.tus.endpoint + created.headers["Location"]
    server.clock.advance(days=4000)
    server.cli("tus", "delete_expired")
    answers = [created, server.tus.head(url), server.tus.patch(url, 0, b"abc")]
    assert [response.status_code for response in answers] == [201, 200, 204]
    assert not [response for response in answers if "Upload-Expires" in response.headers]


def test_creation_and_every_patch_say_when(server: Server) -> None:
    """Upload-Expires is on the answers to POST and PATCH of an unfinished upload."""
    tus = server.tus
    created = tus.create(6)
    assert created.headers["Upload-Expires"] == TOMORROW
    url = tus.endpoint + created.headers["Location"]
    server.clock.advance(hours=5)
    assert tus.patch(url, 0, b"abc").headers["Upload-Expires"] == "Tue, 05 May 2026 17:00:00 GMT"
    assert tus.create_with(b"abc", 6).headers["Upload-Expires"] == "Tue, 05 May 2026 17:00:00 GMT"


@pytest.mark.parametrize(
    ("offset", "headers", "status"),
    [(1, {}, 409), (0, {"Upload-Checksum": checksum(b"other")}, 460), (0, {"Upload-Length": "6"}, 400)],
)
def test_refused_patches_say_when_too(server: Server, offset: int, headers: dict[str, str | None], status: int) -> None:
    """Every PATCH response of an upload that is going to expire has Upload-Expires, a refusal included."""
    url = server.tus.new(6)
    response = server.tus.patch(url, offset, b"abc", headers)
    refused(response, status)
    assert response.headers["Upload-Expires"] == TOMORROW


def test_a_finished_upload_does_not_say_when(server: Server) -> None:
    """The PATCH that completes, and all after it, have no Upload-Expires: nothing will expire."""
    tus = server.tus
    url = tus.new(3)
    assert "Upload-Expires" not in tus.patch(url, 0, b"abc").headers
    assert "Upload-Expires" not in tus.patch(url, 3).headers
    assert "Upload-Expires" not in tus.create_with(b"abc", 3).headers
    assert "Upload-Expires" not in tus.create(0).headers


def test_a_fixed_end_does_not_move(serve: Serve) -> None:
    """Without SLIDING_EXPIRATION, the time counts from the creation."""
    server = serve(SLIDING_EXPIRATION=False)
    url = server.tus.new(6)
    server.clock.advance(hours=5)
    assert server.tus.patch(url, 0, b"abc").headers["Upload-Expires"] == TOMORROW
    server.clock.advance(hours=20)
    refused(server.tus.patch(url, 3, b"def"), 410)


@pytest.mark.parametrize("is_checked", [False, True])
def test_an_upload_does_not_expire_while_content_arrives(serve: Serve, is_checked: bool) -> None:
    """A PATCH may take longer than EXPIRATION, whoever looks at the upload or cleans up in the meantime."""
    lifetime = timedelta(seconds=10)
    server = serve(EXPIRATION=lifetime)
    url = server.tus.new(9)
    seen = []

    def later() -> None:
        server.clock.now += lifetime * 0.7
        server.cli("tus", "delete_expired")
        seen.append(server.tus.head(url).status_code)

    headers = {"Upload-Checksum": checksum(b"abcdef")} if is_checked else {}
    answer = server.tus.patch(url, 0, Body(later, b"abc", later, later, b"d", later, b"ef"), headers, announced=6)
    assert (answer.status_code, seen) == (204, [200] * 4)
    expected = (server.clock.now + lifetime).replace(microsecond=0)
    assert parsedate_to_datetime(answer.headers["Upload-Expires"]) == expected
    assert parsedate_to_datetime(server.tus.head(url).headers["Upload-Expires"]) == expected
    server.clock.now += lifetime * 0.7
    assert server.tus.patch(url, 6, b"ghi").status_code == 204
    assert server.finished(url).read_bytes() == b"abcdefghi"


def test_not_every_write_changes_the_end(server: Server) -> None:
    """An end that moved less than a minute ago stays, because an index would have to change."""
    url = server.tus.new(9)
    server.clock.advance(seconds=59)
    assert server.tus.patch(url, 0, b"abc").headers["Upload-Expires"] == TOMORROW
    server.clock.advance(seconds=1)
    assert server.tus.patch(url, 3, b"def").headers["Upload-Expires"] == "Tue, 05 May 2026 12:01:00 GMT"


def test_a_sliding_end_moves_with_every_patch(server: Server) -> None:
    """Each PATCH gives the upload its full time again."""
    tus = server.tus
    url = tus.new(9)
    for offset in (0, 3):
        server.clock.advance(hours=20)
        expected = server.clock.now + timedelta(days=1)
        assert parsedate_to_datetime(tus.patch(url, offset, b"abc").headers["Upload-Expires"]) == expected
        assert parsedate_to_datetime(tus.head(url).headers["Upload-Expires"]) == expected
    server.clock.advance(**EXPIRED)
    refused(tus.head(url), 410)


@pytest.fixture(params=["Asia/Tokyo", "America/St_Johns", "UTC"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The host's time zone."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def test_the_time_is_gmt_wherever_the_server_stands(zone: str, server: Server) -> None:
    """Upload-Expires is an IMF-fixdate in GMT, whatever the host's time zone."""
    created = server.tus.create(6)
    url = server.tus.endpoint + created.headers["Location"]
    for response in (created, server.tus.head(url), server.tus.patch(url, 0, b"abc")):
        assert response.headers["Upload-Expires"] == TOMORROW
    server.clock.advance(hours=23, minutes=59)
    assert server.tus.head(url).status_code == 200
    server.clock.advance(minutes=2)
    assert server.tus.head(url).status_code == 410


@pytest.fixture
def german() -> Iterator[None]:
    """A host that speaks German about time."""
    before = locale.setlocale(locale.LC_TIME)
    for name in ("de_DE.UTF-8", "de_DE.utf8", "de_DE"):
        try:
            locale.setlocale(locale.LC_TIME, name)
        except locale.Error:
            continue
        yield
        locale.setlocale(locale.LC_TIME, before)
        return
    pytest.skip("this host has no German locale")


def test_the_time_is_english_whatever_the_locale(german: None, server: Server) -> None:
    """Day and month names are the protocol's, not the host's."""
    assert server.tus.create(6).headers["Upload-Expires"] == TOMORROW


@pytest.mark.parametrize("lifetime", [timedelta(seconds=1), timedelta(days=30), timedelta(days=400)])
def test_the_format_is_the_imf_fixdate(serve: Serve, lifetime: timedelta) -> None:
    """Two-digit day, English names, four-digit year, GMT; and it is START plus the lifetime."""
    value = serve(EXPIRATION=lifetime).tus.create(6).headers["Upload-Expires"]
    assert re.fullmatch(r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT", value)
    assert parsedate_to_datetime(value).astimezone(UTC) == START + lifetime


@pytest.mark.parametrize("sent", [b"", b"abc"])
def test_an_expired_upload_is_gone_before_and_after_the_cleanup(server: Server, sent: bytes) -> None:
    """HEAD and PATCH answer 410 while the row is there, 404 once it is forgotten."""
    tus = server.tus
    url = tus.new(6)
    tus.patch(url, 0, sent)
    server.clock.advance(**EXPIRED)
    before = server.kept(), list(server.hooks.calls)
    for response in (tus.head(url), tus.patch(url, len(sent), b"def")):
        refused(response, 410)
        assert "Upload-Offset" not in response.headers
    assert (server.kept(), list(server.hooks.calls)) == before
    server.cli("tus", "delete_expired")
    refused(tus.head(url), 404)
    refused(tus.patch(url, len(sent), b"def"), 404)
    assert server.files_of(url) == []
    assert server.dump() == []


def test_up_to_the_last_second_it_can_be_finished(server: Server) -> None:
    """The time given is given in full."""
    url = server.tus.new(6)
    server.clock.advance(hours=23, minutes=59, seconds=59)
    server.cli("tus", "delete_expired")
    assert server.tus.patch(url, 0, b"abcdef").status_code == 204
    assert server.finished(url).read_bytes() == b"abcdef"


def test_a_partial_upload_expires_too(server: Server) -> None:
    """An unfinished part is an unfinished upload."""
    url = server.tus.new(6, PARTIAL)
    server.clock.advance(**EXPIRED)
    refused(server.tus.head(url), 410)


@pytest.mark.parametrize("content", [b"", b"abc"])
def test_a_finished_upload_never_expires(server: Server, content: bytes) -> None:
    """Neither the clock nor the cleanup touches a finished file."""
    tus = server.tus
    url = tus.upload(content)
    server.clock.advance(days=4000)
    server.cli("tus", "delete_expired")
    response = tus.head(url)
    assert response.status_code == 200
    assert response.headers["Upload-Offset"] == str(len(content))
    assert "Upload-Expires" not in response.headers
    assert server.finished(url).read_bytes() == content
    assert tus.patch(url, len(content)).status_code == 204
    assert "pre_delete" not in server.hooks.names()


def test_a_file_waiting_for_its_hook_does_not_expire(server: Server) -> None:
    """Every byte arrived in time: a failing on_complete may be made up later, and the file waits for it."""

    def fail(upload: object) -> None:
        raise RuntimeError

    url = server.tus.new(3)
    server.hooks.during["on_complete"] = fail
    server.tus.patch(url, 0, b"abc")
    del server.hooks.during["on_complete"]
    server.clock.advance(**EXPIRED)
    server.cli("tus", "delete_expired")
    assert server.tus.head(url).status_code == 200
    assert server.finished(url).read_bytes() == b"abc"


def test_an_expired_upload_can_be_deleted(server: Server) -> None:
    """DELETE of an expired upload that is still there answers 204 and frees it."""
    url = server.tus.new(6)
    server.tus.patch(url, 0, b"abc")
    server.clock.advance(**EXPIRED)
    assert server.tus.delete(url).status_code == 204
    assert server.tus.head(url).status_code == 404
    assert server.files_of(url) == []


def test_cleanup_frees_everything_and_only_what_expired(server: Server) -> None:
    """delete_expired removes rows, bytes and fences of expired uploads, and nothing else; twice is as good as once."""
    tus = server.tus
    old = [tus.new(6), tus.new(6), tus.new(headers=DEFERRED)]
    for url in old[1:]:
        tus.patch(url, 0, b"abc")
    done = tus.upload(b"abc")
    server.clock.advance(hours=12)
    young = tus.new(6)
    tus.patch(young, 0, b"abc")
    server.clock.advance(hours=12, seconds=1)
    for _ in range(2):
        server.cli("tus", "delete_expired")
        assert len(server.dump()) == 2
        assert {name for name in server.files() if id_of(young) not in name and id_of(done) not in name} == set()
        assert tus.offset(young) == 3
        assert server.content(young) == b"abc"
        assert server.finished(done).read_bytes() == b"abc"


def test_cleanup_in_batches_ends_with_the_same(server: Server) -> None:
    """However small the batch, all that expired goes."""
    before = server.kept()
    for _ in range(5):
        server.tus.create_with(b"abc", 6)
    server.clock.advance(**EXPIRED)
    for _ in range(5):
        server.cli("tus", "delete_expired", "--batch", "1")
    assert server.kept() == before


def test_a_dry_run_removes_nothing(server: Server) -> None:
    """--dry-run only tells."""
    server.tus.create_with(b"abc", 6)
    server.clock.advance(**EXPIRED)
    before = server.dump(), server.files()
    server.cli("tus", "delete_expired", "--dry-run")
    assert (server.dump(), server.files()) == before


def test_cleanup_skips_an_upload_that_is_being_written(serve: Serve) -> None:
    """An upload that expires while its bytes arrive is left to the request that holds it."""
    server = serve(EXPIRATION=timedelta(seconds=10), LEASE=30)
    tus = server.tus
    url = tus.new(6)

    def cleanup() -> None:
        server.clock.advance(seconds=15)
        server.cli("tus", "delete_expired")

    response = tus.patch(url, 0, Body(b"abc", cleanup, b"def"), announced=6)
    assert response.status_code == 204
    assert server.finished(url).read_bytes() == b"abcdef"
    assert server.hooks.count("on_complete") == 1


def test_cleanup_takes_an_upload_whose_holder_fell_silent(serve: Serve) -> None:
    """A claim runs out, too: a writer that has not been heard of for many leases does not keep an expired upload."""
    server = serve(EXPIRATION=timedelta(seconds=10), LEASE=30)
    tus = server.tus
    before = server.kept()[0]
    url = tus.new(6)

    def cleanup() -> None:
        server.clock.advance(seconds=500)
        server.cli("tus", "delete_expired")

    response = tus.patch(url, 0, Body(b"abc", cleanup, b"def"), announced=6)
    assert response.status_code in {404, 410, 423}
    assert server.kept()[0] == before
    assert not [name for name in server.files_of(url) if not name.endswith(".lock")]
    assert server.hooks.count("on_complete") == 0
