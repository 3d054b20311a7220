"""What is special to single repositories; what all of them must do is run in ``databases/test_contract.py``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flask_resumable.errors import Unavailable
from flask_resumable.repositories.sql.embedded import embedded_repository
from flask_resumable.repositories.sql.sqlite import Direct
from flask_resumable.testing.samples import an_upload
from flask_resumable.testing.samples import id_of
from flask_resumable.testing.samples import take


def test_the_number_of_statements_is_small(tmp_path: Path) -> None:
    """Reading takes one statement, claiming two, saving one: the price of every request."""
    repository = embedded_repository(f"sqlite:///{tmp_path / 'state.sqlite'}", durable=False)
    claim = repository.add(an_upload(), until=None)
    statements: list[str] = []

    def count(act: Callable[[], object]) -> int:
        statements.clear()
        act()
        return len(statements)

    database = repository._database
    assert isinstance(database, Direct)
    database.raw.set_trace_callback(statements.append)
    assert count(lambda: repository.get(id_of(1))) == 1
    assert count(lambda: repository.save(an_upload(), claim, until=None)) == 1
    assert count(lambda: take(repository)) == 2
    repository.dispose()


def test_a_database_that_cannot_be_reached_is_unavailable(tmp_path: Path) -> None:
    """Trouble with the database is told as such, and the repository works again when it is over."""
    folder = tmp_path / "folder"
    folder.write_text("in the way")
    repository = embedded_repository(f"sqlite:///{folder / 'state.sqlite'}", durable=False)
    with pytest.raises(Unavailable):
        repository.get(id_of(1))
    folder.unlink()
    repository.add(an_upload(), until=None)
    assert repository.get(id_of(1)).length == 10
    repository.dispose()
