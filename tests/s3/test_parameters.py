"""What the store is told about finished objects: from the upload, from a setting and from the app."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from flask_resumable.core.disposition import INLINE_TYPES
from flask_resumable.core.disposition import object_type
from flask_resumable.core.metadata import UploadMetadata
from flask_resumable.storage import LocalStorage
from flask_resumable.storage.s3 import S3Storage
from flask_resumable.testing.samples import an_upload
from tests.conformance.tus_client import final
from tests.conformance.tus_client import metadata
from tests.conformance.tus_client import Tus
from tests.flow.client import Flow
from tests.flow.client import Sample

from .conftest import Store
from .versity import Versity

MIB = 2**20
SMALL, LARGE = b"hello", bytes(11 * MIB)
NAME = {"Upload-Metadata": metadata(filename="grüße.png", filetype="image/png")}
ALL = {
    "ServerSideEncryption": "AES256",
    "StorageClass": "STANDARD_IA",
    "CacheControl": "max-age=60",
    "Metadata": {"From": "the setting", "both": "the setting"},
}
CHOSEN = {"Tagging": {"tenant": "7", "a b": "c+d=e"}, "Metadata": {"both": "größe", "id": "7"}, "ContentLanguage": "de"}


class Uploads(FlaskResumable):
    """Everything is chosen, and some uploads are moved."""

    target = ""

    def choose_object_parameters(self, upload: Any) -> dict[str, Any]:
        return CHOSEN

    def on_complete(self, upload: Any) -> None:
        if self.target:
            upload.move_to(self.target)


def serve(app: Flask, store: Store, kind: type[FlaskResumable] = Uploads, **options: Any) -> FlaskResumable:
    """An app on this bucket."""
    storage = S3Storage(store.bucket, **{**store.options, "object_parameters": ALL, **options})
    storage.check_access()
    app.config["RESUMABLE_EXPIRATION"] = timedelta(days=1)
    return kind(app, storage=storage)


def in_one_go(app: Flask) -> str:
    """A file that fits into one request to the store."""
    return Tus(app.test_client()).upload(SMALL, NAME)


def empty(app: Flask) -> str:
    """A file without bytes."""
    return Tus(app.test_client()).upload(b"", NAME)


def in_parts(app: Flask) -> str:
    """A multipart upload."""
    return Tus(app.test_client()).upload(LARGE, NAME)


def in_two_requests(app: Flask) -> str:
    """The end of the first request is a helper."""
    tus = Tus(app.test_client())
    url = tus.new(len(LARGE), NAME)
    tus.patch(url, 0, LARGE[:100])
    tus.patch(url, 100, LARGE[100:])
    return url


def concatenated(app: Flask) -> str:
    """Parts that the store copies."""
    tus = Tus(app.test_client())
    return tus.new(headers={**final(tus.part(LARGE), tus.part(LARGE)), **NAME})


def small_parts(app: Flask) -> str:
    """Parts that go through this process."""
    tus = Tus(app.test_client())
    return tus.new(headers={**final(tus.part(SMALL), tus.part(SMALL)), **NAME})


def _chunks(app: Flask, content: bytes, size: int) -> str:
    file = Sample(content, size, name="grüße.png", identifier="i")
    answer = Flow(app.test_client()).send(file, changes={"filetype": "image/png"})
    return f"/files/{(answer.json or {})['id']}"


def large_chunks(app: Flask) -> str:
    """Chunks that are parts."""
    return _chunks(app, LARGE, 5 * MIB)


def small_chunks(app: Flask) -> str:
    """Chunks that are objects first."""
    return _chunks(app, LARGE, 3 * MIB)


def tiny_chunks(app: Flask) -> str:
    """Chunks of a small file."""
    return _chunks(app, SMALL, 2)


WAYS = [in_one_go, empty, in_parts, in_two_requests, concatenated, small_parts, large_chunks, small_chunks, tiny_chunks]


def check(store: Store, key: str) -> None:
    """The object has what it must have."""
    found = store.client.head_object(Bucket=store.bucket, Key=key)
    assert found["ContentType"] == "image/png"
    assert found["ContentDisposition"].startswith('inline; filename="')
    assert found["ContentDisposition"].endswith("filename*=UTF-8''gr%C3%BC%C3%9Fe.png")
    assert (found["CacheControl"], found["ContentLanguage"]) == ("max-age=60", "de")
    kept = {name: value for name, value in found["Metadata"].items() if name != "resumable-upload"}
    assert kept == {"from": "the setting", "both": "=?UTF-8?B?Z3LDtsOfZQ==?=", "id": "7"}
    if not isinstance(store.server, Versity):  # which has neither
        assert (found["ServerSideEncryption"], found["StorageClass"]) == ("AES256", "STANDARD_IA")
    tags = store.client.get_object_tagging(Bucket=store.bucket, Key=key)["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == CHOSEN["Tagging"]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_objects_have_what_was_chosen(app: Flask, store: Store, way: Callable[[Flask], str]) -> None:
    """However the store gets the bytes."""
    serve(app, store)
    check(store, "up/" + way(app).rpartition("/")[2])


@pytest.mark.parametrize("way", [in_one_go, in_parts])
def test_a_moved_object_keeps_it(app: Flask, store: Store, way: Callable[[Flask], str]) -> None:
    """A copy is made with the same parameters."""
    uploads = serve(app, store)
    assert isinstance(uploads, Uploads)
    uploads.target = "csv/7.png"
    url = way(app)
    check(store, "up/csv/7.png")
    assert Tus(app.test_client()).delete(url).status_code == 204
    assert store.kept() == set()


def test_helpers_are_encrypted_and_private(app: Flask, store: Store) -> None:
    """What is not finished has no name, type or tags, but the encryption that a policy may require."""
    serve(app, store, object_parameters={**ALL, "ACL": "public-read"})
    tus = Tus(app.test_client())
    url = tus.new(len(LARGE), NAME)
    tus.patch(url, 0, LARGE[:100])
    part = tus.upload(SMALL, {"Upload-Concat": "partial", **NAME})
    keys = {key for key in store.objects() if ".partial/" in key}
    assert {key.split("/")[2] for key in keys} == {url.rpartition("/")[2], part.rpartition("/")[2]}
    for key in keys:
        found = store.client.head_object(Bucket=store.bucket, Key=key)
        if not isinstance(store.server, Versity):
            assert found["ServerSideEncryption"] == "AES256"
        assert not {"ContentDisposition", "CacheControl"} & {*found}
        assert found.get("StorageClass") in (None, "STANDARD")
        assert found["ContentType"] in ("binary/octet-stream", "application/octet-stream")
        grants = store.client.get_object_acl(Bucket=store.bucket, Key=key)["Grants"]
        assert not [grant for grant in grants if "AllUsers" in grant["Grantee"].get("URI", "")]


@pytest.mark.parametrize("way", [in_one_go, in_parts])
def test_objects_are_encrypted_with_a_key(app: Flask, store: Store, way: Callable[[Flask], str]) -> None:
    """The key of a KMS, and a bucket key."""
    if isinstance(store.server, Versity):
        pytest.skip("This store does not encrypt.")
    wanted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/uploads", "BucketKeyEnabled": True}
    serve(app, store, FlaskResumable, object_parameters=wanted)
    found = store.client.head_object(Bucket=store.bucket, Key="up/" + way(app).rpartition("/")[2])
    if way is in_parts:
        del wanted["BucketKeyEnabled"]  # the server forgets it between the requests
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("claimed", "expected", "kind"),
    [
        ("image/png", "image/png", "inline"),
        ("Image/PNG; x=y", "image/png", "inline"),
        ("video/mp4", "video/mp4", "inline"),
        ("application/zip", "application/zip", "attachment"),
        ("text/csv", "text/csv", "attachment"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", None, "attachment"),
        *((active, "application/octet-stream", "attachment") for active in (
            "text/html", "TEXT/HTML", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml",
            "application/atom+xml", "text/javascript", "application/x-javascript", "application/ecmascript",
            "application/mathml+xml", "application/x-shockwave-flash", "multipart/x-mixed-replace", "message/rfc822",
            "unknown/unknown", "application/unknown", "application/x-unknown", "*/*", "", "html", "a/b c",
            "text/html\n", "image/png\r\nX: y", "application/vnd.wap.xhtml+xml", "text/vbscript",
            "x" * 200 + "/y",
        )),
    ],
)  # fmt: skip
def test_types_that_run_scripts_are_never_named(claimed: str, expected: str | None, kind: str) -> None:
    """Not even if the app shows them in its own downloads, which disarm them."""
    upload = replace(an_upload(length=1), metadata=UploadMetadata.from_values({"filetype": claimed}))
    assert object_type(upload, INLINE_TYPES) == (expected or claimed, kind)
    if expected == "application/octet-stream":
        assert object_type(upload, {claimed.lower(), "text/html", "image/svg+xml"}) == (expected, kind)


def test_the_app_may_insist_on_a_type(app: Flask, store: Store) -> None:
    """What it says comes before what the upload says."""
    serve(app, store, FlaskResumable, object_parameters={"ContentType": "text/html", "ContentDisposition": "inline"})
    key = "up/" + in_one_go(app).rpartition("/")[2]
    found = store.client.head_object(Bucket=store.bucket, Key=key)
    assert (found["ContentType"], found["ContentDisposition"]) == ("text/html", "inline")


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"StorageClas": "STANDARD_IA"}, "did you mean 'StorageClass'"),
        ({"storage_class": "STANDARD_IA"}, "'storage_class' is not a parameter"),
        ({"SSECustomerKey": "k"}, "'SSECustomerKey' is not a parameter"),
        ({"Body": b"x"}, "'Body' is not a parameter"),
        ({"BucketKeyEnabled": "yes"}, "True or False"),
        ({"StorageClass": 5}, "must be a string"),
        ({"CacheControl": "a\r\nb"}, "must be a string"),
        ({"Metadata": "a=b"}, "a dict of strings"),
        ({"Metadata": {"a": 5}}, "a dict of strings"),
        ({"Tagging": ["a"]}, "a dict of strings"),
    ],
)
def test_wrong_parameters_stop_the_app(app: Flask, parameters: dict[str, Any], says: str) -> None:
    """By the setting and by the argument; the message says which one."""
    with pytest.raises(ConfigurationError, match=says):
        S3Storage("bucket", object_parameters=parameters)
    app.config.update(RESUMABLE_STORAGE="s3", RESUMABLE_S3_BUCKET="b", RESUMABLE_S3_OBJECT_PARAMETERS=parameters)
    with pytest.raises(ConfigurationError, match="S3_OBJECT_PARAMETERS.*" + says):
        FlaskResumable(app)


def test_what_the_method_returns_is_checked(app: Flask, store: Store) -> None:
    """An unknown name is the app's mistake, and nothing is created; a disk takes no parameters."""

    class Wrong(FlaskResumable):
        def choose_object_parameters(self, upload: Any) -> dict[str, Any]:
            return {"StorageClas": "x"}

    serve(app, store, Wrong)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    assert Tus(app.test_client()).create(5).status_code == 500
    assert store.kept() == set()


def test_a_disk_takes_no_parameters(tmp_path: Any) -> None:
    """A method that returns some is wrong there; one that returns none is not."""
    for number, (chosen, status) in enumerate((({"StorageClass": "x"}, 500), ({}, 201), (None, 201))):

        class Choosing(FlaskResumable):
            def choose_object_parameters(self, upload: Any, chosen: Any = chosen) -> Any:
                return chosen

        app = Flask("app", instance_path=str(tmp_path / str(number)))
        app.config["PROPAGATE_EXCEPTIONS"] = False
        Choosing(app, storage=LocalStorage(tmp_path / f"files{number}"))
        assert Tus(app.test_client()).create(5).status_code == status


def test_a_link_still_says_what_the_app_says(app: Flask, store: Store) -> None:
    """The headers of a redirect's link come before those of the object."""
    app.config["RESUMABLE_DOWNLOADS"] = "redirect"
    serve(app, store)
    url = Tus(app.test_client()).get(in_one_go(app)).headers["Location"]
    said = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
    assert said["response-content-type"] == "image/png"
