"""What an app gets whose pool of connections is exhausted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import cast

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine
from sqlalchemy import literal
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin
from flask_resumable.repositories.sql.prepared import execute
from flask_resumable.repositories.sql.prepared import Prepared
from tests.conformance.tus_client import Tus

POOL = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1}


@pytest.fixture
def site(tmp_path: Path) -> tuple[Tus, Callable[[str], None], Callable[[], None]]:
    """A client, what makes others take the only connection during a hook, and what makes them return it."""
    app = Flask(__name__, instance_path=str(tmp_path / "instance"))
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'app.sqlite'}"
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = POOL
    db = SQLAlchemy(app)
    taken: list[Any] = []
    during: set[str] = set()

    class Upload(SQLAlchemyMixin, db.Model):  # type: ignore[misc, name-defined]
        pass

    class Note(db.Model):  # type: ignore[misc, name-defined]
        id = db.Column(db.Integer, primary_key=True)

    class Uploads(FlaskResumable[Upload]):
        def on_create(self, upload: Upload) -> None:
            self._note("on_create")

        def on_complete(self, upload: Upload) -> None:
            self._note("on_complete")

        def _note(self, hook: str) -> None:
            db.session.add(Note())
            if hook in during:
                taken.append(db.engine.connect())

    Uploads(app, model=Upload, db=db)
    with app.app_context():
        db.create_all()

    def release() -> None:
        during.clear()
        while taken:
            taken.pop().close()

    return Tus(app.test_client()), during.add, release


@pytest.mark.parametrize("hook", ["on_create", "on_complete"])
def test_no_connection_for_a_hook_is_no_bug_of_the_hook(
    site: tuple[Tus, Callable[[str], None], Callable[[], None]], hook: str
) -> None:
    """The client is told to try again, as with every other statement, and succeeds."""
    tus, take, release = site
    take(hook)
    if hook == "on_create":
        assert tus.create(3).status_code == 503
        release()
        url = tus.new(3)
    else:
        url = tus.new(3)
        assert tus.patch(url, 0, b"abc").status_code == 503
        release()
    if tus.offset(url) < 3:
        assert tus.patch(url, 0, b"abc").status_code == 204
    assert tus.head(url).headers["Upload-Offset"] == "3"


def test_connections_that_die_together_empty_the_pool_once(tmp_path: Path) -> None:
    """Emptied by each of them, it would be replaced by pool after pool, and have more connections than it may."""
    engine = create_engine(f"sqlite:///{tmp_path / 'app.sqlite'}", **POOL | {"pool_size": 3})
    statement = Prepared(select(literal(1)), engine.dialect)
    connections = [engine.connect() for _ in range(3)]
    pools = []
    for connection in connections:
        cast(Any, connection.connection.dbapi_connection).close()
        with pytest.raises(DBAPIError) as error:
            execute(connection, statement, {})
        assert error.value.connection_invalidated
        connection.close()
        pools.append(engine.pool)
        with engine.connect() as another:
            assert execute(another, statement, {})[1] == [(1,)]
    assert pools[0] is pools[1] is pools[2]
    engine.dispose()
