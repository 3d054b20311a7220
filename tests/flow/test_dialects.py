"""flow.js, its parent and its cousin: one endpoint, three spellings, and statuses that are right for each."""

from __future__ import annotations

from typing import Any

import pytest

from flask_resumable import UploadRejected
from flask_resumable.core.upload import Status

from .client import Part
from .client import Sample
from .conftest import Serve
from .site import sample
from .site import Site

DIALECTS = ["flow", "resumable", "simple-uploader"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_uploads_in_both_encodings(site: Site, dialect: str) -> None:
    """Forms and raw bodies, tests before and after, status and cancel."""
    client = site.client(dialect)
    file = sample(35, forced=True)
    assert client.test(file, 1).status_code == 204
    assert client.post(file, 4).status_code == 200
    assert client.octet(file, 2, method="PUT").status_code == 200
    assert (client.status(file).json or {})["missing"] == [[0, 10], [20, 30]]
    assert site.stored(client.send(file, [3, 1])) == file.content
    assert client.test(file, 2).status_code == 200
    assert client.cancel(file).status_code == 204
    assert site.files() == []


def test_resumable_sends_everything_twice(site: Site) -> None:
    """resumable.js puts its parameters into the form and into the URL; and its type of file among them."""
    client = site.client("resumable")
    file = sample()
    seen: list[str] = []
    site.during("on_complete", lambda upload: seen.append(upload.metadata["filetype"]))
    for number in file.numbers:
        extra = {"resumableType": "text/csv", "tag": "t"}
        query = {**client.spelled(file, number), **extra}
        parts = [*(Part(key, value.encode()) for key, value in extra.items()), *client.parts(file, number)]
        answer = client.form(parts, query)
        assert answer.status_code == 200
    assert (site.stored(answer), seen) == (file.content, ["text/csv"])


def test_dialects_share_one_upload(site: Site) -> None:
    """The same file, begun by one client and ended by another: the identity does not depend on the spelling."""
    file = sample(35)
    for number, dialect in zip(file.numbers, DIALECTS, strict=True):
        answer = site.client(dialect).post(file, number)
    assert site.stored(answer) == file.content
    assert len(site.uploads()) == 1


@pytest.mark.parametrize("way", ["test", "octet", "post"])
@pytest.mark.parametrize(("dialect", "status"), [("flow", 413), ("resumable", 400), ("simple-uploader", 413)])
def test_too_large_ends_the_file_in_every_dialect(serve_plain: Serve, dialect: str, status: int, way: str) -> None:
    """resumable.js sends again on 413, up to a hundred times: it gets 400, also when its parameters are in the form."""
    client = serve_plain(MAX_SIZE=24).client(dialect)
    assert getattr(client, way)(sample(), 1).status_code == status


@pytest.mark.parametrize("dialect", DIALECTS)
def test_permanent_errors_can_be_made_to_end_every_file(serve_plain: Serve, dialect: str) -> None:
    """With PERMANENT_ERRORS both 400 and 413 are 415, which every client understands; 503 stays."""
    site = serve_plain(PERMANENT_ERRORS=True, MAX_SIZE=30)
    client = site.client(dialect)
    assert client.post(sample(), 1, b"short").status_code == 415
    assert client.post(sample(), 1, changes={"totalChunks": 0}).status_code == 415
    assert client.test(sample(35), 1).status_code == 415

    def fail(upload: Any) -> None:
        raise RuntimeError

    site.during("pre_save", fail)
    assert client.post(sample(), 1).status_code == 503


def test_a_hooks_413_does_not_make_resumable_send_for_ever(plain: Site) -> None:
    """A hook's 413 is 400 there, too."""

    def refuse(upload: Any) -> None:
        raise UploadRejected(413, "Too much.")

    plain.during("on_create", refuse)
    assert plain.client("resumable").post(sample(), 1).status_code == 400
    assert plain.client("flow").post(sample(), 1).status_code == 413


@pytest.mark.parametrize("dialect", ["flow", "resumable"])
def test_the_table_of_statuses(site: Site, dialect: str) -> None:
    """What happens, and the one status for it that both clients take the right way."""
    client = site.client(dialect)
    file = sample(35)
    stored = client.post(file, 1)
    table = {
        "stored": (stored.status_code, 200),
        "duplicate": (client.post(file, 1).status_code, 200),
        "test hit": (client.test(file, 1).status_code, 200),
        "test miss": (client.test(file, 2).status_code, 204),
        "malformed": (client.post(file, 2, changes={"chunkNumber": "x"}).status_code, 400),
        "inconsistent geometry": (client.post(file, 2, changes={"totalChunks": 9}).status_code, 400),
        "wrong length": (client.post(file, 2, b"x").status_code, 400),
        "wrong checksum": (client.post(file, 2, headers={"Upload-Checksum": "crc32 AAAAAA=="}).status_code, 460),
        "complete": (client.send(file, [2, 3]).status_code, 200),
        "complete, again": (client.post(file, 1).status_code, 200),
        "cancelled": (client.cancel(file).status_code, 204),
        "late": (client.post(file, 1).status_code, 404),
    }  # fmt: skip
    assert {event: answer for event, (answer, wanted) in table.items() if answer != wanted} == {}


def test_the_status_says_what_is_missing(site: Site) -> None:
    """/flow/status, by the parameters of any chunk: for an unknown file everything; afterwards nothing."""
    file = sample(45)
    answer = site.flow.status(file)
    assert answer.json == {
        "id": None, "status": "unknown", "received": 0, "length": 45, "complete": False, "missing": [[0, 45]],
    }  # fmt: skip
    assert site.uploads() == []
    site.flow.send(file, [2, 4])
    answer = site.flow.status(file)
    assert answer.json and (answer.json["missing"], answer.json["received"]) == ([[0, 10], [20, 30]], 25)
    by_id = site.flow.open("GET", path=answer.json["id"])
    assert by_id.json == answer.json
    site.flow.send(file, [1, 3])
    answer = site.flow.status(file)
    assert answer.json and (answer.json["missing"], answer.json["complete"]) == ([], True)


def test_an_upload_is_cancelled_by_its_id(site: Site) -> None:
    """DELETE /flow/<id>: 204, and then 404."""
    file = sample()
    upload_id = (site.flow.post(file, 1).json or {})["id"]
    assert site.flow.open("DELETE", path=upload_id).status_code == 204
    assert site.flow.open("DELETE", path=upload_id).status_code == 404
    assert site.flow.open("GET", path=upload_id).status_code == 404
    assert (site.flow.post(file, 2).status_code, site.uploads()[0].status) == (404, Status.GONE)


def test_pre_delete_may_refuse_a_cancel(site: Site) -> None:
    """Its status, and the upload stays."""

    def refuse(upload: Any) -> None:
        raise UploadRejected(403, "Not yours to remove.")

    file = sample()
    site.flow.post(file, 1)
    site.during("pre_delete", refuse)
    assert site.flow.cancel(file).status_code == 403
    assert site.flow.test(file, 1).status_code == 200


def test_tus_and_flow_are_one_stream_of_uploads(site: Site) -> None:
    """The same hooks, model, folder and commands; a finished flow.js file can be looked at and removed through tus."""
    tus_url = site.server.tus.upload(b"by tus")
    answer = site.flow.send(sample())
    assert site.count("on_complete") == 2
    by_flow = "/files/" + (answer.json or {})["id"]
    assert site.server.tus.offset(by_flow) == 25
    assert site.server.tus.request("DELETE", by_flow).status_code == 204
    assert site.server.tus.offset(tus_url) == 6
    assert "complete" in site.server.cli("tus", "list").output


def test_tus_cannot_break_into_a_file_that_comes_in_chunks(site: Site) -> None:
    """A tus client that knows the id cannot write to it: 403, and the file is right."""
    file = sample(35)
    upload_id = (site.flow.post(file, 1).json or {})["id"]
    url = f"/files/{upload_id}"
    answer = site.server.tus.patch(url, 10, file.content[10:20])
    assert answer.status_code == 403
    answer = site.flow.send(file, [2, 3])
    assert site.stored(answer) == file.content


def test_either_protocol_can_be_switched_off(serve: Serve) -> None:
    """Without flow there is nothing at /flow/; the other one is as it was."""
    site = serve(ENABLED=False)
    assert site.flow.test(sample(), 1).status_code == 404
    assert site.server.tus.upload(b"abc")


def test_metadata_of_the_app_travels_along(site: Site) -> None:
    """``query`` of the client is in ``upload.metadata``, but neither the protocol's own names nor tokens."""
    seen: list[dict[str, str]] = []
    site.during("on_complete", lambda upload: seen.append(dict(upload.metadata)))
    extra = {"album": "holiday", "csrf_token": "t0ken", "any key": "x"}
    site.flow.send(Sample(b"abc", path="dir/a.txt", name="a.txt"), changes=extra)
    assert seen == [{"filename": "a.txt", "relativePath": "dir/a.txt", "album": "holiday", "any key": "x"}]
    long = Sample(b"abc", name="b.txt")
    assert site.flow.post(long, 1, changes={"note": "n" * 20_000}).status_code == 400
