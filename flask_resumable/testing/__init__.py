"""Contracts for repositories, storages and object stores: pytest classes that every implementation must pass.

::

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

for _module in ("chunks", "claims", "object_store", "processes", "records", "repository", "storage"):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from .object_store import ObjectStoreContract  # noqa: E402
from .repository import RepositoryContract  # noqa: E402
from .repository import SharedRepositoryContract  # noqa: E402
from .storage import StorageContract  # noqa: E402

__all__ = ["ObjectStoreContract", "RepositoryContract", "SharedRepositoryContract", "StorageContract"]
