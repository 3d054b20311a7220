"""Uploads in a bucket, begun by one version of the package and finished by another.

    python bucket.py begin URL BUCKET FOLDER
    python bucket.py finish URL BUCKET FOLDER

Like ``scenario.py``, which has the same for disks, this uses nothing but the public API. Parts have 1 KiB.
"""

from __future__ import annotations

import io
import json
import sys
from datetime import timedelta
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient

from flask_resumable import FlaskResumable
from flask_resumable.storage import S3Storage
from flask_resumable.storage.multipart import StoreTraits
from tests.upgrade.scenario import append
from tests.upgrade.scenario import create
from tests.upgrade.scenario import expect
from tests.upgrade.scenario import metadata
from tests.upgrade.scenario import NOW
from tests.upgrade.scenario import OCTETS
from tests.upgrade.scenario import repeatable
from tests.upgrade.scenario import TUS

KIB = 1024
CONTENT = b"".join(bytes([number % 251]) * 16 for number in range(256))  # 4 KiB; what every upload consists of
OFFSETS = {"parts and tail": 2500, "parts": 2 * KIB, "tail": 100, "unknown length": 1500, "empty": 0}


class TinyParts(S3Storage):
    """For stores that take parts of 1 KiB."""

    traits = StoreTraits(min_part=KIB)


def make_app(url: str, bucket: str, folder: Path, minutes: int) -> tuple[Flask, FlaskResumable]:
    """An app whose records are in the embedded database."""
    app = Flask("app", instance_path=str(folder / "instance"))
    app.config["RESUMABLE_DATABASE_URI"] = f"sqlite:///{folder / 'state.sqlite'}"
    app.config["RESUMABLE_S3_CHECK"] = False
    storage = TinyParts(bucket, prefix="up/", endpoint_url=url, access_key="test", secret_key="testtest", part_size=KIB)
    return app, FlaskResumable(app, storage=storage, now=lambda: NOW + timedelta(minutes=minutes))


def chunk(client: FlaskClient, number: int) -> str:
    """Send a chunk of 1 KiB with flow.js; the id of the upload."""
    form = {
        "flowIdentifier": "flow",
        "flowFilename": "flow.bin",
        "flowTotalSize": str(len(CONTENT)),
        "flowTotalChunks": "4",
        "flowChunkSize": str(KIB),
        "flowChunkNumber": str(number),
    }
    content = CONTENT[(number - 1) * KIB : number * KIB]
    response = expect(client.post("/flow/", data={**form, "file": (io.BytesIO(content), "flow.bin")}), 200)
    return str((response.json or {})["id"])


def begin(url: str, bucket: str, folder: Path) -> None:
    """Leave uploads with parts and beginnings of parts, and ``uploads.json`` with their URLs."""
    repeatable()
    app, _ = make_app(url, bucket, folder, 0)
    client = app.test_client()
    urls = {}
    for name, offset in OFFSETS.items():
        urls[name] = create(client, None if name == "unknown length" else len(CONTENT))
        if offset:
            expect(append(client, urls[name], CONTENT[:offset]), 204)
    urls["complete"] = create(client, len(CONTENT))
    expect(append(client, urls["complete"], CONTENT), 204)
    urls["part"] = create(client, 2500, Upload_Concat="partial")
    expect(append(client, urls["part"], CONTENT[:2500]), 204)
    urls["open part"] = create(client, len(CONTENT) - 2500, Upload_Concat="partial")
    concat = {"Upload-Concat": f"final;{urls['part']} {urls['open part']}"}
    final = client.post("/files/", headers={**TUS, **metadata(filename="final.bin"), **concat})
    urls["final"] = "/files/" + expect(final, 201).headers["Location"].rpartition("/")[2]
    for number in (3, 1):
        urls["flow"] = f"/flow/{chunk(client, number)}"
    (folder / "uploads.json").write_text(json.dumps(urls, indent=2) + "\n")


def finish(url: str, bucket: str, folder: Path) -> None:
    """Finish each of them, and look at what is in the bucket."""
    urls: dict[str, str] = json.loads((folder / "uploads.json").read_text())
    app, resumable = make_app(url, bucket, folder, 2)
    client = app.test_client()
    for name, offset in OFFSETS.items():
        head = expect(client.head(urls[name], headers=TUS), 200)
        assert head.headers["Upload-Offset"] == str(offset), name
        length = {"Upload_Length": str(len(CONTENT))} if name == "unknown length" else {}
        expect(append(client, urls[name], CONTENT[offset:], offset, **length), 204)
    rest = client.patch(urls["open part"], data=CONTENT[2500:], headers={**TUS, **OCTETS, "Upload-Offset": "0"})
    expect(rest, 204)
    expect(client.head(urls["final"], headers=TUS), 200)
    for number in (4, 2):
        chunk(client, number)
    runner = app.test_cli_runner()
    assert runner.invoke(args=["tus", "complete_pending"]).exit_code == 0
    finished = [name for name in urls if name not in ("part", "open part")]
    with app.app_context():
        for name in finished:
            upload = resumable.get(urls[name].rpartition("/")[2])
            assert upload is not None and upload.complete, name
            with upload.open() as stream:
                assert stream.read() == CONTENT, name
    later, _ = make_app(url, bucket, folder, 60 * 24 * 30)
    cleaned = later.test_cli_runner().invoke(args=["tus", "delete_expired", "--orphans-after", "0"])
    assert cleaned.exit_code == 0, cleaned.output
    print("finished", len(finished))


if __name__ == "__main__":
    {"begin": begin, "finish": finish}[sys.argv[1]](sys.argv[2], sys.argv[3], Path(sys.argv[4]))
