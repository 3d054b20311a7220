"""The bucket: every request to the store."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...errors import Unavailable
from .errors import boto3
from .errors import ClientError
from .errors import code_of
from .errors import Config
from .errors import Missing
from .errors import translated

_CONFIG: Mapping[str, Any] = {
    # Newer clients add checksums in trailers, which some stores refuse, or keep as a part of the file.
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
    "retries": {"mode": "standard", "total_max_attempts": 4},
    "connect_timeout": 5,
    "read_timeout": 60,
    "max_pool_connections": 64,
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part, as the store has it."""

    etag: str
    size: int
    modified: datetime


class Bucket:
    """One bucket. May be shared by threads, and is opened anew in a process that was forked.

    Every method raises :exc:`~flask_resumable.errors.Unavailable` if the store does not answer, has no time or refuses.
    """

    def __init__(
        self,
        name: str,
        *,
        endpoint_url: str | None,
        region: str | None,
        access_key: str | None,
        secret_key: str | None,
        client: Any,
    ) -> None:
        self.name = name
        self._options = {
            "endpoint_url": endpoint_url,
            "region_name": region or ("us-east-1" if endpoint_url else None),  # stores of one's own have no regions
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret_key,
        }
        self._style = {"s3": {"addressing_style": "path"}} if endpoint_url else {}
        self._given = client
        self._opened: tuple[int, Any] | None = None
        self._lock = threading.Lock()

    @property
    def client(self) -> Any:
        if self._given is not None:
            return self._given
        if self._opened is None or self._opened[0] != os.getpid():
            with self._lock:
                if self._opened is None or self._opened[0] != os.getpid():
                    # A session of its own: the default one must not be used by two threads at once.
                    config = Config(**_CONFIG, **self._style)
                    client = boto3.session.Session().client("s3", config=config, **self._options)
                    self._opened = os.getpid(), client
        return self._opened[1]

    # --- objects ---

    def put(self, key: str, body: Any, *, only_new: bool = False) -> None:
        """Write an object. Raises ``Taken``, with ``only_new``, if there is one."""
        condition = {"IfNoneMatch": "*"} if only_new else {}
        with translated("put_object", key):
            self.client.put_object(Bucket=self.name, Key=key, Body=body, **condition)

    def get(self, key: str, start: int, stop: int) -> bytes:
        """These bytes of an object, all of them. Raises ``Missing``, also if it is too short."""
        if start >= stop:
            return b""
        with translated("get_object", key):
            try:
                wanted = f"bytes={start}-{stop - 1}"
                with self.client.get_object(Bucket=self.name, Key=key, Range=wanted)["Body"] as stream:
                    content: bytes = stream.read()
            except ClientError as error:
                if code_of(error) == "InvalidRange":
                    raise Missing from error
                raise
        if len(content) != stop - start:
            raise Missing
        return content

    def read(self, key: str) -> bytes:
        """All of a small object. Raises ``Missing``."""
        with translated("get_object", key), self.client.get_object(Bucket=self.name, Key=key)["Body"] as stream:
            content: bytes = stream.read()
            return content

    def head(self, key: str) -> dict[str, Any] | None:
        """What the store says of an object; ``None`` if there is none."""
        try:
            with translated("head_object", key):
                answer: dict[str, Any] = self.client.head_object(Bucket=self.name, Key=key)
                return answer
        except Missing:
            return None

    def size(self, key: str) -> int | None:
        """How many bytes an object has; ``None`` if there is none."""
        found = self.head(key)
        return None if found is None else int(found["ContentLength"])

    def copy(self, key: str, source: str, **kept: Any) -> None:
        """Copy an object within the store. Raises ``Missing``.

        :param kept: What is said of the copy, in place of what is said of the source.
        """
        with translated("copy_object", key):
            self.client.copy_object(
                Bucket=self.name,
                Key=key,
                CopySource={"Bucket": self.name, "Key": source},
                MetadataDirective="REPLACE",
                **kept,
            )

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        with translated("delete_object", key):
            self.client.delete_object(Bucket=self.name, Key=key)

    def objects(self, prefix: str) -> Iterator[tuple[str, int, datetime]]:
        """Key, size and time of writing of all objects with this prefix, by key."""
        for page in self._pages("list_objects_v2", Prefix=prefix):
            for entry in page.get("Contents", ()):
                yield entry["Key"], entry["Size"], entry["LastModified"]

    def link(self, key: str, seconds: int, *, method: str, **answer: str) -> str:
        """A URL that works for so many seconds, with headers that its answer is to have."""
        with translated(method, key):
            arguments = {"Bucket": self.name, "Key": key, **answer}
            url: str = self.client.generate_presigned_url(method, Params=arguments, ExpiresIn=seconds)
            return url

    # --- multipart uploads ---

    def begin(self, key: str, **said: Any) -> str:
        """Start a multipart upload; its id. ``said``: of the object that it becomes."""
        with translated("create_multipart_upload", key):
            upload_id: str = self.client.create_multipart_upload(Bucket=self.name, Key=key, **said)["UploadId"]
            return upload_id

    def put_part(self, key: str, multipart: str, number: int, body: Any) -> str:
        """Write a part; its ETag. Raises ``Missing``."""
        with self._of_multipart("upload_part", key, multipart):
            answer = self.client.upload_part(
                Bucket=self.name, Key=key, UploadId=multipart, PartNumber=number, Body=body
            )
            return _bare(answer["ETag"])

    def copy_part(self, key: str, multipart: str, number: int, source: str, start: int, stop: int) -> str:
        """Make a part of these bytes of an object, within the store; its ETag. Raises ``Missing``."""
        with self._of_multipart("upload_part_copy", key, multipart):
            answer = self.client.upload_part_copy(
                Bucket=self.name,
                Key=key,
                UploadId=multipart,
                PartNumber=number,
                CopySource={"Bucket": self.name, "Key": source},
                CopySourceRange=f"bytes={start}-{stop - 1}",
            )
            return _bare(answer["CopyPartResult"]["ETag"])

    @contextmanager
    def _of_multipart(self, operation: str, key: str, multipart: str) -> Iterator[None]:
        try:
            with translated(operation, key):
                yield
        except Unavailable:
            if not self.is_open(key, multipart):  # some stores have nothing better to say than 500
                raise Missing from None
            raise

    def is_open(self, key: str, multipart: str) -> bool:
        """Whether there is such a multipart upload, as far as can be told."""
        try:
            with translated("list_parts", key, is_expected=True):
                self.client.list_parts(Bucket=self.name, Key=key, UploadId=multipart, MaxParts=1)
        except Missing:
            return False
        except Unavailable:
            pass
        return True

    def parts(self, key: str, multipart: str) -> dict[int, Part]:
        """All parts of a multipart upload, by number. Raises ``Missing``."""
        with translated("list_parts", key):
            return {
                part["PartNumber"]: Part(_bare(part["ETag"]), part["Size"], part["LastModified"])
                for page in self._pages("list_parts", Key=key, UploadId=multipart)
                for part in page.get("Parts", ())
            }

    def complete(self, key: str, multipart: str, etags: Sequence[str]) -> None:
        """Make an object of the parts, from 1 on. Raises ``PartsChanged`` if those there are not these; ``Missing``."""
        parts = [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in enumerate(etags, 1)]
        with translated("complete_multipart_upload", key):
            self.client.complete_multipart_upload(
                Bucket=self.name, Key=key, UploadId=multipart, MultipartUpload={"Parts": parts}
            )

    def abort(self, key: str, multipart: str) -> None:
        """Remove a multipart upload with all its parts, if it is there."""
        try:
            with translated("abort_multipart_upload", key):
                self.client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=multipart)
        except Missing:
            pass

    def multiparts(self, prefix: str) -> Iterator[tuple[str, str, datetime]]:
        """Key, id and beginning of all multipart uploads of keys with this prefix."""
        for page in self._pages("list_multipart_uploads", Prefix=prefix):
            for entry in page.get("Uploads", ()):
                yield entry["Key"], entry["UploadId"], entry["Initiated"]

    def _pages(self, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        with translated(operation, arguments.get("Key") or arguments.get("Prefix", "")):
            pages = iter(self.client.get_paginator(operation).paginate(Bucket=self.name, **arguments))
        while True:
            with translated(operation, arguments.get("Key") or arguments.get("Prefix", "")):
                page = next(pages, None)
            if page is None:
                return
            yield page


def _bare(etag: str) -> str:
    return etag.strip('"')
