"""Commits of an app's own SQLite file survive a power failure, unless the app wants it otherwise."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy import text

from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyModel
from tests.conformance.tus_client import Tus

OFF, NORMAL, FULL, EXTRA = range(4)  # of PRAGMA synchronous
Start = Callable[..., tuple[Flask, SQLAlchemy]]


@pytest.fixture
def start(app: Flask, tmp_path: Path) -> Start:
    """Start an app on a SQLite file: ``start(pragma="synchronous=OFF", RESUMABLE_DURABILITY="none")``."""

    def make(*, pragma: str = "", early: bool = False, **config: Any) -> tuple[Flask, SQLAlchemy]:
        app.config.update({"SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'app.sqlite'}", **config})
        db = SQLAlchemy(app)
        with app.app_context():
            if pragma:
                event.listen(db.engine, "connect", lambda connection, record: connection.execute(f"PRAGMA {pragma}"))
            if early:
                db.create_all()
        FlaskResumable(app, model=SQLAlchemyModel, db=db)
        return app, db

    return make


def _synchronous(app: Flask, db: SQLAlchemy) -> Any:
    with app.app_context():
        return db.session.execute(text("PRAGMA synchronous")).scalar()


@pytest.mark.parametrize("durability", ["data", "full"])
def test_the_removal_of_a_journal_is_synced(start: Start, durability: str) -> None:
    """Otherwise the journal is back after a power failure, and undoes what was committed."""
    assert _synchronous(*start(RESUMABLE_DURABILITY=durability)) == EXTRA


def test_a_connection_that_was_opened_before_is_included(start: Start) -> None:
    """The pool of an app that has created its tables first has one."""
    assert _synchronous(*start(early=True)) == EXTRA


def test_nothing_is_synced_more_than_the_app_wants(start: Start) -> None:
    """If its files may be lost, so may its records."""
    assert _synchronous(*start(RESUMABLE_DURABILITY="none")) == FULL


def test_the_apps_own_choice_is_kept_with_a_warning(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """It is told once, not for each connection."""
    app, db = start(pragma="synchronous=NORMAL")
    Tus(app.test_client()).create(5)
    assert _synchronous(app, db) == NORMAL
    (warning,) = (record.getMessage() for record in caplog.records if "synchronous" in record.getMessage())
    assert warning.startswith("SQLALCHEMY_DATABASE_URI: PRAGMA synchronous is 1")


@pytest.mark.skipif(not hasattr(sqlite3, "LEGACY_TRANSACTION_CONTROL"), reason="Python 3.12 has autocommit=False")
def test_a_connection_that_is_always_in_a_transaction_is_included(start: Start) -> None:
    """SQLite refuses to change the setting within one."""
    app, db = start(SQLALCHEMY_ENGINE_OPTIONS={"connect_args": {"autocommit": False}})
    assert _synchronous(app, db) == EXTRA
    Tus(app.test_client()).create(5)
