"""The store under test: moto's server, or with ``S3_SERVER=ceph`` Ceph's gateway (``make test-s3-ceph``).

``S3_SERVER=versitygw`` takes the Versity gateway, if that is installed, and ``S3_SERVER=http://127.0.0.1:9000`` a store
that runs there, with ``S3_ACCESS_KEY`` and ``S3_SECRET_KEY``.
"""

from __future__ import annotations

import functools
import os
import secrets
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import pytest

from tests.prerequisites import require_module

from .ceph import Ceph
from .moto import Moto
from .running import Running
from .versity import Versity

KIB = 1024
Server = Moto | Ceph | Versity | Running


@pytest.fixture(scope="session", autouse=True)
def descriptions() -> Iterator[None]:
    """boto3 reads what it knows of S3 once, and not, for a tenth of a second, for each of a thousand clients."""
    session = pytest.importorskip("botocore.session", reason="pip install boto3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "create_loader", functools.cache(session.create_loader))
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store with the limits of S3."""
    require_module("boto3", "pip install boto3")
    home = tmp_path_factory.mktemp("store")
    if os.environ.get("S3_SERVER") == "ceph":
        store: Server = Ceph(home)
    elif os.environ.get("S3_SERVER") == "versitygw":
        store = Versity(home)
    elif os.environ.get("S3_SERVER", "").startswith("http://"):
        store = Running(home)
    else:
        store = Moto(home)
    try:
        store.start()
        yield store
    finally:
        store.kill()


@pytest.fixture(scope="session")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A store that takes parts of 1 KiB."""
    require_module("boto3", "pip install boto3")
    store = Moto(tmp_path_factory.mktemp("store"), min_part=KIB)
    try:
        store.start()
        yield store
    finally:
        store.kill()


@functools.cache
def _client(url: str, access_key: str, secret_key: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


class Store:
    """A bucket of the test's own, and a look at it that does not go through the code under test."""

    def __init__(self, server: Server, *, prefix: str = "up/") -> None:
        self.server = server
        self.bucket = f"test-{secrets.token_hex(8)}"
        self.prefix = prefix
        self.options: dict[str, Any] = {
            "prefix": prefix,
            "endpoint_url": server.url,
            "access_key": server.access_key,
            "secret_key": server.secret_key,
        }
        self.client = _client(server.url, server.access_key, server.secret_key)
        self.client.create_bucket(Bucket=self.bucket)

    def objects(self) -> set[str]:
        """The keys of all objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {entry["Key"] for page in pages for entry in page.get("Contents", ())}

    def multiparts(self) -> dict[str, str]:
        """All open multipart uploads: ids and keys."""
        pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket)
        return {entry["UploadId"]: entry["Key"] for page in pages for entry in page.get("Uploads", ())}

    def kept(self) -> set[str]:
        """The names of all objects and all open multipart uploads."""
        return self.objects() | {f"{key}?uploadId={multipart}" for multipart, key in self.multiparts().items()}

    def content(self, key: str) -> bytes:
        """What an object holds."""
        content: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content


@pytest.fixture
def store(server: Server) -> Store:
    """A bucket with the limits of S3."""
    return Store(server)


@pytest.fixture
def tiny_store(small_server: Server) -> Store:
    """A bucket that takes parts of 1 KiB."""
    return Store(small_server)


@pytest.fixture
def kept(store: Store) -> Callable[[], set[str]]:
    """For the contract."""
    return store.kept
