"""Every way in which a body gets from a server's socket to the disk, with bodies of several pipes and buffers: however
it is framed, cut into packets and followed, exactly its bytes are stored.

That a path is the one it is called by is shown in ``test_system_calls.py``.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate

import pytest

from .conftest import Serve
from .raw import Answer
from .raw import chunked
from .raw import Connection
from .raw import Headers
from .raw import OCTETS
from .servers import id_of
from .servers import Server

pytestmark = pytest.mark.live

KIB = 1024
CONTENT = random.Random(64).randbytes(1_500_007)  # several fills of a pipe, and no whole number of pages
KEEPING = ("gthread", "gevent")  # servers that keep a connection after an answer


@dataclass(frozen=True)
class Path:
    """A server, and what makes it take one of its ways."""

    kind: str
    framing: str = "length"  # or "chunked", or "checksum": a length, and content that must be looked at

    def __str__(self) -> str:
        return f"{self.kind}-{self.framing}"

    def headers(self, content: bytes) -> Headers:
        """How the body says where it ends."""
        if self.framing == "chunked":
            return {"Transfer-Encoding": "chunked"}
        return {"Content-Length": len(content), **(checksum(content) if self.framing == "checksum" else {})}

    def wire(self, content: bytes) -> bytes:
        """The body as it is sent: in chunks of all sizes, if it is chunked."""
        if self.framing != "chunked":
            return content
        sizes = random.Random(len(content)).choices((1, 700, 65_536, 262_145), k=len(content))
        ends = [end for end in accumulate(sizes, initial=0) if end < len(content)]
        return chunked(content[start:end] for start, end in zip(ends, [*ends[1:], len(content)], strict=True))

    def head(self, path: str, offset: int, content: bytes) -> bytes:
        """The head of a PATCH, as it is sent."""
        fields = {"Host": "live.test", "Tus-Resumable": "1.0.0", "Content-Type": OCTETS, "Upload-Offset": offset}
        lines = [f"PATCH {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        lines += [f"{name}: {value}" for name, value in self.headers(content).items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"


SPLICING = [Path("gthread"), Path("gevent"), Path("sync")]
READING = [Path("gthread", "checksum"), Path("gevent", "checksum"), Path("werkzeug"), Path("wsgiref")]
CHUNKED = [Path("gthread", "chunked"), Path("gevent", "chunked"), Path("werkzeug", "chunked")]


@pytest.fixture(params=[*SPLICING, *READING, *CHUNKED], ids=str)
def path(request: pytest.FixtureRequest) -> Path:
    """Each in turn."""
    found: Path = request.param
    return found


@pytest.fixture
def server(path: Path, shared: Serve) -> Server:
    """The server of this path."""
    return shared(path.kind, IDLE_TIMEOUT=2, DURABILITY="none")


def checksum(content: bytes) -> Headers:
    """What guards the content."""
    return {"Upload-Checksum": "sha1 " + base64.b64encode(hashlib.sha1(content).digest()).decode()}


def is_complete(server: Server, upload: str, content: bytes = CONTENT) -> bool:
    """Whether the upload is a file of exactly this content, and was completed once."""
    return server.finished(upload).read_bytes() == content and len(server.receipts(upload)) == 1


def follows(server: Server, connection: Connection, upload: str, offset: int) -> None:
    """A request on the same connection is answered rightly, on servers that keep connections."""
    if server.kind in KEEPING:
        assert not connection.is_closing
        answer = connection.request("HEAD", upload)
        assert (answer.status, answer.offset) == (200, offset)


def send_in(connection: Connection, pieces: Iterable[bytes]) -> None:
    """Send each piece when the server's kernel has the one before: none is joined to it on the way."""
    for piece in pieces:
        connection.send(piece)
        connection.until_delivered()


def cuts(data: bytes, *places: int) -> list[bytes]:
    """The data in pieces."""
    inner = sorted({place for place in places if 0 < place < len(data)})
    return [data[start:end] for start, end in zip([0, *inner], [*inner, len(data)], strict=True)]


def test_head_and_body_in_one_packet(path: Path, server: Server) -> None:
    """What the server has read along with the head, and what it has not, are both stored."""
    for size in (64 * KIB, 256 * KIB + 1, len(CONTENT)):
        content = CONTENT[:size]
        upload = server.tus.create(size)
        with server.tus.connect() as connection:
            connection.send(path.head(upload, 0, content) + path.wire(content))
            assert connection.answer("PATCH").offset == size
            follows(server, connection, upload, size)
        assert is_complete(server, upload, content)


@pytest.mark.parametrize("place", [-9, 1, 8191, 64 * KIB - 1, 64 * KIB + 1, 256 * KIB, 512 * KIB + 1, -1])
def test_a_body_split_anywhere(path: Path, server: Server, place: int) -> None:
    """Wherever one packet ends and the next begins: within the head, the body, a chunk's size or the last byte."""
    upload = server.tus.create(len(CONTENT))
    head, body = path.head(upload, 0, CONTENT), path.wire(CONTENT)
    middle = len(head) + place if place != -1 else len(head) + len(body) - 1
    with server.tus.connect() as connection:
        send_in(connection, cuts(head + body, middle))
        assert connection.answer("PATCH").offset == len(CONTENT)
        follows(server, connection, upload, len(CONTENT))
    assert is_complete(server, upload)


def test_a_dribbled_body(path: Path, server: Server) -> None:
    """Packets of 1 byte to more than a pipe takes, in any order."""
    upload = server.tus.create(len(CONTENT))
    sizes = random.Random(str(path))
    body = path.wire(CONTENT)
    places = accumulate(sizes.choice((1, 3, 1460, 4096, 70_000, 300_000)) for _ in range(400))
    with server.tus.connect() as connection:
        send_in(connection, [path.head(upload, 0, CONTENT), *cuts(body, *places)])
        assert connection.answer("PATCH").offset == len(CONTENT)
        follows(server, connection, upload, len(CONTENT))
    assert is_complete(server, upload)


def test_many_small_packets_fill_a_pipe(path: Path, server: Server) -> None:
    """A pipe has room for so many packets, not only for so many bytes: 70,000 bytes in packets of a few."""
    content = CONTENT[:70_000]
    upload = server.tus.create(len(content))
    body = path.wire(content)
    with server.tus.connect() as connection:
        connection.send(path.head(upload, 0, content))
        for start in range(0, len(body), 40):
            connection.send(body[start : start + 40])
        assert connection.answer("PATCH").offset == len(content)
        follows(server, connection, upload, len(content))
    assert is_complete(server, upload, content)


def test_a_client_that_asks_first(path: Path, server: Server) -> None:
    """Expect: 100-continue, and the body in dribs after the 100."""
    upload = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(upload, 0, {**path.headers(CONTENT), "Expect": "100-continue"})
        if path.kind != "wsgiref":  # which speaks HTTP/1.0, and waits for the body
            assert connection.interim() == 100
        send_in(connection, cuts(path.wire(CONTENT), 1, 64 * KIB, 600_000))
        assert connection.answer("PATCH").offset == len(CONTENT)
        follows(server, connection, upload, len(CONTENT))
    assert is_complete(server, upload)


def test_an_expectation_that_nobody_can_meet(path: Path, server: Server) -> None:
    """Expect: anything else is refused by 417 or passed over; what the answer says is what is stored."""
    upload = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        with suppress(ConnectionError):
            connection.start_patch(upload, 0, {**path.headers(CONTENT), "Expect": "a-miracle"}, body=path.wire(CONTENT))
        answer = connection.answer_or_end("PATCH")
    assert answer is None or answer.status in (204, 417)
    if answer is None or answer.status == 417:
        assert server.tus.offset(upload) == 0
        server.tus.resume(upload, CONTENT)
    assert is_complete(server, upload)


def test_a_creation_with_content(path: Path, server: Server) -> None:
    """A POST takes the same ways."""
    with server.tus.connect() as connection:
        headers = {"Content-Type": OCTETS, "Upload-Length": len(CONTENT), **path.headers(CONTENT)}
        connection.start("POST", "/files/", headers, body=path.wire(CONTENT))
        answer = connection.answer("POST")
        upload = "/files/" + answer.headers["location"]
        assert (answer.status, answer.offset) == (201, len(CONTENT))
        follows(server, connection, upload, len(CONTENT))
    assert is_complete(server, upload)


def test_requests_on_one_connection(path: Path, server: Server) -> None:
    """Large and small bodies in turn, each on the connection of the one before where the server keeps it."""
    upload = server.tus.create(len(CONTENT))
    connection, offset = server.tus.connect(), 0
    for size in (64 * KIB, 1, 300_000, 64 * KIB - 1, 700_000, len(CONTENT)):
        content = CONTENT[offset : offset + size]
        connection.start_patch(upload, offset, path.headers(content), body=path.wire(content))
        offset += len(content)
        assert connection.answer("PATCH").offset == offset
        follows(server, connection, upload, offset)
        if server.kind not in KEEPING:
            connection.close()
            connection = server.tus.connect()
    connection.close()
    assert is_complete(server, upload)


@pytest.mark.parametrize("tail", [1, 10_000, 64 * KIB, 400_000])
def test_the_next_request_in_the_same_write_as_the_end(path: Path, server: Server, tail: int) -> None:
    """A second PATCH, then a HEAD, sent in one write with the last bytes of a body: each request has its own bytes."""
    first, second = CONTENT[:700_000], CONTENT[700_000:]
    upload = server.tus.create(len(CONTENT))
    body = path.wire(first)
    head = f"HEAD {upload} HTTP/1.1\r\nHost: live.test\r\nTus-Resumable: 1.0.0\r\n\r\n".encode()
    following = path.head(upload, len(first), second) + path.wire(second) + head
    with server.tus.connect() as connection:
        send_in(connection, [path.head(upload, 0, first) + body[:-tail]])
        with suppress(ConnectionError):
            connection.send(body[-tail:] + following)
        answers = [connection.answer("PATCH")]
        for method in ("PATCH", "HEAD"):
            answer = connection.answer_or_end(method)
            assert answer is not None or server.kind != "gevent"  # older versions of gthread close, others always
            if answer is None:
                break
            answers.append(answer)
    offsets = [len(first), len(CONTENT), len(CONTENT)]
    assert [answer.offset for answer in answers] == offsets[: len(answers)]
    server.tus.resume(upload, CONTENT)
    assert is_complete(server, upload)


def test_more_bytes_than_declared(path: Path, server: Server) -> None:
    """What comes behind the end of the body is no part of it, even if it lies in the same packet."""
    content = CONTENT[:300_000]
    upload = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        with suppress(ConnectionError):
            connection.send(path.head(upload, 0, content) + path.wire(content) + bytes(200_000))
        answer = connection.answer_or_end("PATCH")
        assert answer is None or answer.offset == len(content)
    server.journal.wait_for("end PATCH", id_of(upload))
    server.tus.resume(upload, CONTENT)
    assert is_complete(server, upload)


def refused(server: Server, path: Path, upload: str, offset: int, body: bytes, headers: Headers) -> Answer | None:
    """The answer to a PATCH, if it was heard; then, what looks like a request in the rest of its body is not obeyed."""
    with server.tus.connect() as connection:
        with suppress(ConnectionError):
            connection.start_patch(upload, offset, {**path.headers(body), **headers}, body=path.wire(body))
        answer = connection.answer_or_end("PATCH")
        with suppress(ConnectionError):
            connection.start("HEAD", upload)
        following = connection.answer_or_end("HEAD")
        assert following is None or following.status == 200, following
    assert server.journal.notes("pre_delete", id_of(upload)) == []
    return answer


@pytest.mark.parametrize(
    ("offset", "length", "headers", "status"),
    [
        (5, len(CONTENT), {}, 409),
        (0, 1000, {}, 413),
        (0, len(CONTENT), {"Content-Type": "text/plain"}, 415),
        (0, len(CONTENT), {"Upload-Checksum": "sha0 AAAA"}, 400),
    ],
    ids=["409", "413", "415", "400"],
)
def test_an_early_error_leaves_the_body_unread(
    path: Path, server: Server, offset: int, length: int, headers: Headers, status: int
) -> None:
    """The rest of a large body that was refused is never a request; the next one on the connection is, or it is closed;
    the upload is as it was, and can be finished.
    """
    upload = server.tus.create(length)
    attack = f"DELETE {upload} HTTP/1.1\r\nHost: live.test\r\nTus-Resumable: 1.0.0\r\n\r\n".encode()
    answer = refused(server, path, upload, offset, attack * (900_000 // len(attack)), headers)
    assert answer is None or answer.status == status
    server.journal.wait_for("end PATCH", id_of(upload))
    # Where only the end of the body tells that it is too long, what fits is kept.
    kept = server.tus.offset(upload)
    assert kept == 0 or (status, path.framing, kept) == (413, "chunked", length)
    if kept == 0:
        server.tus.resume(upload, CONTENT[:length])
        assert is_complete(server, upload, CONTENT[:length])


@pytest.mark.parametrize("path", [*SPLICING, *READING], indirect=True, ids=str)
def test_a_wrong_checksum_leaves_the_connection_at_its_next_request(path: Path, server: Server) -> None:
    """460: the body was read to its end; nothing of it counts; the connection goes on, and the next body is stored."""
    upload = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        wrong = {"Content-Length": len(CONTENT), **checksum(b"something else")}
        connection.start_patch(upload, 0, wrong, body=CONTENT)
        assert connection.answer("PATCH").status == 460
        follows(server, connection, upload, 0)
        again = connection if server.kind in KEEPING else None
        if again is not None:
            again.start_patch(upload, 0, path.headers(CONTENT), body=path.wire(CONTENT))
            assert again.answer("PATCH").offset == len(CONTENT)
    server.tus.resume(upload, CONTENT)
    assert is_complete(server, upload)


@pytest.mark.parametrize(
    "path", [found for found in [*SPLICING, *READING] if found.framing == "length"], indirect=True, ids=str
)
@pytest.mark.parametrize("sent", [64 * KIB - 1, 64 * KIB + 1, 256 * KIB, 256 * KIB + 1, len(CONTENT) - 1])
@pytest.mark.parametrize("way", ["fin", "reset"])
def test_a_cut_body_keeps_exactly_what_was_sent(path: Path, server: Server, sent: int, way: str) -> None:
    """Gone after a block, within one, or one byte before the end; who comes next on this server has only his own."""
    upload = server.tus.create(len(CONTENT))
    with server.tus.connect() as connection:
        connection.start_patch(upload, 0, path.headers(CONTENT))
        send_in(connection, cuts(CONTENT[:sent], sent // 2))
        if way == "fin":
            connection.finish()
            connection.answer_or_end("PATCH")
        else:
            connection.reset()
    server.journal.wait_for("end PATCH", id_of(upload))
    offset = server.tus.offset(upload)
    # wsgiref's buffer loses what it has when a read fails; what is counted is right.
    assert offset == sent or (path.kind == "wsgiref" and way == "reset" and offset < sent)
    assert server.stored(upload, offset) == CONTENT[:offset]
    other = server.tus.create(300_000)
    assert server.tus.patch(other, 0, CONTENT[-300_000:], path.headers(CONTENT[-300_000:])).status == 204
    assert is_complete(server, other, CONTENT[-300_000:])
    server.tus.resume(upload, CONTENT)
    assert is_complete(server, upload)
