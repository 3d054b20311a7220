"""What the servers need beside them, started and ended here: PostgreSQL, nginx, a certificate."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from bench.measure import NotAvailable
from tests.databases.servers import PostgreSQL
from tests.nodes.nginx import Nginx
from tests.prerequisites import Missing


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL of its own, until the end of the block; its URL.

    :raises NotAvailable: It is not installed.
    """
    if find_spec("psycopg") is None:
        raise NotAvailable("psycopg is not installed; see the extra `bench`")
    try:
        server = PostgreSQL()
    except Missing as error:
        raise NotAvailable(str(error)) from error
    try:
        yield server.uri
    finally:
        server.close()


@contextmanager
def database(server: str) -> Iterator[str]:
    """A new database of a PostgreSQL server, until the end of the block; its URL."""
    import psycopg

    name = f"flaky_{secrets.token_hex(6)}"
    with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.rpartition("/")[0] + "/" + name


@contextmanager
def nginx(home: Path, app: int) -> Iterator[int]:
    """nginx in front of a port, configured as the demo's; its own port.

    :raises NotAvailable: It is not installed.
    """
    try:
        server = Nginx(home / "nginx", [app])
    except Missing as error:
        raise NotAvailable(str(error)) from error
    try:
        yield server.port
    finally:
        server.close()


def certificate(home: Path) -> tuple[Path, Path]:
    """A certificate for this machine, signed by itself, and its key.

    :raises NotAvailable: There is no openssl.
    """
    if shutil.which("openssl") is None:
        raise NotAvailable("openssl is not installed")
    cert, key = home / "cert.pem", home / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    make += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*make, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key
