"""GET of finished uploads that a web server sends: nginx by X-Accel-Redirect, others by X-Sendfile."""

from __future__ import annotations

import http.client
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from flask import Flask
from flask import request
from werkzeug.serving import make_server

from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from flask_resumable.core.disposition import content_policy
from flask_resumable.storage.local import LocalStorage
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import Tus
from tests.memory_storage import MemoryStorage
from tests.ports import free_port
from tests.prerequisites import require_program
from tests.prerequisites import ROOT

CONTENT = bytes(range(256)) * 40
NAMES = [
    "plain.txt", "a b.txt", "100%.txt", "100%25.txt", "q?x=1&y", "#hash", "größe.txt", "日本/語.png", '"quoted"',
    "back\\slash", "semi;colon, comma", "+plus", "~tilde", "a..b", "new\nline", "$uri", "tab\t", "'", "[x]{y}",
]  # fmt: skip
PATIENCE = 30.0  # seconds
PAGE = (ROOT / "docs" / "operations.md").read_text()
CONFIGURATION = """
daemon off; worker_processes 1; pid {home}/pid; error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {home}/1; proxy_temp_path {home}/2; fastcgi_temp_path {home}/3;
    uwsgi_temp_path {home}/4; scgi_temp_path {home}/5;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{app}; }}
        location /_uploads/ {{
            internal;
            alias "{uploads}/";
            add_header X-Content-Type-Options nosniff;
            add_header Content-Security-Policy "{policy}";
        }}
    }}
}}
"""


class Uploads(FlaskResumable):
    """Finished files are where the test says; everybody is who they say."""

    target = ""

    def current_owner(self) -> str | None:
        return request.headers.get("X-User")

    def on_complete(self, upload: Any) -> None:
        if self.target:
            upload.move_to(self.target)


def _accel(app: Flask, folder: Path) -> Uploads:
    """An app whose files nginx sends."""
    app.config.update(
        RESUMABLE_UPLOAD_DIR=str(folder),
        RESUMABLE_DOWNLOADS="x-accel-redirect",
        RESUMABLE_ACCEL_LOCATIONS={"/_uploads": str(folder)},
    )
    return Uploads(app)


@dataclass
class Site:
    """An app behind nginx."""

    uploads: Uploads
    tus: Tus
    port: int

    def get(self, url: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        """Fetch through nginx."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("GET", url, headers=fields)
            answer = connection.getresponse()
            return answer, answer.read()


@pytest.fixture
def site(app: Flask, tmp_path: Path) -> Iterator[Site]:
    program = require_program("nginx", "apt-get install nginx")
    folder, home, port, app_port = tmp_path / "up loads", tmp_path / "nginx", free_port(), free_port()
    home.mkdir()
    folder.mkdir()
    tmp_path.chmod(0o755)
    uploads = _accel(app, folder)
    (policy,) = re.findall(r'add_header Content-Security-Policy "(.*)";', PAGE)
    text = CONFIGURATION.format(home=home, port=port, app=app_port, uploads=folder, policy=policy)
    (home / "nginx.conf").write_text(text)
    server = make_server("127.0.0.1", app_port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with (home / "log").open("ab") as log:
        command = [program, "-p", str(home), "-c", "nginx.conf", "-e", "stderr", "-g", "user root;"]
        nginx = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        found = Site(uploads, Tus(app.test_client()), port)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                found.get("/")
                break
            except OSError:
                assert nginx.poll() is None and time.monotonic() < deadline, (home / "log").read_text()
                time.sleep(0.05)
        yield found
    finally:
        nginx.terminate()
        nginx.wait(PATIENCE)
        server.shutdown()
        thread.join()
        server.server_close()


def test_nginx_sends_the_file(site: Site) -> None:
    """Whatever its path is, in full and in ranges, under the client's name, and disarmed."""
    for number, name in enumerate(NAMES):
        site.uploads.target = f"{number}/{name}"
        filename = {"Upload-Metadata": metadata(filename="grüße.png", filetype="image/png")}
        url = site.tus.upload(CONTENT, filename)
        answer, content = site.get(url)
        assert (answer.status, content) == (200, CONTENT), name
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Content-Disposition"].endswith("filename*=UTF-8''gr%C3%BC%C3%9Fe.png")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == content_policy("image/png")
        assert answer.headers["X-Accel-Redirect"] is None
    etag = answer.headers["ETag"]
    for asked, expected in {
        "bytes=10-19": CONTENT[10:20],
        "bytes=-5": CONTENT[-5:],
        "bytes=10000-": CONTENT[10000:],
    }.items():
        answer, content = site.get(url, Range=asked, If_Range=etag)
        assert (answer.status, content) == (206, expected)
    assert site.get(url, Range="bytes=99999-")[0].status == 416
    assert site.get(url, If_None_Match=etag)[0].status == 304
    answer, content = site.get(url, Range="bytes=0-1,5-6")
    assert answer.headers["Content-Type"].startswith("multipart/byteranges")
    answer, content = site.get(url, Range="bytes=0-1", If_Range='"another"')
    assert (answer.status, content) == (200, CONTENT)


def test_nobody_gets_round_the_app(site: Site) -> None:
    """The location is internal, and the app still checks the owner."""
    site.uploads.target = "secret.txt"
    url = site.tus.with_headers(**{"X-User": "anna"}).upload(CONTENT)
    assert site.get(url, X_User="anna")[0].status == 200
    assert site.get(url, X_User="ben")[0].status == 404
    assert site.get("/_uploads/secret.txt")[0].status == 404


def test_only_files_that_nginx_serves_are_left_to_it(app: Flask, tmp_path: Path) -> None:
    """A file elsewhere comes through the app. So does an upload that is not a file."""
    uploads = _accel(app, tmp_path / "up")
    tus = Tus(app.test_client())
    here = tus.get(tus.upload(CONTENT))
    assert (here.status_code, here.data) == (200, b"")
    assert here.headers["X-Accel-Redirect"].startswith("/_uploads/")
    for elsewhere in ("elsewhere.bin", "upside.bin", "up.bin"):
        uploads.target = str(tmp_path / elsewhere)
        with tus.get(tus.upload(CONTENT)) as got:
            assert "X-Accel-Redirect" not in got.headers
            assert got.data == CONTENT


def test_what_is_not_on_disk_is_streamed(app: Flask) -> None:
    """Whatever the setting says."""
    app.config.update(
        FLOW_ENABLED=False, RESUMABLE_DOWNLOADS="x-accel-redirect", RESUMABLE_ACCEL_LOCATIONS={"/_uploads/": "/"}
    )
    FlaskResumable(app, storage=MemoryStorage())
    tus = Tus(app.test_client())
    got = tus.get(tus.upload(CONTENT))
    assert (got.data, "X-Accel-Redirect" in got.headers) == (CONTENT, False)


def test_the_innermost_location_counts(app: Flask, tmp_path: Path) -> None:
    """Folders may be within each other, and a relative one is in the instance folder."""
    app.config.update(
        RESUMABLE_DOWNLOADS="x-accel-redirect",
        RESUMABLE_ACCEL_LOCATIONS={"/all/": str(tmp_path), "/up/": "up", "/root/": "/"},
    )
    folder = Path(app.instance_path) / "up"
    FlaskResumable(app, storage=LocalStorage(folder))
    tus = Tus(app.test_client())
    url = tus.upload(CONTENT)
    assert tus.get(url).headers["X-Accel-Redirect"] == "/up/" + url.rpartition("/")[2]


@pytest.mark.parametrize("claimed", ["text/html", "image/svg+xml"])
def test_types_that_run_scripts_are_not_named(app: Flask, tmp_path: Path, claimed: str) -> None:
    """nginx drops the headers that disarm them, and its configuration may not add them again."""
    app.config["RESUMABLE_INLINE_TYPES"] = [claimed]
    _accel(app, tmp_path)
    tus = Tus(app.test_client())
    got = tus.get(tus.upload(CONTENT, {"Upload-Metadata": metadata(filename="a.html", filetype=claimed)}))
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["Content-Disposition"].startswith("attachment")


def test_locations_are_required(app: Flask) -> None:
    """Otherwise nothing would be sent by nginx."""
    app.config["RESUMABLE_DOWNLOADS"] = "x-accel-redirect"
    with pytest.raises(ConfigurationError, match="ACCEL_LOCATIONS"):
        FlaskResumable(app)


@pytest.mark.parametrize("name", [name for name in NAMES if "\n" not in name])
def test_flasks_x_sendfile_is_used(app: Flask, tmp_path: Path, name: str) -> None:
    """With ``USE_X_SENDFILE``, the response names the file, percent-encoded as Apache and lighttpd read it."""
    app.config.update(USE_X_SENDFILE=True, RESUMABLE_DOWNLOADS=True, RESUMABLE_UPLOAD_DIR=str(tmp_path / "up"))
    uploads = Uploads(app)
    uploads.target = name
    tus = Tus(app.test_client())
    with tus.get(tus.upload(CONTENT)) as got:
        named = unquote_to_bytes(got.headers["X-Sendfile"])
        assert got.headers["X-Sendfile"].isascii()
        assert Path(named.decode()) == tmp_path / "up" / name
        assert got.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("sends", [True, False])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, sends: bool) -> None:
    """A disk that is away, or a file that somebody has removed, gets a reason, not a traceback."""
    app = Flask("app", instance_path=str(tmp_path))
    app.config.update(RESUMABLE_DOWNLOADS=True, RESUMABLE_UPLOAD_DIR=str(tmp_path / "files"), USE_X_SENDFILE=sends)
    FlaskResumable(app)
    tus = Tus(app.test_client())
    url = tus.upload(CONTENT)
    assert tus.get(url).status_code == 200
    (tmp_path / "files" / url.rpartition("/")[2]).unlink()
    response = tus.get(url)
    assert response.status_code == 503
    assert "cannot be read" in response.text
