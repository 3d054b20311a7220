"""Flask-Admin's pages of uploads."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin
from flask_resumable.models import SQLAlchemyModel
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import Tus

flask_admin = pytest.importorskip("flask_admin")
sqla = pytest.importorskip("flask_admin.contrib.sqla")

GUIDE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()


def guide() -> str:
    """The view that the guide recommends."""
    (code,) = re.findall(r"```python\n(from flask_admin.*?)```", GUIDE, re.DOTALL)
    return str(code)


def plain(app: Flask, db: SQLAlchemy, uploads: FlaskResumable, admin: Any) -> None:
    """A view without any settings."""
    admin.add_view(sqla.ModelView(uploads.model, db, name="Uploads", endpoint="uploads"))


def recommended(app: Flask, db: SQLAlchemy, uploads: FlaskResumable, admin: Any) -> None:
    """The view of the guide."""
    exec(guide(), {"admin": admin, "db": db, "resumable": uploads})


View = Callable[[Flask, SQLAlchemy, FlaskResumable, Any], None]


class Uploads(FlaskResumable):
    """Notes what its hooks are called for."""

    deleted: list[str]

    def post_delete(self, upload: Any) -> None:
        self.deleted.append(upload.filename)


@pytest.fixture(params=["ready-made", "own"])
def site(request: pytest.FixtureRequest, app: Flask, tmp_path: Path) -> tuple[Flask, SQLAlchemy, Uploads]:
    """An app with a database."""
    app.config.update(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'app.sqlite'}", SECRET_KEY="secret")
    db = SQLAlchemy(app)

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[misc, name-defined]
        caption = db.Column(db.String(80))

    uploads = Uploads(app, model=SQLAlchemyModel if request.param == "ready-made" else Upload, db=db)
    uploads.deleted = []
    with app.app_context():
        db.create_all()
    return app, db, uploads


def send(app: Flask) -> None:
    """A file by each protocol, and one without a name."""
    client = app.test_client()
    Tus(client).create_with(b"hello", 5, {"Upload-Metadata": metadata(filename="tus report.txt")})
    Tus(client).create_with(b"hello", 5)
    form = {"flowIdentifier": "a", "flowFilename": "flow report.txt", "flowTotalSize": "5", "flowTotalChunks": "1"}
    chunk = {"flowChunkNumber": "1", "flowChunkSize": "5", "file": (io.BytesIO(b"hello"), "blob")}
    assert client.post("/flow/", data=form | chunk).json["complete"]  # type: ignore[index]
    named = {"Upload-Complete": "?1", "Content-Disposition": "attachment; filename=ietf-report.txt"}
    assert client.post("/files/", data=b"hello", headers=named).status_code == 201


def ids(page: str) -> list[str]:
    """The ids of the rows that a list shows."""
    return re.findall(r'name="rowid"[^>]*value="([0-9a-f]{32})"', page)


@pytest.mark.parametrize("view", [plain, recommended])
def test_uploads_are_listed_by_name(site: tuple[Flask, SQLAlchemy, Uploads], view: View) -> None:
    """Whatever protocol they came with. The view of the guide can be searched and filtered."""
    app, db, uploads = site
    view(app, db, uploads, flask_admin.Admin(app))
    send(app)
    client = app.test_client()
    page = client.get("/admin/uploads/").text
    assert all(f"{name} report.txt".replace("ietf ", "ietf-") in page for name in ("tus", "flow", "ietf"))
    assert len(ids(page)) == 4
    if view is recommended:
        assert len(ids(client.get("/admin/uploads/?search=report").text)) == 3
        assert len(ids(client.get("/admin/uploads/?search=flow").text)) == 1
    with app.app_context():
        named = db.select(uploads.model).where(uploads.model.filename.contains("report"))
        assert len(db.session.scalars(named).all()) == 3


@pytest.mark.parametrize("action", ["one", "many"])
@pytest.mark.parametrize("view", [plain, recommended])
def test_a_deletion_leaves_no_bytes_in_silence(
    site: tuple[Flask, SQLAlchemy, Uploads], view: View, action: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With the view of the guide, files and hooks go with the record. Otherwise the log tells what stays."""
    app, db, uploads = site
    view(app, db, uploads, flask_admin.Admin(app))
    send(app)
    client = app.test_client()
    found = named(site, "tus report.txt")
    with caplog.at_level(logging.WARNING, "flask_resumable"):
        if action == "one":
            client.post("/admin/uploads/delete/", data={"id": found})
        else:
            client.post("/admin/uploads/action/", data={"action": "delete", "rowid": [found]})
    is_told = any(found in record.getMessage() and "not its bytes" in record.getMessage() for record in caplog.records)
    is_left = (Path(app.instance_path) / "uploads" / found).exists()
    assert (is_left, is_told, uploads.deleted) == (
        (True, True, []) if view is plain else (False, False, ["tus report.txt"])
    )
    assert found not in client.get("/admin/uploads/").text


def named(site: tuple[Flask, SQLAlchemy, Uploads], name: str) -> str:
    """The id of the upload with this name."""
    app, db, uploads = site
    with app.app_context():
        return str(db.session.scalars(db.select(uploads.model.id).where(uploads.model.filename == name)).one())
