"""104 responses: clients such as Apple's learn from them where their upload is, and resume it."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from .conftest import require_server
from .conftest import Serve
from .ietf import Ietf
from .ietf import VERSIONS
from .raw import Connection
from .raw import Headers
from .servers import ALL
from .servers import id_of
from .servers import Server
from .tls import Certificate

pytestmark = pytest.mark.live

CONTENT = random.Random(104).randbytes(500_000)
SENT = 200_000  # bytes, when the connection breaks
GUIDE = (Path(__file__).parents[2] / "docs" / "ietf.md").read_text().partition("## 104 responses")[2]
TABLE = dict(re.findall(r"^\| ([^|]+?) \| (yes|no) \|$", GUIDE.partition("\n## ")[0], re.MULTILINE))
ON = {"INTERIM_RESPONSES": "on"}
# What the guide calls the servers, and how the tests do.
ROWS = {
    "gunicorn, gthread": "gthread",
    "gunicorn, gevent": "gevent",
    "gunicorn, sync": "sync",
    "Flask's development server": "werkzeug",
    "granian": "granian",
    "waitress": "waitress",
    "cheroot": "cheroot",
    "uWSGI, if its only socket is an `http-socket`": "uwsgi",
}


@pytest.mark.parametrize("cut", ["FIN", "RST", "silence"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ALL)
def test_an_upload_in_one_request_is_resumed(shared: Serve, kind: str, version: int, cut: str) -> None:
    """Its client learns the URL before it has sent anything, and after the break goes on with the first byte that the
    server has not got; the hook is called once.
    """
    if kind == "sync" and cut == "silence":
        pytest.skip("this server does one thing at a time")
    server = shared(kind, **ON)
    client = Ietf(server.port, version)
    with client.connect() as connection:
        client.start(connection, len(CONTENT))
        interim = connection.interim_answer()
        assert interim.status == 104
        assert interim.headers["upload-draft-interop-version"] == str(version)
        assert interim.headers["upload-limit"]
        path = urljoin("/files/", interim.headers["location"])
        connection.send(CONTENT[:SENT])
        connection.until_delivered()
        server.journal.wait_for("pre_save", id_of(path))
        if cut == "FIN":
            connection.close()
        elif cut == "RST":
            connection.reset()
        assert client.offset(path) == SENT
        client.resume(path, CONTENT)
    assert server.finished(path).read_bytes() == CONTENT
    assert server.receipts(path) == [hashlib.sha256(CONTENT).hexdigest()]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_upload_in_one_request_is_resumed_on_uwsgi(shared: Serve, version: int) -> None:
    """It keeps up to 2 KiB of a broken request to itself."""
    server = shared("uwsgi", **ON)
    client = Ietf(server.port, version)
    with client.connect() as connection:
        client.start(connection, len(CONTENT))
        path = urljoin("/files/", connection.interim_answer().headers["location"])
        connection.send(CONTENT[:SENT])
        server.journal.wait_for("pre_save", id_of(path))
    server.journal.wait_for("post_save", id_of(path))
    assert SENT - 2048 <= client.offset(path) <= SENT
    client.resume(path, CONTENT)
    assert server.finished(path).read_bytes() == CONTENT
    assert server.receipts(path) == [hashlib.sha256(CONTENT).hexdigest()]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", [*ALL, "uwsgi"])
def test_the_final_answer_follows_on_the_same_connection(shared: Serve, kind: str, version: int) -> None:
    """With the same URL, and the connection can be used again, where it could be before."""
    server = shared(kind, **ON)
    client = Ietf(server.port, version)
    with client.connect() as connection:
        for _ in range(2 if kind == "gthread" else 1):
            client.start(connection, 5)
            interim = connection.interim_answer()
            connection.send(b"abcde")
            answer = connection.answer("POST")
            assert (answer.status, answer.interim, client.is_complete(answer)) == (201, (), True)
            assert answer.headers["location"] == interim.headers["location"]


class Impatient(Server):
    """Reports progress without a pause in between."""

    app = "live.ietf_app:create_app"


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Callable[[str], Impatient]]:
    """Start the app under a server."""
    running: list[Impatient] = []

    def start(kind: str) -> Impatient:
        running.append(Impatient(kind, tmp_path, ON))
        running[-1].start()
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.mark.parametrize("kind", ALL)
def test_progress_is_told_a_few_times(impatient: Callable[[str], Impatient], kind: str) -> None:
    """At most three times, after a creation as after an append, with the offset and without the URL; what was told is
    stored, even if the server is killed at once.
    """
    server = impatient(kind)
    client = Ietf(server.port, 10)
    with client.connect() as connection:
        client.start(connection, 5_000)
        path = urljoin("/files/", connection.interim_answer().headers["location"])
        told = _told(connection, b"a" * 1000, 5)
        assert connection.answer("POST").status == 201
    assert 1 <= len(told) <= 3 and told == sorted(told)
    path = client.create(5_000)
    with client.connect() as connection:
        client.start_append(connection, path, 0, 5_000)
        connection.send(b"a" * 1000)
        first = connection.interim_answer()
        assert "location" not in first.headers
        server.stop()
    assert server.part(path).stat().st_size >= first.offset > 0
    server.start()
    assert client.offset(path) >= first.offset


def _told(connection: Connection, piece: bytes, count: int) -> list[int]:
    """Send pieces, and wait for a 104 after each of the first three; the offsets that they tell."""
    told: list[int] = []
    for number in range(count):
        connection.send(piece)
        if number < 3:
            answer = connection.interim_answer()
            assert (answer.status, "location" in answer.headers) == (104, False)
            told.append(answer.offset)
    return told


NONE_FOR: dict[str, dict[str, str | int]] = {
    "no version": {},
    "an unknown version": {"Upload-Draft-Interop-Version": 11},
    "a tus client": {"Upload-Draft-Interop-Version": 6, "Tus-Resumable": "1.0.0", "Upload-Length": 5},
}


@pytest.mark.parametrize("who", NONE_FOR)
def test_who_did_not_ask_gets_none(shared: Serve, who: str) -> None:
    """Only a client that says which supported version it speaks knows what a 104 is."""
    server = shared("gthread", **ON)
    with Connection(server.port, fields={}) as connection:
        fields: Headers = {"Upload-Complete": "?1", "Content-Length": 5, **NONE_FOR[who]}
        connection.start("POST", "/files/", fields, body=b"abcde")
        answer = connection.answer("POST")
    assert (answer.interim, answer.status) == ((), 201)


def test_an_old_connection_gets_none(shared: Serve) -> None:
    """HTTP/1.0 knows no interim responses."""
    server = shared("gthread", **ON)
    with Connection(server.port, fields={}) as connection:
        lines = ["POST /files/ HTTP/1.0", "Upload-Complete: ?1", "Upload-Draft-Interop-Version: 6", "Content-Length: 5"]
        connection.send("\r\n".join([*lines, "", "abcde"]).encode())
        answer = connection.answer("POST")
    assert (answer.interim, answer.status) == ((), 201)


@pytest.mark.parametrize("kind", ["werkzeug", "gthread"])
def test_tls_gets_none(serve: Serve, kind: str, certificate: Certificate) -> None:
    """There, what is written past the TLS layer would break the connection."""
    server = serve(kind, certificate=certificate, **ON)
    fields: Headers = {"Upload-Draft-Interop-Version": 6, "Upload-Complete": "?1", "Content-Length": 5}
    with Connection(server.port, certificate.context, fields={}) as connection:
        connection.start("POST", "/files/", fields, body=b"abcde")
        answer = connection.answer("POST")
    assert (answer.interim, answer.status) == ((), 201)


PROXIES: list[dict[str, str | int]] = [
    {"Via": "1.1 proxy"},
    {"X-Forwarded-For": "10.0.0.1"},
    {"X-Forwarded-Proto": "https"},
    {"Forwarded": "for=10.0.0.1"},
    {"X-Real-IP": "10.0.0.1"},
]


@pytest.mark.parametrize("setting", ["off", "auto", "on"])
@pytest.mark.parametrize("marks", [{}, *PROXIES], ids=str)
def test_the_setting(shared: Serve, setting: str, marks: dict[str, str | int]) -> None:
    """Off sends none, on always, and auto unless a proxy shows."""
    server = shared("gthread", INTERIM_RESPONSES=setting)
    client = Ietf(server.port, 6)
    with client.connect() as connection:
        client.start(connection, 5, marks)
        connection.send(b"abcde")
        answer = connection.answer("POST")
    is_sent = setting == "on" or (setting == "auto" and not marks)
    assert (answer.interim, answer.status) == ((104,) if is_sent else (), 201)


def test_it_is_off_by_default(shared: Serve) -> None:
    """A proxy that cannot handle it need not show itself."""
    client = Ietf(shared("gthread").port, 6)
    with client.connect() as connection:
        client.start(connection, 5)
        connection.send(b"abcde")
        assert connection.answer("POST").interim == ()


def test_a_client_that_expects_100_gets_it_too(shared: Serve) -> None:
    """The 104 does not replace it."""
    client = Ietf(shared("gthread", **ON).port, 10)
    with client.connect() as connection:
        client.start(connection, 5, {"Expect": "100-continue"})
        assert {connection.interim(), connection.interim()} == {100, 104}
        connection.send(b"abcde")
        assert connection.answer("POST").status == 201


def test_small_uploads_are_not_announced(shared: Serve) -> None:
    """Below ``min-size`` nothing can be resumed."""
    client = Ietf(shared("gthread", MIN_SIZE=6, **ON).port, 10)
    for size, interim in ((5, ()), (6, (104,))):
        with client.connect() as connection:
            client.start(connection, size)
            connection.send(b"a" * size)
            assert connection.answer("POST").interim == interim


@pytest.mark.parametrize("row", ROWS)
def test_the_guide_says_which_servers_send_them(shared: Serve, row: str) -> None:
    """Its table is true, and has each of them."""
    require_server(ROWS[row])
    client = Ietf(shared(ROWS[row], **ON).port, 6)
    with client.connect() as connection:
        client.start(connection, 5)
        connection.send(b"abcde")
        answer = connection.answer("POST")
    assert (answer.interim, answer.status) == ((104,) if TABLE[row] == "yes" else (), 201)


def test_the_guide_has_no_other_server() -> None:
    """But the rows for TLS and for other sockets of uWSGI, of which there are tests above and in test_interim.py."""
    assert [row for row in TABLE if row not in ROWS] == [
        "gunicorn or the development server, with TLS or HTTP/2",
        "uWSGI with any other socket",
    ]
