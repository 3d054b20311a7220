"""Helpers for your tests: a client that uploads to your app, and contracts for your own repositories and storages.

:class:`UploadClient` uploads to your app, and :class:`ManualClock` lets uploads expire. ``fixtures.py`` has both as
pytest fixtures.

The contracts are pytest classes that every repository, storage and object store must pass::

    # test_my_repository.py
    from flask_resumable.testing import RepositoryContract

    class TestMyRepository(RepositoryContract):
        @pytest.fixture
        def repository(self):
            return MyRepository()      # empty

If several processes share the repository, subclass :class:`SharedRepositoryContract` and add ``opener``. For a storage,
subclass :class:`StorageContract` and add ``storage`` and ``kept``. For an object store, subclass
:class:`ObjectStoreContract` and add ``store``; the storage on top of it passes the :class:`StorageContract`.
"""

from __future__ import annotations

import pytest

for _module in ("chunks", "claims", "object_store", "processes", "quotas", "records", "repository", "storage"):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from .client import ManualClock  # noqa: E402
from .client import SentUpload  # noqa: E402
from .client import UploadClient  # noqa: E402
from .object_store import ObjectStoreContract  # noqa: E402
from .repository import RepositoryContract  # noqa: E402
from .repository import SharedRepositoryContract  # noqa: E402
from .storage import StorageContract  # noqa: E402

__all__ = [
    "ManualClock",
    "ObjectStoreContract",
    "RepositoryContract",
    "SentUpload",
    "SharedRepositoryContract",
    "StorageContract",
    "UploadClient",
]
