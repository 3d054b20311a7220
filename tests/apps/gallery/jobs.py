"""What the worker does: ``rq worker --worker-class rq.SimpleWorker --url $GALLERY_REDIS_URL``."""

from __future__ import annotations

import io
from functools import cache
from typing import BinaryIO

from flask import Flask
from PIL import Image
from PIL import UnidentifiedImageError

from .app import create_app
from .app import uploads
from .models import db
from .models import Finding
from .models import Upload

SIZE = 64  # of a thumbnail, in pixels


@cache
def app() -> Flask:
    """The app, for its database and its bucket."""
    return create_app()


def look(upload_id: str) -> None:
    """The job. It may run more than once for the same upload."""
    with app().app_context():
        upload = uploads.get(upload_id)
        if upload is None or upload.processing_state != "processing":
            return  # it was deleted, or an earlier job has done it
        try:
            with upload.open() as stream:
                db.session.merge(find(upload, stream))
        except ValueError as error:
            uploads.mark(upload, "failed", str(error))
        else:
            uploads.mark(upload, "ready")  # saves the finding first


def find(upload: Upload, stream: BinaryIO) -> Finding:
    """Look at the content of a file.

    :raises ValueError: It is not what the guest said.
    """
    if upload.metadata["filetype"] == "text/csv":
        return Finding(upload_id=upload.id, lines=sum(1 for _ in stream))
    try:
        with Image.open(stream, formats=("JPEG", "PNG")) as image:
            image.thumbnail((SIZE, SIZE))
            thumbnail = io.BytesIO()
            image.convert("RGB").save(thumbnail, "JPEG")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError):
        raise ValueError("This is not a picture, or it is damaged or too large.") from None
    return Finding(upload_id=upload.id, thumbnail=thumbnail.getvalue())
