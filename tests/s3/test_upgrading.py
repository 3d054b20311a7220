"""What earlier versions have left in a bucket is finished by this one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.upgrade import frozen

from .conftest import Store

VERSIONS = sorted(path.parent.name for path in frozen.HERE.glob("*/bucket.json"))


@pytest.mark.skipif(os.environ.get("S3_SERVER") == "ceph", reason="Ceph takes no parts of 1 KiB")
@pytest.mark.parametrize("version", VERSIONS)
def test_uploads_of_an_earlier_version_are_finished(version: str, tiny_store: Store, tmp_path: Path) -> None:
    """Parts, beginnings of parts, chunks that are parts, and a final upload; nothing unfinished is left."""
    frozen.thaw_bucket(version, tiny_store, tmp_path)
    assert len(tiny_store.multiparts()) == 4
    assert frozen.run_on_bucket("finish", tiny_store, tmp_path) == "finished 8\n"
    assert not tiny_store.multiparts()
    assert len(tiny_store.objects()) == 8
