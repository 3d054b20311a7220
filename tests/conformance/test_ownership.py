"""An upload belongs to who created it: for others it does not exist, on every verb."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from werkzeug.test import TestResponse

from .server import EXPIRED
from .server import id_of
from .server import Serve
from .server import Server
from .tus_client import Body
from .tus_client import checksum
from .tus_client import final
from .tus_client import metadata
from .tus_client import OCTETS
from .tus_client import OVERRIDE
from .tus_client import PARTIAL
from .tus_client import refused
from .tus_client import Tus
from .tus_client import UNKNOWN

Attempt = Callable[[Tus, str], TestResponse]
CHUNK = {"Content-Type": OCTETS, "Upload-Offset": "0"}

ATTEMPTS: dict[str, Attempt] = {
    "head": lambda tus, url: tus.head(url),
    "head without version": lambda tus, url: tus.head(url, {"Tus-Resumable": None}),
    "get": lambda tus, url: tus.get(url),
    "get range": lambda tus, url: tus.get(url, {"Range": "bytes=0-0"}),
    "get if none match": lambda tus, url: tus.get(url, {"If-None-Match": "*"}),
    "patch": lambda tus, url: tus.patch(url, 0, b"abc"),
    "patch at the offset": lambda tus, url: tus.patch(url, 3, b"def"),
    "patch empty": lambda tus, url: tus.patch(url, 3),
    "patch too much": lambda tus, url: tus.patch(url, 3, b"x" * 99),
    "patch with length": lambda tus, url: tus.patch(url, 3, b"def", {"Upload-Length": "6"}),
    "patch with checksum": lambda tus, url: tus.patch(url, 3, b"def", {"Upload-Checksum": checksum(b"x")}),
    "patch chunked": lambda tus, url: tus.patch(url, 3, b"def", chunked=True),
    "delete": lambda tus, url: tus.delete(url),
    "head by post": lambda tus, url: tus.request("POST", url, headers={OVERRIDE: "HEAD"}),
    "patch by post": lambda tus, url: tus.request("POST", url, headers={OVERRIDE: "PATCH", **CHUNK}, body=b"abc"),
    "delete by post": lambda tus, url: tus.request("POST", url, headers={OVERRIDE: "DELETE"}),
    "join": lambda tus, url: tus.create(headers=final(url)),
    "join by id": lambda tus, url: tus.create(headers=final(id_of(url))),
    "join with mine": lambda tus, url: tus.create(headers=final(tus.part(b"x"), url)),
}

MAKE: dict[str, Callable[[Tus], str]] = {
    "new": lambda tus: tus.new(6),
    "halfway": lambda tus: _halfway(tus, {}),
    "complete": lambda tus: tus.upload(b"abc", {"Upload-Metadata": metadata(filename="secret.txt")}),
    "part": lambda tus: _halfway(tus, PARTIAL),
    "complete part": lambda tus: tus.part(b"abc"),
    "final": lambda tus: tus.new(headers=final(tus.part(b"abc"))),
    "waiting final": lambda tus: tus.new(headers=final(tus.new(3, PARTIAL))),
}


def _halfway(tus: Tus, headers: dict[str, str]) -> str:
    url = tus.new(6, headers)
    tus.patch(url, 0, b"abc")
    return url


def _shown(response: TestResponse, url: str) -> tuple[int, dict[str, str], str]:
    """An answer with the upload's own id blotted out."""
    headers = {name: value.replace(id_of(url), "ID") for name, value in response.headers.items() if name != "Date"}
    return response.status_code, headers, response.text.replace(id_of(url), "ID")


@pytest.mark.parametrize(
    ("kind", "stranger"),
    [*product(MAKE, ["bob", None]), *product(["halfway"], ["", "alice ", "Alice", "alice,bob"])],
)
def test_others_meet_404_on_every_verb(serve: Serve, kind: str, stranger: str | None) -> None:
    """Whatever somebody else tries, the answer is to the letter the 404 of an upload that never was."""
    server = serve(DOWNLOADS=True)
    alice = server.tus.with_headers(X_User="alice")
    other = server.tus.with_headers(X_User=stranger)
    url = MAKE[kind](alice)
    for name, attempt in ATTEMPTS.items():
        before = alice.head(url).headers.get("Upload-Offset"), server.files_of(url), server.hooks.names(url)
        response = attempt(other, url)
        refused(response, 404)
        assert _shown(response, url) == _shown(attempt(other, UNKNOWN), UNKNOWN), name
        after = alice.head(url).headers.get("Upload-Offset"), server.files_of(url), server.hooks.names(url)
        assert after == before, name


def test_the_owner_may_do_all_of_it(serve: Serve) -> None:
    """The same verbs work for who created the upload."""
    server = serve(DOWNLOADS=True)
    alice = server.tus.with_headers(X_User="alice")
    url = alice.new(3, PARTIAL)
    assert alice.head(url).status_code == 200
    assert alice.patch(url, 0, b"abc").status_code == 204
    whole = alice.new(headers=final(url))
    assert alice.get(whole).data == b"abc"
    assert alice.delete(whole).status_code == 204


def test_the_owner_is_the_apps_word_not_the_clients(server: Server) -> None:
    """An owner in the metadata changes nothing."""
    alice, bob = server.tus.with_headers(X_User="alice"), server.tus.with_headers(X_User="bob")
    url = alice.new(3, {"Upload-Metadata": metadata(owner="bob", user="bob", id=UNKNOWN)})
    refused(bob.head(url), 404)
    assert alice.head(url).status_code == 200


def test_hooks_see_whose_upload_it_is(server: Server) -> None:
    """upload.owner is what current_owner said at creation."""
    seen: list[str | None] = []
    server.hooks.during["on_complete"] = lambda upload: seen.append(upload.owner)
    server.tus.with_headers(X_User="alice").upload(b"abc")
    server.tus.upload(b"abc")
    assert seen == ["alice", None]


@pytest.mark.parametrize("attempt", ["head", "patch", "delete"])
def test_a_stranger_cannot_interrupt_an_upload(server: Server, attempt: str) -> None:
    """A request of somebody else takes nothing from the owner's running PATCH."""
    alice, bob = server.tus.with_headers(X_User="alice"), server.tus.with_headers(X_User="bob")
    url = alice.new(6)
    answers = []
    body = Body(b"abc", lambda: answers.append(ATTEMPTS[attempt](bob, url)), b"def")
    assert alice.patch(url, 0, body, announced=6).status_code == 204
    assert [answer.status_code for answer in answers] == [404]
    assert server.finished(url).read_bytes() == b"abcdef"


def test_a_stranger_learns_nothing_of_an_expired_upload(server: Server) -> None:
    """410 would say that it existed: others read 404."""
    alice, bob = server.tus.with_headers(X_User="alice"), server.tus.with_headers(X_User="bob")
    url = alice.new(6)
    server.clock.advance(**EXPIRED)
    refused(bob.head(url), 404)
    refused(bob.patch(url, 0, b"abc"), 404)
    refused(alice.head(url), 410)


def test_a_stranger_reads_no_byte_of_the_body(server: Server) -> None:
    """The refusal needs no body."""
    url = server.tus.with_headers(X_User="alice").new(6)
    body = Body(b"abc")
    refused(server.tus.with_headers(X_User="bob").patch(url, 0, body, announced=3), 404)
    assert body.reads == 0


def test_by_default_uploads_belong_to_everybody(server: Server) -> None:
    """Where current_owner names nobody, whoever knows the URL may go on."""
    url = server.tus.new(6)
    other = Tus(server.app.test_client())
    assert other.patch(url, 0, b"abc").status_code == 204
    assert other.offset(url) == 3
