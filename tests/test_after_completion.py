"""What an app can rely on while an upload is being completed, and after that, in its own and in other processes."""

from __future__ import annotations

import hashlib
import importlib
import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable import UploadRejected
from flask_resumable.models import SQLAlchemyModel
from flask_resumable.signals import on_complete
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample

CONTENT = b"0123456789"
KINDS = ["embedded", "flask_sqlalchemy"]


class Site:
    """An app whose hooks do what the test says."""

    def __init__(self, home: Path, kind: str = "embedded", **wiring: Any) -> None:
        self.app = Flask("app", instance_path=str(home / "instance"))
        self.called: list[str] = []
        self.during: dict[str, Callable[[Any], Any]] = {}
        site = self

        class Uploads(FlaskResumable):
            def on_complete(self, upload: Any) -> Any:
                return site.call("on_complete", upload)

            def post_complete(self, upload: Any) -> Any:
                return site.call("post_complete", upload)

        if kind == "flask_sqlalchemy":
            self.app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{home / 'app.sqlite'}"
            wiring |= {"model": SQLAlchemyModel, "db": SQLAlchemy(self.app)}
        self.uploads = Uploads(self.app, **wiring)
        self.tus = Tus(self.app.test_client())

    def call(self, name: str, upload: Any) -> Any:
        self.called.append(name)
        return self.during[name](upload) if name in self.during else None

    def send(self, content: bytes = CONTENT, status: int = 204) -> str:
        """Upload a file and return its id."""
        url = self.tus.new(len(content))
        assert self.tus.patch(url, 0, content).status_code == status
        return url.rpartition("/")[2]

    def elsewhere(self, act: Callable[[], object]) -> None:
        """Do something as a worker does: in an app context and a database session of its own."""
        failed: list[BaseException] = []

        def work() -> None:
            try:
                with self.app.app_context():
                    act()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]


@pytest.fixture(params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, request.param)


def _check_bytes(upload: Any) -> None:
    if upload.path is not None:
        assert upload.path.read_bytes() == CONTENT
    with upload.open() as stream:
        assert stream.read() == CONTENT


def test_a_job_finds_the_file_before_the_commit(site: Site) -> None:
    """A worker that takes a job at once loads a record that is not complete yet, but finds the file."""
    statuses: list[str] = []

    def enqueue(upload: Any) -> None:
        def work() -> None:
            loaded = site.uploads.get(upload.id)
            assert loaded is not None
            statuses.append(loaded.status)
            _check_bytes(loaded)
            assert loaded.digest("md5") == hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()

        _check_bytes(upload)
        site.elsewhere(work)

    site.during["on_complete"] = enqueue
    site.send()
    assert statuses == ["finishing"]


def test_a_job_finds_the_file_that_is_moved_after_it_has_loaded_the_record(site: Site) -> None:
    """The worker's instance is older than the commit that says where the file is now."""
    held: list[Any] = []

    def enqueue(upload: Any) -> None:
        upload.move_to(f"moved/{upload.id}")
        site.elsewhere(lambda: held.append(site.uploads.get(upload.id)))

    site.during["on_complete"] = enqueue
    site.send()
    with site.app.app_context():
        assert held[0].path.parent.name == "moved"
        _check_bytes(held[0])


def test_post_complete_is_called_after_the_commit(site: Site) -> None:
    """Then every process sees a complete upload at its final place."""
    seen: list[str] = []

    def tell(upload: Any) -> None:
        def work() -> None:
            loaded = site.uploads.get(upload.id)
            assert loaded is not None and loaded.path is not None
            seen.append(f"{loaded.status} {loaded.path.parent.name}")

        assert upload.complete
        _check_bytes(upload)
        site.elsewhere(work)

    site.during["on_complete"] = lambda upload: upload.move_to(f"moved/{upload.id}") and None
    site.during["post_complete"] = tell
    site.send()
    assert seen == ["complete moved"]
    assert site.called == ["on_complete", "post_complete"]


def test_post_complete_is_called_for_chunks(site: Site) -> None:
    """Once, whichever chunk completes the file."""
    flow = Flow(site.app.test_client())
    file = Sample(CONTENT, 4)
    for number in (3, 1, 2, 2):
        flow.octet(file, number)
    assert site.called == ["on_complete", "post_complete"]


def test_post_complete_is_not_called_for_parts_but_for_the_whole(site: Site) -> None:
    """A part of a concatenation is nothing that an app waits for."""
    part = site.tus.new(len(CONTENT), {"Upload-Concat": "partial"})
    site.tus.patch(part, 0, CONTENT)
    assert site.called == []
    assert site.tus.create(headers={"Upload-Concat": f"final;{part}"}).status_code == 201
    assert site.called == ["on_complete", "post_complete"]


@pytest.mark.parametrize("error", [RuntimeError("queue"), UploadRejected(422, "Too late.")])
def test_a_failing_post_complete_changes_nothing(
    site: Site, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """The upload is complete, so the client is told so, and the log has the reason."""

    def fail(upload: Any) -> None:
        raise error

    site.during["post_complete"] = fail
    with caplog.at_level(logging.ERROR, "flask_resumable"):
        upload_id = site.send()
    assert f"post_complete of upload {upload_id} failed" in caplog.text
    with site.app.app_context():
        upload = site.uploads.get(upload_id)
        assert upload is not None and upload.complete


def test_post_complete_is_not_called_if_the_upload_was_refused(site: Site) -> None:
    """Neither hook nor signal reports what did not happen."""
    told: list[Any] = []

    def observe(sender: Any, upload: Any) -> None:
        told.append(upload)

    def refuse(upload: Any) -> None:
        raise UploadRejected(422, "No.")

    site.during["on_complete"] = refuse
    with on_complete.connected_to(observe, sender=site.app):
        site.send(status=422)
    assert site.called == ["on_complete"] and told == []


def test_the_example_of_the_page_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets the URL of the new object, and finds it there."""
    page = (Path(__file__).parents[1] / "docs" / "after-completion.md").read_text()
    (code,) = (found for found in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S) if "app = Flask" in found)
    (tmp_path / "photo_app.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    app: Flask = importlib.import_module("photo_app").app
    tus = Tus(app.test_client())
    answer = tus.patch(tus.new(len(CONTENT), {"Upload-Metadata": metadata(filename="a.png")}), 0, CONTENT)
    assert (answer.status_code, answer.json["name"] if answer.json else None) == (201, "a.png")
    shown = app.test_client().get((answer.json or {})["url"])
    assert shown.get_data(as_text=True) == f"{len(CONTENT)} bytes"
