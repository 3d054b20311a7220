"""Stores uploads in a bucket of an S3-compatible store."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from datetime import datetime
from datetime import timedelta
from typing import Any

from ...core.disposition import INLINE_TYPES
from ...core.health import CheckResult
from ...core.health import clock_result
from ...core.health import ERROR
from ...core.health import OK
from ...errors import ConfigurationError
from ...errors import Unavailable
from ..multipart.geometry import MIB
from ..multipart.storage import MultipartStorage
from ..multipart.store import StoreTraits
from .check import check
from .parameters import check_parameters
from .store import S3Store


class S3Storage(MultipartStorage):
    """Stores uploads in a bucket of any S3-compatible store. Any number of processes and machines can share a bucket.

    Use a prefix with one database only. Only content that is being received is kept on the machine.

    ::

        storage = S3Storage("my-bucket", prefix="uploads/", region="eu-central-1")
        resumable = FlaskResumable(app, storage=storage)

    :param bucket: The name of an existing bucket.
    :param prefix: The prefix of all keys, such as ``"uploads/"``.
    :param endpoint_url: The S3 endpoint. The default is AWS.
    :param region: The region. ``None`` lets boto3 find it.
    :param access_key: The access key, together with ``secret_key``. ``None`` lets boto3 find both keys.
    :param part_size: The size of the first parts of a multipart upload, in bytes, at least 5 MiB. Later parts are
        larger.
    :param memory: How many bytes of parts being sent a process keeps in memory. The rest goes to temporary files.
    :param spool_directory: The folder for these files. They have no names, so nothing is left of them after a crash.
    :param equal_parts: Whether to send only parts of equal size, as R2 requires. ``None`` detects whether the store
        requires it.
    :param object_parameters: What finished objects get, in the words of boto3's ``create_multipart_upload``, such as
        ``{"ServerSideEncryption": "aws:kms", "CacheControl": "max-age=3600"}``. The type and the name come from the
        upload. The extension's own objects get the encryption, too.
    :param inline_types: Media types that browsers may display when they get an object from the store.
    :param client: A boto3 client to use instead of one with the settings above. All threads share it.
    :raises ConfigurationError: An argument is wrong. This does not connect to the store; see :meth:`check_access`.
    """

    traits = StoreTraits()  # for subclasses whose store differs from AWS

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        endpoint_url: str | None = None,
        region: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        part_size: int = 8 * MIB,
        memory: int = 64 * MIB,
        spool_directory: str | os.PathLike[str] | None = None,
        equal_parts: bool | None = None,
        object_parameters: Mapping[str, Any] | None = None,
        inline_types: Collection[str] = INLINE_TYPES,
        client: Any = None,
    ) -> None:
        if not bucket:
            raise ConfigurationError("S3Storage needs the name of a bucket.")
        if (access_key is None) != (secret_key is None):
            raise ConfigurationError("S3Storage takes access_key and secret_key together, or neither.")
        try:
            check_parameters(object_parameters or {})
        except ValueError as error:
            raise ConfigurationError(f"S3_OBJECT_PARAMETERS, object_parameters: {error}") from None
        self._bucket = S3Store(
            bucket,
            endpoint_url=endpoint_url,
            region=region,
            access_key=access_key,
            secret_key=secret_key,
            equal_parts=equal_parts,
            traits=self.traits,
            client=client,
            parameters=object_parameters,
        )
        super().__init__(
            self._bucket,
            prefix=prefix,
            part_size=part_size,
            memory=memory,
            spool_directory=spool_directory,
            inline_types=inline_types,
        )
        self.capabilities = dataclasses.replace(self.capabilities, health=self)

    def check(self, now: datetime, *, quick: bool) -> Iterator[CheckResult]:
        """Check the bucket like :meth:`check_access`. See :class:`~flask_resumable.interfaces.ChecksHealth`."""
        began = time.monotonic()
        try:
            theirs = check(self._bucket, self._keys.prefix)
        except ConfigurationError as error:
            yield CheckResult("bucket", ERROR, str(error), "bucket_unusable")
        except Unavailable as error:
            kind = type(error.__cause__ or error).__name__
            text = f"The store does not answer as it should ({kind}): check that it runs and can be reached from here."
            yield CheckResult("bucket", ERROR, text, "unreachable")
        else:
            yield CheckResult("bucket", OK, "The bucket can be listed, and uploads to it can begin.")
            if theirs is not None:
                latest = now + timedelta(seconds=time.monotonic() - began)
                yield clock_result("bucket clock", "the store", theirs, now, latest)

    def check_access(self) -> None:
        """Check that the bucket can be used.

        :raises ConfigurationError: It cannot; the message says what to do.
        :raises Unavailable: The store does not respond, which may be temporary.
        """
        check(self._bucket, self._keys.prefix)
