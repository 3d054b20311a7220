"""A bucket of an S3-compatible store, through boto3."""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import closing
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from ...errors import Unavailable
from ..multipart.errors import Missing
from ..multipart.store import ListedMultipart
from ..multipart.store import ListedObject
from ..multipart.store import ObjectInfo
from ..multipart.store import ObjectStore
from ..multipart.store import Part
from ..multipart.store import SizedStream
from ..multipart.store import StoreTraits
from .errors import asking
from .errors import boto3
from .errors import ClientError
from .errors import code_of
from .errors import Config
from .errors import READ_ERRORS
from .parameters import check_parameters
from .parameters import for_helpers
from .parameters import for_objects

_CONFIG: Mapping[str, Any] = {
    # boto3 would sign links with version 2, which R2, B2, newer AWS regions and objects encrypted with KMS refuse.
    "signature_version": "s3v4",
    # Newer clients add checksums in trailers, which some stores refuse or store as part of the file.
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
    "retries": {"mode": "standard", "total_max_attempts": 4},
    "connect_timeout": 5,
    "read_timeout": 60,
    "max_pool_connections": 64,
}


# The properties that a copy keeps, by the names of the client's parameters.
_PROPERTIES = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType")
_PIECE = 64 * 1024  # bytes to read at a time
_READS = 3  # attempts to read an object. boto3 tries again by itself only until the response begins.
_TAKES_ANY_PARTS = (".amazonaws.com", ".amazonaws.com.cn")
_HAS_REGION = re.compile(
    r"s3[.-](?:dualstack\.)?([a-z]{2,3}(?:-[a-z]+)*-[0-9]+)\.(?:amazonaws\.com(?:\.cn)?|backblazeb2\.com|wasabisys\.com)"
    r"|s3\.([a-z]{2}-[a-z]{3})\.scw\.cloud|([a-z]{3}[0-9])\.digitaloceanspaces\.com"
)
_WANTS_EQUAL_PARTS = (".r2.cloudflarestorage.com",)
_KNOWS_NO_CONDITIONS = (".backblazeb2.com",)  # it responds to If-None-Match with a 501


class S3Store(ObjectStore):
    """One bucket. A forked process opens a new client.

    :param equal_parts: Whether the store requires equal parts. ``None`` decides by the store's address, if possible.
    """

    def __init__(
        self,
        name: str,
        *,
        endpoint_url: str | None,
        region: str | None,
        access_key: str | None,
        secret_key: str | None,
        equal_parts: bool | None,
        traits: StoreTraits,
        client: Any,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self._parameters = parameters or {}
        self._for_helpers = for_helpers(self._parameters)
        refuses = (urlsplit(endpoint_url or "").hostname or "").endswith(_KNOWS_NO_CONDITIONS)
        self.traits = replace(traits, puts_only_new=False) if refuses else traits
        self._equal_parts = equal_parts
        self._options = {
            "endpoint_url": endpoint_url,
            "region_name": region or region_of(endpoint_url),
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret_key,
        }
        self._style = {"s3": {"addressing_style": "path"}} if endpoint_url else {}
        self._given = client
        self._opened: tuple[int, Any] | None = None
        self._linking: tuple[int, Any] | None = None
        self._has_region = bool(region or endpoint_url)
        self._lock = threading.Lock()

    @property
    def client(self) -> Any:
        if self._given is not None:
            return self._given
        if self._opened is None or self._opened[0] != os.getpid():
            with self._lock:
                if self._opened is None or self._opened[0] != os.getpid():
                    self._opened = os.getpid(), self._new_client()
        return self._opened[1]

    def _new_client(self, **options: str) -> Any:
        # Not the default session, which two threads must not use at once.
        config = Config(**_CONFIG, **self._style)
        return boto3.session.Session().client("s3", config=config, **{**self._options, **options})

    @property
    def _link_client(self) -> Any:
        """The client that signs links.

        It must know the bucket's region, because nobody follows the store's advice for a link, as boto3 does for its
        own requests. If the region is not configured, the store is asked once.
        """
        if self._given is not None or self._has_region:
            return self.client
        if self._linking is None or self._linking[0] != os.getpid():
            try:
                answer = self.client.head_bucket(Bucket=self.name)
            except ClientError:
                return self.client  # it may be right, and nothing better is known
            region = answer.get("BucketRegion") or self.client.meta.region_name
            is_known = region == self.client.meta.region_name
            self._linking = os.getpid(), self.client if is_known else self._new_client(region_name=region)
        return self._linking[1]

    @property
    def equal_parts(self) -> bool | None:
        if self._equal_parts is None:
            host = urlsplit(self.client.meta.endpoint_url).hostname or ""
            if host.endswith(_WANTS_EQUAL_PARTS) or host.endswith(_TAKES_ANY_PARTS):
                self._equal_parts = host.endswith(_WANTS_EQUAL_PARTS)
        return self._equal_parts

    def location(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    # --- objects ---

    def check_parameters(self, parameters: Mapping[str, Any]) -> None:
        check_parameters(parameters)

    def said(self, info: ObjectInfo | None) -> dict[str, Any]:
        """Return the arguments of a request that makes an object."""
        if info is None:
            return self._for_helpers
        automatic = {"ContentType": info.content_type, "ContentDisposition": info.content_disposition}
        known = {name: value for name, value in automatic.items() if value is not None}
        return for_objects(known, self._parameters, info.parameters, info.properties, metadata=info.metadata)

    def put(
        self, key: str, body: bytes | SizedStream, *, only_new: bool = False, info: ObjectInfo | None = None
    ) -> None:
        condition = {"IfNoneMatch": "*"} if only_new else {}
        with asking("put_object", key):
            self.client.put_object(Bucket=self.name, Key=key, Body=body, **condition, **self.said(info))

    def get(self, key: str, start: int, stop: int) -> bytes:
        content = io.BytesIO()
        self.get_into(key, start, stop, content.write)
        return content.getvalue()

    def get_into(self, key: str, start: int, stop: int, write: Callable[[bytes], object]) -> None:
        if start < stop and self._read(key, write, start, stop) != stop:
            raise Missing

    def read(self, key: str) -> bytes:
        content = io.BytesIO()
        self._read(key, content.write)
        return content.getvalue()

    def _read(self, key: str, write: Callable[[bytes], object], start: int = 0, stop: int | None = None) -> int:
        """Read an object, go on where a response breaks off, and return the position of the end."""
        attempts = 0
        while True:
            last = "" if stop is None else stop - 1
            asked = {"Range": f"bytes={start}-{last}"} if start or stop else {}  # an empty object has no range
            with asking("get_object", key):
                try:
                    # As a context manager, the body would be the stream below it, with the errors of another library.
                    with closing(self.client.get_object(Bucket=self.name, Key=key, **asked)["Body"]) as body:
                        while piece := body.read(_PIECE):
                            write(piece)
                            start += len(piece)
                    return start
                except READ_ERRORS:
                    attempts += 1
                    if attempts == _READS:
                        raise
                except ClientError as error:
                    if code_of(error) == "InvalidRange":
                        raise Missing from error
                    raise

    def head(self, key: str) -> ObjectInfo | None:
        try:
            with asking("head_object", key):
                answer = self.client.head_object(Bucket=self.name, Key=key)
        except Missing:
            return None
        properties = {name: answer[name] for name in _PROPERTIES if name in answer}
        return ObjectInfo(int(answer["ContentLength"]), answer["Metadata"], properties)

    def copy(self, key: str, source: str, info: ObjectInfo) -> None:
        said = self.said(info)
        said.pop("Tagging", None)  # the store copies the tags, which the app may have changed
        with asking("copy_object", key):
            self.client.copy_object(
                Bucket=self.name,
                Key=key,
                CopySource={"Bucket": self.name, "Key": source},
                MetadataDirective="REPLACE",
                **said,
            )

    def delete(self, key: str) -> None:
        with asking("delete_object", key):
            self.client.delete_object(Bucket=self.name, Key=key)

    def objects(self, prefix: str) -> Iterator[ListedObject]:
        for page in self._pages("list_objects_v2", Prefix=prefix):
            for entry in page.get("Contents", ()):
                yield ListedObject(entry["Key"], entry["Size"], entry["LastModified"])

    def link(self, key: str, *, seconds: int, content_type: str, content_disposition: str) -> str:
        arguments = {
            "Bucket": self.name,
            "Key": key,
            "ResponseContentType": content_type,
            "ResponseContentDisposition": content_disposition,
        }
        with asking("get_object", key):
            url: str = self._link_client.generate_presigned_url("get_object", Params=arguments, ExpiresIn=seconds)
            return url

    # --- multipart uploads ---

    def begin(self, key: str, info: ObjectInfo | None = None) -> str:
        with asking("create_multipart_upload", key):
            answer = self.client.create_multipart_upload(Bucket=self.name, Key=key, **self.said(info))
            return str(answer["UploadId"])

    def put_part(self, key: str, multipart_id: str, number: int, body: bytes | SizedStream) -> str:
        with self._of_multipart("upload_part", key, multipart_id):
            answer = self.client.upload_part(
                Bucket=self.name, Key=key, UploadId=multipart_id, PartNumber=number, Body=body
            )
            return _bare(answer["ETag"])

    def copy_part(self, key: str, multipart_id: str, number: int, source: str, start: int, stop: int) -> str:
        with self._of_multipart("upload_part_copy", key, multipart_id):
            answer = self.client.upload_part_copy(
                Bucket=self.name,
                Key=key,
                UploadId=multipart_id,
                PartNumber=number,
                CopySource={"Bucket": self.name, "Key": source},
                CopySourceRange=f"bytes={start}-{stop - 1}",
            )
            return _bare(answer["CopyPartResult"]["ETag"])

    @contextmanager
    def _of_multipart(self, operation: str, key: str, multipart_id: str) -> Iterator[None]:
        try:
            with asking(operation, key):
                yield
        except Unavailable:
            if not self._is_open(key, multipart_id):  # some stores respond with a 500 in this case
                raise Missing from None
            raise

    def _is_open(self, key: str, multipart_id: str) -> bool:
        """Whether the multipart upload exists, or may exist."""
        try:
            with asking("list_parts", key, is_expected=True):
                self.client.list_parts(Bucket=self.name, Key=key, UploadId=multipart_id, MaxParts=1)
        except Missing:
            return False
        except Unavailable:
            pass
        return True

    def parts(self, key: str, multipart_id: str) -> dict[int, Part]:
        with asking("list_parts", key):
            return {
                part["PartNumber"]: Part(_bare(part["ETag"]), part["Size"], part["LastModified"])
                for page in self._pages("list_parts", Key=key, UploadId=multipart_id)
                for part in page.get("Parts", ())
            }

    def complete(self, key: str, multipart_id: str, tags: Sequence[str], info: ObjectInfo | None = None) -> None:
        parts = [{"PartNumber": number, "ETag": f'"{tag}"'} for number, tag in enumerate(tags, 1)]
        with asking("complete_multipart_upload", key):
            self.client.complete_multipart_upload(
                Bucket=self.name, Key=key, UploadId=multipart_id, MultipartUpload={"Parts": parts}
            )

    def abort(self, key: str, multipart_id: str) -> None:
        try:
            with asking("abort_multipart_upload", key):
                self.client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=multipart_id)
        except Missing:
            pass

    def multiparts(self, prefix: str) -> Iterator[ListedMultipart]:
        for page in self._pages("list_multipart_uploads", Prefix=prefix):
            for entry in page.get("Uploads", ()):
                yield ListedMultipart(entry["Key"], entry["UploadId"], entry["Initiated"])

    def _pages(self, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        with asking(operation, arguments.get("Key") or arguments.get("Prefix", "")):
            pages = iter(self.client.get_paginator(operation).paginate(Bucket=self.name, **arguments))
        while True:
            with asking(operation, arguments.get("Key") or arguments.get("Prefix", "")):
                page = next(pages, None)
            if page is None:
                return
            yield page


def region_of(endpoint_url: str | None) -> str | None:
    """Return the region for an endpoint: the one in its name, if the provider puts it there."""
    if endpoint_url is None:
        return None
    host = urlsplit(endpoint_url).hostname or ""
    if host.endswith(_WANTS_EQUAL_PARTS):
        return "auto"
    found = _HAS_REGION.fullmatch(host)
    return found[found.lastindex or 0] if found else "us-east-1"  # other stores have no regions


def _bare(etag: str) -> str:
    return etag.strip('"')
