"""For the tests of your own app: a client that uploads, and a clock that you set."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from datetime import timedelta
from datetime import UTC

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

_TUS = {"Tus-Resumable": "1.0.0"}
_DRAFT = {"Upload-Draft-Interop-Version": "8"}


@dataclass(frozen=True)
class SentUpload:
    """What became of an upload: the last response, and where the upload is.

    :param id: The upload's id, for ``resumable.get(sent.id)``. It is empty if the upload was refused.
    :param url: The path of the upload. It is empty if the upload was refused.
    :param response: The last response.
    """

    id: str
    url: str
    response: TestResponse

    @property
    def status_code(self) -> int:
        """The status of the last response."""
        return self.response.status_code


class UploadClient:
    """Uploads files to your app in its tests, as a browser or a phone would.

    ::

        def test_reports_are_kept(app, client):
            sent = UploadClient(client).upload(b"1;2;3", filename="report.csv")
            assert sent.status_code == 204
            with app.app_context():
                assert resumable.get(sent.id).complete

    It sends what you tell it to and returns the response, whatever that is. So you can test what your hooks refuse.

    :param client: The test client of the app, logged in as you need it.
    :param protocol: ``"tus"``, ``"flow"`` or ``"ietf"``.
    :param headers: Headers for every request, such as ``{"Authorization": "Bearer ..."}``.
    :raises ValueError: The app does not serve this protocol.
    """

    def __init__(self, client: FlaskClient, *, protocol: str = "tus", headers: Mapping[str, str] | None = None) -> None:
        blueprints = client.application.extensions["resumable"].blueprints
        if protocol not in blueprints:
            raise ValueError(f"protocol={protocol!r}: the app serves {', '.join(blueprints) or 'no protocol'}.")
        self._client = client
        self._protocol = protocol
        self._url = f"{blueprints[protocol].url_prefix or ''}/"
        self._headers = dict(headers or {})

    def upload(
        self, content: bytes, *, filename: str | None = None, chunk_size: int | None = None, **metadata: str
    ) -> SentUpload:
        """Send a whole file, and stop at the first response that refuses it.

        ::

            sent = UploadClient(client, protocol="flow").upload(b"1;2;3", filename="a.csv", chunk_size=2)

        :param content: The bytes of the file.
        :param filename: The name of the file, if the client has one. flow.js always has one; the default is ``"file"``.
        :param chunk_size: How many bytes to send in each request. The default is all of them.
        :param metadata: What else the client says about the file, such as ``filetype="text/csv"``.
        :return: The last response, and where the upload is.
        """
        if self._protocol == "flow":
            return self._send_chunks(content, filename or "file", chunk_size or max(1, len(content)), metadata)
        sent = self.create(len(content), filename=filename, **metadata)
        if sent.url and content:
            for start, piece in _pieces(content, chunk_size or len(content)):
                sent = self.append(sent.url, piece, offset=start, last=start + len(piece) == len(content))
                if sent.status_code >= 400:
                    break
        return sent

    def create(self, length: int, *, filename: str | None = None, **metadata: str) -> SentUpload:
        """Create an upload without content, with tus or the IETF draft.

        Use it with :meth:`append` to send part of a file, and to continue later::

            sent = upload_client.create(11, filename="a.txt")
            upload_client.append(sent.url, b"hello ", offset=0)
            assert upload_client.offset(sent.url) == 6

        :param length: The size of the file, in bytes.
        :raises ValueError: The protocol is flow.js, which creates an upload with its first chunk.
        """
        self._refuse_flow("create")
        said = metadata if filename is None else {"filename": filename, **metadata}
        headers = {**self._spoken(), "Upload-Length": str(length)}
        if said:
            headers["Upload-Metadata"] = ",".join(f"{key} {_base64(value)}" for key, value in said.items())
        if self._protocol == "ietf":
            headers["Upload-Complete"] = "?1" if length == 0 else "?0"
        response = self._client.post(self._url, headers=headers)
        location = response.headers.get("Location", "")
        return self._sent(location.rstrip("/").rpartition("/")[2], response)

    def append(self, url: str, content: bytes, *, offset: int, last: bool = False) -> SentUpload:
        """Send content to an upload, with tus or the IETF draft.

        :param url: The upload's :attr:`SentUpload.url`.
        :param offset: Where the content begins, in bytes.
        :param last: Whether the upload ends with this content. tus does not say so; it knows from the length.
        :raises ValueError: The protocol is flow.js, which sends numbered chunks.
        """
        self._refuse_flow("append")
        headers = {**self._spoken(), "Upload-Offset": str(offset)}
        kind = "offset+octet-stream" if self._protocol == "tus" else "partial-upload"
        headers["Content-Type"] = f"application/{kind}"
        if self._protocol == "ietf":
            headers["Upload-Complete"] = "?1" if last else "?0"
        return self._sent(url.rpartition("/")[2], self._client.patch(url, data=content, headers=headers))

    def offset(self, url: str) -> int:
        """Return how many bytes of an upload the server has, with tus or the IETF draft.

        :raises ValueError: The server does not say, for example because the upload belongs to somebody else. The
            message has the status. Or the protocol is flow.js.
        """
        self._refuse_flow("offset")
        response = self._client.head(url, headers=self._spoken())
        if "Upload-Offset" not in response.headers:
            raise ValueError(f"HEAD {url} has no Upload-Offset: the response is {response.status}.")
        return int(response.headers["Upload-Offset"])

    def _refuse_flow(self, method: str) -> None:
        if self._protocol == "flow":
            raise ValueError(f"{method}() is for tus and the IETF draft; flow.js sends numbered chunks: use upload().")

    def _send_chunks(self, content: bytes, filename: str, size: int, metadata: Mapping[str, str]) -> SentUpload:
        count = max(1, len(content) // size)  # as flow.js counts: the last chunk is the larger one
        fields = {
            "flowIdentifier": f"{len(content)}-{re.sub(r'[^0-9a-zA-Z_-]', '', filename)}",
            "flowFilename": filename,
            "flowRelativePath": filename,
            "flowTotalSize": str(len(content)),
            "flowTotalChunks": str(count),
            "flowChunkSize": str(size),
        }
        for number in range(1, count + 1):
            chunk = content[(number - 1) * size : number * size if number < count else None]
            form = {**metadata, **fields, "flowChunkNumber": str(number), "flowCurrentChunkSize": str(len(chunk))}
            response = self._client.post(
                self._url, data={**form, "file": (io.BytesIO(chunk), filename)}, headers=self._headers
            )
            response.request.input_stream.close()  # a temporary file, if the form is large
            if response.status_code >= 400:
                return self._sent("", response)
        return self._sent((response.get_json(silent=True) or {}).get("id", ""), response)

    def _spoken(self) -> dict[str, str]:
        return {**(_TUS if self._protocol == "tus" else _DRAFT), **self._headers}

    def _sent(self, upload_id: str, response: TestResponse) -> SentUpload:
        return SentUpload(upload_id, f"{self._url}{upload_id}" if upload_id else "", response)


class ManualClock:
    """A clock that stands still until you move it, to test what expires.

    ::

        clock = ManualClock()
        resumable = FlaskResumable(now=clock)

        def test_drafts_expire(app, client):
            sent = UploadClient(client).create(5)
            clock.advance(days=2)
            assert client.head(sent.url, headers={"Tus-Resumable": "1.0.0"}).status_code == 410

    :param now: What the clock shows at first; the default is the current time.
    """

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime.now(UTC)

    def __call__(self) -> datetime:
        return self._now

    def advance(self, **duration: float) -> None:
        """Move the clock forward, by what :class:`~datetime.timedelta` takes: ``days=2``, ``seconds=30``."""
        self._now += timedelta(**duration)


def _pieces(content: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    for start in range(0, len(content), size):
        yield start, content[start : start + size]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
