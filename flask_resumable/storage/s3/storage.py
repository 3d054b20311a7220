"""Bytes in a bucket of a store that speaks S3."""

from __future__ import annotations

import os
from typing import Any

from ...errors import ConfigurationError
from ..multipart.geometry import MIB
from ..multipart.storage import MultipartStorage
from ..multipart.store import StoreTraits
from .check import check
from .store import S3Store


class S3Storage(MultipartStorage):
    """Objects in a bucket of any store that speaks S3. Any number of processes and machines may use one bucket.

    One prefix belongs to one database. Nothing is kept on the machine but what is just being received.

    ::

        storage = S3Storage("my-bucket", prefix="uploads/", region="eu-central-1")
        resumable = FlaskResumable(app, storage=storage)

    :param bucket: The bucket, which must be there.
    :param prefix: What all keys begin with, such as ``"uploads/"``.
    :param endpoint_url: Where the store is, unless it is Amazon's.
    :param access_key: With ``secret_key``; without them, what boto3 finds by itself.
    :param part_size: The size of parts in bytes, at least 5 MiB; very large uploads have larger ones.
    :param memory: How many bytes of parts on their way a process may have in memory; more of them go to files.
    :param spool_directory: Where those files are made; they have no names and leave no trace.
    :param equal_parts: Whether the store wants all parts but a smaller last one to have one size, as R2 does; ``None``:
        it is found out.
    :param client: A client of boto3's, instead of one with the settings above. It is shared by all threads.
    :raises ConfigurationError: An argument is wrong. Nothing is asked of the store yet; see :meth:`check_access`.
    """

    traits = StoreTraits()  # for subclasses whose store is not quite like Amazon's

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
        client: Any = None,
    ) -> None:
        if not bucket:
            raise ConfigurationError("S3Storage needs the name of a bucket.")
        if (access_key is None) != (secret_key is None):
            raise ConfigurationError("S3Storage takes access_key and secret_key together, or neither.")
        self._bucket = S3Store(
            bucket,
            endpoint_url=endpoint_url,
            region=region,
            access_key=access_key,
            secret_key=secret_key,
            equal_parts=equal_parts,
            traits=self.traits,
            client=client,
        )
        super().__init__(
            self._bucket, prefix=prefix, part_size=part_size, memory=memory, spool_directory=spool_directory
        )

    def check_access(self) -> None:
        """Try whether the bucket can be used.

        :raises ConfigurationError: It cannot; the message says what to do.
        :raises Unavailable: The store does not answer, which may pass by itself.
        """
        check(self._bucket, self._keys.prefix)
