"""PUBLIC_URL: the URLs that clients get are the ones that they can reach, whatever the app sees of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response

from flask_resumable import FlaskResumable

BASE = "https://uploads.example.org/api"
ID = "0" * 32
TUS = {"Tus-Resumable": "1.0.0"}
IETF = {"Upload-Complete": "?0", "Upload-Draft-Interop-Version": "8"}


def make(folder: Path, **settings: Any) -> tuple[Flask, FlaskResumable]:
    """An app with these settings, and its extension."""
    app = Flask("app", instance_path=str(folder))
    app.config.update(settings)
    return app, FlaskResumable(app)


@pytest.fixture
def resumable(tmp_path: Path) -> Iterator[FlaskResumable]:
    """The extension of an app with a public URL, within an app context and without a request."""
    app, resumable = make(tmp_path, RESUMABLE_PUBLIC_URL=BASE + "/")
    with app.app_context():
        yield resumable


def create(client: FlaskClient, headers: dict[str, str], path: str = "/files/") -> str:
    """Location of a new upload."""
    response = client.post(path, headers={"Upload-Length": "3", **headers})
    assert response.status_code == 201, response.text
    return response.headers["Location"]


@pytest.mark.parametrize("headers", [TUS, IETF], ids=["tus", "ietf"])
@pytest.mark.parametrize("is_absolute", [False, True])
def test_location_begins_with_the_public_url(tmp_path: Path, headers: dict[str, str], is_absolute: bool) -> None:
    """It does in tus and in the draft, whatever Host, forwarded headers and ABSOLUTE_LOCATION say."""
    app, _ = make(tmp_path, RESUMABLE_PUBLIC_URL=BASE, RESUMABLE_ABSOLUTE_LOCATION=is_absolute)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_proto=1, x_host=1, x_prefix=1)  # type: ignore[method-assign]
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil"}
    location = create(app.test_client(), {**headers, **forged})
    assert location.startswith(BASE + "/files/") and len(location) == len(BASE + "/files/") + 32


@pytest.mark.parametrize("asked", ["/mounted/files/", "/mounted/files"])
def test_the_public_url_replaces_the_path_at_which_the_app_is_mounted(tmp_path: Path, asked: str) -> None:
    """It is that of the app's root: SCRIPT_NAME is not in it unless the setting says so."""
    app, _ = make(tmp_path, RESUMABLE_PUBLIC_URL=BASE)
    app.wsgi_app = DispatcherMiddleware(Response("other", 404), {"/mounted": app.wsgi_app})  # type: ignore[method-assign]
    assert create(app.test_client(), TUS, asked).startswith(BASE + "/files/")


def test_a_protocol_can_have_a_url_and_a_path_of_its_own(tmp_path: Path) -> None:
    """A proxy may rename the path of each; the draft follows tus, at whose URL it is."""
    app, resumable = make(
        tmp_path,
        RESUMABLE_PUBLIC_URL=BASE,
        TUS_PUBLIC_PATH="/uploads",
        FLOW_PUBLIC_URL="http://flow.example.org",
        FLOW_PUBLIC_PATH="/",
    )
    assert create(app.test_client(), TUS).startswith(BASE + "/uploads/")
    assert create(app.test_client(), IETF).startswith(BASE + "/uploads/")
    with app.app_context():
        assert resumable.url_for(protocol="flow") == "http://flow.example.org/"
        assert resumable.url_for(ID, protocol="ietf") == f"{BASE}/uploads/{ID}"


def test_a_final_upload_names_its_parts_by_their_public_urls(tmp_path: Path) -> None:
    """Clients send back the URLs that they got, or shorter ones, and get Upload-Concat as they sent it."""
    app, _ = make(tmp_path, RESUMABLE_PUBLIC_URL=BASE, TUS_PUBLIC_PATH="/up/")
    client = app.test_client()
    parts = []
    for content in (b"abc", b"def"):
        location = create(client, {**TUS, "Upload-Concat": "partial"})
        headers = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        url = "/files/" + location.rpartition("/")[2]
        assert client.patch(url, headers=headers, data=content).status_code == 204
        parts.append(location)
    whole, path, name = f"{parts[0]} {parts[1]}", urlsplit(parts[0]).path, parts[0].rpartition("/")[2]
    for concat in (whole, f"{path} {name}", f"../up/{name} ./{name} {name}"):
        response = client.post("/files/", headers={**TUS, "Upload-Concat": f"final;{concat}"})
        assert response.status_code == 201
        assert response.headers["Location"].startswith(BASE + "/up/")
        url = "/files/" + response.headers["Location"].rpartition("/")[2]
        assert client.head(url, headers=TUS).headers["Upload-Concat"] == f"final;{concat}"
        assert client.head(url, headers=TUS).headers["Upload-Length"] == str(3 * len(concat.split()))


def test_url_for_is_public_and_needs_no_request(resumable: FlaskResumable) -> None:
    """A job or a command can make links, although there is neither a request nor SERVER_NAME."""
    assert resumable.url_for() == resumable.url_for(_external=True) == BASE + "/files/"
    assert resumable.url_for(ID) == resumable.url_for(ID, _external=True) == f"{BASE}/files/{ID}"
    assert resumable.url_for(ID, protocol="flow") == f"{BASE}/flow/{ID}"
    with pytest.raises(ValueError, match="this app serves"):
        resumable.url_for(ID, protocol="ftp")


def test_url_for_takes_what_flask_takes(resumable: FlaskResumable) -> None:
    """Query and fragment are added, and the host is left out where that is asked for."""
    assert resumable.url_for(ID, _external=False) == f"/api/files/{ID}"
    assert resumable.url_for(_scheme="http") == BASE.replace("https", "http") + "/files/"
    assert resumable.url_for(ID, _anchor="a b") == f"{BASE}/files/{ID}#a%20b"
    assert resumable.url_for(album=7, tag=["a", "b&c"], none=None) == f"{BASE}/files/?album=7&tag=a&tag=b%26c"
    assert resumable.url_for(_method="POST") == BASE + "/files/"


def test_without_a_public_url_everything_depends_on_the_request(tmp_path: Path) -> None:
    """The default: a relative Location, and a path from url_for."""
    app, resumable = make(tmp_path)
    assert len(create(app.test_client(), TUS)) == 32
    with app.test_request_context(base_url="http://example.org/sub"):
        assert resumable.url_for() == "/sub/files/"
        assert resumable.url_for(ID, _external=True) == f"http://example.org/sub/files/{ID}"


def test_a_download_is_at_the_public_url(tmp_path: Path) -> None:
    """What url_for says is the URL of the file, too."""
    app, resumable = make(tmp_path, RESUMABLE_PUBLIC_URL=BASE, RESUMABLE_DOWNLOADS=True)
    client = app.test_client()
    headers = {**TUS, "Content-Type": "application/offset+octet-stream"}
    response = client.post("/files/", headers={**headers, "Upload-Length": "3"}, data=b"abc")
    with app.app_context():
        (upload,) = resumable.uploads()
        assert resumable.url_for(upload) == response.headers["Location"]
    path = urlsplit(response.headers["Location"]).path.removeprefix("/api")
    with client.get(path) as download:
        assert download.data == b"abc"
