"""An app without a model: hooks get ``Upload``."""

from collections.abc import Iterator
from datetime import datetime
from datetime import UTC

from flask import abort
from flask import Flask
from flask import render_template_string

from flask_resumable import FlaskResumable
from flask_resumable import Upload
from flask_resumable import UploadRejected
from flask_resumable.signals import on_complete
from flask_resumable.storage import LocalStorage
from flask_resumable.storage import S3Storage

LIST = """<a href="{{ resumable.url_for(upload) }}">{{ upload.filename }}</a>"""


class Uploads(FlaskResumable):
    """Every hook and method that may be overridden."""

    def current_owner(self) -> str | None:
        return None

    def choose_id(self, upload: Upload) -> str | None:
        return upload.metadata.get("id")

    def choose_storage(self, upload: Upload) -> str | None:
        return "archive" if upload.metadata.get("keep") else None

    def choose_folder(self, upload: Upload) -> str | None:
        return None if upload.owner is None else f"user-{upload.owner}"

    def on_create(self, upload: Upload) -> None:
        if not (upload.filename or "").endswith(".csv"):
            raise UploadRejected(415, "Only CSV files, please.")
        upload.max_size = 10 * 2**20

    def pre_save(self, upload: Upload) -> None:
        if upload.length is not None and upload.received > upload.length // 2:
            return

    async def post_save(self, upload: Upload) -> None:
        assert upload.offset <= upload.received

    def on_progress(self, upload: Upload) -> None:
        if upload.offset > 10 and upload.processing_state is None:
            self.mark(upload, "processing")

    def on_complete(self, upload: Upload) -> dict[str, str]:
        path = upload.move_to(f"csv/{upload.id}.csv", overwrite=True)
        with upload.open() as stream:
            print(path, stream.read(10).hex(), upload.digest("sha256"), upload.md5)
        return {"id": upload.id}

    def post_complete(self, upload: Upload) -> None:
        self.mark(upload.id, "failed", "Too late.")

    def pre_delete(self, upload: Upload) -> None:
        if upload.expires_at is not None and upload.expires_at > datetime.now(UTC):
            raise UploadRejected(message=f"Not before {upload.expires_at.isoformat()}.")

    def post_delete(self, upload: Upload) -> None:
        print(upload.metadata.filetype, upload.created_at.year, upload.status.upper())


def create_app() -> Flask:
    """Several storages, a signal, and views."""
    app = Flask(__name__)
    resumable = Uploads(
        app, storage={"main": LocalStorage("/data"), "archive": S3Storage("archive", prefix="uploads/")}
    )

    @on_complete.connect_via(app)
    def tell(sender: Flask, upload: Upload) -> None:
        sender.logger.info("%r: %d bytes", upload.filename, upload.offset)

    @app.get("/uploads/<upload_id>")
    def show(upload_id: str) -> str:
        upload = resumable.get(upload_id) or abort(404)
        return render_template_string(LIST, resumable=resumable, upload=upload)

    @app.delete("/uploads/<upload_id>")
    def delete(upload_id: str) -> dict[str, bool]:
        return {"deleted": resumable.delete(upload_id)}

    def finished(owner: int) -> Iterator[str]:
        for upload in resumable.uploads(owner=owner, status="complete", limit=100):
            yield resumable.url_for(upload, _external=True)

    app.add_url_rule("/finished", view_func=lambda: [*finished(7)])
    return app
