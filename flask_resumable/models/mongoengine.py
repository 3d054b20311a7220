"""The fields of an upload for MongoEngine. The rules are in ``core``, the queries in ``repositories``."""

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

from ..core.metadata import metadata_of
from ..core.metadata import UploadMetadata
from ..core.processing import Processing
from ..core.upload import JSONObject
from ..core.upload import Upload
from .interface import UploadInterface
from .record import FIELDS
from .record import FORMAT
from .record import processing_of
from .record import upload_from


class UtcDateTimeField(DateTimeField):  # type: ignore[misc]
    """Stores times in UTC and returns aware ones, whether the connection is ``tz_aware`` or not, in milliseconds."""

    def to_mongo(self, value: Any) -> Any:
        return _utc(value) if isinstance(value, datetime) else super().to_mongo(value)

    def to_python(self, value: Any) -> Any:
        return _utc(value) if isinstance(value, datetime) else value


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class JSONField(BaseField):  # type: ignore[misc]
    """Stores JSON as text, because BSON rejects some keys and numbers that JSON allows."""

    def to_mongo(self, value: Any) -> str:
        return json.dumps(value)

    def to_python(self, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value


class MongoengineBaseModel(UploadInterface, Document):  # type: ignore[misc]
    """A base class for your own document of uploads, with any fields you like::

        class Upload(MongoengineBaseModel):
            caption = StringField()

            meta = {"collection": "uploads"}

        uploads = FlaskResumable(app, model=Upload)

    Set the collection, ``db_alias`` and further indexes in ``meta``. The extension maintains the fields below: read
    and query them, but do not change them.
    """

    id = StringField(primary_key=True)
    client_key = StringField()  # finds the upload for clients that choose their own identifier
    request_key = StringField()  # finds the upload for a creation that is sent again
    signed_until = UtcDateTimeField()  # when the token expires that created it
    owner = StringField()
    protocol = StringField()  # that created it: "tus", "flow" or "ietf"
    status = StringField(required=True)
    length = LongField()  # in bytes; missing until the client declares it
    offset = LongField(default=0)  # bytes received from the start, without a gap
    chunks = JSONField()  # chunks received beyond the offset
    filename = StringField()  # the client's file name, for queries
    # As the client sent it, base64-encoded, because keys and values may be anything, even "$set" or NUL.
    raw_metadata = StringField(db_field="metadata", default="")
    concat = StringField()  # the Upload-Concat header
    concat_kind = StringField()  # "partial", "final" or missing, taken from concat
    awaits_completion = BooleanField(default=False)  # true until a client says that the upload is complete
    request_count = LongField(default=0)  # requests that have added content
    answer = JSONField()  # what on_complete returned
    processing_state = StringField()  # what the app says about its processing
    processing_reason = StringField()
    format = LongField(default=FORMAT)  # the version of the fields' formats
    storage = JSONField()  # the storage's own data
    max_size = LongField()  # in bytes; on_create may set it
    reserved = LongField()  # in bytes, of its owner's quota
    digests = JSONField()
    created_at = UtcDateTimeField(required=True)
    updated_at = UtcDateTimeField()  # when a request last claimed or saved it
    expires_at = UtcDateTimeField()
    removable_at = UtcDateTimeField()  # what delete_expired selects by
    claimed_until = UtcDateTimeField()
    claimed_by = StringField()  # the process that holds the claim
    claim_message = StringField()  # to that process
    fence = LongField(default=0)  # incremented by every claim
    version = LongField(default=0)  # incremented by every change

    meta = {
        "abstract": True,
        "strict": False,  # the record may come from a newer version of this package
        "indexes": [
            {"fields": ["client_key"], "unique": True, "sparse": True},
            {"fields": ["request_key"], "unique": True, "sparse": True},
            "removable_at",
            ("status", "id"),
            ("owner", "id"),
            {"fields": ["claim_message"], "sparse": True},
        ],
    }

    @property
    def metadata(self) -> UploadMetadata:
        """The metadata that the client sent."""
        return metadata_of(self.raw_metadata or "")

    def as_upload(self) -> Upload:
        return upload_from({name: getattr(self, name) for name in FIELDS})

    def _set_storage(self, stored: JSONObject) -> None:
        self._data["storage"] = dict(stored)  # bypasses change tracking: a save() in the hook must not write it

    def _set_processing(self, processing: Processing) -> None:
        self._data.update(processing_of(processing))


class MongoengineModel(MongoengineBaseModel):
    """A ready-made document, stored in ``resumable_uploads``: ``FlaskResumable(app, model=MongoengineModel)``."""

    meta = {"collection": "resumable_uploads"}
