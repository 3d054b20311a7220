"""The web app."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import abort
from flask import current_app
from flask import Flask
from flask import request
from flask import session
from flask.typing import ResponseReturnValue
from redis import Redis
from rq import Queue
from sqlalchemy import event

from flask_resumable import FlaskResumable
from flask_resumable import Upload as NewUpload
from flask_resumable import UploadRejected

from .models import db
from .models import Finding
from .models import Upload

PARTNERS = {"museum": "amber"}  # names and passwords
MEGABYTE = 1_000_000
PAGE = """<!doctype html>
<title>Gallery</title>
<input type="file" id="file"> <output id="said"></output>
<script src="/static/flow.min.js"></script>
<script src="/static/gallery.js"></script>
"""


class Uploads(FlaskResumable[Upload]):
    """Whose the files are, and what happens to them."""

    def current_owner(self) -> str:
        """The partner who is logged in. Guests have tokens instead."""
        return str(session.get("partner") or abort(401, "Log in first."))

    def on_create(self, upload: Upload) -> None:
        """Refuse what the worker cannot look at."""
        refuse_banned(upload)
        if upload.metadata.get("filetype") not in ("image/png", "image/jpeg", "text/csv"):
            raise UploadRejected(415, "Only pictures and tables, please.")

    def on_progress(self, upload: Upload) -> None:
        """Stop guests who were banned while they are sending."""
        refuse_banned(upload)

    def choose_object_parameters(self, upload: NewUpload) -> dict[str, Any]:
        """Say who has sent it."""
        return {"Metadata": {"guest": upload.metadata["guest"]}, "CacheControl": "private, max-age=60"}

    def on_complete(self, upload: Upload) -> None:
        """Nobody gets the file before the worker has seen it."""
        self.mark(upload, "processing")

    def post_complete(self, upload: Upload) -> None:
        """The worker finds the upload complete."""
        enqueue(upload.id)

    def pre_delete(self, upload: Upload) -> None:
        """What was found goes at once, and not with the record, which stays until its token expires."""
        db.session.execute(db.delete(Finding).where(Finding.upload_id == upload.id))


uploads = Uploads(model=Upload, db=db)


def refuse_banned(upload: Upload) -> None:
    if redis().sismember("banned", upload.metadata["guest"]):
        raise UploadRejected(403, "You are banned.")


def redis() -> Redis:
    connection: Redis = current_app.extensions["redis"]
    return connection


def enqueue(upload_id: str) -> None:
    """Let a worker look at an upload."""
    Queue(connection=redis()).enqueue(f"{__package__}.jobs.look", upload_id)


def check_foreign_keys(connection: Any, _: object) -> None:
    """SQLite does so only when it is told to."""
    connection.execute("PRAGMA foreign_keys=ON")


def create_app(*, now: Callable[[], datetime] | None = None, **settings: Any) -> Flask:
    """Settings come from the environment, as ``GALLERY_<NAME>``, or from the arguments."""
    app = Flask(__name__)
    app.config.update(
        RESUMABLE_STORAGE="s3",
        RESUMABLE_DOWNLOADS="redirect",
        RESUMABLE_REQUIRE_SIGNATURE=True,
        RESUMABLE_MAX_SIZE=100 * MEGABYTE,
    )
    app.config.from_prefixed_env("GALLERY")
    app.config.update(settings)
    app.extensions["redis"] = Redis.from_url(app.config["REDIS_URL"])
    db.init_app(app)
    uploads.init_app(app, now=now)
    with app.app_context():
        event.listen(db.engine, "connect", check_foreign_keys)
        db.create_all()

    @app.get("/")
    def page() -> str:
        return PAGE

    @app.post("/login")
    def log_in() -> ResponseReturnValue:
        name = request.form["name"]
        if PARTNERS.get(name) != request.form["password"]:
            abort(403)
        session["partner"] = name
        return "", 204

    @app.post("/invitations")
    def invite() -> ResponseReturnValue:
        owner = uploads.current_owner()
        guest = request.form["guest"]
        return {"token": uploads.sign(owner=owner, max_size=2 * MEGABYTE, metadata={"guest": guest}, expires=600)}

    @app.post("/banned/<guest>")
    def ban(guest: str) -> ResponseReturnValue:
        uploads.current_owner()
        redis().sadd("banned", guest)
        return "", 204

    @app.get("/findings/<upload_id>")
    def findings(upload_id: str) -> ResponseReturnValue:
        found = db.session.get(Finding, upload_id)
        upload = uploads.get(upload_id)
        if found is None or upload is None or upload.owner != uploads.current_owner():
            abort(404)
        if found.thumbnail is None:
            return {"lines": found.lines}
        return found.thumbnail, {"Content-Type": "image/jpeg"}

    @app.cli.command("enqueue")
    def enqueue_again() -> None:
        """Enqueue all uploads that still wait for a worker: jobs that were lost. Run it from cron."""
        waiting = db.select(Upload.id).where(Upload.processing_state == "processing", Upload.status == "complete")
        for upload_id in db.session.scalars(waiting):
            enqueue(upload_id)

    return app
