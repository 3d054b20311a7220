"""Threats that no other test is about; docs/security.md lists the tests of all."""

from __future__ import annotations

import ast
import logging
from datetime import datetime
from datetime import UTC
from pathlib import Path

import pytest

from flask_resumable.errors import Unavailable
from flask_resumable.repositories.sql.embedded import EmbeddedRepository
from tests.conformance.server import Server
from tests.conformance.server import start_embedded
from tests.conformance.tus_client import OCTETS
from tests.ports import free_port

PACKAGE = Path(__file__).parents[1] / "flask_resumable"
FETCHING = {"aiohttp", "ftplib", "http", "httpx", "requests", "smtplib", "telnetlib", "urllib3", "xmlrpc"}
EVIL = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Prefix": "/evil.example",
    "X-Original-URL": "/evil.example",
    "X-Rewrite-URL": "/evil.example",
    "Forwarded": "host=evil.example",
    "Referer": "https://evil.example/",
}
TUS = {"Tus-Resumable": "1.0.0", "Upload-Length": "3", "Content-Type": OCTETS}
DRAFT = {"Upload-Complete": "?0", "Upload-Length": "3"}
CHUNK = "flowChunkNumber=1&flowChunkSize=3&flowTotalSize=3&flowIdentifier=a&flowFilename=b&flowTotalChunks=1"
SECRETS = ("s3cr3t-token", "s3cr3t-cookie", "s3cr3t-key", "s3cr3t-basic")


@pytest.fixture
def server(tmp_path: Path) -> Server:
    """An app with its defaults."""
    return start_embedded(tmp_path, {"SECRET_KEY": "x" * 20})


def test_no_url_of_a_client_is_fetched() -> None:
    """Nothing in the package can: S3 alone is spoken to, at the endpoint of the settings."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            found |= {name for name in names if name.split(".")[0] in FETCHING or name.startswith("urllib.request")}
    assert found <= {"http", "http.HTTPStatus"}


@pytest.mark.parametrize("headers", [TUS, DRAFT])
def test_a_forged_host_does_not_get_into_a_response(server: Server, headers: dict[str, str]) -> None:
    """URLs are relative unless the app says otherwise, so caches and logs get nothing to be poisoned with."""
    client = server.app.test_client()
    made = client.post("/files/", headers={**EVIL, **headers})
    assert made.status_code == 201
    path = f"/files/{made.headers['Location'].rpartition('/')[2]}"
    for response in (made, client.head(path, headers={**EVIL, **headers}), client.options("/files/", headers=EVIL)):
        assert "evil" not in str(response.headers) + response.text


def test_a_forged_host_does_not_get_into_a_response_of_flow(server: Server) -> None:
    """Nor there."""
    response = server.app.test_client().post(f"/flow/?{CHUNK}", headers={**EVIL, "Content-Type": "a/b"}, data=b"abc")
    assert response.status_code == 200
    assert "evil" not in str(response.headers) + response.text


@pytest.mark.parametrize("error", [Unavailable("The database is away."), ZeroDivisionError("A bug.")])
def test_what_a_client_proves_itself_with_is_not_logged(
    server: Server, error: Exception, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither tokens nor cookies, whether a request succeeds, is refused or fails."""
    caplog.set_level(logging.DEBUG)
    token, cookie, key, basic = SECRETS
    secret = {"Authorization": f"Basic {basic}", "Cookie": f"session={cookie}", "Idempotency-Key": f'"{key}"'}
    client = server.app.test_client()

    def send() -> list[int]:
        chunk = f"/flow/?{CHUNK}&token={token}&upload_token={token}"
        return [
            client.post("/files/", headers={**TUS, **secret}, data=b"abc").status_code,
            client.post(f"/files/?upload_token={token}", headers={**TUS, **secret}, data=b"abc").status_code,
            client.post("/files/", headers={**DRAFT, **secret, "Upload-Token": token}, data=b"a").status_code,
            client.post(chunk, headers={**secret, "Content-Type": "a/b"}, data=b"abc").status_code,
        ]

    assert send() == [201, 403, 403, 403]

    def fail(*_: object, **__: object) -> None:
        raise error

    for name in ("add", "find_request", "find_by_key", "get"):
        if hasattr(EmbeddedRepository, name):
            monkeypatch.setattr(EmbeddedRepository, name, fail)
    assert send()[0] >= 500
    said = "\n".join(f"{record.getMessage()} {record.exc_text or ''}" for record in caplog.records)
    assert said
    assert not [secret for secret in SECRETS if secret in said]


def test_the_keys_of_a_store_are_not_shown(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in its text, in what it logs, or in its errors."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between two attempts
    caplog.set_level(logging.DEBUG, logger="flask_resumable")
    module = pytest.importorskip("flask_resumable.storage.s3", reason="pip install boto3")
    keys = {"access_key": "s3cr3t-access", "secret_key": "s3cr3t-secret"}
    storage = module.S3Storage("bucket", endpoint_url=f"http://127.0.0.1:{free_port()}", **keys)
    with pytest.raises(Unavailable) as caught:
        next(storage.orphans(datetime.now(UTC)))
    said = f"{storage!r} {caught.value!r} {caught.value.__cause__!r} {caplog.text}"
    assert "The store did not answer" in said
    assert not [key for key in keys.values() if key in said]
