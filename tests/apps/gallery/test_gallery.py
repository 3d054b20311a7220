"""The gallery, with Flask's test client and the client of ``flask_resumable.testing``."""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from redis import Redis
from rq import Queue

from flask_resumable.testing import ManualClock
from flask_resumable.testing import SentUpload
from flask_resumable.testing import UploadClient

from . import jobs
from .app import create_app
from .app import uploads
from .models import db
from .models import Finding

CSV = b"name;year\namber;1901\n"
PROTOCOLS = ("tus", "flow", "ietf")


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    """The app's clock."""
    return ManualClock()


@pytest.fixture(scope="module")
def app(settings: dict[str, str], clock: ManualClock) -> Iterator[Flask]:
    """The app."""
    app = create_app(**settings, TESTING=True, now=clock)
    yield app
    app.extensions["redis"].close()
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def queue(app: Flask, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """The queue, without jobs, and without guests who are banned. Its jobs run in the app of the test."""
    monkeypatch.setattr(jobs, "app", lambda: app)
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
        yield Queue(connection=redis)


@pytest.fixture
def partner(app: Flask, queue: Queue) -> FlaskClient:
    """Somebody who is logged in."""
    client = app.test_client()
    assert client.post("/login", data={"name": "museum", "password": "amber"}).status_code == 204
    return client


@pytest.fixture
def guest(app: Flask) -> FlaskClient:
    """Somebody who is not."""
    return app.test_client()


def invite(partner: FlaskClient, guest: str = "ada") -> dict[str, str]:
    """What a guest sends along with each request."""
    return {"Upload-Token": partner.post("/invitations", data={"guest": guest}).get_json()["token"]}


def send(client: FlaskClient, headers: dict[str, str], content: bytes = CSV, *, protocol: str = "flow") -> SentUpload:
    """Upload a table."""
    sender = UploadClient(client, protocol=protocol, headers=headers)
    return sender.upload(content, filename="years.csv", filetype="text/csv")


def work(queue: Queue) -> list[str]:
    """Do all jobs; for which uploads."""
    done: list[str] = []
    for job in queue.get_jobs():
        job.perform()
        job.delete()
        done.extend(job.args)
    return done


def picture() -> bytes:
    """A PNG."""
    with io.BytesIO() as file:
        Image.new("RGB", (300, 200), "orange").save(file, "PNG")
        return file.getvalue()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_picture_waits_for_the_worker(
    partner: FlaskClient, guest: FlaskClient, queue: Queue, bucket: Any, protocol: str
) -> None:
    """Nobody can download it before. The store then sends it with its type and name."""
    token = invite(partner)
    sender = UploadClient(guest, protocol=protocol, headers=token)
    sent = sender.upload(picture(), filename="sun.png", filetype="image/png", guest="someone else")
    url = f"/files/{sent.id}"
    early = guest.get(url, headers=token)
    assert (early.status_code, early.headers["Retry-After"]) == (425, "5")
    assert work(queue) == [sent.id]
    link = guest.get(url, headers=token).headers["Location"]
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == picture()
        assert answer.headers["Content-Type"] == "image/png"
    stored = bucket.Object(sent.id)
    assert stored.metadata["guest"] == "ada"
    assert stored.content_disposition == 'inline; filename="sun.png"'
    with Image.open(io.BytesIO(partner.get(f"/findings/{sent.id}").data)) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (64, 43))


def test_the_status_says_when_a_table_is_ready(partner: FlaskClient, guest: FlaskClient, queue: Queue) -> None:
    """flow.js can ask for it, and only the partner gets the number of lines."""
    token = invite(partner)
    sent = send(guest, token)
    states = [sent.response.get_json()["processing"]["state"]]
    work(queue)
    states.append(guest.get(sent.url, headers=token).get_json()["processing"]["state"])
    assert states == ["processing", "ready"]
    assert partner.get(f"/findings/{sent.id}").get_json() == {"lines": 2}
    assert guest.get(f"/findings/{sent.id}").status_code == 401


def test_what_is_not_a_picture_has_failed(partner: FlaskClient, guest: FlaskClient, queue: Queue) -> None:
    """The client gets the reason."""
    token = invite(partner)
    sent = UploadClient(guest, headers=token).upload(b"no picture", filename="sun.png", filetype="image/png")
    work(queue)
    answer = guest.get(sent.url, headers=token)
    assert (answer.status_code, "not a picture" in answer.text) == (410, True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_token_is_for_one_small_upload(partner: FlaskClient, guest: FlaskClient, protocol: str) -> None:
    """Another file, a large one, and one of another guest are refused."""
    token, other = invite(partner), invite(partner, "bob")
    assert send(guest, token, bytes(2_000_001), protocol=protocol).status_code == 413
    sent = send(guest, token, protocol=protocol)
    assert sent.status_code < 300
    assert send(guest, token, b"other", protocol=protocol).status_code == 403
    assert guest.get(sent.url, headers=other).status_code == 404
    assert send(guest, other, protocol=protocol).id not in ("", sent.id)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_uploads_need_a_token_in_time(
    partner: FlaskClient, guest: FlaskClient, clock: ManualClock, protocol: str
) -> None:
    """Strangers get a 401, the partner's own uploads a 403, and so does a token that has expired."""
    assert send(guest, {}, protocol=protocol).status_code == 401
    assert send(partner, {}, protocol=protocol).status_code == 403
    token = invite(partner)
    clock.advance(minutes=11)
    late = send(guest, token, protocol=protocol)
    assert (late.status_code, "expired" in late.response.text) == (403, True)


def test_a_guest_is_banned_on_the_way(partner: FlaskClient, guest: FlaskClient) -> None:
    """What is arriving is stopped, and so is what the guest begins later."""
    sender = UploadClient(guest, headers=invite(partner))
    url = sender.create(1_000_000, filename="years.csv", filetype="text/csv").url
    other = invite(partner)
    assert partner.post("/banned/ada").status_code == 204
    stopped = sender.append(url, bytes(500_000), offset=0)
    assert (stopped.status_code, "banned" in stopped.response.text) == (403, True)
    assert sender.offset(url) < 500_000
    assert send(guest, other).status_code == 403


def test_lost_jobs_are_enqueued_again(app: Flask, partner: FlaskClient, guest: FlaskClient, queue: Queue) -> None:
    """The queue may lose everything."""
    sent = send(guest, invite(partner))
    app.extensions["redis"].flushall()
    assert app.test_cli_runner().invoke(args=["enqueue"]).exit_code == 0
    assert sent.id in work(queue)
    queue.enqueue(jobs.look, sent.id)
    assert work(queue) == [sent.id]  # there is nothing left to do
    with app.app_context():
        assert db.session.get(Finding, sent.id) is not None
        assert uploads.delete(sent.id)
        assert db.session.get(Finding, sent.id) is None
