"""The same page, with the bytes in a bucket: tus-js-client and flow.js notice nothing of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.s3.moto import Moto

from .browser import Browser
from .conftest import MakeFile
from .demo_server import DemoServer
from .demo_server import sha256
from .page import Page
from .proxy import Proxy
from .waiting import until

pytestmark = pytest.mark.browser

MiB = 1024 * 1024


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Any]:
    """A bucket on moto's server."""
    store = Moto(tmp_path)
    store.start()
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="testtest", region_name="us-east-1")
    bucket = session.resource("s3", endpoint_url=store.url).Bucket("uploads")
    bucket.create()
    yield bucket
    bucket.meta.client.close()
    store.kill()


@pytest.fixture
def server(bucket: Any, tmp_path: Path) -> Iterator[DemoServer]:
    """The demo, told to use the bucket."""
    server = DemoServer(
        tmp_path,
        STORAGE="s3",
        S3_BUCKET="uploads",
        S3_PREFIX="demo/",
        S3_ENDPOINT_URL=bucket.meta.client.meta.endpoint_url,
        S3_REGION="us-east-1",
        S3_ACCESS_KEY="test",
        S3_SECRET_KEY="testtest",
    )
    server.start()
    yield server
    server.kill()
    assert "Traceback" not in server.log


def digests(bucket: Any) -> list[str]:
    """The SHA-256 of each object, whatever it is."""
    return [hashlib.sha256(found.get()["Body"].read()).hexdigest() for found in bucket.objects.all()]


@pytest.mark.parametrize("tab", ["tus", "flow"])
def test_file_arrives_in_the_bucket(
    tab: str, browser: Browser, proxy: Proxy, server: DemoServer, bucket: Any, make_file: MakeFile
) -> None:
    """A file of several parts is one object, equal byte for byte, and there is nothing beside it."""
    file = make_file("film.mp4", 19 * MiB + 5)
    browser.goto(f"{proxy.url}#{tab}")
    page = Page(browser, tab)
    page.choose(file)
    page.wait_until("film.mp4", "done")
    assert digests(bucket) == [sha256(file)]
    assert [*bucket.multipart_uploads.all()] == []


@pytest.mark.parametrize("tab", ["tus", "flow"])
def test_a_killed_server_goes_on_from_the_bucket(
    tab: str, browser: Browser, proxy: Proxy, server: DemoServer, bucket: Any, make_file: MakeFile
) -> None:
    """kill -9 in the middle: the client goes on by itself, and the object is whole."""
    file = make_file("film.mp4", 24 * MiB + 5)
    browser.goto(f"{proxy.url}#{tab}")
    page = Page(browser, tab)
    proxy.let(14 * MiB)
    page.choose(file)
    until(lambda: server.received() >= 8 * MiB, "the server has a part")
    server.kill()
    server.start()
    proxy.let(None)
    page.wait_until("film.mp4", "done")
    assert digests(bucket) == [sha256(file)]
    assert [*bucket.multipart_uploads.all()] == []
