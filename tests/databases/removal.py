"""Apps whose own rows refer to uploads, so that the database has a say in their removal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from datetime import timedelta
from datetime import UTC
from pathlib import Path
from typing import Any

import mongoengine
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy import text

from flask_resumable import FlaskResumable
from flask_resumable.core.upload import Upload
from flask_resumable.models import MongoengineBaseModel
from flask_resumable.models import SQLAlchemyMixin
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow

NO_ACTION: dict[str, Any] = {}
DEFERRED = {"deferrable": True, "initially": "DEFERRED"}


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 5, 4, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Hooks(FlaskResumable):
    """``during[hook]`` is run inside it."""

    def __init__(self, **wiring: Any) -> None:
        self.during: dict[str, Callable[[Any], object]] = {}
        self.called: list[str] = []
        super().__init__(**wiring)

    def _call(self, name: str, upload: Any) -> None:
        self.called.append(name)
        self.during.get(name, lambda upload: None)(upload)

    def on_create(self, upload: Any) -> None:
        self._call("on_create", upload)

    def on_complete(self, upload: Any) -> None:
        self._call("on_complete", upload)

    def pre_delete(self, upload: Any) -> None:
        self._call("pre_delete", upload)

    def post_delete(self, upload: Any) -> None:
        self._call("post_delete", upload)


class Site:
    """One app, its clients, and its rows that refer to uploads."""

    hooks: Hooks

    def __init__(self, app: Flask, clock: Clock) -> None:
        app.config.update(FLOW_ENABLED=True, RESUMABLE_DOWNLOADS=True, TESTING=False)
        self.app = app
        self.clock = clock
        self.tus = Tus(app.test_client())
        self.flow = Flow(app.test_client())

    def refer(self, upload_id: str) -> None:
        """Write a row of the app's about an upload."""
        with self.app.app_context():
            self.write(upload_id)

    def write(self, upload_id: str) -> None:
        """The same within a hook."""
        raise NotImplementedError

    def forget(self, upload: Any = None) -> None:
        """Remove these rows again; within a hook, if there is an upload."""
        raise NotImplementedError

    def references(self) -> int:
        """How many of them there are."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave the database as it was."""

    def uploads(self) -> list[Upload]:
        """All records."""
        return list(self.app.extensions["resumable"].repository.list(limit=99))

    def files(self) -> list[str]:
        """What holds bytes of uploads."""
        folder = Path(self.app.instance_path, "uploads")
        return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")

    def clean(self) -> tuple[int, str]:
        """What ``flask tus delete_expired`` ends with, and says."""
        result = self.app.test_cli_runner().invoke(args=["tus", "delete_expired"])
        return result.exit_code, result.output

    def expire(self) -> None:
        """From now on, all unfinished uploads are over."""
        self.clock.now += timedelta(days=2)


class SQLSite(Site):
    """In a SQL database, with a foreign key."""

    def __init__(
        self,
        app: Flask,
        clock: Clock,
        uri: str,
        key: dict[str, Any],
        *,
        enforcing: bool = True,
        begins: bool = False,  # as SQLAlchemy's documentation advises for savepoints on SQLite
    ) -> None:
        super().__init__(app, clock)
        app.config["SQLALCHEMY_DATABASE_URI"] = uri
        self.db = db = SQLAlchemy(app)
        if uri.startswith("sqlite") and enforcing:
            with app.app_context():
                event.listen(db.engine, "connect", lambda raw, record: raw.execute("PRAGMA foreign_keys=ON"))
        if begins:
            with app.app_context():
                event.listen(db.engine, "connect", lambda raw, record: setattr(raw, "isolation_level", None))
                event.listen(db.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))

        later = NO_ACTION if uri.startswith("mysql") else DEFERRED

        class Held(SQLAlchemyMixin, db.Model):  # type: ignore[misc, name-defined]
            __tablename__ = "held_uploads"

        class Paper(db.Model):  # type: ignore[misc, name-defined]
            __tablename__ = "secret_papers"
            id = db.Column(db.Integer, primary_key=True)
            upload_id = db.Column(db.String(32), db.ForeignKey("held_uploads.id", **key))

        class Note(db.Model):  # type: ignore[misc, name-defined]
            __tablename__ = "notes_on_papers"
            id = db.Column(db.Integer, primary_key=True)
            paper_id = db.Column(db.Integer, db.ForeignKey("secret_papers.id", **later))

        self.paper, self.note = Paper, Note
        self.hooks = Hooks(model=Held, db=db, now=clock)
        self.hooks.init_app(app)
        with app.app_context():
            db.create_all()

    def write(self, upload_id: str) -> None:
        self.db.session.add(self.paper(upload_id=upload_id))
        self.db.session.commit()

    def forget(self, upload: Any = None) -> None:
        # A hook has a session already, and a transaction in it.
        with self.app.app_context() if upload is None else nullcontext():
            for table in (self.note, self.paper):
                self.db.session.execute(self.db.delete(table))
            self.db.session.commit()

    def references(self) -> int:
        with self.app.app_context():
            return int(self.db.session.execute(text("SELECT count(*) FROM secret_papers")).scalar_one())

    def execute(self, statement: str) -> None:
        """Say something to the database."""
        with self.app.app_context(), self.db.engine.begin() as connection:
            connection.execute(text(statement))

    def close(self) -> None:
        with self.app.app_context():
            self.db.session.remove()
            self.db.drop_all()
            self.db.engine.dispose()


class HeldPicture(MongoengineBaseModel):
    """An upload that others refer to."""

    meta = {"collection": "held_pictures"}


class SecretPaper(mongoengine.Document):  # type: ignore[misc]
    """Denies the removal of its upload."""

    upload = mongoengine.ReferenceField(HeldPicture, reverse_delete_rule=mongoengine.DENY)


class Copy(mongoengine.Document):  # type: ignore[misc]
    """Goes with its upload."""

    upload = mongoengine.ReferenceField(HeldPicture, reverse_delete_rule=mongoengine.CASCADE)


class Frame(mongoengine.Document):  # type: ignore[misc]
    """Denies the removal of a copy, and with that of the upload."""

    copy = mongoengine.ReferenceField(Copy, reverse_delete_rule=mongoengine.DENY)


class MongoSite(Site):
    """In MongoDB, with a rule of MongoEngine's: at once, or for what would go with the upload."""

    def __init__(self, app: Flask, clock: Clock, uri: str, *, deep: bool) -> None:
        super().__init__(app, clock)
        mongoengine.connect(host=uri)
        for model in (HeldPicture, SecretPaper, Copy, Frame):
            model.drop_collection()
        self._is_deep = deep
        self.hooks = Hooks(model=HeldPicture, now=clock)
        self.hooks.init_app(app)

    def write(self, upload_id: str) -> None:
        if self._is_deep:
            Frame(copy=Copy(upload=upload_id).save()).save()
        else:
            SecretPaper(upload=upload_id).save()

    def forget(self, upload: Any = None) -> None:
        for model in (Frame, Copy, SecretPaper):
            model.drop_collection()

    def references(self) -> int:
        return int(SecretPaper.objects.count() + Copy.objects.count())

    def close(self) -> None:
        mongoengine.disconnect_all()
