"""Users with documents: logins, CSRF, limits, quotas, migrations and an admin beside the uploads."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

from flask_resumable.testing import UploadClient
from tests.folders import quick_folder
from tests.ports import free_port

from .accounts.app import create_app
from .accounts.app import limiter
from .accounts.models import db
from .accounts.models import Document
from .accounts.models import Upload
from .accounts.models import User

ROOT = Path(__file__).parents[2]
PROTOCOLS = ["tus", "flow", "ietf"]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database whose tables Flask-Migrate has created, with three users, one of them an admin."""
    folder = tmp_path_factory.mktemp("accounts")
    command = [sys.executable, "-m", "tests.apps.accounts.migrate", str(folder)]
    done = subprocess.run(command, cwd=folder, env=environ(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    app = create_app(str(folder), SECRET_KEY="secret")
    with app.app_context():
        for name in ("ada", "bob", "root"):
            password_hash = generate_password_hash(name, "pbkdf2:sha256:1000")  # quicker than the default
            db.session.add(User(name=name, password_hash=password_hash, space=1000, is_admin=name == "root"))
        db.session.commit()
        db.engine.dispose()
    return folder


def environ() -> dict[str, str]:
    """Of processes that run the app."""
    return os.environ | {"PYTHONPATH": str(ROOT), "FLASK_SECRET_KEY": "secret"}


@pytest.fixture
def home(migrated: Path, tmp_path: Path) -> Iterator[Path]:
    """An instance folder with a copy of that database."""
    with quick_folder(tmp_path) as folder:
        shutil.copy(migrated / "accounts.sqlite", folder)
        yield folder


@pytest.fixture
def app(home: Path) -> Iterator[Flask]:
    """The app."""
    app = create_app(str(home), SECRET_KEY="secret", TESTING=True)
    with app.app_context():
        limiter.reset()
    yield app
    with app.app_context():
        db.engine.dispose()


class Visitor:
    """A browser with its cookies, which sends the token of the page that it was last shown."""

    def __init__(self, app: Flask) -> None:
        self.client: FlaskClient = app.test_client()
        self.token = ""

    def get(self, path: str) -> str:
        """A page."""
        page = self.client.get(path).text
        for token in re.findall(r'csrf[-_]token"[^>]*(?:content|value)="([^"]+)"', page)[:1]:
            self.token = token
        return page

    def post(self, path: str, **fields: str) -> TestResponse:
        """Submit the form of that page."""
        return self.client.post(path, data={"csrf_token": self.token, **fields})

    def log_in(self, name: str) -> Visitor:
        """With the right password."""
        self.get("/login")
        assert self.post("/login", name=name, password=name).location == "/"
        self.get("/")
        return self

    def uploader(self, protocol: str = "tus") -> UploadClient:
        """What the page does for a file."""
        return UploadClient(self.client, protocol=protocol, headers={"X-CSRFToken": self.token})


@pytest.fixture
def ada(app: Flask) -> Visitor:
    """A user."""
    return Visitor(app).log_in("ada")


@pytest.fixture
def bob(app: Flask) -> Visitor:
    """Another one."""
    return Visitor(app).log_in("bob")


@pytest.fixture
def root(app: Flask) -> Visitor:
    """The admin."""
    return Visitor(app).log_in("root")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_upload_becomes_a_document_of_its_owner(ada: Visitor, bob: Visitor, protocol: str) -> None:
    """With the title that the client says, and a download that only the owner gets."""
    sent = ada.uploader(protocol).upload(b"one,two", filename="numbers.csv", filetype="text/csv", chunk_size=3)
    assert sent.response.status_code < 300
    assert "numbers.csv</a>, 7 bytes" in ada.get("/")
    link = re.findall(r'<a href="([^"]+)">numbers', ada.get("/"))[0]
    with ada.client.get(link) as download:
        assert download.data == b"one,two"
    assert bob.client.get(link).status_code == 404
    assert "numbers" not in bob.get("/")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_strangers_and_pages_without_a_token_are_refused(app: Flask, ada: Visitor, protocol: str) -> None:
    """Uploads are exempt from CSRFProtect, and check the header themselves."""
    stranger = Visitor(app)
    stranger.get("/login")
    assert stranger.uploader(protocol).upload(b"a", filename="a").status_code == 401
    assert UploadClient(ada.client, protocol=protocol).upload(b"a", filename="a").status_code == 400
    assert ada.client.post("/documents/1", data={"title": "a"}).status_code == 400


def test_the_form_beside_the_uploads_works(ada: Visitor, bob: Visitor) -> None:
    """It has its token in a field, as usual."""
    ada.uploader().upload(b"a", filename="a")
    assert bob.post("/documents/1", title="mine").status_code == 404
    assert ada.post("/documents/1", title="A letter").status_code == 302
    assert "A letter</a>" in ada.get("/")


def test_a_deleted_document_gives_its_space_back(app: Flask, ada: Visitor) -> None:
    """The row that refers to the upload goes with it, and so do the bytes."""
    uploader = ada.uploader()
    sent = uploader.upload(bytes(700), filename="a")
    refused = uploader.create(400, filename="b")
    assert (refused.status_code, refused.response.text) == (413, "You may upload at most 300 bytes.\n")
    assert ada.post("/documents/1/delete").status_code == 302
    assert uploader.upload(bytes(400), filename="b").status_code == 204
    with app.app_context():
        assert [document.title for document in db.session.scalars(db.select(Document))] == ["b"]
    assert not (Path(app.instance_path) / "uploads" / sent.id).exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_user_has_a_quota(ada: Visitor, bob: Visitor, protocol: str) -> None:
    """It applies to all protocols together."""
    assert ada.uploader().upload(bytes(1000), filename="a").status_code == 204
    assert ada.uploader(protocol).upload(bytes(1), filename="b").status_code == 413
    assert bob.uploader(protocol).upload(bytes(1000), filename="a").status_code < 300


def test_space_is_checked_when_an_upload_is_complete(app: Flask, ada: Visitor) -> None:
    """In the transaction of its completion: by then, something else may have taken the space."""
    uploader = ada.uploader()
    sent = uploader.create(600, filename="a")
    with app.app_context():
        db.session.execute(db.update(User).values(used=500))
        db.session.commit()
    refused = uploader.append(sent.url, bytes(600), offset=0)
    assert (refused.status_code, refused.response.text) == (413, "You have no space left.\n")
    with app.app_context():
        assert db.session.query(Document).count() == 0
        assert db.session.scalars(db.select(User.used)).all() == [500] * 3
    assert uploader.upload(bytes(500), filename="b").status_code == 204


def test_creations_are_limited_and_content_is_not(ada: Visitor, bob: Visitor) -> None:
    """A client may send as many requests for an upload as it needs."""
    uploader = ada.uploader()
    sent = uploader.create(100, filename="a")
    for offset in range(40):  # more than pages may be asked for
        assert uploader.append(sent.url, b"a", offset=offset).status_code == 204
    for number in range(4):
        assert uploader.upload(b"a", filename=str(number)).status_code == 204
    refused = uploader.create(1, filename="one more")
    assert refused.status_code == 429
    assert bob.uploader().upload(b"a", filename="a").status_code == 204


def test_pages_are_limited(ada: Visitor) -> None:
    """The default limit applies to everything but uploads."""
    assert 429 in [ada.client.get("/").status_code for _ in range(31)]


def test_admins_see_search_and_delete_uploads(app: Flask, ada: Visitor, bob: Visitor, root: Visitor) -> None:
    """Flask-Admin's forms pass CSRFProtect, and deletions remove documents and bytes."""
    sent = ada.uploader().upload(b"a", filename="letter.txt")
    bob.uploader("flow").upload(b"b", filename="photo.jpg")
    bob.uploader("ietf").upload(b"b", filename="song.mp3")
    assert ada.client.get("/admin/uploads/").status_code == 403
    root.token = ""  # the page has tokens of its own
    page = root.get("/admin/uploads/")
    assert all(name in page for name in ("letter.txt", "photo.jpg", "song.mp3"))
    found = root.get("/admin/uploads/?search=letter")
    assert "letter.txt" in found and "photo.jpg" not in found
    assert root.post("/admin/uploads/delete/", id=sent.id).status_code == 302
    assert root.post("/admin/uploads/action/", action="delete", rowid=ids(page)[-1]).status_code == 302
    with app.app_context():
        assert db.session.query(Upload).count() == db.session.query(Document).count() == 1
    assert not (Path(app.instance_path) / "uploads" / sent.id).exists()


def ids(page: str) -> list[str]:
    """The uploads that a page of the admin lists."""
    return re.findall(r'name="rowid"[^>]*value="([0-9a-f]{32})"', page)


def is_listening(port: int) -> bool:
    """Whether a server accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def gunicorn(home: Path) -> Iterator[int]:
    """The port of a server with the app."""
    port = free_port()
    app = f"tests.apps.accounts.app:create_app({str(home)!r})"
    command = [sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", "4", "-b", f"127.0.0.1:{port}", app]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=home, env=environ(), stdout=log, stderr=log)
    try:
        while not is_listening(port):
            assert server.poll() is None, (home / "log").read_text()
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait(30)


class Browser:
    """A user of a real server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.headers = {"Tus-Resumable": "1.0.0"}

    def open(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[http.client.HTTPResponse, str]:
        """Send a request; the response and its text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, self.headers | sent)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        if cookie := response.getheader("Set-Cookie"):
            self.headers["Cookie"] = cookie.partition(";")[0]
        if found := re.search(r'csrf[-_]token"[^>]*(?:content|value)="([^"]+)"', text):
            self.headers["X-CSRFToken"] = found[1]
        return response, text

    def log_in(self, name: str) -> None:
        """With the right password."""
        self.open("GET", "/login")
        fields = {"name": name, "password": name, "csrf_token": self.headers["X-CSRFToken"]}
        self.open("POST", "/login", urlencode(fields).encode(), Content_Type="application/x-www-form-urlencoded")
        self.open("GET", "/")

    def cut_off(self, path: str, content: bytes, length: int) -> None:
        """Announce so much content, send less, and vanish."""
        headers = self.headers | {
            "Host": "localhost",
            "Upload-Offset": "0",
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(length),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(f"PATCH {path} HTTP/1.1\r\n{head}\r\n".encode() + content)


def test_a_client_that_is_cut_off_continues(home: Path) -> None:
    """Under a real server. What has arrived is not sent again."""
    with gunicorn(home) as port:
        browser = Browser(port)
        browser.log_in("ada")
        created, _ = browser.open("POST", "/files/", Upload_Length="1000", Upload_Metadata="filename bGV0dGVyLnR4dA==")
        path = f"/files/{created.getheader('Location')}"
        browser.cut_off(path, b"a" * 600, 1000)
        response, _ = browser.open("HEAD", path)
        assert response.getheader("Upload-Offset") == "600"
        octets = "application/offset+octet-stream"
        response, _ = browser.open("PATCH", path, b"b" * 400, Upload_Offset="600", Content_Type=octets)
        assert response.status == 204
        assert "letter.txt</a>, 1000 bytes" in browser.open("GET", "/")[1]
        assert browser.open("GET", path)[1] == "a" * 600 + "b" * 400
