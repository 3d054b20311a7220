"""Bytes in a bucket, by settings alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import Tus
from tests.s3.conftest import Server
from tests.s3.conftest import Store
from tests.s3.moto import Moto

CONTENT = bytes(range(256)) * 4


def _config(server: Server, bucket: str, **more: Any) -> dict[str, Any]:
    return {
        "RESUMABLE_STORAGE": "s3",
        "RESUMABLE_S3_BUCKET": bucket,
        "RESUMABLE_S3_PREFIX": "up/",
        "RESUMABLE_S3_ENDPOINT_URL": server.url,
        "RESUMABLE_S3_ACCESS_KEY": server.access_key,
        "RESUMABLE_S3_SECRET_KEY": server.secret_key,
        **more,
    }


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[..., Moto]]:
    """Makes servers that do not run yet."""
    made: list[Moto] = []

    def make(**options: Any) -> Moto:
        made.append(Moto(tmp_path, **options))
        return made[-1]

    yield make
    for server in made:
        server.kill()


class Tenants(FlaskResumable):
    """Everybody has a folder."""

    def choose_folder(self, upload: Any) -> str | None:
        return "tenant-7"


@pytest.mark.parametrize(("kind", "folder"), [(FlaskResumable, ""), (Tenants, "tenant-7/")], ids=["plain", "tenants"])
def test_settings_are_all_it_takes(app: Flask, store: Store, kind: type[FlaskResumable], folder: str) -> None:
    """The file is an object below the prefix, and below the tenant's folder; it can be fetched, looked at, removed."""
    app.config.update(_config(store.server, store.bucket, RESUMABLE_DOWNLOADS=True))
    kind(app)
    tus = Tus(app.test_client())
    url = tus.upload(CONTENT)
    upload_id = url.rpartition("/")[2]
    key = f"up/{folder}{upload_id}"
    assert store.kept() == {key}
    assert store.content(key) == CONTENT
    assert tus.get(url, {"Range": "bytes=1000-"}).data == CONTENT[1000:]
    run = app.test_cli_runner().invoke
    assert run(args=["tus", "verify"]).output.startswith("Uploads verified: 1, damaged: 0")
    shown = json.loads(run(args=["tus", "show", upload_id]).output)
    assert (shown["path"], shown["location"]) == (None, f"s3://{store.bucket}/{key}")
    store.client.delete_object(Bucket=store.bucket, Key=key)
    assert run(args=["tus", "verify"]).exit_code == 1
    assert tus.delete(url).status_code == 204


def test_downloads_can_be_left_to_the_store(app: Flask, store: Store) -> None:
    """The link of a redirect gives the file out, in ranges too, under the client's name and a harmless type."""
    app.config.update(_config(store.server, store.bucket, RESUMABLE_DOWNLOADS="redirect"))
    FlaskResumable(app)
    tus = Tus(app.test_client())
    named = {"Upload-Metadata": metadata(filename="größe.html", filetype="text/html")}
    response = tus.get(tus.upload(CONTENT, named))
    assert response.status_code == 302
    assert store.server.secret_key not in response.headers["Location"]
    wanted = urllib.request.Request(response.headers["Location"], headers={"Range": "bytes=1000-"})
    with urllib.request.urlopen(wanted, timeout=30) as answer:
        assert (answer.status, answer.read()) == (206, CONTENT[1000:])
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert "filename*=UTF-8''gr%C3%B6%C3%9Fe.html" in answer.headers["Content-Disposition"]


def test_a_wrong_bucket_stops_the_app(app: Flask, store: Store) -> None:
    """The message names it and tells no secret; unless the check is turned off."""
    app.config.update(_config(store.server, "bukket"))
    with pytest.raises(ConfigurationError, match="bukket") as caught:
        FlaskResumable(app)
    assert store.server.secret_key not in str(caught.value)
    app.config["RESUMABLE_S3_CHECK"] = False
    FlaskResumable(app)
    assert Tus(app.test_client()).create(5).status_code == 201


def test_a_wrong_key_stops_the_app(app: Flask, own_server: Callable[..., Moto]) -> None:
    """A key that the store does not know is told at start, without the secret that belongs to it."""
    server = own_server(strict=True)
    server.start()
    app.config.update(_config(server, "bucket"))
    with pytest.raises(ConfigurationError, match="InvalidAccessKeyId") as caught:
        FlaskResumable(app)
    assert server.secret_key not in str(caught.value)


def test_a_store_that_is_down_is_waited_for(
    app: Flask, own_server: Callable[..., Moto], caplog: pytest.LogCaptureFixture
) -> None:
    """The app starts with a warning; uploads get 503 and stay, until the store is there."""
    server = own_server()
    app.config.update(_config(server, "bucket"))
    FlaskResumable(app)
    assert "The bucket 'bucket' does not answer" in caplog.text
    tus = Tus(app.test_client())
    url = tus.new(5)
    assert tus.patch(url, 0, b"hello").status_code == 503
    assert tus.offset(url) == 0
    assert server.secret_key not in caplog.text
    server.start()
    create = urllib.request.Request(f"{server.url}/bucket", method="PUT")
    urllib.request.urlopen(create, timeout=30).close()
    assert tus.patch(url, 0, b"hello").status_code == 204
    assert app.test_cli_runner().invoke(args=["tus", "verify"]).output.startswith("Uploads verified: 1, damaged: 0")


def test_a_missing_extra_is_told(tmp_path: Path, own_server: Callable[..., Moto]) -> None:
    """Without boto3, the app stops and says what to install; apps with a disk do not notice."""
    code = (
        "import sys\nsys.modules['boto3'] = sys.modules['botocore'] = None\n"  # as if they were not installed
        "from flask import Flask\nfrom flask_resumable import FlaskResumable\n"
        f"app = Flask('app', instance_path={str(tmp_path)!r})\n"
    )

    def run(config: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        program = f"{code}app.config.update({config!r})\nFlaskResumable(app)\n"
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True)

    assert run({}).returncode == 0
    refused = run(_config(own_server(), "bucket"))
    assert refused.returncode == 1 and "Flask-Resumable[s3]" in refused.stderr
