"""What the app under test keeps in MongoDB."""

from __future__ import annotations

import mongoengine

from flask_resumable.models import MongoengineBaseModel

from .app import COMPLETIONS


class Document(MongoengineBaseModel):
    """An upload."""

    meta = {"collection": "uploads"}


class Completion(mongoengine.Document):  # type: ignore[misc]
    """What on_complete writes."""

    upload_id = mongoengine.StringField(required=True)
    meta = {"collection": COMPLETIONS}
