"""What the app sees of a form while a chunk is received."""

from __future__ import annotations

from typing import Any

from flask import abort
from flask import request

from .client import Part
from .client import Sample
from .conftest import Serve
from .site import Site


def _note(site: Site, hook: str, seen: dict[str, dict[str, str]]) -> None:
    def note(upload: Any = None) -> None:
        assert not request.files
        seen[hook] = {name: request.form[name] for name in ("album", "late") if name in request.form}
        assert request.values["flowFilename"] == "file.bin"

    site.server.hooks.during[hook] = note


def test_hooks_can_read_the_fields(serve: Serve) -> None:
    """Those before the file in every hook, those after it when the chunk has arrived. The content is stored as ever."""
    site = serve()
    seen: dict[str, dict[str, str]] = {}
    for hook in ("on_create", "pre_save", "on_complete"):
        _note(site, hook, seen)
    file = Sample(b"0123456789", 10, "file.bin")
    parts = [Part("album", b"7"), *site.flow.parts(file, 1), Part("late", b"8")]
    answer = site.flow.form(parts)
    assert answer.json and answer.json["complete"], answer.text
    assert site.stored(answer) == file.content
    assert seen["on_complete"] == {"album": "7", "late": "8"}
    assert seen["on_create"] == {"album": "7"} or site.chunks is not None
    assert seen["pre_save"]["album"] == "7"


def test_a_token_in_the_form_can_say_whose_upload_it_is(serve: Serve) -> None:
    """``current_owner`` may look there, for a CSRF token or for a user."""
    site = serve()

    def owner() -> str:
        if request.method == "POST" and request.form.get("csrf_token") != "t0ken":
            abort(400, "The CSRF token is missing.")
        return request.form.get("user", "nobody")

    site.server.hooks.current_owner = owner  # type: ignore[method-assign]
    file = Sample(b"0123456789", 10, "file.bin")
    answer = site.flow.post(file, 1)
    assert (answer.status_code, answer.json) == (400, {"error": "The CSRF token is missing."})
    assert site.uploads() == [] and site.files() == []
    answer = site.flow.post(file, 1, changes={"csrf_token": "t0ken", "user": "anna"})
    assert answer.json and answer.json["complete"]
    assert site.stored(answer) == file.content
    assert [upload.owner for upload in site.uploads()] == ["anna"]
