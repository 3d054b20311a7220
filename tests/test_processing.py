"""``resumable.mark()``: how far the app's processing of an upload is, and what clients get meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import StaticPool

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyModel
from flask_resumable.repositories.memory import MemoryRepository
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample

CONTENT = b"0123456789"
REASON = 'A virus\r\nwas <found> in "grüße"\x1b[2J.'
SHOWN = 'A virus was <found> in "grüße" [2J.'


class Site:
    """An app that marks its uploads in a hook, or does not."""

    def __init__(self, home: Path, kind: str) -> None:
        self.app = Flask("app", instance_path=str(home))
        self.app.config["RESUMABLE_DOWNLOADS"] = True
        self.during: dict[str, Callable[[Any], object]] = {}
        wiring: dict[str, Any] = {}
        site = self

        class Uploads(FlaskResumable):
            def on_complete(self, upload: Any) -> None:
                site.during.get("on_complete", id)(upload)

            def post_complete(self, upload: Any) -> None:
                site.during.get("post_complete", id)(upload)

        if kind == "memory":
            wiring = {"repository": MemoryRepository(), "storage": None}
        if kind.startswith("sql"):
            uri = "sqlite://" if "one connection" in kind else f"sqlite:///{home / 'app.sqlite'}"
            self.app.config["SQLALCHEMY_DATABASE_URI"] = uri
            if "one connection" in kind:
                self.app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
                    "poolclass": StaticPool,
                    "connect_args": {"check_same_thread": False},
                }
            self.db = SQLAlchemy(self.app)
            wiring = {"model": SQLAlchemyModel, "db": self.db}
        self.uploads = Uploads(self.app, **wiring)
        self.tus = Tus(self.app.test_client())
        self.flow = Flow(self.app.test_client())

    def send(self, status: int = 204) -> str:
        """Upload a file; its URL."""
        url = self.tus.new(len(CONTENT))
        assert self.tus.patch(url, 0, CONTENT).status_code == status
        return url

    def mark(self, url: str, *said: str) -> bool:
        with self.app.app_context():
            return self.uploads.mark(url.rpartition("/")[2], *said)

    def command(self, *arguments: str, code: int = 0) -> str:
        result = self.app.test_cli_runner().invoke(args=["tus", *arguments])
        assert result.exit_code == code, result.output
        return result.output


@pytest.fixture(params=["embedded", "sql", "sql, one connection", "memory"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    return Site(tmp_path, request.param)


def _processing(site: Site) -> Callable[[Any], object]:
    return lambda upload: site.uploads.mark(upload, "processing")


def test_nothing_changes_for_apps_that_do_not_mark(site: Site) -> None:
    """No header, no member and no refusal is added."""
    url = site.send()
    assert site.tus.get(url).data == CONTENT
    assert not [name for name in site.tus.head(url).headers.keys() if "Processing" in name]
    assert "processing" not in (site.app.test_client().get("/flow/" + url.rpartition("/")[2]).json or {})
    assert "processing" not in site.command("show", url.rpartition("/")[2])


@pytest.mark.parametrize("hook", ["on_complete", "post_complete"])
def test_downloads_wait_until_the_app_is_ready(site: Site, hook: str) -> None:
    """From the commit on, not from some time later; and the app can still read the file."""
    site.during[hook] = _processing(site)
    url = site.send()
    refused = site.tus.get(url)
    assert (refused.status_code, refused.headers["Retry-After"]) == (425, "5")
    assert refused.headers["Cache-Control"] == "no-store"
    assert CONTENT not in refused.data
    assert site.tus.head(url).headers["Upload-Processing"] == "processing"
    with site.app.app_context():
        upload = site.uploads.get(url.rpartition("/")[2])
        assert upload is not None and (upload.status, upload.processing_state) == ("complete", "processing")
        with upload.open() as stream:
            assert stream.read() == CONTENT
    assert site.mark(url, "ready")
    assert site.tus.get(url).data == CONTENT
    assert site.tus.head(url).headers["Upload-Processing"] == "ready"


def test_a_failure_is_shown_with_its_reason(site: Site) -> None:
    """Whatever the reason is made of, it stays in its place: one line, percent-encoded in a header."""
    url = site.send()
    upload_id = url.rpartition("/")[2]
    assert site.mark(url, "failed", REASON)
    refused = site.tus.get(url)
    assert (refused.status_code, refused.get_data(as_text=True)) == (410, SHOWN + "\n")
    assert refused.content_type == "text/plain; charset=utf-8"
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
    head = site.tus.head(url).headers
    assert head["Upload-Processing"] == "failed"
    assert head["Upload-Processing-Reason"].startswith("A%20virus%20was%20%3Cfound%3E")
    shown = site.app.test_client().get(f"/flow/{upload_id}").json
    assert shown is not None and shown["processing"] == {"state": "failed", "reason": SHOWN}
    assert _shown(site, upload_id)["processing"] == {"state": "failed", "reason": SHOWN}
    assert "failed 'A virus was" in site.command("list")


def test_the_completing_response_says_it(site: Site) -> None:
    """So a page knows that it must wait, in each protocol."""
    site.during["on_complete"] = _processing(site)
    url = site.tus.new(3)
    assert site.tus.patch(url, 0, b"abc").headers["Upload-Processing"] == "processing"
    answer = site.flow.octet(Sample(CONTENT, 10), 1).json
    assert answer is not None and answer["processing"] == {"state": "processing", "reason": None}


def test_the_operator_marks_it(site: Site) -> None:
    """The command takes the same states, and says what is wrong with others."""
    upload_id = site.send().rpartition("/")[2]
    site.command("mark", upload_id, "failed", "--reason", "lost")
    assert _shown(site, upload_id)["processing"]["reason"] == "lost"
    site.command("mark", upload_id, "ready")
    assert "Only 'failed'" in site.command("mark", upload_id, "ready", "--reason", "no", code=2)
    assert "No upload" in site.command("mark", "0" * 32, "ready", code=1)
    site.command("mark", upload_id, "done", code=2)


def test_a_mark_in_a_hook_that_fails_is_not_kept(site: Site) -> None:
    """The transaction is rolled back, and the hook is called again."""

    def fail(upload: Any) -> None:
        site.uploads.mark(upload, "failed", "no")
        raise ZeroDivisionError

    site.during["on_complete"] = fail
    url = site.send(status=500)
    site.during.clear()
    assert site.tus.patch(url, len(CONTENT), b"").status_code == 204
    assert site.tus.get(url).data == CONTENT


@pytest.mark.parametrize("kind", ["sql", "sql, one connection"])
def test_a_hook_that_commits_by_itself_is_marked(tmp_path: Path, kind: str) -> None:
    """Before and after its own commit; the instance shows it."""
    site = Site(tmp_path, kind)
    seen: list[str] = []

    def commit(upload: Any) -> None:
        site.uploads.mark(upload, "processing")
        seen.append(upload.processing_state)
        site.db.session.commit()
        seen.append(upload.processing_state)
        site.uploads.mark(upload, "ready")
        seen.append(upload.processing_state)

    site.during["on_complete"] = commit
    url = site.send()
    assert seen == ["processing", "processing", "ready"]
    assert site.tus.head(url).headers["Upload-Processing"] == "ready"


def test_an_instance_shows_its_mark(site: Site) -> None:
    """Without loading it again."""
    url = site.send()
    with site.app.app_context():
        upload = site.uploads.get(url.rpartition("/")[2])
        assert upload is not None and site.uploads.mark(upload, "failed", "no")
        assert (upload.processing_state, upload.processing_reason) == ("failed", "no")


@pytest.mark.parametrize("said", [("done",), ("ready", "because"), ("",), ("FAILED",)])
def test_mistakes_are_told(site: Site, said: tuple[str, ...]) -> None:
    """There are three states, and only a failure has a reason."""
    url = site.send()
    with pytest.raises(ValueError):
        site.mark(url, *said)


@pytest.mark.parametrize("upload_id", ["0" * 32, "../etc", ""])
def test_an_unknown_upload_cannot_be_marked(site: Site, upload_id: str) -> None:
    """As with delete(), the result says so."""
    assert not site.mark(upload_id, "ready")


def _shown(site: Site, upload_id: str) -> dict[str, Any]:
    """What ``flask tus show`` prints, without a hint about records in memory before it."""
    output = site.command("show", upload_id)
    shown: dict[str, Any] = json.loads(output[output.index("{") :])
    return shown
