"""A client of an app, for every protocol."""

from __future__ import annotations

import io
from itertools import count
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

CONTENT = b"hello"
PROTOCOLS = ("tus", "flow", "ietf")
MEDIA_TYPES = {"tus": "text/plain", "flow": "application/json", "ietf": "application/problem+json"}
TUS = {"Tus-Resumable": "1.0.0"}
IETF = {"Upload-Draft-Interop-Version": "8", "Upload-Complete": "?1"}

_numbers = count(1)


class Visitor:
    """Somebody with cookies of their own, who sends the same headers with every request."""

    def __init__(self, app: Flask, **headers: str) -> None:
        self.client = app.test_client()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def create(self, protocol: str = "tus") -> TestResponse:
        """Send the first request for a new file, which is also the last one in flow.js and in the draft."""
        if protocol == "tus":
            return self._send("POST", "/files/", {**TUS, "Upload-Length": str(len(CONTENT))})
        if protocol == "ietf":
            return self._send("POST", "/files/", IETF, data=CONTENT)
        return self._send("POST", "/flow/", {}, data={**self._parameters(), "file": (io.BytesIO(CONTENT), "a.txt")})

    def upload(self, protocol: str = "tus") -> str:
        """Upload a file; returns its id."""
        created = self.create(protocol)
        assert created.status_code in (200, 201), created.text
        if protocol == "flow":
            assert created.json is not None and created.json["complete"]
            return str(created.json["id"])
        upload_id = created.headers["Location"].rpartition("/")[2]
        if protocol == "tus":
            assert self.patch(upload_id).status_code == 204
        assert self.head(upload_id).headers["Upload-Offset"] == str(len(CONTENT))
        return upload_id

    def patch(self, upload_id: str) -> TestResponse:
        """Send the content of a file through tus."""
        headers = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        return self._send("PATCH", f"/files/{upload_id}", headers, data=CONTENT)

    def head(self, upload_id: str = "0" * 32) -> TestResponse:
        """Ask for the offset, as tus-js-client does before it resumes."""
        return self._send("HEAD", f"/files/{upload_id}", TUS)

    def test(self) -> TestResponse:
        """Test for a chunk, as flow.js does before it sends one."""
        return self._send("GET", "/flow/", {}, query_string=self._parameters())

    def preflight(self, protocol: str, **headers: str) -> TestResponse:
        """What a browser asks for a page of another origin, without cookies and tokens."""
        asked = {"Access-Control-Request-Method": "POST"}
        asked |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.options("/flow/" if protocol == "flow" else "/files/", headers=asked)

    def _send(self, method: str, path: str, headers: dict[str, str], **more: Any) -> TestResponse:
        return self.client.open(path, method=method, headers={**headers, **self.headers}, **more)

    def _parameters(self) -> dict[str, str]:
        return {
            "flowIdentifier": f"file-{next(_numbers)}",
            "flowFilename": "a.txt",
            "flowTotalSize": str(len(CONTENT)),
            "flowTotalChunks": "1",
            "flowChunkNumber": "1",
            "flowChunkSize": str(len(CONTENT)),
        }


def is_refused(response: TestResponse, protocol: str, status: int) -> bool:
    """Whether a response is an error of a protocol with this status, not a page and not a redirect."""
    is_one = response.status_code == status and "Location" not in response.headers and b"<" not in response.data
    return is_one and response.mimetype == MEDIA_TYPES[protocol]
