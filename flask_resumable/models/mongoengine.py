"""The fields of an upload, for MongoEngine. No rules, no updates: those are in ``core`` and ``repositories``."""

from __future__ import annotations

import json
from datetime import datetime
from datetime import UTC
from typing import Any

from mongoengine import BooleanField
from mongoengine import DateTimeField
from mongoengine import Document
from mongoengine import LongField
from mongoengine import StringField
from mongoengine.base import BaseField

from ..core.metadata import UploadMetadata
from ..core.upload import JSONObject
from ..core.upload import Upload
from .interface import UploadInterface
from .record import FIELDS
from .record import FORMAT
from .record import upload_from


class UtcDateTimeField(DateTimeField):  # type: ignore[misc]
    """Aware UTC in Python, whether the connection is ``tz_aware`` or not. MongoDB keeps milliseconds."""

    def to_mongo(self, value: Any) -> Any:
        return _utc(value) if isinstance(value, datetime) else super().to_mongo(value)

    def to_python(self, value: Any) -> Any:
        return _utc(value) if isinstance(value, datetime) else value


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class JSONField(BaseField):  # type: ignore[misc]
    """Any JSON, kept as text: BSON refuses keys and numbers that JSON allows."""

    def to_mongo(self, value: Any) -> str:
        return json.dumps(value)

    def to_python(self, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value


class MongoengineBaseModel(UploadInterface, Document):  # type: ignore[misc]
    """Subclass for a document of the app: ``class Upload(MongoengineBaseModel)``, with any fields of its own.

    Collection, further indexes and ``db_alias`` go into the subclass's ``meta``. The fields here are kept by the
    extension; read them, query by them, but leave them alone.
    """

    id = StringField(primary_key=True)
    client_key = StringField()  # how clients find it that name their uploads themselves
    request_key = StringField()  # how a creation that is repeated finds it
    owner = StringField()
    status = StringField(required=True)
    length = LongField()  # bytes; missing while deferred
    offset = LongField(default=0)  # bytes received from the start on
    chunks = JSONField()  # chunks beyond the offset
    # As the client sent it, in base64: keys and values in here may be anything, "$set" and NUL included.
    raw_metadata = StringField(db_field="metadata", default="")
    concat = StringField()  # the Upload-Concat header
    concat_kind = StringField()  # "partial", "final" or missing, as concat says
    awaits_completion = BooleanField(default=False)  # until a client says that it is complete
    answer = JSONField()  # the app's, to the last request
    format = LongField(default=FORMAT)  # of the fields' contents
    storage = JSONField()  # the storage's own notes
    digests = JSONField()
    created_at = UtcDateTimeField(required=True)
    updated_at = UtcDateTimeField()  # when a request last claimed or saved it
    expires_at = UtcDateTimeField()
    removable_at = UtcDateTimeField()  # what delete_expired goes by
    claimed_until = UtcDateTimeField()
    claimed_by = StringField()  # the process that holds the claim
    asked = StringField()  # what another request asks of that process
    fence = LongField(default=0)  # grows with every claim
    version = LongField(default=0)  # grows with every change

    meta = {
        "abstract": True,
        "strict": False,  # a newer version of this package may have written the record
        "indexes": [
            {"fields": ["client_key"], "unique": True, "sparse": True},
            {"fields": ["request_key"], "unique": True, "sparse": True},
            "removable_at",
            ("status", "id"),
            ("owner", "id"),
            {"fields": ["asked"], "sparse": True},
        ],
    }

    @property
    def metadata(self) -> UploadMetadata:
        """What the client says about the file."""
        return UploadMetadata(self.raw_metadata or "")

    def as_upload(self) -> Upload:
        return upload_from({name: getattr(self, name) for name in FIELDS})

    def _set_storage(self, stored: JSONObject) -> None:
        self._data["storage"] = dict(stored)  # not as a change: save() must not run ahead of the upload's own state


class MongoengineModel(MongoengineBaseModel):
    """Ready-made: ``FlaskResumable(app, model=MongoengineModel)`` keeps uploads in ``resumable_uploads``."""

    meta = {"collection": "resumable_uploads"}
