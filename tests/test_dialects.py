"""Several protocols at one URL: each request is answered in the one that it speaks."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from flask import request
from flask import Response
from werkzeug.exceptions import HTTPException

from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from flask_resumable.errors import ResumableError
from flask_resumable.errors import UploadNotFound
from flask_resumable.protocols.blueprint import blueprints_for
from flask_resumable.protocols.plug import Dialect


def _dialect(name: str, *, has_mark: bool = True, views: Mapping[str, Callable[[], Response]] | None = None) -> Dialect:
    """A protocol that says its name with everything; its clients do so, too."""

    def finish(response: Response) -> Response:
        response.headers["X-Finished-By"] = name
        return response

    def say(text: object, status: int) -> Response:
        return Response(f"{name}: {text}", status)

    def collection() -> Response:
        return say("collection", 200)

    def fail() -> Response:
        raise UploadNotFound("x")

    def on_error(error: ResumableError) -> Response:
        return say(type(error).__name__, 404)

    def on_http_error(error: HTTPException) -> Response:
        return say(error.code, error.code or 500)

    return Dialect(
        name=name,
        url="/up/",
        server=None,
        rules={"/": collection, "/fail": fail, **(views or {})},
        on_error=on_error,
        on_http_error=on_http_error,
        on_lost=lambda status: say("lost", status),
        finish=finish,
        speaks=(lambda request: request.headers.get("X-Speaks") == name) if has_mark else None,
    )


def _only_here() -> Response:
    return Response("here")


@pytest.fixture
def app() -> Flask:
    """Serves two marked dialects and one that takes the rest, at one URL."""
    app = Flask("app")
    dialects = [_dialect("rest", has_mark=False), _dialect("one", views={"/own": _only_here}), _dialect("two")]
    for blueprint in set(blueprints_for(dialects).values()):
        app.register_blueprint(blueprint)

    @app.get("/else")
    def elsewhere() -> str:
        return request.path

    return app


@pytest.mark.parametrize(("mark", "speaker"), [("one", "one"), ("two", "two"), ("", "rest"), ("three", "rest")])
@pytest.mark.parametrize(
    ("path", "text"), [("/up/", "collection"), ("/up/fail", "UploadNotFound"), ("/up/a/b/c", "lost")], ids=str
)
def test_each_request_is_answered_in_its_own_dialect(app: Flask, mark: str, speaker: str, path: str, text: str) -> None:
    """Views, errors and what every answer carries, where routing fails, too."""
    answer = app.test_client().get(path, headers={"X-Speaks": mark})
    assert answer.text == f"{speaker}: {text}"
    assert answer.headers["X-Finished-By"] == speaker


def test_a_place_of_one_dialect_is_nowhere_in_another(app: Flask) -> None:
    """What only one of them has, the others do not find."""
    client = app.test_client()
    assert client.get("/up/own", headers={"X-Speaks": "one"}).text == "here"
    assert client.get("/up/own", headers={"X-Speaks": "two"}).text == "two: UploadNotFound"
    assert "X-Finished-By" not in client.get("/else").headers


def test_a_dialect_can_add_to_the_answers_of_others() -> None:
    """To each of theirs at its URL, where routing fails, too; not to its own."""

    def add(response: Response) -> Response:
        response.headers["X-Added"] = request.path
        return response

    one = replace(_dialect("one"), complement=add)
    app = Flask("app")
    for blueprint in set(blueprints_for([_dialect("rest", has_mark=False), one]).values()):
        app.register_blueprint(blueprint)
    client = app.test_client()
    for path in ("/up/", "/up/fail", "/up/a/b/c"):
        answer = client.get(path)
        assert (answer.headers["X-Finished-By"], answer.headers["X-Added"]) == ("rest", path)
        assert "X-Added" not in client.get(path, headers={"X-Speaks": "one"}).headers


def test_dialects_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    """At start, with the names of the settings."""
    app = Flask("app", instance_path=str(tmp_path))
    app.config["FLOW_UPLOAD_URL"] = "/files"
    with pytest.raises(ConfigurationError, match="TUS_UPLOAD_URL and FLOW_UPLOAD_URL are the same"):
        FlaskResumable(app)
