"""What the servers need beside them, started and ended here: PostgreSQL, nginx, a certificate."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from bench.measure import free_port
from bench.measure import NotAvailable
from bench.measure import running
from tests.databases.servers import PostgreSQL
from tests.prerequisites import Missing

NGINX = """
worker_processes 1;
pid nginx.pid;
error_log stderr;
daemon off;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    upstream app { server 127.0.0.1:APP max_fails=0; }
    server {
        listen 127.0.0.1:PORT;
        location /files/ {
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_ignore_client_abort on;
            client_body_buffer_size 4k;
            client_max_body_size 0;
        }
    }
}
"""


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
    """nginx in front of a port, configured as the README says; its own port.

    :raises NotAvailable: It is not installed.
    """
    found = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if found is None:
        raise NotAvailable("nginx is not installed: apt-get install nginx")
    port, folder = free_port(), home / "nginx"
    folder.mkdir()
    (folder / "nginx.conf").write_text(NGINX.replace("APP", str(app)).replace("PORT", str(port)))
    command = [found, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
    with running(command, port, env={}, log=home / "nginx.log"):
        yield port


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
