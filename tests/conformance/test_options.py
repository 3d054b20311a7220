"""tus 1.0, Core Protocol: OPTIONS."""

from __future__ import annotations

import pytest

from .server import Serve
from .test_core import WRONG_VERSIONS
from .tus_client import Tus
from .tus_client import UNKNOWN
from .tus_client import words

EXTENSIONS = {
    "creation",
    "creation-defer-length",
    "creation-with-upload",
    "expiration",
    "checksum",
    "termination",
    "concatenation",
    "concatenation-unfinished",
}


@pytest.mark.parametrize("version", [None, "1.0.0", *WRONG_VERSIONS])
def test_options_ignores_the_clients_version(tus: Tus, version: str | None) -> None:
    """OPTIONS answers whatever Tus-Resumable says."""
    response = tus.options(headers={"Tus-Resumable": version})
    assert response.status_code == 204
    assert response.headers["Tus-Version"] == "1.0.0"


def test_options_lists_the_versions(tus: Tus) -> None:
    """OPTIONS answers 204 without a body, with the versions spoken here, the preferred one first."""
    response = tus.options()
    assert response.status_code == 204
    assert response.data == b""
    assert words(response.headers["Tus-Version"]) == ["1.0.0"]


def test_options_lists_every_extension(tus: Tus) -> None:
    """Tus-Extension names all that works here by default, each once."""
    listed = words(tus.options().headers["Tus-Extension"])
    assert set(listed) == EXTENSIONS
    assert len(listed) == len(EXTENSIONS)


@pytest.mark.parametrize(
    ("off", "gone"),
    [
        ("creation-defer-length", {"creation-defer-length"}),
        ("creation-with-upload", {"creation-with-upload"}),
        ("checksum", {"checksum"}),
        ("termination", {"termination"}),
        ("concatenation", {"concatenation", "concatenation-unfinished"}),
        ("concatenation-unfinished", {"concatenation-unfinished"}),
    ],
)
def test_a_disabled_extension_is_not_listed(serve: Serve, off: str, gone: set[str]) -> None:
    """Tus-Extension leaves out what is disabled, and what cannot work without it."""
    tus = serve(DISABLED_EXTENSIONS=[off]).tus
    assert set(words(tus.options().headers["Tus-Extension"])) == EXTENSIONS - gone


def test_the_header_is_absent_when_nothing_is_enabled(serve: Serve) -> None:
    """An empty Tus-Extension is never sent."""
    tus = serve(DISABLED_EXTENSIONS=sorted(EXTENSIONS), EXPIRATION=None).tus
    assert "Tus-Extension" not in tus.options().headers


@pytest.mark.parametrize(("limit", "shown"), [(1_000_000, "1000000"), (2**40, "1099511627776"), (None, None)])
def test_a_known_limit_is_shown(serve: Serve, limit: int | None, shown: str | None) -> None:
    """Tus-Max-Size is the limit in plain digits, and absent when there is none."""
    assert serve(MAX_SIZE=limit).tus.options().headers.get("Tus-Max-Size") == shown


def test_the_checksum_algorithms_are_listed(tus: Tus) -> None:
    """Tus-Checksum-Algorithm is a plain list, sha1 first."""
    listed = words(tus.options().headers["Tus-Checksum-Algorithm"])
    assert listed[0] == "sha1"
    assert sorted(listed) == ["crc32", "md5", "sha1", "sha256", "sha512"]


def test_no_algorithms_without_the_extension(serve: Serve) -> None:
    """Without checksums there is nothing to list."""
    assert "Tus-Checksum-Algorithm" not in serve(DISABLED_EXTENSIONS=["checksum"]).tus.options().headers


@pytest.mark.parametrize("kind", ["existing", "unknown", "slashless"])
def test_options_answers_alike_on_every_url(serve: Serve, kind: str) -> None:
    """Browsers send their preflights to the upload's URL: it answers as the endpoint does."""
    tus = serve(MAX_SIZE=100).tus
    url = {"existing": tus.new(1), "unknown": UNKNOWN, "slashless": "/files"}[kind]
    there, here = tus.options(url), tus.options()
    assert there.status_code == here.status_code == 204
    for name in ("Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm", "Tus-Resumable"):
        assert there.headers[name] == here.headers[name]
