"""checksum-trailer: offered under gunicorn, which hands trailers on, and under no other server."""

from __future__ import annotations

import base64
import hashlib
import random

import pytest

from .conftest import Serve
from .raw import Answer
from .raw import chunked
from .raw import Headers
from .servers import ALL
from .servers import id_of
from .servers import Server

pytestmark = pytest.mark.live

CONTENT = random.Random(78).randbytes(200_000)
PIECES = [CONTENT[start : start + 30_000] for start in range(0, len(CONTENT), 30_000)]
ANNOUNCED = {"Transfer-Encoding": "chunked", "Trailer": "Upload-Checksum"}


@pytest.fixture(params=["gthread", "gevent", "sync"])
def server(request: pytest.FixtureRequest, shared: Serve) -> Server:
    """Every kind of gunicorn worker."""
    return shared(request.param)


def checksum(content: bytes, algorithm: str = "sha1") -> dict[str, str]:
    """The field, for the header or for the trailer."""
    digest = base64.b64encode(hashlib.new(algorithm, content).digest()).decode()
    return {"Upload-Checksum": f"{algorithm} {digest}"}


def send(server: Server, path: str, body: bytes, headers: Headers = ANNOUNCED) -> Answer:
    """A PATCH at the start, its body as given."""
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, headers, body=body)
        return connection.answer("PATCH")


def nothing_counts(server: Server, path: str) -> None:
    """The upload is where it was, and takes the right content."""
    assert server.tus.offset(path) == 0
    assert server.receipts(path) == []
    answer = send(server, path, chunked(PIECES, checksum(CONTENT)))
    assert (answer.status, answer.offset) == (204, len(CONTENT))
    assert server.finished(path).read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ALL)
def test_checksum_trailer_is_offered_under_gunicorn_only(shared: Serve, kind: str) -> None:
    """OPTIONS lists checksum-trailer where it works."""
    extensions = shared(kind).tus.request("OPTIONS", "/files/").headers["tus-extension"].split(",")
    assert "checksum" in extensions
    assert ("checksum-trailer" in extensions) == (kind != "werkzeug")


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_content_with_the_right_trailer_counts(server: Server, algorithm: str) -> None:
    """A checksum behind the content is verified like one before it."""
    path = server.tus.create(len(CONTENT))
    answer = send(server, path, chunked(PIECES, checksum(CONTENT, algorithm)))
    assert (answer.status, answer.offset) == (204, len(CONTENT))
    assert server.receipts(path) == [hashlib.sha256(CONTENT).hexdigest()]


def test_content_with_a_wrong_trailer_is_discarded(server: Server) -> None:
    """460, and nothing of the body counts."""
    path = server.tus.create(len(CONTENT))
    assert send(server, path, chunked(PIECES, checksum(b"other"))).status == 460
    nothing_counts(server, path)


@pytest.mark.parametrize(
    "trailers", [{}, {"X-Other": "1"}, {"Upload-Checksum": "sha1"}, {"Upload-Checksum": "md4 AA=="}]
)
def test_content_without_the_announced_trailer_is_discarded(server: Server, trailers: Headers) -> None:
    """A trailer that was announced and did not come, or cannot be understood, is answered 400."""
    path = server.tus.create(len(CONTENT))
    assert send(server, path, chunked(PIECES, trailers)).status == 400
    nothing_counts(server, path)


@pytest.mark.parametrize("is_polite", [True, False])
def test_content_cut_before_its_trailer_is_discarded(server: Server, is_polite: bool) -> None:
    """All chunks, but neither end nor checksum: nothing counts."""
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, ANNOUNCED, body=chunked(PIECES, ends=False))
        connection.until_delivered()
        if is_polite:
            connection.finish()
            answer = connection.answer_or_end("PATCH")
            assert answer is None or (answer.status, answer.offset) == (409, 0)
        else:
            connection.reset()
    server.journal.wait_for("end PATCH", id_of(path))
    nothing_counts(server, path)


def test_content_cut_within_its_trailer_is_discarded(server: Server) -> None:
    """A checksum that did not arrive completely is none."""
    path = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(path, 0, ANNOUNCED, body=chunked(PIECES, checksum(CONTENT))[:-10])
        connection.finish()
        answer = connection.answer_or_end("PATCH")
        assert answer is None or answer.status in (400, 409)
    server.journal.wait_for("end PATCH", id_of(path))
    nothing_counts(server, path)


def test_a_checksum_before_and_behind_the_content_is_refused(server: Server) -> None:
    """Header and trailer both: 400."""
    path = server.tus.create(len(CONTENT))
    answer = send(server, path, chunked(PIECES, checksum(CONTENT)), {**ANNOUNCED, **checksum(CONTENT)})
    assert answer.status == 400
    nothing_counts(server, path)


def test_a_trailer_is_refused_where_it_is_not_offered(shared: Serve) -> None:
    """The development server loses trailers: content that announces one is refused, not taken unchecked."""
    server = shared("werkzeug")
    path = server.tus.create(len(CONTENT))
    assert 400 <= send(server, path, chunked(PIECES, checksum(b"other"))).status < 500
    assert server.tus.offset(path) == 0
    assert server.tus.patch(path, 0, CONTENT).status == 204


def test_another_trailer_does_no_harm(server: Server) -> None:
    """Trailers that nobody asked for are ignored."""
    path = server.tus.create(len(CONTENT))
    answer = send(server, path, chunked(PIECES, {"X-Other": "1"}), {"Transfer-Encoding": "chunked"})
    assert (answer.status, answer.offset) == (204, len(CONTENT))
