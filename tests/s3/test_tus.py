"""tus and S3 together, through the app: what clients see of the extensions of the protocol."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_resumable import FlaskResumable
from flask_resumable.storage.s3 import S3Storage
from tests.conformance.tus_client import Body
from tests.conformance.tus_client import Tus

from .conftest import Store

MIB = 1024 * 1024
PART = 5 * MIB
OCTETS = "application/offset+octet-stream"
CONTENT = random.Random(10).randbytes(12 * MIB + 99)


class Client:
    """A tus client of two machines, which it asks in turn."""

    def __init__(self, machines: list[FlaskClient]) -> None:
        self._machines = machines

    def send(self, method: str, path: str, headers: Mapping[str, Any], body: bytes = b"") -> TestResponse:
        """One request."""
        self._machines.append(self._machines.pop(0))
        fields = {"Tus-Resumable": "1.0.0", **{name: str(value) for name, value in headers.items()}}
        return self._machines[0].open(path, method=method, headers=fields, data=body)

    def tus(self) -> Tus:
        """One whose bodies can break off, of the next machine."""
        self._machines.append(self._machines.pop(0))
        return Tus(self._machines[0])

    def create(self, headers: Mapping[str, Any], body: bytes = b"") -> str:
        """A new upload; its path."""
        content_type = {"Content-Type": OCTETS} if body else {}
        answer = self.send("POST", "/files/", {**headers, **content_type}, body)
        assert answer.status_code == 201, answer.text
        return "/files/" + answer.headers["Location"]

    def patch(self, path: str, offset: int, body: bytes, headers: Mapping[str, Any] | None = None) -> TestResponse:
        """Send content."""
        return self.send("PATCH", path, {"Content-Type": OCTETS, "Upload-Offset": offset, **(headers or {})}, body)

    def notes(self, path: str) -> Mapping[str, Any]:
        """What the record says about the bytes."""
        repository = self._machines[0].application.extensions["resumable"].repository
        stored: Mapping[str, Any] = repository.get(path.rpartition("/")[2]).storage
        return stored

    def offset(self, path: str) -> int:
        """How far it is."""
        return int(self.send("HEAD", path, {}).headers["Upload-Offset"])


@pytest.fixture
def client(tmp_path: Path, store: Store) -> Client:
    """Two machines that share a database and a bucket, and nothing else."""
    machines = []
    for number in range(2):
        app = Flask("app", instance_path=str(tmp_path / str(number)))
        app.config["RESUMABLE_DATABASE_URI"] = f"sqlite:///{tmp_path / 'state.sqlite'}"
        FlaskResumable(app, storage=S3Storage(store.bucket, part_size=PART, **store.options))
        machines.append(app.test_client())
    return Client(machines)


def _key(store: Store, path: str) -> str:
    return store.prefix + path.rpartition("/")[2]


def _checksum(content: bytes) -> dict[str, str]:
    return {"Upload-Checksum": "sha1 " + base64.b64encode(hashlib.sha1(content).digest()).decode()}


def test_content_may_come_with_the_creation(client: Client, store: Store) -> None:
    """All of it, a part of it, or none, as there is none."""
    assert store.content(_key(store, client.create({"Upload-Length": len(CONTENT)}, CONTENT))) == CONTENT
    path = client.create({"Upload-Length": len(CONTENT)}, CONTENT[:7000])
    assert client.offset(path) == 7000
    assert client.patch(path, 7000, CONTENT[7000:]).status_code == 204
    assert store.content(_key(store, path)) == CONTENT
    empty = client.create({"Upload-Length": 0})
    assert store.content(_key(store, empty)) == b""
    assert len(store.kept()) == 3


@pytest.mark.parametrize("cuts", [(1000, 2000), (6 * MIB, 11 * MIB), (11 * MIB, 6 * MIB)], ids=str)
def test_content_that_was_cut_comes_again_with_its_creation(
    client: Client, store: Store, cuts: tuple[int, ...]
) -> None:
    """The same request with a key, at one machine and the other: what is there is skipped, the rest is added."""
    size = len(CONTENT)
    key = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
    kept = 0
    for cut in cuts:
        answer = client.tus().create_with(Body(CONTENT[:cut], OSError("cut")), size, key, announced=size)
        kept = max(kept, cut)
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, str(kept))
    for _ in range(2):
        answer = client.tus().create_with(Body(CONTENT[:MIB], CONTENT[MIB:]), size, key, announced=size)
        assert answer.headers["Upload-Offset"] == str(size)
        assert store.content(_key(store, "/" + answer.headers["Location"])) == CONTENT
    assert len(store.kept()) == 1


def test_the_length_may_come_late(client: Client, store: Store) -> None:
    """With the last content, or with none."""
    path = client.create({"Upload-Defer-Length": 1})
    assert client.patch(path, 0, CONTENT[: 6 * MIB]).status_code == 204
    assert client.patch(path, 6 * MIB, CONTENT[6 * MIB :], {"Upload-Length": len(CONTENT)}).status_code == 204
    assert store.content(_key(store, path)) == CONTENT
    path = client.create({"Upload-Defer-Length": 1}, CONTENT)
    assert client.patch(path, len(CONTENT), b"", {"Upload-Length": len(CONTENT)}).status_code == 204
    assert store.content(_key(store, path)) == CONTENT


def test_a_bad_checksum_leaves_nothing_behind(client: Client, store: Store) -> None:
    """Of small content and of several parts: it does not count, and is not in the file."""
    path = client.create({"Upload-Length": len(CONTENT)}, CONTENT[:1000])
    for size in (2000, 11 * MIB):
        before = store.objects()
        answer = client.patch(path, 1000, b"!" * size, _checksum(b"something else"))
        assert answer.status_code == 460
        assert client.offset(path) == 1000
        assert store.objects() == before
        assert "busy" not in client.notes(path)  # the numbers of its parts are free again
    for start in range(1000, len(CONTENT), 4 * MIB):
        piece = CONTENT[start : start + 4 * MIB]
        assert client.patch(path, start, piece, _checksum(piece)).status_code == 204
    assert store.content(_key(store, path)) == CONTENT
    assert store.kept() == {_key(store, path)}


@pytest.mark.parametrize("size", [100, 6 * MIB])
def test_uploads_are_put_together(client: Client, store: Store, size: int) -> None:
    """Parts that the store can copy, and parts that it cannot; some come after the final upload was created."""
    pieces = [CONTENT[:size], CONTENT[size : 2 * size], CONTENT[2 * size :][:99]]
    paths = [client.create({"Upload-Concat": "partial", "Upload-Length": len(piece)}) for piece in pieces]
    assert client.patch(paths[0], 0, pieces[0]).status_code == 204
    assert client.patch(paths[1], 0, pieces[1]).status_code == 204
    final = client.create({"Upload-Concat": "final;" + " ".join(paths)})
    assert client.patch(paths[2], 0, pieces[2]).status_code == 204
    assert store.content(_key(store, final)) == b"".join(pieces)
    for path in paths:
        assert client.send("DELETE", path, {}).status_code == 204
    assert store.kept() == {_key(store, final)}


def test_removal_leaves_nothing(client: Client, store: Store) -> None:
    """Begun, half there, and finished uploads."""
    for content in (b"", CONTENT[: 8 * MIB], CONTENT):
        path = client.create({"Upload-Length": len(CONTENT)}, content)
        assert client.send("DELETE", path, {}).status_code == 204
        assert client.send("HEAD", path, {}).status_code == 404
    assert store.kept() == set()
