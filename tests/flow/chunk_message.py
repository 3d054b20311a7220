"""Requests with a chunk that are sent piece by piece, as a form or as they are."""

from __future__ import annotations

import random
from dataclasses import dataclass
from dataclasses import field
from itertools import count

from tests.live.raw import Answer
from tests.live.raw import Connection
from tests.live.servers import Server

from .client import BOUNDARY
from .client import FORM
from .client import form
from .client import Part
from .client import Sample
from .socket_client import address
from .socket_client import json_of
from .socket_client import octet
from .socket_client import query

KIB = 1024
CHUNK = 256 * KIB
TRIES = 10
WAYS = ("octet", "form")
END = f"\r\n--{BOUNDARY}--".encode()
_numbers = count()
_MARK = b"[the content]"


def a_file(name: str, *, forced: bool = False, seed: int = 1) -> Sample:
    """Two chunks of 256 KiB, and then 100 KiB: in the second chunk, or ``forced`` in a third one.

    Its name begins with ``name`` and is given once only: a server that tests share never knows the file yet.
    """
    content = random.Random(seed).randbytes(2 * CHUNK + 100 * KIB)
    return Sample(content, CHUNK, f"{name}-{next(_numbers)}", forced=forced)


def other(file: Sample, number: int, seed: int = 7) -> bytes:
    """Different bytes for a chunk, as many."""
    return random.Random(seed).randbytes(len(file.piece(number)))


@dataclass
class Message:
    """One request with a chunk. Of the form around it are ``before``, ``behind`` and ``end``; it may lack a field."""

    way: str
    file: Sample
    number: int
    body: bytes | None = None
    before: bytes = b""
    behind: tuple[Part, ...] = ()
    end: bytes = END + b"\r\n"
    without: str = ""
    headers: dict[str, str | int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.body is None:
            self.body = self.file.piece(self.number)
        self.head, self.tail = b"", b""
        self.url, self.type = address(self.file, self.number), "application/octet-stream"
        if self.way == "form":
            texts = [Part(key, value.encode()) for key, value in query(self.file, self.number).items()]
            texts = [text for text in texts if text.name != self.without]
            parts = [*texts, Part("file", _MARK, "blob"), *self.behind]
            whole = self.before + form(parts, end=b"")[:-2] + self.end
            self.head, _, self.tail = whole.partition(_MARK)
            self.url, self.type = "/flow/", FORM

    @property
    def content(self) -> bytes:
        """All behind the request's head."""
        return self.head + (self.body or b"") + self.tail

    def begin(self, connection: Connection, share: float = 0.5) -> bytes:
        """Send the begin of it; what is left to be sent."""
        fields = {"Content-Type": self.type, "Content-Length": len(self.content), **self.headers}
        at = int(len(self.content) * share)
        connection.start("POST", self.url, fields)
        connection.send(self.content[:at])
        return self.content[at:]

    def send(self, connection: Connection) -> Answer:
        """The whole exchange."""
        connection.send(self.begin(connection, 1.0))
        return connection.answer("POST")


def sent(server: Server, message: Message) -> Answer:
    """Send it on a connection of its own."""
    with server.tus.connect() as connection:
        return message.send(connection)


def is_there(server: Server, file: Sample, number: int) -> bool:
    """Whether the server says that it has a chunk."""
    answer = server.tus.request("GET", address(file, number))
    assert answer.status in (200, 204), answer
    return answer.status == 200


def complete(server: Server, file: Sample) -> bytes:
    """Send all that is missing; the file that became of it. One that was cut may begin late, and take a chunk over."""
    with server.tus.connect() as connection:
        for number in file.numbers:
            for attempt in range(TRIES):
                if is_there(server, file, number):
                    break
                answer = octet(connection, file, number)
                assert answer.status == 200 or (answer.status == 503 and attempt < TRIES - 1), answer
        answer = connection.request("GET", address(file, 1))
    assert json_of(answer)["complete"]
    return server.folder.joinpath(json_of(answer)["id"]).read_bytes()


def leftovers(server: Server) -> list[str]:
    """Files of unfinished uploads, and their fences."""
    return [path.name for path in server.folder.rglob("*") if path.suffix in (".part", ".lock")]


def begun(server: Server, message: Message, connection: Connection, share: float = 0.5) -> bytes:
    """Send a part of a message, and wait until the server has begun with it; what is left."""
    before = len(server.journal.notes("pre_save"))
    rest = message.begin(connection, share)
    server.journal.wait_for("pre_save", None, count=before + 1)
    return rest


def ended(connection: Connection, rest: bytes) -> Answer:
    """Send what is left; the answer."""
    connection.send(rest)
    return connection.answer("POST")
