"""What the package uses of other libraries that they do not document: all of it is listed, and may be missing."""

from __future__ import annotations

import ast
import re
import socket
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from gunicorn.http.body import Body
from gunicorn.http.body import ChunkedReader
from gunicorn.http.body import LengthReader
from gunicorn.http.unreader import SocketUnreader
from mongoengine import connection

import flask_resumable
from flask_resumable import FlaskResumable
from flask_resumable.errors import ConfigurationError
from flask_resumable.models import MongoengineModel
from flask_resumable.repositories.mongo import factory as app_mongo
from flask_resumable.repositories.sql import embedded
from flask_resumable.repositories.sql import prepared
from flask_resumable.repositories.sql.database import Pooled
from flask_resumable.wsgi.gunicorn import has_length
from flask_resumable.wsgi.gunicorn import is_framed
from flask_resumable.wsgi.gunicorn import was_read
from tests.conformance.tus_client import Tus

PACKAGE = Path(flask_resumable.__file__).parent
_PRIVATE = re.compile(r"_[a-z]\w*")

# By whose they are: the names, and what happens in a version without them.
USED = {
    "mongoengine": ({*app_mongo.PRIVATE, "_connection_settings"}, "ConfigurationError names the version to install"),
    "SQLAlchemy, isolation": ({"_on_connect_isolation_level"}, "each connection is switched over: statements more"),
    "SQLAlchemy, listeners": ({"_echo", "_has_events"}, "statements go through SQLAlchemy, which takes longer"),
    "SQLAlchemy, pools": ({"_max_overflow"}, "a pool is taken to open more connections than one"),
    "Werkzeug": ({"_cached_data"}, "what the app has read before is not found, and refused"),
    "gunicorn, HTTP/2": ({"_eof", "_buf"}, "that a body was read before is not noticed"),
    "gevent": ({"_sock"}, "the socket itself is shut down"),
}
DOCUMENTED = {"_id", "_mapping", "_exit", "_get_current_object", "_replace"}  # public, in spite of their names


def _names_of_our_own(trees: list[ast.Module]) -> set[str]:
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                names.add(name)
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
    return names


def test_all_that_is_private_is_listed() -> None:
    """Names with an underscore that are used, but not on ``self``, or are defined nowhere in the package."""
    trees = {path: ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    ours = _names_of_our_own([*trees.values()])
    used = defaultdict(set)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(attr=name, value=owner) if _PRIVATE.fullmatch(name):
                    if name not in ours or not isinstance(owner, ast.Name):
                        used[name].add(f"{path.relative_to(PACKAGE)}:{node.lineno}")
                case ast.Call(args=[_, ast.Constant(value=str(name)), *_] | [ast.Constant(value=str(name)), *_]):
                    if _PRIVATE.fullmatch(name) and name not in ours:
                        used[name].add(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    listed = set[str]().union(*(names for names, _ in USED.values())) | DOCUMENTED
    assert {name: places for name, places in used.items() if name not in listed | {"_fields"}} == {}
    assert listed - used.keys() - {"_fields"} == set(), "These are not used any more."


def test_a_mongoengine_without_them_is_refused(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, with the version to install; not by an AttributeError within a request."""
    monkeypatch.delattr(connection, "_connection_settings")
    monkeypatch.setattr(app_mongo, "PRIVATE", (*app_mongo.PRIVATE, "_gone"))
    message = r"mongoengine [\d.]+ is not supported, because it lacks _gone, _connection_settings: run pip install"
    with pytest.raises(ConfigurationError, match=message):
        FlaskResumable(app, model=MongoengineModel)


def test_sqlalchemy_need_not_tell_the_order_of_values(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it does, SQLite gets its statements directly; where it does not, through SQLAlchemy."""
    assert prepared.can_prepare_for_sqlite()
    monkeypatch.setattr(embedded, "can_prepare_for_sqlite", lambda: False)
    FlaskResumable(app)
    tus = Tus(app.test_client())
    assert tus.offset(tus.upload(b"hello")) == 5
    assert isinstance(app.extensions["resumable"].repository._database, Pooled)


@pytest.fixture
def environ() -> Iterator[dict[str, Any]]:
    """What gunicorn passes to an app, but for the body."""
    client, server = socket.socketpair()
    with client, server:
        yield {"gunicorn.socket": server, "SERVER_PROTOCOL": "HTTP/1.1"}


class Without:
    """An object that lacks some of its attributes."""

    def __init__(self, whole: Any, name: str) -> None:
        self.__class__ = type(type(whole).__name__, (Without,), {"__module__": type(whole).__module__})
        vars(self).update({key: value for key, value in vars(whole).items() if key != name})


@pytest.mark.parametrize("name", ["", "unreader", "length"])
def test_gunicorns_reader_of_a_length_may_be_another(environ: dict[str, Any], name: str) -> None:
    """It is passed by if it is the one that we know; if it is not, the body is read as with any server."""
    reader = LengthReader(SocketUnreader(environ["gunicorn.socket"]), 5)
    stream = Body(Without(reader, name))
    assert has_length(environ, stream, 5) is not bool(name)
    assert not was_read(stream, 5)


@pytest.mark.parametrize("name", ["", "sock", "buf"])
def test_gunicorns_buffer_may_be_another(environ: dict[str, Any], name: str) -> None:
    """The same for what stands between reader and socket."""
    reader = LengthReader(SocketUnreader(environ["gunicorn.socket"]), 5)
    reader.unreader = Without(reader.unreader, name)
    assert has_length(environ, Body(reader), 5) is not bool(name)


@pytest.mark.parametrize("name", ["", "parser", "buf", "req"])
def test_gunicorns_reader_of_chunks_may_be_another(environ: dict[str, Any], name: str) -> None:
    """The same for chunked bodies."""
    unreader = SocketUnreader(environ["gunicorn.socket"])
    stream = Body(Without(ChunkedReader(SimpleNamespace(unreader=unreader), unreader), name))
    assert is_framed(environ, stream) is not bool(name)
    assert not was_read(stream, None)
