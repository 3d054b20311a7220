"""What cannot be written is told at startup, by the setting and the path."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm import sessionmaker

from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from flask_resumable.models import SQLAlchemyMixin
from flask_resumable.models import SQLAlchemyModel
from flask_resumable.settings import writable
from flask_resumable.storage import LocalStorage
from flask_resumable.testing import UploadClient

ROOT = Path(__file__).parents[1]
NOBODY = 65534


def start(tmp_path: Path, **config: Any) -> Flask:
    """An app with the extension."""
    app = Flask("app", instance_path=str(tmp_path / "instance"))
    app.config.update(config)
    FlaskResumable(app)
    return app


def blocked(tmp_path: Path) -> Path:
    """A file where a folder should be."""
    (tmp_path / "file").touch()
    return tmp_path / "file"


def dangling(tmp_path: Path) -> Path:
    """A link to a volume that is not there."""
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    return tmp_path / "link"


def test_relative_paths_are_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the file nor the folder is there yet, and the check comes to an end."""
    monkeypatch.chdir(tmp_path)
    assert writable.problem_with_file("app.sqlite") is None
    assert writable.problem_with_folder("data/uploads") is None
    (tmp_path / "data").touch()
    assert writable.problem_with_folder("data/uploads") == writable.Problem(f"{tmp_path / 'data'} is not a folder")


def test_an_engine_of_the_apps_may_have_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in SQLAlchemy's own examples, and so may a folder of files. They are where the app was started."""
    monkeypatch.chdir(tmp_path)
    engine = create_engine("sqlite:///app.sqlite")

    class Base(DeclarativeBase):
        pass

    class Upload(SQLAlchemyMixin, Base):
        __tablename__ = "upload"

    Base.metadata.create_all(engine)
    app = Flask("app", instance_path=str(tmp_path / "instance"))
    FlaskResumable(app, model=Upload, db=sessionmaker(engine), storage=LocalStorage("data"))
    sent = UploadClient(app.test_client()).upload(b"hello")
    engine.dispose()
    assert (tmp_path / "data" / sent.id).read_bytes() == b"hello"
    assert (tmp_path / "app.sqlite").exists()


@pytest.mark.parametrize("make", [blocked, dangling])
@pytest.mark.parametrize("key", ["RESUMABLE_UPLOAD_DIR", "FLOW_TEMP_DIR", "RESUMABLE_DATABASE_URI"])
def test_an_app_that_cannot_store_uploads_does_not_start(
    tmp_path: Path, make: Callable[[Path], Path], key: str
) -> None:
    """The message names the setting and the path. Nothing is created before the first upload."""
    path = make(tmp_path)
    value = f"sqlite:///{path}/state.db" if key == "RESUMABLE_DATABASE_URI" else str(path / "below")
    with pytest.raises(ConfigurationError, match=f"{key}: {path} is "):
        start(tmp_path, **{key: value})
    assert not (tmp_path / "instance").exists()
    start(tmp_path, **{key: value, "RESUMABLE_CHECK_WRITABLE": False})


def test_a_folder_where_the_database_should_be(tmp_path: Path) -> None:
    """The file of SQLite, of the extension's own or of the app's."""
    with pytest.raises(ConfigurationError, match=f"RESUMABLE_DATABASE_URI: {tmp_path} is a folder"):
        start(tmp_path, RESUMABLE_DATABASE_URI=f"sqlite:///{tmp_path}")
    app = Flask("app", instance_path=str(tmp_path / "instance"))
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}"
    with pytest.raises(ConfigurationError, match=f"SQLALCHEMY_DATABASE_URI: {tmp_path} is a folder"):
        FlaskResumable(app, model=SQLAlchemyModel, db=SQLAlchemy(app))


def test_storages_of_the_app_are_checked_too(tmp_path: Path) -> None:
    """Each folder is."""
    storages = {"main": LocalStorage(tmp_path / "fine"), "other": LocalStorage(blocked(tmp_path) / "%Y")}
    with pytest.raises(ConfigurationError, match=f"storage=: {tmp_path / 'file'} is not a folder"):
        FlaskResumable(Flask("app", instance_path=str(tmp_path / "instance")), storage=storages)


@pytest.mark.parametrize("config", [{"TUS_ENABLED": False, "FLOW_ENABLED": False, "IETF_ENABLED": False}, {}], ids=str)
def test_an_app_without_uploads_needs_no_folder(tmp_path: Path, config: dict[str, Any]) -> None:
    """Only where a protocol is served, uploads can come."""
    config = {**config, "RESUMABLE_UPLOAD_DIR": str(blocked(tmp_path))}
    if len(config) > 1:
        start(tmp_path, **config)
    else:
        with pytest.raises(ConfigurationError):
            start(tmp_path, **config)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP])
def test_what_only_a_try_shows(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk or quota may pass, so the app starts with a warning; some file systems cannot be tried."""

    def fail(folder: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(writable, "_try_to_create", fail)
    with caplog.at_level(logging.WARNING, "flask_resumable"):
        if number in (errno.EROFS, errno.EACCES):
            with pytest.raises(ConfigurationError, match=os.strerror(number)):
                start(tmp_path)
        else:
            start(tmp_path)
    assert (os.strerror(number) in caplog.text) == (number in (errno.ENOSPC, errno.EDQUOT))


DRIVER = """
import os
import click
from flask import Flask
from flask.cli import FlaskGroup, run_command
from flask_resumable import FlaskResumable

def create(instance={instance!r}):
    app = Flask("app", instance_path=instance)
    FlaskResumable(app)

create({writable!r})  # imports what the other user cannot read
os.seteuid({nobody})
with click.Context(FlaskGroup(), info_name="flask"):  # while a command such as "flask db" loads the app
    create()
print("started")
with click.Context(run_command, info_name="run", parent=click.Context(FlaskGroup(), info_name="flask")):
    create()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_permissions_are_those_of_the_process(tmp_path: Path) -> None:
    """A server of another user does not start, and says who it is. A migration does, with a warning."""
    code = DRIVER.format(instance=str(tmp_path / "instance"), writable=str(tmp_path / "writable"), nobody=NOBODY)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "started\n"), done.stderr
    told = f"RESUMABLE_UPLOAD_DIR: {tmp_path}/instance/uploads does not exist, and "
    warning, error = (line for line in done.stderr.splitlines() if told in line)
    assert "so uploads will fail" in warning and f"(user {NOBODY})" in warning and f"(user {NOBODY})" in error
