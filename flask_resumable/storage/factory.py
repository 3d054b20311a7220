"""Creates the storage that the settings describe."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from ..core.printable import printable
from ..errors import Unavailable
from ..interfaces import Storage
from ..settings.storage import ChunkSettings
from ..settings.storage import StorageSettings
from .local.chunk_folder import ChunkFolder
from .local.storage import LocalStorage

logger = logging.getLogger(__package__)


def storage_for(settings: StorageSettings, chunks: ChunkSettings, inline_types: Collection[str]) -> Storage:
    """Return a new storage.

    :param inline_types: Media types that browsers may display.
    :raises ConfigurationError: The bucket cannot be used with these settings, or an extra is not installed.
    """
    return _s3_storage(settings, inline_types) if settings.storage == "s3" else _local_storage(settings, chunks)


def _s3_storage(settings: StorageSettings, inline_types: Collection[str]) -> Storage:
    from .s3 import S3Storage  # needs the extra "s3"

    assert settings.s3_bucket is not None
    storage = S3Storage(
        settings.s3_bucket,
        prefix=settings.s3_prefix,
        endpoint_url=settings.s3_endpoint_url,
        region=settings.s3_region,
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key,
        part_size=settings.s3_part_size,
        memory=settings.s3_memory,
        spool_directory=settings.s3_spool_directory,
        equal_parts=settings.s3_equal_parts,
        object_parameters=settings.s3_object_parameters,
        inline_types=inline_types,
    )
    if settings.s3_check:
        try:
            storage.check_access()
        except Unavailable as error:
            logger.warning(
                "The bucket %r does not answer, so uploads fail until it does: %s",
                settings.s3_bucket,
                printable(error.__cause__ or error),
            )
    return storage


def _local_storage(settings: StorageSettings, chunks: ChunkSettings) -> LocalStorage:
    plain = LocalStorage(settings.upload_dir, durability=settings.durability, min_free_space=settings.min_free_space)
    if not chunks.keeps_chunks_apart:
        return plain
    folder = ChunkFolder(
        Path(chunks.temp_dir) if chunks.temp_dir else plain.root / ".chunks",
        pre_process=chunks.pre_process_callback,
        keep=not chunks.delete_chunks_on_save,
    )
    return LocalStorage(
        settings.upload_dir,
        durability=settings.durability,
        chunks=folder,
        min_free_space=settings.min_free_space,
    )
