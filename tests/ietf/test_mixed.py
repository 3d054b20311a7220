"""Clients of tus and of all versions of the draft, on the same uploads, in any order."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle
from hypothesis.stateful import consumes
from hypothesis.stateful import initialize
from hypothesis.stateful import multiple
from hypothesis.stateful import rule
from hypothesis.stateful import RuleBasedStateMachine

from tests.conformance.server import start_embedded
from tests.conformance.tus_client import Body
from tests.conformance.tus_client import DEFERRED

from .client import ALL
from .client import EARLY
from .client import Ietf

versions = st.sampled_from(ALL)
pieces = st.binary(max_size=4)


@dataclass
class Expected:
    """What an upload must be like."""

    url: str
    length: int | None
    content: bytes
    is_open: bool  # whether a client has said that more will follow after every byte
    is_complete: bool = False

    @property
    def room(self) -> int:
        """How many more bytes it takes."""
        return 99 if self.length is None else self.length - len(self.content)


class MixedClients(RuleBasedStateMachine):
    """Each rule is one request, and compares the answer and the bytes with what they must be."""

    uploads = Bundle("uploads")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.server = start_embedded(Path(self.folder.name), {})
        self.completed = 0

    def teardown(self) -> None:
        self.server.app.extensions["resumable"].repository.dispose()
        self.folder.cleanup()

    def speak(self, version: int | None) -> Ietf:
        return Ietf(self.server.app.test_client(), version)

    def settle(self, upload: Expected) -> None:
        """Complete it, if it has all its bytes and nobody keeps it open; then compare."""
        if not upload.is_complete and upload.length == len(upload.content) and not upload.is_open:
            upload.is_complete = True
            self.completed += 1
        assert self.server.hooks.count("on_complete") == self.completed
        assert self.server.finished(upload.url).exists() is upload.is_complete
        if upload.is_complete:
            assert self.server.finished(upload.url).read_bytes() == upload.content

    @initialize()
    def nothing(self) -> None:
        """An app without uploads."""

    @rule(target=uploads, version=versions, length=st.none() | st.integers(0, 8))
    def begin(self, version: int | None, length: int | None) -> Expected:
        url = self.speak(version).new(length)
        upload = Expected(url, length, b"", version not in EARLY)
        self.settle(upload)
        return upload

    @rule(target=uploads, length=st.none() | st.integers(0, 8))
    def begin_with_tus(self, length: int | None) -> Expected:
        upload = Expected(self.server.tus.new(length, DEFERRED if length is None else None), length, b"", False)
        self.settle(upload)
        return upload

    @rule(upload=uploads, version=versions, piece=pieces, last=st.booleans(), is_cut=st.booleans())
    def append(self, upload: Expected, version: int | None, piece: bytes, last: bool, is_cut: bool) -> None:
        client = self.speak(version)
        offset = len(upload.content)
        size = len(piece) + is_cut
        if size > upload.room and not last:
            return  # this would end it; test_append has that
        body = Body(piece) if is_cut else piece
        response = client.append(upload.url, offset, body, complete=last, announced=size)
        if upload.is_complete:
            is_repeated = size == 0 and (last or version in EARLY)
            assert (response.status_code == 200) is is_repeated
        elif last and upload.length not in (None, offset + size):
            assert response.status_code == 400
        elif is_cut:
            assert response.status_code == 503
            upload.content += piece
            upload.is_open = not last and version not in EARLY
            if last:
                upload.length = offset + size
        else:
            upload.content += piece
            upload.is_open = not last and version not in EARLY
            if last:
                upload.length = len(upload.content)
            assert response.status_code in (200, 201, 204)
            assert response.headers["Upload-Offset"] == str(len(upload.content))
            self.settle(upload)
            assert client.is_complete(response) is upload.is_complete
        self.settle(upload)

    @rule(upload=uploads, version=versions)
    def fill(self, upload: Expected, version: int | None) -> None:
        """Every byte, but not the last word."""
        if upload.length is not None and not upload.is_complete:
            self.append(upload, version, b"z" * upload.room, last=False, is_cut=False)

    @rule(upload=uploads, piece=pieces, is_cut=st.booleans(), declares=st.booleans())
    def patch_with_tus(self, upload: Expected, piece: bytes, is_cut: bool, declares: bool) -> None:
        offset = len(upload.content)
        size = len(piece) + is_cut
        if size > upload.room:
            return
        headers: dict[str, str | None] = {}
        if declares and upload.length is None:
            upload.length = offset + size
            headers = {"Upload-Length": str(upload.length)}
        response = self.server.tus.patch(upload.url, offset, Body(piece), headers, announced=size)
        assert response.status_code == (409 if is_cut else 204)
        upload.content += piece
        upload.is_open = False
        self.settle(upload)

    @rule(upload=uploads, version=versions, wrong=st.integers(1, 5))
    def append_elsewhere(self, upload: Expected, version: int | None, wrong: int) -> None:
        client = self.speak(version)
        response = client.append(upload.url, len(upload.content) + wrong, b"x")
        assert (response.status_code, response.headers["Upload-Offset"]) == (409, str(len(upload.content)))
        self.settle(upload)

    @rule(upload=uploads, version=versions)
    def look(self, upload: Expected, version: int | None) -> None:
        client = self.speak(version)
        response = client.head(upload.url)
        if version in EARLY:
            upload.is_open = upload.is_open and upload.length != len(upload.content)
        self.settle(upload)
        assert response.headers["Upload-Offset"] == str(len(upload.content))
        assert response.headers.get("Upload-Length") == (None if upload.length is None else str(upload.length))
        assert client.is_complete(response) is upload.is_complete

    @rule(upload=uploads)
    def look_with_tus(self, upload: Expected) -> None:
        assert self.server.tus.offset(upload.url) == len(upload.content)
        upload.is_open = upload.is_open and upload.length != len(upload.content)
        self.settle(upload)

    @rule(target=uploads, upload=consumes(uploads), version=versions)
    def cancel(self, upload: Expected, version: int | None) -> object:
        assert self.speak(version).delete(upload.url).status_code == 204
        assert self.server.files_of(upload.url) == []
        return multiple()


TestMixedClients = MixedClients.TestCase
TestMixedClients.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
