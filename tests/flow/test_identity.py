"""Which requests are about the same upload: F53 to F59."""

from __future__ import annotations

from typing import Any

from .client import Sample
from .conftest import Serve
from .site import sample
from .site import Site


def test_f53_users_do_not_see_one_another(site: Site) -> None:
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


def test_f54_visitors_without_a_name_are_told_apart_by_the_app(site: Site) -> None:
    """``current_owner`` may be a session's id, or that of a signed token: whatever it returns scopes the upload."""
    file = sample()
    sessions = [site.client(X_User=f"session-{number}") for number in range(3)]
    ids = {(client.post(file, 1).json or {})["id"] for client in sessions}
    assert len(ids) == 3


def test_f55_another_size_is_another_upload(site: Site) -> None:
    """The same identifier with another total size: never mixed."""
    one, two = sample(25, identifier="same"), sample(35, identifier="same")
    site.flow.post(one, 1)
    assert site.flow.test(two, 1).status_code == 204
    site.flow.send(two)
    assert site.stored(site.flow.send(one)) == one.content
    assert len(site.uploads()) == 2


def test_f56_another_geometry_is_another_upload(site: Site) -> None:
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


def test_f57_another_name_is_another_upload(site: Site) -> None:
    """flow.js gives files of the same size whose names are not ASCII one identifier; the name tells them apart."""
    one, two = (sample(name=name, identifier="25-txt") for name in ("\u65e5\u672c.txt", "\u4e2d\u56fd.txt"))
    site.flow.post(one, 1)
    assert site.flow.test(two, 1).status_code == 204
    assert site.stored(site.flow.send(two)) == two.content
    assert site.flow.test(one, 2).status_code == 204
    assert site.flow.test(sample(name=one.name, identifier="25-txt", path="other/path"), 1).status_code == 204


def test_f58_twins_from_one_page_both_succeed(site: Site) -> None:
    """With ``allowDuplicateUploads`` one page sends a file twice at once under one id: both get every 200 they need."""
    file = sample(35)
    answers = [site.flow.post(file, number) for number in file.numbers for _ in range(2)]
    assert {answer.status_code for answer in answers} == {200}
    assert (answers[-1].json or {})["complete"]
    assert (site.count("on_complete"), len(site.uploads())) == (1, 1)


def test_f59_the_same_file_again_on_purpose(serve: Serve) -> None:
    """Within REMEMBER it is the finished one; afterwards it is a new upload, and both files stay."""
    site = serve(REMEMBER=60)
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


def test_f59_an_empty_file_again_on_purpose(serve: Serve) -> None:
    """For empty files the same."""
    site = serve(REMEMBER=60)
    first = site.flow.send(sample(0))
    site.server.clock.advance(seconds=61)
    assert (site.flow.send(sample(0)).json or {})["id"] != (first.json or {})["id"]
    assert len(site.files()) == 2


def test_f53_the_app_may_name_files(serve: Serve) -> None:
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
