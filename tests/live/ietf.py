"""A client of the IETF draft on bare sockets, such as Apple's: it sends all in one request, and resumes after a 104."""

from __future__ import annotations

from urllib.parse import urljoin

from .raw import Answer
from .raw import Connection
from .raw import Headers

VERSIONS = (3, 5, 6, 10)


class Ietf:
    """Whole exchanges in one version, each on a connection of its own."""

    def __init__(self, port: int, version: int) -> None:
        self._port = port
        self.version = version

    def connect(self) -> Connection:
        """A new connection."""
        return Connection(self._port, fields={"Upload-Draft-Interop-Version": self.version})

    def says(self, complete: bool) -> dict[str, str]:
        """The field that says whether content is the last."""
        if self.version == 3:
            return {"Upload-Incomplete": "?0" if complete else "?1"}
        return {"Upload-Complete": "?1" if complete else "?0"}

    def is_complete(self, answer: Answer) -> bool:
        """What an answer says about that."""
        if self.version == 3:
            return answer.headers["upload-incomplete"] == "?0"
        return answer.headers["upload-complete"] == "?1"

    def start(self, connection: Connection, size: int, headers: Headers | None = None) -> None:
        """Send the head of a request with a whole file."""
        connection.start("POST", "/files/", {"Content-Length": size, **self.says(True), **(headers or {})})

    def start_append(self, connection: Connection, path: str, offset: int, size: int, *, is_last: bool = True) -> None:
        """Send the head of a request with the rest of a file, or with a part of it."""
        kind = {"Content-Type": "application/partial-upload"} if self.version > 5 else {}
        fields: Headers = {"Content-Length": size, "Upload-Offset": offset, **kind, **self.says(is_last)}
        connection.start("PATCH", path, fields)

    def create(self, length: int) -> str:
        """The path of a new upload without content."""
        with self.connect() as connection:
            answer = connection.request("POST", "/files/", {"Upload-Length": length, **self.says(False)})
        assert answer.status == 201, answer
        return urljoin("/files/", answer.headers["location"])

    def head(self, path: str) -> Answer:
        """What the server says about an upload."""
        with self.connect() as connection:
            return connection.request("HEAD", path)

    def offset(self, path: str) -> int:
        """How much of an upload the server has."""
        answer = self.head(path)
        assert answer.status == 204, answer
        return answer.offset

    def append(self, path: str, offset: int, body: bytes, *, is_last: bool = True) -> Answer:
        """Send the rest of a file, or a part of it."""
        with self.connect() as connection:
            self.start_append(connection, path, offset, len(body), is_last=is_last)
            connection.send(body)
            return connection.answer("PATCH")

    def resume(self, path: str, content: bytes) -> None:
        """Ask for the offset and send the rest, which must complete the upload."""
        offset = self.offset(path)
        answer = self.append(path, offset, content[offset:])
        assert answer.status == 200 and self.is_complete(answer), answer
