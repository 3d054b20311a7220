"""Stores that speak S3, started for a benchmark."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.measure import free_port
from bench.measure import NotAvailable
from bench.measure import running
from bench.measure import Tree
from bench.programs import program

KEYS = ("bench", "bench-secret")
PREFIX = "up/"  # of the uploads in a bucket


@dataclass(frozen=True)
class Bucket:
    """A bucket of an S3 server."""

    endpoint: str
    name: str
    client: Any

    def options(self) -> dict[str, str]:
        """What the app's storage takes."""
        keys = {"access_key": KEYS[0], "secret_key": KEYS[1]}
        return {"bucket": self.name, "endpoint_url": self.endpoint, "prefix": PREFIX, **keys}

    def read(self, name: str) -> bytes:
        """The content of a finished upload."""
        content: bytes = self.client.get_object(Bucket=self.name, Key=PREFIX + name)["Body"].read()
        return content


class Store:
    """An S3 server: versitygw, or moto's."""

    def __init__(self, endpoint: str, title: str, tree: Tree) -> None:
        import boto3
        from botocore.config import Config

        self.endpoint = endpoint
        self.title = title
        self.tree = tree
        self._client = boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=KEYS[0],
            aws_secret_access_key=KEYS[1],
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def bucket(self) -> Bucket:
        """A new one."""
        name = f"bench-{secrets.token_hex(6)}"
        self._client.create_bucket(Bucket=name)
        return Bucket(self.endpoint, name, self._client)


@contextmanager
def store(home: Path) -> Iterator[Store]:
    """An S3 server, until the end of the block: versitygw, or moto's where that is missing.

    :raises NotAvailable: There is neither on this machine.
    """
    if program("versitygw") is None and find_spec("moto") is not None:
        _need_boto3()
        port = free_port()
        home.mkdir(parents=True)
        moto = Path(sys.executable).with_name("moto_server")
        command = [str(moto), "-H", "127.0.0.1", "-p", str(port)]
        with running(command, port, env={}, log=home.with_suffix(".log")) as tree:
            yield Store(f"http://127.0.0.1:{port}", "moto's server", tree)
    else:
        with versitygw(home) as found:
            yield found


@contextmanager
def versitygw(home: Path) -> Iterator[Store]:
    """The S3 server that keeps objects as files: ``home/BUCKET/KEY``.

    :raises NotAvailable: It is not on this machine.
    """
    _need_boto3()
    found = program("versitygw")
    if found is None:
        raise NotAvailable("versitygw is neither in PATH nor in bench/peers/bin; see `make bench-peers`")
    port = free_port()
    home.mkdir(parents=True)
    where, env = f"127.0.0.1:{port}", {"ROOT_ACCESS_KEY": KEYS[0], "ROOT_SECRET_KEY": KEYS[1]}
    command = [found, "--quiet", "--port", where, "posix", str(home)]
    with running(command, port, env=env, log=home.with_suffix(".log")) as tree:
        yield Store(f"http://{where}", "versitygw", tree)


def _need_boto3() -> None:
    if find_spec("boto3") is None:
        raise NotAvailable("boto3 is not installed; see the extra `bench`")
