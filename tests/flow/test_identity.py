"""Which requests are about the same upload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .client import Part
from .client import Sample
from .conftest import Serve
from .site import sample
from .site import Site


def test_users_do_not_see_one_another(site: Site) -> None:
    """The same file of another user is another upload; its chunks, state and id are nobody else's."""
    file = sample()
    anna, bert, nobody = site.client(X_User="anna"), site.client(X_User="bert"), site.client()
    first = anna.post(file, 1).json
    assert first is not None
    for other in (bert, nobody):
        assert other.test(file, 1).status_code == 204
        assert (other.status(file).json or {})["status"] == "unknown"
        assert other.open("GET", path=first["id"]).status_code == 404
        assert other.open("DELETE", path=first["id"]).status_code == 404
        assert other.cancel(file).status_code == 404
    assert (bert.post(file, 2).json or {})["received"] == 15
    assert site.stored(anna.post(file, 2)) == file.content
    assert bert.test(file, 1).status_code == 204
    assert {upload.owner for upload in site.uploads()} == {"anna", "bert"}


def test_visitors_without_a_name_are_told_apart_by_the_app(site: Site) -> None:
    """``current_owner`` may be a session's id, or that of a signed token: whatever it returns scopes the upload."""
    file = sample()
    sessions = [site.client(X_User=f"session-{number}") for number in range(3)]
    ids = {(client.post(file, 1).json or {})["id"] for client in sessions}
    assert len(ids) == 3


def test_another_size_is_another_upload(site: Site) -> None:
    """The same identifier with another total size: never mixed."""
    one, two = sample(25, identifier="same"), sample(35, identifier="same")
    site.flow.post(one, 1)
    assert site.flow.test(two, 1).status_code == 204
    site.flow.send(two)
    assert site.stored(site.flow.send(one)) == one.content
    assert len(site.uploads()) == 2


def test_another_geometry_is_another_upload(site: Site) -> None:
    """Options redeployed with other chunks: tests say 204, and the file comes anew; the old upload expires."""
    content = bytes(range(60))
    old = Sample(content, 10, identifier="same")
    site.flow.send(old, [1, 2, 3])
    for new in (Sample(content, 20, identifier="same"), Sample(content[:55], 10, forced=True, identifier="same")):
        assert site.flow.test(new, 1).status_code == 204
        assert site.stored(site.flow.send(new)) == new.content
    site.server.clock.advance(days=2)
    site.server.cli("tus", "delete_expired")
    assert len(site.files()) == 2


def test_another_name_is_another_upload(site: Site) -> None:
    """flow.js gives files of the same size whose names are not ASCII one identifier; the name tells them apart."""
    one, two = (sample(name=name, identifier="25-txt") for name in ("\u65e5\u672c.txt", "\u4e2d\u56fd.txt"))
    site.flow.post(one, 1)
    assert site.flow.test(two, 1).status_code == 204
    assert site.stored(site.flow.send(two)) == two.content
    assert site.flow.test(one, 2).status_code == 204
    assert site.flow.test(sample(name=one.name, identifier="25-txt", path="other/path"), 1).status_code == 204


def test_twins_from_one_page_both_succeed(site: Site) -> None:
    """With ``allowDuplicateUploads`` one page sends a file twice at once under one id: both get every 200 they need."""
    file = sample(35)
    answers = [site.flow.post(file, number) for number in file.numbers for _ in range(2)]
    assert {answer.status_code for answer in answers} == {200}
    assert (answers[-1].json or {})["complete"]
    assert (site.count("on_complete"), len(site.uploads())) == (1, 1)


def test_the_same_file_again_on_purpose(serve: Serve) -> None:
    """Within COMPLETED_TTL it is the finished one; afterwards it is a new upload, and both files stay."""
    site = serve(COMPLETED_TTL=60)
    file = sample()
    first = site.flow.send(file)
    assert (site.flow.send(file).json, site.count("on_complete")) == (first.json, 1)
    site.server.clock.advance(seconds=61)
    assert site.flow.test(file, 1).status_code == 204
    second = site.flow.send(file)
    assert (second.json or {})["id"] != (first.json or {})["id"]
    assert site.stored(first) == site.stored(second) == file.content
    site.server.clock.advance(days=2)
    site.server.cli("tus", "delete_expired")
    assert len(site.files()) == 2


def test_an_empty_file_again_on_purpose(serve: Serve) -> None:
    """For empty files the same."""
    site = serve(COMPLETED_TTL=60)
    first = site.flow.send(sample(0))
    site.server.clock.advance(seconds=61)
    assert (site.flow.send(sample(0)).json or {})["id"] != (first.json or {})["id"]
    assert len(site.files()) == 2


def test_the_app_may_name_files(serve: Serve) -> None:
    """FLOW_HASH_NAME_CALLBACK replaces identifier and names; owner and geometry still count."""
    seen: list[Any] = []

    def by_tag(file: Any) -> str:
        seen.append(file)
        return str(file.query["tag"])

    site = serve(HASH_NAME_CALLBACK=by_tag)
    one, two = sample(name="one.bin"), sample(name="two.bin")
    assert site.flow.post(one, 1, changes={"tag": "../t"}).status_code == 200
    assert site.flow.test(two, 1, {"tag": "../t"}).status_code == 200
    assert site.flow.test(two, 1, {"tag": "u"}).status_code == 204
    assert site.client(X_User="anna").test(two, 1, {"tag": "../t"}).status_code == 204
    assert site.stored(site.flow.post(two, 2, changes={"tag": "../t"})) == one.content
    assert (seen[0].identifier, seen[0].filename, seen[0].total_size) == ("25-one.bin", "one.bin", 25)


def test_parameters_of_the_app_may_tell_uploads_apart(serve: Serve) -> None:
    """FLOW_IDENTITY_PARAMETERS: the same file for another album is another upload, right after the first, and each is
    found again with its own parameter; one that comes without it is a third.
    """
    site = serve(IDENTITY_PARAMETERS=["album", "page"])
    file = sample()
    albums: list[dict[str, Any]] = [{"album": 1}, {"album": 2}, {"album": ""}, {}, {"page": 1}, {"album": 1, "page": 1}]
    answers = []
    for album in albums:
        assert site.flow.test(file, 1, album).status_code == 204
        site.flow.post(file, 1, changes=album)
        assert site.flow.test(file, 1, album).status_code == 200
        answers.append(site.flow.octet(file, 2, changes=album))
    assert len({(answer.json or {})["id"] for answer in answers}) == len(albums)
    assert [site.stored(answer) for answer in answers] == [file.content] * len(albums)
    assert site.count("on_complete") == len(albums)
    again = site.flow.post(file, 1, changes={"album": 2})
    assert again.json == answers[1].json
    cancel = site.flow.open("DELETE", site.flow.spelled(file, 1, {"album": 1}))
    assert cancel.status_code == 204
    assert site.flow.test(file, 1, {"album": 1}).status_code == 404
    assert site.flow.test(file, 1, {"album": 2}).status_code == 200
    status = site.flow.open("GET", site.flow.spelled(file, 1, {"album": 3}), path="status")
    assert (status.json or {})["status"] == "unknown"


def test_all_other_parameters_tell_nothing_apart(serve: Serve) -> None:
    """Tokens and the like change as they want; what is not named does not count, with the setting and without it."""
    for settings in ({}, {"IDENTITY_PARAMETERS": ["album"]}):
        site = serve(**settings)
        file = sample()
        site.flow.post(file, 1, changes={"token": "a", "album": 1})
        assert site.flow.test(file, 1, {"token": "b", "album": 1}).status_code == 200
        is_other = site.flow.test(file, 1, {"token": "b", "album": 2}).status_code == 204
        assert is_other is bool(settings)


@pytest.mark.parametrize("dialect", ["flow", "resumable", "simple-uploader"])
def test_named_parameters_count_beside_the_callback_and_in_each_dialect(serve: Serve, dialect: str) -> None:
    """The callback stands for the identifier and the names; a parameter of the app's own counts all the same."""
    site = serve(IDENTITY_PARAMETERS=("album",), HASH_NAME_CALLBACK=lambda file: "same")
    one, two = sample(name="one.bin"), sample(name="two.bin")
    client = site.client(dialect)
    client.post(one, 1, changes={"album": 1})
    assert client.test(two, 1, {"album": 1}).status_code == 200
    assert client.test(one, 1, {"album": 2}).status_code == 204


def test_a_parameter_behind_the_file_makes_no_other_upload(serve: Serve) -> None:
    """A form whose album comes after its chunk: it is stored where it belongs, and none is made without an album."""
    site = serve(IDENTITY_PARAMETERS=["album"])
    for size in (10, 100_000):
        file = Sample(bytes(2 * size), size, f"{size}.bin")
        parts = [*site.flow.parts(file, 1), Part("album", b"7")]
        answer = site.flow.form(parts)
        assert answer.status_code == 200
        assert site.flow.test(file, 1).status_code == 204
        assert site.flow.test(file, 1, {"album": 7}).status_code == 200
        assert (site.flow.post(file, 2, changes={"album": 7}).json or {})["complete"]
    assert site.count("on_create") == 2
    assert site.flow.post(sample(name="no album"), 1).status_code == 200


def test_fields_after_a_chunk_that_is_here_already_name_another_file(site: Site) -> None:
    """Its bytes were not kept, as far as anybody could tell before them: 400, and the other file has no chunk."""
    file = sample()

    def parts(number: int, path: str) -> list[Part]:
        return [part for part in site.flow.parts(file, number) if part.name != "flowRelativePath"] + [
            Part("flowRelativePath", path.encode())
        ]

    first = site.flow.form(parts(1, "")[:-1])
    assert site.flow.form(parts(1, "elsewhere/report.csv")).status_code == 400
    assert site.flow.test(file, 1, {"relativePath": "elsewhere/report.csv"}).status_code == 204
    last = site.flow.form(parts(2, "")[:-1])
    assert (last.json or {})["id"] == (first.json or {})["id"]
    assert site.stored(last) == file.content


@pytest.mark.parametrize("settings", [{}, {"IDENTITY_PARAMETERS": ["album"]}])
def test_the_app_is_asked_once_in_each_request(serve: Serve, settings: dict[str, Any]) -> None:
    """Who is asking, and what a file is called: each once, whatever the request."""
    asked: list[str] = []

    def name(file: Any) -> str:
        asked.append("name")
        return str(file.identifier)

    site = serve(HASH_NAME_CALLBACK=name, **settings)
    extension = site.server.hooks

    def owner() -> str:
        asked.append("owner")
        return "anna"

    extension.current_owner = owner  # type: ignore[method-assign]
    flow, file, empty, large = site.flow, sample(35), sample(0), Sample(bytes(200_000), 100_000)

    def once(act: Callable[[], Any], *expected: str) -> None:
        asked.clear()
        answer = act()
        assert answer.status_code in (200, 204), answer.text
        assert sorted(asked) == sorted(expected)

    for chunk in (1, 2):
        once(lambda chunk=chunk: flow.test(file, chunk), "owner", "name")  # type: ignore[misc]
        once(lambda chunk=chunk: flow.post(file, chunk), "owner", "name")  # type: ignore[misc]
        once(lambda chunk=chunk: flow.octet(file, chunk), "owner", "name")  # type: ignore[misc]
        once(lambda chunk=chunk: flow.octet(large, chunk), "owner", "name")  # type: ignore[misc]
    once(lambda: flow.post(file, 3), "owner", "name")
    once(lambda: flow.post(file, 3), "owner", "name")
    once(lambda: flow.test(file, 3, method="HEAD"), "owner", "name")
    once(lambda: flow.post(empty, 1), "owner", "name")
    behind = ["name"] if not settings else []  # the first name is known before the file, and the file is another then
    once(lambda: flow.form([*flow.parts(sample(20), 1), Part("note", b"behind")]), "owner", "name", *behind)
    once(lambda: flow.status(file), "owner", "name")
    upload_id = str((flow.status(file).json or {})["id"])
    once(lambda: flow.open("GET", path=upload_id), "owner")
    once(lambda: flow.open("DELETE", path=upload_id), "owner")
    once(lambda: flow.cancel(large), "owner", "name")
    once(lambda: flow.open("OPTIONS"))
    tus = site.server.tus
    url = tus.new(5)
    once(lambda: tus.head(url), "owner")
    once(lambda: tus.patch(url, 0, b"hello"), "owner")
    once(lambda: tus.delete(url), "owner")
    asked.clear()
    assert tus.create(5).status_code == 201
    assert tus.patch(tus.new(5), 3, b"x").status_code == 409
    assert asked == ["owner"] * 3
