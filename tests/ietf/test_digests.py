"""Digests (RFC 9530): of the content of a request, and of all that was uploaded."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.conformance.server import Server
from tests.conformance.tus_client import metadata

from .client import refused
from .conftest import Speak

SOME = (3, 10, None)  # nothing here depends on the version
DEPRECATED = "md5=:kAFQmDzST7DWlj99KOF/cg==:"


def digest(content: bytes, *names: str) -> str:
    """The value of a field."""
    algorithms = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}
    found = {name: base64.b64encode(algorithms[name](content).digest()).decode() for name in names or ("sha-256",)}
    return ", ".join(f"{name}=:{value}:" for name, value in found.items())


GOOD = [
    digest(b"abc"),
    digest(b"abc", "sha-512"),
    digest(b"abc", "sha-256", "sha-512"),
    digest(b"x") + ", " + digest(b"abc", "sha-512"),  # the best one counts
    f"{DEPRECATED}, {digest(b'abc')};x=1",
    DEPRECATED.replace("k", "x"),  # what is not supported counts as absent
    "sha-256=5",
    "sha-256=abc, nonsense here",
    "",
]
BAD = [digest(b"abd"), digest(b"abd", "sha-512"), digest(b"abc") + ", " + digest(b"x", "sha-512"), "sha-256=:YWJj:"]


@pytest.mark.parametrize("version", SOME)
@pytest.mark.parametrize("value", GOOD)
def test_content_with_its_digest(server: Server, speak: Speak, version: int | None, value: str) -> None:
    """It is stored."""
    client = speak(version)
    headers = {"Content-Digest": value}
    url = client.new(6, b"abc", headers)
    assert client.offset(url) == 3
    assert client.is_complete(client.append(url, 3, b"abc", complete=True, headers=headers))


@pytest.mark.parametrize("version", SOME)
@pytest.mark.parametrize("value", BAD)
def test_content_with_the_digest_of_something_else(
    server: Server, speak: Speak, version: int | None, value: str
) -> None:
    """Nothing of that request is kept."""
    client = speak(version)
    url = client.new(6, b"abc")
    refused(client, client.append(url, 3, b"abc", complete=True, headers={"Content-Digest": value}), 400)
    assert client.offset(url) == 3
    before = server.kept()
    refused(client, client.create(b"abc", complete=True, headers={"Content-Digest": value}), 400)
    assert server.kept() == before
    assert server.hooks.count("on_complete") == 0


@pytest.mark.parametrize("version", SOME)
@pytest.mark.parametrize("way", ["creation", "append", "tus"])
@pytest.mark.parametrize("is_right", [True, False])
def test_the_digest_of_the_whole_file(
    server: Server, speak: Speak, version: int | None, way: str, is_right: bool
) -> None:
    """Given at the creation, it is compared before the app sees the file. If it is another one, the upload is gone."""
    client = speak(version)
    headers = {"Repr-Digest": digest(b"abc" if is_right else b"abd")}
    if way == "creation":
        response = client.create(b"abc", complete=True, headers=headers)
    else:
        url = client.new(3, headers=headers)
        if way == "tus":
            assert server.tus.patch(url, 0, b"abc").status_code == (204 if is_right else 400)
            return
        client.append(url, 0, b"ab")
        response = client.append(url, 2, b"c", complete=True)
    if is_right:
        assert client.is_complete(response)
    else:
        refused(client, response, 400, is_final=True)
        assert server.files() == {}
    assert server.hooks.count("on_complete") == is_right


def test_tus_clients_can_have_their_files_compared(server: Server) -> None:
    """With metadata; nonsense there is metadata like any other."""
    value = base64.b64encode(hashlib.sha256(b"abc").digest())
    for text, content, status in (
        (b"sha256 " + value, b"abc", 204),
        (b"sha256 " + value, b"abd", 400),
        (b"nonsense", b"abc", 204),
    ):
        url = server.tus.new(3, {"Upload-Metadata": metadata(**{"repr-digest": text})})
        assert server.tus.patch(url, 0, content).status_code == status


@pytest.mark.parametrize("version", SOME)
@pytest.mark.parametrize("at_creation", [True, False])
@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ("sha-256=1", "sha-256"),
        ("sha-256=1, sha-512=9", "sha-512"),
        ("sha-256=9, sha-512=3, md5=10", "sha-256"),
        ("sha-256=0", None),
        ("md5=10", None),
        ("sha-256", None),
        ("", None),
    ],
)
def test_the_server_tells_the_digest_that_the_client_wants(
    speak: Speak, version: int | None, at_creation: bool, wish: str, name: str | None
) -> None:
    """With the response to the last content, and to its repetition."""
    client = speak(version)
    headers = {"Want-Repr-Digest": wish}
    url = client.new(None, b"ab", headers if at_creation else None)
    for offset, content in ((2, b"c"), (3, b"")):
        response = client.append(url, offset, content, complete=True, headers={} if at_creation else headers)
        assert response.headers.get("Repr-Digest") == (None if name is None else digest(b"abc", name))
    whole = client.create(b"abc", complete=True, headers=headers)
    assert whole.headers.get("Repr-Digest") == (None if name is None else digest(b"abc", name))
