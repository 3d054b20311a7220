"""What every storage must do, on S3: with contents that are no part, one part or many, and with chunks of all sizes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flask_resumable.interfaces import Storage
from flask_resumable.storage.multipart import ObjectStore
from flask_resumable.storage.multipart import StoreTraits
from flask_resumable.storage.s3 import S3Storage
from flask_resumable.testing import ObjectStoreContract
from flask_resumable.testing import StorageContract

from .conftest import KIB
from .conftest import Store

MIB = 1024 * KIB
needs_small_parts = pytest.mark.skipif(os.environ.get("S3_SERVER") == "ceph", reason="Ceph takes no parts of 1 KiB")


class SmallParts(S3Storage):
    """For a store that takes parts of 1 KiB."""

    traits = StoreTraits(min_part=KIB)


def _small_parts(where: str, tiny_store: Store, folder: Path) -> Storage:
    memory = MIB if where == "memory" else 0
    return SmallParts(tiny_store.bucket, part_size=KIB, memory=memory, spool_directory=folder, **tiny_store.options)


class TestS3Store(ObjectStoreContract):
    """What all of this relies on, with the limits of S3."""

    @pytest.fixture
    def store(self, store: Store) -> ObjectStore:
        return S3Storage(store.bucket, **store.options)._bucket


class TestLessThanAPart(StorageContract):
    """Contents of ten bytes."""

    @pytest.fixture
    def storage(self, store: Store) -> Storage:
        return S3Storage(store.bucket, **store.options)

    @pytest.fixture
    def kept(self, store: Store) -> Callable[[], set[str]]:
        return store.kept


class TestSeveralParts(TestLessThanAPart):
    """Contents of 20 MiB, in parts of 5 MiB; chunks that are parts."""

    @pytest.fixture
    def storage(self, store: Store) -> Storage:
        return S3Storage(store.bucket, part_size=5 * MIB, **store.options)

    @pytest.fixture
    def times(self) -> int:
        return 2 * MIB


@needs_small_parts
class TestManyParts(StorageContract):
    """Contents of 25 KiB, in parts of 1 KiB; chunks that are parts."""

    # What is kept in files is more work, and the same in contents of few parts and of many.
    @pytest.fixture(params=["memory", pytest.param("files", marks=pytest.mark.thorough)])
    def storage(self, request: pytest.FixtureRequest, tiny_store: Store, tmp_path: Path) -> Storage:
        return _small_parts(request.param, tiny_store, tmp_path)

    @pytest.fixture
    def kept(self, tiny_store: Store) -> Callable[[], set[str]]:
        return tiny_store.kept

    @pytest.fixture
    def times(self) -> int:
        return 2500


@needs_small_parts
class TestSmallChunks(TestManyParts):
    """Contents of 3 KiB; chunks that are too small to be parts, kept in memory or in files until they are."""

    @pytest.fixture(params=[pytest.param("memory", marks=pytest.mark.thorough), "files"])
    def storage(self, request: pytest.FixtureRequest, tiny_store: Store, tmp_path: Path) -> Storage:
        return _small_parts(request.param, tiny_store, tmp_path)

    @pytest.fixture
    def times(self) -> int:
        return 300
