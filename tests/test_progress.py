"""``on_progress``: what the app sees while content arrives, when, and how it stops it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text

from flask_resumable import FlaskResumable
from flask_resumable import UploadRejected
from flask_resumable.models import SQLAlchemyModel
from flask_resumable.service import progress
from flask_resumable.storage.multipart import MultipartStorage
from tests.conformance.tus_client import Body
from tests.conformance.tus_client import checksum
from tests.conformance.tus_client import DEFERRED
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample
from tests.ietf.client import Ietf
from tests.memory_store import MemoryStore

KIB = 1024
MIB = 1024 * KIB
BLOCK = b"x" * 16 * KIB  # what is read at a time
SIZE = 10 * len(BLOCK)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float = 1.0) -> Callable[[], None]:
        """Return what to put between the pieces of a body."""

        def passes() -> None:
            self.now += seconds

        return passes


class Site:
    """An app that is told the progress."""

    def __init__(self, home: Path, kind: str, clock: Clock, **wiring: Any) -> None:
        self.app = Flask("app", instance_path=str(home))
        self.clock = clock
        self.told: list[tuple[int, int | None]] = []
        self.during: Callable[[Any], object] = lambda upload: None
        self.before: Callable[[Any], object] = lambda upload: None
        site = self

        class Uploads(FlaskResumable):
            def on_progress(self, upload: Any) -> None:
                site.told.append((upload.offset, upload.length))
                site.during(upload)

            def pre_save(self, upload: Any) -> None:
                site.before(upload)

        if kind == "sql":
            self.app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{home / 'app.sqlite'}"
            self.app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1}
            self.db = SQLAlchemy(self.app)
            wiring = {"model": SQLAlchemyModel, "db": self.db}
        self.uploads = Uploads(self.app, **wiring)
        self.tus = Tus(self.app.test_client())
        self.ietf = Ietf(self.app.test_client(), 8)
        self.flow = Flow(self.app.test_client())

    def send(self, url: str, *pieces: Any, offset: int = 0, **headers: Any) -> Any:
        """Send pieces of a body; its size is that of the bytes."""
        size = sum(len(piece) for piece in pieces if isinstance(piece, bytes))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.tus.patch(url, offset, Body(*pieces), announced=size, headers=named)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "monotonic", made)
    return made


@pytest.fixture(params=["embedded", "sql"])
def site(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Site:
    return Site(tmp_path, request.param, clock)


def _reject(status: int = 429) -> Callable[[Any], object]:
    def reject(upload: Any) -> None:
        raise UploadRejected(status, "Enough.")

    return reject


def test_it_is_called_at_most_once_a_second(site: Site) -> None:
    """With the first content, and then with what has arrived when a second has passed."""
    url = site.tus.new(SIZE)
    wait = site.clock.wait
    body = [BLOCK, BLOCK, wait(0.5), BLOCK, wait(0.5), BLOCK, BLOCK, wait(9), BLOCK, *[BLOCK] * 4]
    assert site.send(url, *body).status_code == 204
    assert site.told == [(len(BLOCK) * count, SIZE) for count in (1, 4, 6)]


def test_requests_for_one_upload_count_together(site: Site) -> None:
    """Many small PATCHes are one upload; another upload has its own second."""
    url, other = site.tus.new(SIZE), site.tus.new(SIZE)
    for number in range(4):
        assert site.send(url, b"abc", offset=3 * number).status_code == 204
    assert site.told == [(3, SIZE)]
    site.send(other, b"ab")
    site.clock.wait()()
    site.send(url, b"abc", offset=12)
    assert site.told == [(3, SIZE), (2, SIZE), (15, SIZE)]


def test_the_end_is_left_to_other_hooks(site: Site) -> None:
    """When the last byte is there, nothing is called that could refuse it."""
    site.during = _reject()
    assert site.send(site.tus.new(3), b"abc").status_code == 204
    assert site.tus.create_with(b"abc", 3).status_code == 201
    assert site.told == []


def test_what_arrived_before_a_refusal_is_kept(site: Site) -> None:
    """The request ends with the status of the app, and the client continues when the app lets it."""
    url = site.tus.new(SIZE)
    site.during = _reject(429)
    refused = site.send(url, *[BLOCK] * 10)
    assert (refused.status_code, refused.get_data(as_text=True)) == (429, "Enough.\n")
    offset = site.tus.offset(url)
    assert offset >= len(BLOCK)
    site.during = lambda upload: None
    assert site.send(url, *[BLOCK] * 9, offset=offset).status_code == 204
    assert site.tus.offset(url) == SIZE


@pytest.mark.parametrize("hook", ["on_progress", "pre_save"])
@pytest.mark.parametrize("protocol", ["tus", "ietf"])
def test_a_creation_that_is_refused_leaves_nothing(site: Site, protocol: str, hook: str) -> None:
    """Its client does not learn the URL, so nobody could continue it."""
    setattr(site, "during" if hook == "on_progress" else "before", _reject(403))
    body = Body(BLOCK, BLOCK)
    if protocol == "tus":
        refused = site.tus.create_with(body, SIZE, announced=2 * len(BLOCK))
    else:
        refused = site.ietf.create(BLOCK, complete=False)
    assert refused.status_code == 403
    with site.app.app_context():
        assert [*site.uploads.uploads()] == []
    left = [file for file in Path(site.app.instance_path, "uploads").rglob("*") if file.is_file()]
    assert left == []


def test_content_with_a_checksum_is_not_kept(site: Site) -> None:
    """It counts only as a whole, as after any other interruption; the app sees how much has arrived."""
    url = site.tus.new(SIZE)
    site.during = _reject()
    refused = site.send(url, BLOCK, BLOCK, Upload_Checksum=checksum(BLOCK * 2))
    assert refused.status_code == 429 and site.told == [(len(BLOCK), SIZE)]
    assert site.tus.offset(url) == 0


def test_an_unknown_length_is_none(site: Site) -> None:
    """While the client has not declared it."""
    url = site.tus.new(headers=DEFERRED)
    assert site.send(url, b"abc").status_code == 204
    assert site.told == [(3, None)]


def test_a_bug_leaves_the_upload_resumable(site: Site) -> None:
    """As in other hooks: a 500, and what has arrived is kept."""

    def fail(upload: Any) -> None:
        raise ZeroDivisionError

    site.during = fail
    url = site.tus.new(SIZE)
    assert site.send(url, BLOCK, BLOCK).status_code == 500
    assert site.tus.offset(url) >= len(BLOCK)


def test_the_draft_calls_it(site: Site) -> None:
    """With a creation and with an append, and a refusal is told as problem details."""
    response = site.ietf.create(b"abc", complete=False)
    url = response.headers["Location"]
    assert site.told == [(3, None)]
    site.clock.wait()()
    site.during = _reject(403)
    assert site.ietf.append(url, 3, b"def", complete=False).status_code == 403
    assert site.told == [(3, None), (6, None)]


@pytest.mark.parametrize("size", [2, 8], ids=["received first", "in place"])
def test_parallel_chunks_count_for_one_upload(site: Site, size: int) -> None:
    """All that has arrived of them is added up, however they are received, and a second is a second for all."""
    file = Sample(BLOCK * 4 * size, size * len(BLOCK))
    content = file.piece(1)
    assert site.flow.octet(file, 4).status_code == 200
    site.told.clear()

    def another() -> None:
        assert site.flow.octet(file, 2).status_code == 200
        site.clock.wait()()
        assert site.flow.octet(file, 3).status_code == 200

    site.clock.wait()()
    names = {f"flow{name[0].upper()}{name[1:]}": value for name, value in file.parameters(1).items()}
    body = Body(content[: len(BLOCK)], another, content[len(BLOCK) :])
    url = "http://localhost/flow/?" + urlencode(names)
    assert site.tus.request("POST", url, body=body, announced=len(content)).status_code == 200
    # Chunk 4 and a block of chunk 1; later chunk 2 as well, and some of chunk 3.
    blocks = [offset // len(BLOCK) for offset, _ in site.told]
    assert blocks[0] == size + 1
    assert len(blocks) == 2 and 2 * size + 1 < blocks[1] <= 3 * size + 1


def test_a_chunk_can_be_refused(site: Site) -> None:
    """Chunks that were recorded stay; the client may send the refused one again."""
    file = Sample(BLOCK * 32, 8 * len(BLOCK))
    assert site.flow.octet(file, 1).status_code == 200
    site.clock.wait()()
    site.during = _reject(403)
    refused = site.flow.octet(file, 2)
    assert refused.status_code == 403 and refused.json == {"error": "Enough."}
    site.during = lambda upload: None
    assert site.flow.test(file, 1).status_code == 200
    assert site.flow.test(file, 2).status_code == 204
    for number in (2, 3, 4):
        last = site.flow.octet(file, number)
    assert last.json is not None and last.json["complete"]


def test_no_connection_is_held_between_two_calls(tmp_path: Path, clock: Clock) -> None:
    """The hook may use the app's session; its connection is back before more content is awaited."""
    site = Site(tmp_path, "sql", clock)
    url = site.tus.new(SIZE)
    held: list[int] = []

    def query(upload: Any) -> None:
        site.db.session.execute(text("SELECT 1"))
        held.append(site.db.engine.pool.checkedout())  # type: ignore[attr-defined]

    def look() -> None:
        held.append(site.db.engine.pool.checkedout())  # type: ignore[attr-defined]

    site.during = query
    with site.app.app_context():
        assert site.send(url, BLOCK, look, BLOCK, clock.wait(), BLOCK, look, *[BLOCK] * 7).status_code == 204
    assert held == [1, 0, 1, 0]


def test_an_object_store_takes_it_the_same_way(tmp_path: Path, clock: Clock) -> None:
    """What has arrived before a refusal is in the store, and the upload continues after it."""
    site = Site(tmp_path, "embedded", clock, storage=MultipartStorage(MemoryStore(), part_size=5 * MIB))
    size = 12 * MIB
    url = site.tus.new(size)

    def stop_late(upload: Any) -> None:
        if upload.offset > 6 * MIB:
            raise UploadRejected(403, "Enough.")

    site.during = stop_late
    half = [BLOCK] * (7 * MIB // len(BLOCK))
    assert site.send(url, *half, clock.wait(), *half[: 5 * MIB // len(BLOCK)]).status_code == 403
    offset = site.tus.offset(url)
    assert 6 * MIB < offset < size
    site.during = lambda upload: None
    assert site.tus.patch(url, offset, bytes(size - offset)).status_code == 204
    chunks = Sample(bytes(size), 6 * MIB)
    site.during = stop_late
    assert site.flow.octet(chunks, 1).status_code == 200
    clock.wait()()
    assert site.flow.octet(chunks, 2).status_code == 403
    site.during = lambda upload: None
    assert (site.flow.octet(chunks, 2).json or {})["complete"]


def test_it_may_be_async(tmp_path: Path, clock: Clock) -> None:
    """As every hook may."""
    app = Flask("app", instance_path=str(tmp_path))
    told: list[int] = []

    class Uploads(FlaskResumable):
        async def on_progress(self, upload: Any) -> None:
            told.append(upload.offset)

    Uploads(app)
    tus = Tus(app.test_client())
    tus.patch(tus.new(9), 0, b"abc")
    assert told == [3]


def test_without_the_hook_there_is_nothing_to_ask(tmp_path: Path) -> None:
    """It is decided once, when the app starts."""
    app = Flask("app", instance_path=str(tmp_path))
    FlaskResumable(app)
    assert app.extensions["resumable"].service.progress is None


def test_what_it_remembers_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads of which nothing arrives any more are forgotten."""
    monkeypatch.setattr(progress, "_MANY", 3)
    for _ in range(6):
        site.send(site.tus.new(9), b"abc")
        site.clock.wait()()
    reports = site.app.extensions["resumable"].service.progress
    assert len(reports._called) <= 3 and reports._chunks == {}


def test_what_is_forgotten_is_not_called_again_too_early(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many uploads there are in one second."""
    monkeypatch.setattr(progress, "_MANY", 3)
    urls = [site.tus.new(9) for _ in range(5)]
    for offset in (0, 3):
        for url in urls:
            site.send(url, b"abc", offset=offset)
    assert site.told == [(3, 9)] * 5
