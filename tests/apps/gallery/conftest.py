"""A store, a queue, and the app with a bucket and a database of its own."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from redis import ConnectionError as RedisConnectionError
from redis import Redis

from tests.live.servers import DIE_WITH_PARENT
from tests.ports import free_port
from tests.prerequisites import require_module
from tests.prerequisites import require_program
from tests.s3.moto import Moto

PATIENCE = 60.0  # seconds


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """A store."""
    require_module("boto3", "pip install boto3")
    moto = Moto(tmp_path_factory.mktemp("gallery-store"))
    try:
        moto.start()
        yield moto
    finally:
        moto.kill()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis."""
    program = require_program("redis-server", "apt-get install redis-server")
    home, port = tmp_path_factory.mktemp("gallery-redis"), free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home), "--save", ""]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", DIE_WITH_PARENT, *command], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(port):
            assert process.poll() is None and time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    with Redis(port=port) as redis:
        try:
            return bool(redis.ping())
        except RedisConnectionError:
            return False


@pytest.fixture(scope="module")
def bucket(store: Moto) -> Iterator[Any]:
    """A bucket, as boto3 sees it."""
    keys = {"aws_access_key_id": store.access_key, "aws_secret_access_key": store.secret_key}
    resource = boto3.resource("s3", endpoint_url=store.url, region_name="us-east-1", **keys)
    yield resource.create_bucket(Bucket=f"gallery-{secrets.token_hex(8)}")
    resource.meta.client.close()


@pytest.fixture(scope="module")
def settings(store: Moto, bucket: Any, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What tells an app where everything is."""
    return {
        "SECRET_KEY": "a secret",
        "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path_factory.mktemp('gallery') / 'gallery.sqlite'}",
        "REDIS_URL": redis_url,
        "RESUMABLE_S3_BUCKET": bucket.name,
        "RESUMABLE_S3_ENDPOINT_URL": store.url,
        "RESUMABLE_S3_ACCESS_KEY": store.access_key,
        "RESUMABLE_S3_SECRET_KEY": store.secret_key,
        "RESUMABLE_S3_REGION": "us-east-1",
    }
