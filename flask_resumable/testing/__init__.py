"""Contracts to run on a repository of one's own, with pytest. They are the ones that every repository here must meet.

::

    # test_my_repository.py
    from flask_resumable.testing import RepositoryContract

    class TestMyRepository(RepositoryContract):
        @pytest.fixture
        def repository(self):
            return MyRepository()      # empty

For a repository that several processes share, subclass :class:`SharedRepositoryContract` and add ``opener``.
"""

from __future__ import annotations

import pytest

for _module in ("claims", "processes", "records", "repository"):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")

from .repository import RepositoryContract  # noqa: E402
from .repository import SharedRepositoryContract  # noqa: E402

__all__ = ["RepositoryContract", "SharedRepositoryContract"]
