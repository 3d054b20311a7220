"""The contract of a state repository; see :class:`~flask_resumable.interfaces.StateRepository`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ..interfaces import StateRepository
from .claims import ClaimContract
from .processes import ProcessContract
from .quotas import QuotaContract
from .records import RecordContract


class RepositoryContract(RecordContract, ClaimContract, QuotaContract):
    """Tests a repository that a single process uses. Subclass it and override the fixture ``repository``."""

    @pytest.fixture
    def repository(self) -> StateRepository:
        """The repository under test, empty."""
        raise NotImplementedError("Override the fixture 'repository' in your test class.")


class SharedRepositoryContract(RepositoryContract, ProcessContract):
    """Tests a repository that several processes share. Override the fixtures ``repository`` and ``opener``."""

    @pytest.fixture
    def opener(self) -> Callable[[], StateRepository]:
        """A function that opens the repository of the fixture ``repository`` once more, in another process.

        It is pickled, so use a function at the top level of a module, or a ``functools.partial`` of one.
        """
        raise NotImplementedError("Override the fixture 'opener' in your test class.")
