"""A client of the IETF draft over Flask's test client, in each of its versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conformance.tus_client import Headers
from tests.conformance.tus_client import Readable
from tests.conformance.tus_client import Tus

VERSION = "Upload-Draft-Interop-Version"
PARTIAL_UPLOAD = "application/partial-upload"
ALL = (3, 4, 5, 6, 7, 8, 9, 10, None)  # None: what the RFC will be
EARLY = (3, 4, 5, 6)
LATE = (7, 8, 9, 10, None)
TYPES = "https://iana.org/assignments/http-problem-types#"


class Ietf:
    """A client of one endpoint that speaks one version."""

    def __init__(self, client: FlaskClient, version: int | None = None, headers: Headers | None = None) -> None:
        named = {} if version is None else {VERSION: str(version)}
        self.version = version
        self.wire = Tus(client, headers={"Tus-Resumable": None, **named, **(headers or {})})

    def with_headers(self, **headers: str) -> Ietf:
        """The same client, sending these headers, too (``_`` for ``-``)."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return Ietf(self.wire.client, self.version, {**self.wire.headers, **more})

    def says(self, complete: bool | None) -> dict[str, str | None]:
        """The field that says whether the content is the last."""
        if complete is None:
            return {}
        if self.version == 3:
            return {"Upload-Incomplete": "?0" if complete else "?1"}
        return {"Upload-Complete": "?1" if complete else "?0"}

    def request(self, method: str, url: str = "", headers: Headers | None = None, **more: Any) -> TestResponse:
        """Send anything."""
        return self.wire.request(method, url, headers=headers, **more)

    def create(
        self,
        body: bytes | Readable = b"",
        *,
        complete: bool | None = False,
        length: int | None = None,
        headers: Headers | None = None,
        method: str = "POST",
        **more: Any,
    ) -> TestResponse:
        """Start an upload."""
        declared: Mapping[str, str] = {} if length is None else {"Upload-Length": str(length)}
        sent = {**self.says(complete), **declared, **(headers or {})}
        return self.request(method, headers=sent, body=body, **more)

    def new(self, length: int | None = None, body: bytes = b"", headers: Headers | None = None) -> str:
        """Start an upload, which must succeed; its absolute URL."""
        response = self.create(body, length=length, headers=headers)
        assert response.status_code == 201, response.text
        return self.url_of(response)

    def url_of(self, response: TestResponse) -> str:
        """Where a created upload is."""
        return urljoin(self.wire.endpoint, response.headers["Location"])

    def append(
        self,
        url: str,
        offset: int | str | None,
        body: bytes | Readable = b"",
        *,
        complete: bool | None = False,
        headers: Headers | None = None,
        **more: Any,
    ) -> TestResponse:
        """Go on with an upload."""
        fields: Headers = {
            "Content-Type": PARTIAL_UPLOAD if self.version is None or self.version > 5 else None,
            "Upload-Offset": None if offset is None else str(offset),
            **self.says(complete),
            **(headers or {}),
        }
        return self.request("PATCH", url, headers=fields, body=body, **more)

    def head(self, url: str, headers: Headers | None = None) -> TestResponse:
        """Ask for the offset. Clients of the RFC have nothing that says what they speak."""
        return self.request("HEAD", url, headers)

    def delete(self, url: str, headers: Headers | None = None) -> TestResponse:
        """Cancel an upload."""
        return self.request("DELETE", url, headers)

    def offset(self, url: str) -> int:
        """How much the server has."""
        response = self.head(url)
        assert response.status_code in (200, 204), response.status
        return int(response.headers["Upload-Offset"])

    def is_complete(self, response: TestResponse) -> bool:
        """What an answer says about that; it must say so in this version's way."""
        other = "Upload-Complete" if self.version == 3 else "Upload-Incomplete"
        assert other not in response.headers
        if self.version == 3:
            return {"?0": True, "?1": False}[response.headers["Upload-Incomplete"]]
        return {"?1": True, "?0": False}[response.headers["Upload-Complete"]]


def limits(response: TestResponse) -> dict[str, int]:
    """What ``Upload-Limit`` says."""
    members = (member.partition("=") for member in response.headers["Upload-Limit"].split(", "))
    return {key: int(value) for key, _, value in members}


def refused(
    client: Ietf, response: TestResponse, status: int, kind: str = "", *, is_final: bool = False
) -> dict[str, Any]:
    """The answer is a problem in this protocol's way; its members."""
    assert response.status_code == status, (response.status, response.text)
    assert response.headers["Cache-Control"] == "no-store"
    assert client.is_complete(response) is is_final
    if response.request.method == "HEAD":
        return {}
    assert response.headers["Content-Type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(response.text)
    assert found["status"] == status
    assert found["title"] and found["detail"]
    assert found.get("type", "") == (TYPES + kind if kind else "")
    return found
