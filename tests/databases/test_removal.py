"""Where the app's own rows refer to an upload, the database is asked before any bytes are removed."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_resumable import UploadRejected
from flask_resumable.core.upload import Status
from flask_resumable.errors import Unavailable
from flask_resumable.storage.local import LocalStorage
from tests.conformance.tus_client import checksum
from tests.flow.client import Sample

from .removal import Clock
from .removal import DEFERRED
from .removal import HeldPicture
from .removal import MongoSite
from .removal import NO_ACTION
from .removal import Site
from .removal import SQLSite

FILE = Sample(b"0123456789", 5)
CASCADE = {"ondelete": "CASCADE"}

Start = Callable[..., SQLSite]


def on_server(kind: str, name: str) -> Any:
    """A kind of site on a server, whose tests run in one process."""
    server = name.split()[0]
    return pytest.param((kind, name), id=name, marks=pytest.mark.xdist_group(server))


SITES = [
    pytest.param(("sql", "sqlite"), id="sqlite"),
    pytest.param(("sql", "sqlite deferred"), id="sqlite deferred"),
    pytest.param(("sql", "sqlite that begins"), id="sqlite that begins"),
    *(on_server("sql", name) for name in ("postgresql", "postgresql deferred", "mariadb")),
    *(on_server("mongo", name) for name in ("mongo", "mongo deep")),
]


@pytest.fixture
def clock() -> Clock:
    """The app's clock."""
    return Clock()


@pytest.fixture
def start(app: Flask, clock: Clock, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Set the app up on a SQL database, with a kind of foreign key."""
    made: list[Site] = []

    def setup(server: str, key: dict[str, Any], **options: Any) -> SQLSite:
        file = f"sqlite:///{tmp_path / 'app.sqlite'}"
        uri = file if server == "sqlite" else request.getfixturevalue(server).uri
        site = SQLSite(app, clock, uri, key, **options)
        made.append(site)
        return site

    yield setup
    for site in made:
        site.close()


@pytest.fixture(params=SITES)
def site(app: Flask, clock: Clock, start: Start, request: pytest.FixtureRequest) -> Iterator[Site]:
    """The app on each database, whose rows forbid the removal of what they refer to."""
    kind, name = request.param
    server, _, more = name.partition(" ")
    if kind == "sql":
        begins = more == "that begins"
        yield start(server, DEFERRED if more else NO_ACTION, begins=begins)
        return
    site = MongoSite(app, clock, request.getfixturevalue("mongo").uri, deep=bool(more))
    yield site
    site.close()


def id_of(url: str) -> str:
    """An upload's id."""
    return url.rpartition("/")[2]


def test_a_finished_upload_stays_as_it_was(site: Site) -> None:
    """409, as often as it is tried, without a word about tables; then it can still be downloaded. Without the row it
    goes.
    """
    url = site.tus.upload(b"hello")
    site.refer(id_of(url))
    before = site.uploads(), site.files()
    for _ in range(2):
        answer = site.tus.delete(url)
        assert answer.status_code == 409
        assert answer.text == "The upload was not removed because the app still refers to it.\n"
        assert site.tus.get(url).data == b"hello"
        (upload,) = site.uploads()
        assert (upload.status, upload.claimed_until) == (Status.COMPLETE, None)
        assert ([upload.received for upload in site.uploads()], site.files()) == ([before[0][0].received], before[1])
    assert "post_delete" not in site.hooks.called
    site.forget()
    assert site.tus.delete(url).status_code == 204
    assert (site.uploads(), site.files()) == ([], [])
    assert site.hooks.called.count("post_delete") == 1


def test_an_unfinished_upload_goes_on(site: Site) -> None:
    """What was refused does not stop its client."""
    url = site.tus.new(10)
    site.tus.patch(url, 0, b"01234")
    site.refer(id_of(url))
    assert site.tus.delete(url).status_code == 409
    assert site.tus.offset(url) == 5
    assert site.tus.patch(url, 5, b"56789").status_code == 204
    assert site.tus.get(url).data == b"0123456789"


def test_a_cancelled_file_goes_on(site: Site) -> None:
    """The same for flow.js."""
    upload_id = site.flow.octet(FILE, 1).get_json()["id"]
    site.refer(upload_id)
    assert site.flow.cancel(FILE).status_code == 409
    assert site.flow.test(FILE, 1).status_code == 200
    assert site.flow.octet(FILE, 2).get_json()["complete"]
    assert site.flow.cancel(FILE).status_code == 409
    site.forget()
    assert site.flow.cancel(FILE).status_code == 204
    assert site.files() == []


def test_the_cleaner_goes_on_with_others(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Each run removes what can be removed, and names what cannot and why; the bytes wait until the row is gone."""
    kept, other = site.tus.new(10), site.tus.new(10)
    for url in (kept, other):
        site.tus.patch(url, 0, b"01234")
    site.refer(id_of(kept))
    site.expire()
    for removed in (1, 0):
        caplog.clear()
        code, output = site.clean()
        assert code == 1
        assert f"Uploads removed: {removed}," in output and "failed: 1" in output and id_of(kept) in output
        (line,) = [record.getMessage() for record in caplog.records if id_of(kept) in record.getMessage()]
        assert "\n" not in line
        assert len(site.files()) == 1 and site.files()[0].startswith(id_of(kept))
        assert [upload.status for upload in site.uploads()] == [Status.ACTIVE]
    site.forget()
    code, output = site.clean()
    assert (code, site.uploads(), site.files()) == (0, [], []), output
    assert "Uploads removed: 1," in output


def test_pre_delete_may_remove_the_rows(site: Site) -> None:
    """Then nothing stands in the way any more, for the client and for the cleaner."""
    site.hooks.during["pre_delete"] = site.forget
    url = site.tus.upload(b"hello")
    site.refer(id_of(url))
    assert site.tus.delete(url).status_code == 204
    site.refer(id_of(site.tus.new(10)))
    site.expire()
    code, output = site.clean()
    assert (code, site.uploads(), site.files(), site.references()) == (0, [], [], 0), output


def test_a_refused_file_is_gone_whoever_refers_to_it(site: Site) -> None:
    """on_complete says no: the bytes go, and the client reads why. The record stays as a tombstone for the row."""

    def refuse(upload: Any) -> None:
        raise UploadRejected(415, "Malware.")

    site.hooks.during = {"on_create": lambda upload: site.write(upload.id), "on_complete": refuse}
    url = site.tus.new(5)
    answer = site.tus.patch(url, 0, b"hello")
    assert (answer.status_code, answer.text) == (415, "Malware.\n")
    assert site.files() == []
    assert site.tus.head(url).status_code == 404
    assert [upload.status for upload in site.uploads()] == [Status.GONE]
    assert site.hooks.called == ["on_create", "on_complete", "pre_delete", "post_delete"]
    code, output = site.clean()
    assert code == 1 and id_of(url) in output
    site.forget()
    assert (site.clean()[0], site.uploads()) == (0, [])
    assert site.hooks.called.count("post_delete") == 1


@pytest.mark.parametrize("what", ["content", "checksum"])
def test_a_refused_file_goes_with_the_rows_that_pre_delete_removes(site: Site, what: str) -> None:
    """on_complete says no, or the content that came with the creation is not what was announced."""

    def refuse(upload: Any) -> None:
        raise UploadRejected(415, "Malware.")

    site.hooks.during = {
        "on_create": lambda upload: site.write(upload.id),
        "on_complete": refuse,
        "pre_delete": site.forget,
    }
    headers = {"Upload-Checksum": checksum(b"other")} if what == "checksum" else {}
    assert site.tus.create_with(b"hello", 5, headers).status_code == (460 if headers else 415)
    assert (site.uploads(), site.files(), site.references()) == ([], [], 0)


def test_a_hook_that_fails_on_its_way_is_answered_as_ever(site: Site) -> None:
    """on_create has committed a row and fails then: the client reads its refusal, and no upload is left to anybody."""

    def write_and_refuse(upload: Any) -> None:
        site.write(upload.id)
        raise UploadRejected(403, "Not today.")

    site.hooks.during["on_create"] = write_and_refuse
    answer = site.tus.create(5)
    assert (answer.status_code, answer.text) == (403, "Not today.\n")
    assert [upload.status for upload in site.uploads()] == [Status.GONE]
    assert site.flow.octet(FILE, 1).status_code == 403
    del site.hooks.during["on_create"]
    assert site.flow.octet(FILE, 1).status_code == 200
    site.forget()
    assert site.clean()[0] == 0
    assert [upload.status for upload in site.uploads()] == [Status.ACTIVE]


def test_a_file_that_cannot_be_forgotten_can_be_sent_again(site: Site) -> None:
    """flow.js: a row refers to the upload of last week, which has expired; the same file is taken anew all the same."""
    first = site.flow.octet(FILE, 1).get_json()["id"]
    site.refer(first)
    site.expire()
    assert site.flow.test(FILE, 1).status_code == 204
    answer = site.flow.send(FILE)
    assert answer.get_json()["complete"] and answer.get_json()["id"] != first
    assert site.clean()[0] == 1
    site.forget()
    assert site.clean()[0] == 0
    assert [upload.id for upload in site.uploads()] == [answer.get_json()["id"]]


def test_a_row_that_comes_in_the_last_moment_finds_a_tombstone(site: Site) -> None:
    """Between the question and the removal, the app writes one more row: the upload is gone, and its record stays."""
    url = site.tus.upload(b"hello")
    storage = site.app.extensions["resumable"].storage
    assert isinstance(storage, LocalStorage)
    delete = storage.delete

    def write_and_delete(upload: Any) -> None:
        site.refer(upload.id)
        delete(upload)

    storage.delete = write_and_delete  # type: ignore[method-assign]
    assert site.tus.delete(url).status_code == 204
    assert site.tus.head(url).status_code == 404
    assert ([upload.status for upload in site.uploads()], site.files()) == ([Status.GONE], [])
    assert site.clean()[0] == 1
    site.forget()
    assert (site.clean()[0], site.uploads()) == (0, [])


def test_what_was_left_half_removed_is_brought_to_an_end(site: Site) -> None:
    """Some of its bytes may be gone already, so the rows that came to refer to it are left with a tombstone."""
    url = site.tus.upload(b"hello")
    storage = site.app.extensions["resumable"].storage
    delete = storage.delete

    def write_and_fail(upload: Any) -> None:
        site.refer(upload.id)
        raise Unavailable

    storage.delete = write_and_fail
    assert site.tus.delete(url).status_code == 503
    assert [upload.status for upload in site.uploads()] == [Status.DELETING]
    storage.delete = delete
    assert site.tus.head(url).status_code == 404
    site.clean()
    assert ([upload.status for upload in site.uploads()], site.files()) == ([Status.GONE], [])
    site.forget()
    assert (site.clean()[0], site.uploads()) == (0, [])


SERVERS = ["sqlite", *(pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("postgresql", "mariadb"))]
TRIGGERS = {
    "sqlite": (
        "CREATE TRIGGER keep BEFORE DELETE ON held_uploads BEGIN SELECT RAISE(ABORT, 'kept for the court'); END",
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION keep() RETURNS trigger AS "
        "$$ BEGIN RAISE EXCEPTION 'kept for the court'; END $$ LANGUAGE plpgsql",
        "CREATE TRIGGER keep BEFORE DELETE ON held_uploads FOR EACH ROW EXECUTE FUNCTION keep()",
    ),
    "mariadb": (
        "CREATE TRIGGER keep BEFORE DELETE ON held_uploads FOR EACH ROW "
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'kept for the court'",
    ),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_trigger_may_refuse(start: Start, server: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the database keeps a record by, its word is in the log and not in the answer."""
    site = start(server, NO_ACTION)
    for statement in TRIGGERS[server]:
        site.execute(statement)
    url = site.tus.upload(b"hello")
    answer = site.tus.delete(url)
    assert (answer.status_code, site.tus.get(url).data) == (409, b"hello")
    assert "court" not in answer.text
    site.tus.new(5)
    site.expire()
    assert site.clean()[0] == 1
    assert "kept for the court" in caplog.text
    assert [upload.status for upload in site.uploads()].count(Status.ACTIVE) == 1


@pytest.mark.parametrize("server", SERVERS)
def test_rows_that_go_along_go_along(start: Start, server: str) -> None:
    """With ON DELETE CASCADE nothing is refused, and asking has not removed anything too early."""
    site = start(server, CASCADE)
    url, other = site.tus.upload(b"hello"), site.tus.upload(b"hello")
    site.refer(id_of(url))
    site.refer(id_of(other))
    site.hooks.during["post_delete"] = lambda upload: seen.append(site.references())
    seen: list[int] = []
    assert site.tus.delete(url).status_code == 204
    assert (seen, site.references()) == ([1], 1)


@pytest.mark.parametrize("server", SERVERS)
def test_rows_of_rows_may_refuse(start: Start, server: str) -> None:
    """The row would go along, but another one refers to that: by a key that is checked on the commit, where there are
    any.
    """
    site = start(server, CASCADE)
    url = site.tus.upload(b"hello")
    site.refer(id_of(url))
    with site.app.app_context():
        (paper,) = site.db.session.scalars(site.db.select(site.paper))
        site.db.session.add(site.note(paper_id=paper.id))
        site.db.session.commit()
    assert site.tus.delete(url).status_code == 409
    assert (site.tus.get(url).data, site.references()) == (b"hello", 1)
    site.forget()
    assert site.tus.delete(url).status_code == 204


def test_old_faults_of_other_rows_refuse_nothing(start: Start) -> None:
    """SQLite, rows that were written while nobody looked at foreign keys: removal makes it no worse."""
    site = start("sqlite", DEFERRED)
    url = site.tus.upload(b"hello")
    with site.app.app_context(), site.db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql("INSERT INTO secret_papers (upload_id) VALUES ('nobody')")
        connection.commit()
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    assert site.tus.delete(url).status_code == 204


def test_a_database_that_does_not_look_refuses_nothing(start: Start) -> None:
    """SQLite without the PRAGMA: the row stays, and refers to nothing."""
    site = start("sqlite", NO_ACTION, enforcing=False)
    url = site.tus.upload(b"hello")
    site.refer(id_of(url))
    assert site.tus.delete(url).status_code == 204
    assert (site.uploads(), site.references()) == ([], 1)


@pytest.mark.xdist_group("mongo")
def test_a_document_that_is_removed_takes_no_rule_away(app: Flask, clock: Clock, mongo: Any) -> None:
    """Rules that are not about refusing are followed as ever."""
    site = MongoSite(app, clock, mongo.uri, deep=True)
    try:
        url = site.tus.upload(b"hello")
        site.refer(id_of(url))
        assert site.tus.delete(url).status_code == 409
        assert (site.references(), HeldPicture.objects.count()) == (1, 1)
    finally:
        site.close()
