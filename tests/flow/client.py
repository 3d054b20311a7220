"""A flow.js client over Flask's test client: every parameter, and every byte of a form, is the test's decision."""

from __future__ import annotations

import io
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from urllib.parse import urlencode

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_resumable.protocols.flow.messages import DIALECTS
from tests.conformance.tus_client import Body

BOUNDARY = "----FormBoundary7MA4YWxkTrZu0gW"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
DIALECT = {dialect.name: dialect for dialect in DIALECTS}
# A parameter set to None is left out.
Changes = Mapping[str, object]


@dataclass(frozen=True)
class Sample:
    """A file as a client cuts it: ``forced`` as with ``forceChunkSize``."""

    content: bytes
    chunk: int = 10  # bytes
    name: str = "report.csv"
    identifier: str = ""
    forced: bool = False
    path: str = ""

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.content)

    @property
    def count(self) -> int:
        """Chunks in all."""
        return max(1, -(-self.size // self.chunk) if self.forced else self.size // self.chunk)

    @property
    def numbers(self) -> range:
        """All chunks."""
        return range(1, self.count + 1)

    def piece(self, number: int) -> bytes:
        """The bytes of one chunk."""
        start = (number - 1) * self.chunk
        return self.content[start:] if number == self.count else self.content[start : start + self.chunk]

    def parameters(self, number: int) -> dict[str, str]:
        """What flow.js sends along, by the names without prefix."""
        return {
            "chunkNumber": str(number),
            "chunkSize": str(self.chunk),
            "currentChunkSize": str(len(self.piece(number))),
            "totalSize": str(self.size),
            "identifier": self.identifier or f"{self.size}-{self.name}",
            "filename": self.name,
            "relativePath": self.path or self.name,
            "totalChunks": str(self.count),
        }


@dataclass(frozen=True)
class Part:
    """One part of a form; with a ``filename`` it is a file."""

    name: str | None
    content: bytes
    filename: str | None = None
    headers: Sequence[str] = ()


def form(parts: Sequence[Part], *, boundary: str = BOUNDARY, end: bytes | None = None) -> bytes:
    """A multipart body, part by part; ``end`` in place of the closing delimiter."""
    body = io.BytesIO()
    for part in parts:
        disposition = "form-data"
        if part.name is not None:
            disposition += f'; name="{part.name}"'
        if part.filename is not None:
            disposition += f'; filename="{part.filename}"'
        lines = [f"--{boundary}", f"Content-Disposition: {disposition}", *part.headers, "", ""]
        body.write("\r\n".join(lines).encode() + part.content + b"\r\n")
    body.write(f"--{boundary}--\r\n".encode() if end is None else end)
    return body.getvalue()


@dataclass
class Flow:
    """Requests of one dialect. What else is passed by keyword goes to ``open`` of Flask's client."""

    http: FlaskClient
    dialect: str = "flow"
    url: str = "/flow/"
    headers: dict[str, str] = field(default_factory=dict)

    def spelled(self, sample: Sample, number: int, changes: Changes | None = None) -> dict[str, str]:
        """The parameters of a chunk as this dialect spells them; ``changes`` by the names without prefix."""
        values = {**sample.parameters(number), **(changes or {})}
        spell = DIALECT[self.dialect].spell
        own = sample.parameters(number)
        return {spell(key) if key in own else key: str(value) for key, value in values.items() if value is not None}

    def open(
        self, method: str, query: Mapping[str, str] | Sequence[tuple[str, str]] = (), path: str = "", **request: Any
    ) -> TestResponse:
        """Any request."""
        headers = {**self.headers, **request.pop("headers", {})}
        return self.http.open(self.url + path, method=method, query_string=urlencode(query), headers=headers, **request)

    def stream(
        self,
        body: Body,
        size: int | None,
        query: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        content_type: str = FORM,
        **environ: Any,
    ) -> TestResponse:
        """A POST whose body comes as ``body`` says; ``size`` in Content-Length, ``None``: chunked."""
        framing = {"HTTP_TRANSFER_ENCODING": "chunked"} if size is None else {"CONTENT_LENGTH": str(size)}
        arrival = {"wsgi.input": body, "wsgi.input_terminated": size is None, "CONTENT_TYPE": content_type}
        return self.open("POST", query, environ_overrides={**arrival, **framing, **environ})

    def test(self, sample: Sample, number: int, changes: Changes | None = None, method: str = "GET") -> TestResponse:
        """Ask for a chunk."""
        return self.open(method, self.spelled(sample, number, changes))

    def form(
        self,
        parts: Sequence[Part] | bytes,
        query: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        method: str = "POST",
        **request: Any,
    ) -> TestResponse:
        """Send a form."""
        body = parts if isinstance(parts, bytes) else form(parts)
        return self.open(method, query, data=body, content_type=FORM, **request)

    def parts(
        self, sample: Sample, number: int, changes: Changes | None = None, body: bytes | None = None
    ) -> list[Part]:
        """The form that flow.js sends: fields first, then the file."""
        fields = [Part(key, value.encode()) for key, value in self.spelled(sample, number, changes).items()]
        content = sample.piece(number) if body is None else body
        return [*fields, Part("file", content, "blob", ["Content-Type: application/octet-stream"])]

    def post(
        self, sample: Sample, number: int, body: bytes | None = None, changes: Changes | None = None, **request: Any
    ) -> TestResponse:
        """Send a chunk as a form."""
        return self.form(self.parts(sample, number, changes, body), **request)

    def octet(
        self,
        sample: Sample,
        number: int,
        body: bytes | None = None,
        changes: Changes | None = None,
        method: str = "POST",
        **request: Any,
    ) -> TestResponse:
        """Send a chunk as it is, its parameters in the query."""
        content = sample.piece(number) if body is None else body
        request.setdefault("content_type", "application/octet-stream")
        return self.open(method, self.spelled(sample, number, changes), data=content, **request)

    def send(self, sample: Sample, numbers: Sequence[int] = (), **request: Any) -> TestResponse:
        """Send chunks, all of them if none are named; the last answer."""
        for number in numbers or sample.numbers:
            answer = self.post(sample, number, **request)
            assert answer.status_code == 200, (number, answer.status, answer.text)
        return answer

    def status(self, sample: Sample, **request: Any) -> TestResponse:
        """Ask for all chunks at once."""
        return self.open("GET", self.spelled(sample, 1), path="status", **request)

    def cancel(self, sample: Sample, **request: Any) -> TestResponse:
        """Give the file up."""
        return self.open("DELETE", self.spelled(sample, 1), **request)
