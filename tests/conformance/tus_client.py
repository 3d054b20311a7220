"""A tus client over Flask's test client, with every header and the body's arrival under the test's control."""

from __future__ import annotations

import base64
import hashlib
import io
import zlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from typing import Protocol
from urllib.parse import urljoin

from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder
from werkzeug.test import TestResponse
from werkzeug.wrappers import Request

OCTETS = "application/offset+octet-stream"
UNKNOWN = "/files/" + "0" * 32  # an id as this server makes them, which it never made
OVERRIDE = "X-HTTP-Method-Override"
PARTIAL = {"Upload-Concat": "partial"}
DEFERRED = {"Upload-Defer-Length": "1"}

# A header set to None is left out, also when it is one of the defaults.
Headers = Mapping[str, str | None]


class Readable(Protocol):
    """What ``wsgi.input`` must offer for these tests."""

    def read(self, size: int = -1, /) -> bytes: ...


class Body:
    """A request's body as a WSGI server hands it over: pieces in order, and what happens between them.

    An exception among the pieces is raised to the reader, a callable is called when the reader gets there.
    ``taken`` counts the bytes handed out, ``reads`` the attempts.
    """

    def __init__(self, *pieces: bytes | BaseException | Callable[[], object]) -> None:
        self._pieces = list(pieces)
        self.taken = 0
        self.reads = 0

    def read(self, size: int = -1, /) -> bytes:
        self.reads += 1
        while self._pieces and size:
            piece = self._pieces[0]
            if isinstance(piece, BaseException):
                raise piece
            self._pieces.pop(0)
            if not isinstance(piece, bytes):
                piece()
                continue
            block = piece if size < 0 else piece[:size]
            if rest := piece[len(block) :]:
                self._pieces.insert(0, rest)
            if block:
                self.taken += len(block)
                return block
        return b""


class EndlessBody:
    """A chunked body without an end in sight. ``taken`` counts the bytes handed out."""

    PATIENCE = 16 * 1024 * 1024  # a server that has not stopped by then would fill the disk

    def __init__(self) -> None:
        self.taken = 0

    def read(self, size: int = -1, /) -> bytes:
        block = b"x" * (size if size >= 0 else 65536) if self.taken < self.PATIENCE else b""
        self.taken += len(block)
        return block


class Tus:
    """A client of one upload endpoint.

    :param root: The app's address as the client knows it.
    :param base_url: What the WSGI server is told, if that differs.
    :param headers: Sent with every request.
    """

    def __init__(
        self,
        client: FlaskClient,
        *,
        root: str = "http://localhost",
        base_url: str | None = None,
        path: str = "/files/",
        headers: Headers | None = None,
    ) -> None:
        self.client = client
        self.root = root
        self.base_url = base_url or root
        self.endpoint = root + path
        self.headers = {"Tus-Resumable": "1.0.0", **(headers or {})}

    def with_headers(self, **headers: str | None) -> Tus:
        """The same client, sending these headers too (``_`` for ``-``)."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        path = self.endpoint.removeprefix(self.root)
        return Tus(self.client, root=self.root, base_url=self.base_url, path=path, headers={**self.headers, **more})

    def request(
        self,
        method: str,
        url: str = "",
        *,
        headers: Headers | None = None,
        body: bytes | Readable = b"",
        announced: int | None = None,
        chunked: bool = False,
        environ: Mapping[str, Any] | None = None,
    ) -> TestResponse:
        """Send anything.

        :param url: Relative to the endpoint.
        :param announced: The Content-Length of a body that is an object.
        :param chunked: No Content-Length; the WSGI server marks the end of the body.
        :param environ: Last changes to the WSGI environment; ``None`` removes a key.
        """
        target = urljoin(self.endpoint, url)
        assert target.startswith(self.root + "/"), f"{target} leads away from {self.root}"
        sent = {name: value for name, value in {**self.headers, **(headers or {})}.items() if value is not None}
        path = target[len(self.root) :]
        builder = EnvironBuilder(path, base_url=self.base_url, method=method, headers=[*sent.items()])
        built = builder.get_environ()
        builder.close()
        built["wsgi.input"] = io.BytesIO(body) if isinstance(body, bytes) else body
        if chunked:
            built.pop("CONTENT_LENGTH", None)
            built |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
        else:
            built["CONTENT_LENGTH"] = str(len(body) if isinstance(body, bytes) else announced or 0)
        for key, value in (environ or {}).items():
            built[key] = value
            if value is None:
                del built[key]
        return self.client.open(Request(built), buffered=True)

    def options(self, url: str = "", headers: Headers | None = None) -> TestResponse:
        return self.request("OPTIONS", url, headers={"Tus-Resumable": None, **(headers or {})})

    def create(self, length: int | None = None, headers: Headers | None = None, **more: Any) -> TestResponse:
        """POST to the endpoint; without ``length`` no length header is sent."""
        declared: Headers = {} if length is None else {"Upload-Length": str(length)}
        return self.request("POST", headers={**declared, **(headers or {})}, **more)

    def create_with(
        self, content: bytes | Readable, length: int, headers: Headers | None = None, **more: Any
    ) -> TestResponse:
        """POST with the first bytes in the body."""
        return self.create(length, {"Content-Type": OCTETS, **(headers or {})}, body=content, **more)

    def new(self, length: int | None = None, headers: Headers | None = None) -> str:
        """Create an upload that must succeed; its absolute URL."""
        response = self.create(length, headers)
        assert response.status_code == 201, response.text
        return urljoin(self.endpoint, response.headers["Location"])

    def upload(self, content: bytes, headers: Headers | None = None) -> str:
        """Create and finish an upload; its absolute URL."""
        url = self.new(len(content), headers)
        if content:
            response = self.patch(url, 0, content)
            assert response.status_code == 204, response.text
        return url

    def part(self, content: bytes) -> str:
        """Create and finish a partial upload; its absolute URL."""
        return self.upload(content, PARTIAL)

    def head(self, url: str, headers: Headers | None = None) -> TestResponse:
        return self.request("HEAD", url, headers=headers)

    def get(self, url: str, headers: Headers | None = None) -> TestResponse:
        return self.request("GET", url, headers={"Tus-Resumable": None, **(headers or {})})

    def patch(
        self,
        url: str,
        offset: int | str | None,
        body: bytes | Readable = b"",
        headers: Headers | None = None,
        **more: Any,
    ) -> TestResponse:
        """Send bytes at ``offset``; ``None`` leaves the header out."""
        at = None if offset is None else str(offset)
        return self.request(
            "PATCH", url, headers={"Content-Type": OCTETS, "Upload-Offset": at, **(headers or {})}, body=body, **more
        )

    def delete(self, url: str, headers: Headers | None = None) -> TestResponse:
        return self.request("DELETE", url, headers=headers)

    def offset(self, url: str) -> int:
        """The offset that the server admits to."""
        response = self.head(url)
        assert response.status_code == 200, response.status
        return int(response.headers["Upload-Offset"])


def metadata(**values: str | bytes) -> str:
    """An ``Upload-Metadata`` header."""
    raw = {key: value.encode() if isinstance(value, str) else value for key, value in values.items()}
    return ",".join(f"{key} {base64.b64encode(value).decode()}" for key, value in raw.items())


def checksum(content: bytes, algorithm: str = "sha1") -> str:
    """An ``Upload-Checksum`` header."""
    if algorithm == "crc32":
        digest = zlib.crc32(content).to_bytes(4, "big")
    else:
        digest = hashlib.new(algorithm, content).digest()
    return f"{algorithm} {base64.b64encode(digest).decode()}"


def words(value: str | None) -> list[str]:
    """The members of a comma-separated header; none if it is absent."""
    return [word.strip() for word in value.split(",")] if value else []


def final(*urls: str) -> dict[str, str | None]:
    """The header that asks for a final upload."""
    return {"Upload-Concat": "final;" + " ".join(urls)}


def refused(response: TestResponse, status: int) -> None:
    """The answer is a refusal as every client can read it: versioned, not cached, one line of plain text."""
    assert response.status_code == status, (response.status, response.text)
    assert response.headers["Tus-Resumable"] == "1.0.0"
    assert "no-store" in response.headers["Cache-Control"]
    assert "Location" not in response.headers
    if response.request.method == "HEAD":
        assert response.data == b""
        return
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    lines = response.text.splitlines()
    assert len(lines) == 1 and lines[0].strip(), response.text


def interrupted(response: TestResponse, offset: int) -> None:
    """The body did not arrive whole: the client is told to go on, and where."""
    refused(response, 409)
    assert response.headers["Upload-Offset"] == str(offset)
