"""All that a state repository must do; see :class:`~flask_resumable.interfaces.StateRepository`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ..interfaces import StateRepository
from .claims import ClaimContract
from .processes import ProcessContract
from .records import RecordContract


class RepositoryContract(RecordContract, ClaimContract):
    """For a repository that lives in one process. Subclass it and override ``repository``."""

    @pytest.fixture
    def repository(self) -> StateRepository:
        """The repository under test, without any records."""
        raise NotImplementedError("Override the fixture 'repository' in your test class.")


class SharedRepositoryContract(RepositoryContract, ProcessContract):
    """For a repository that several processes share. Override ``repository`` and ``opener``."""

    @pytest.fixture
    def opener(self) -> Callable[[], StateRepository]:
        """What opens the repository of the fixture ``repository`` once more, in another process.

        It is pickled for its way there: a function at the top of a module, or a ``functools.partial`` of one.
        """
        raise NotImplementedError("Override the fixture 'opener' in your test class.")
