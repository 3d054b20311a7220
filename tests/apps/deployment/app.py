"""An app with files in a shared folder and everything else in PostgreSQL. Each node gets a copy of this file."""

import hashlib

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped
from sqlalchemy.orm import mapped_column

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin

db = SQLAlchemy()


class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[name-defined, misc]
    """A file that somebody sends."""


class Receipt(db.Model):  # type: ignore[name-defined, misc]
    """What the hook makes of a file: a row for each time that it takes effect."""

    id: Mapped[int] = mapped_column(primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("upload.id", ondelete="CASCADE"))
    sha256: Mapped[str]


class Uploads(FlaskResumable[Upload]):
    """The app's hooks."""

    def on_complete(self, upload: Upload) -> None:
        """Write a receipt, which is committed with the upload."""
        with upload.open() as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
        db.session.add(Receipt(upload_id=upload.id, sha256=digest))


app = Flask(__name__)
app.config["RESUMABLE_METRICS_URL"] = "/metrics"
app.config["RESUMABLE_CREATE_TABLES"] = False  # Flask-Migrate does
app.config["RESUMABLE_DOWNLOADS"] = True
app.config.from_prefixed_env()
db.init_app(app)
Uploads(app, model=Upload, db=db)
Migrate(app, db)
