"""The app's configuration."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any
from typing import cast

import pytest
from flask import Flask

from flask_resumable import ConfigurationError
from flask_resumable import FlaskResumable
from flask_resumable.extension import sections
from flask_resumable.protocols.flow.settings import FlowSettings
from flask_resumable.protocols.ietf.settings import IetfSettings
from flask_resumable.protocols.tus.settings import TusSettings
from flask_resumable.settings.app import Settings
from flask_resumable.settings.base import ProtocolSettings
from flask_resumable.settings.base import read_settings
from flask_resumable.settings.storage import ChunkSettings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"


def _read(config: dict[str, Any]) -> list[Any]:
    app = Flask("app", instance_path="/instance")
    app.config.update(config)
    return read_settings(app.config, sections(app))


def _settings(**config: Any) -> Settings:
    return cast(Settings, _read(config)[0])


def _chunk_settings(**config: Any) -> ChunkSettings:
    return cast(ChunkSettings, _read(config)[1])


def _tus_settings(**config: Any) -> TusSettings:
    return cast(TusSettings, _read(config)[2])


def _flow_settings(**config: Any) -> FlowSettings:
    return cast(FlowSettings, _read(config)[3])


def _ietf_settings(**config: Any) -> IetfSettings:
    return cast(IetfSettings, _read(config)[4])


def test_defaults_lie_in_the_instance_folder() -> None:
    """Without any setting, bytes and state are beside each other."""
    settings = _settings()
    assert settings.upload_dir == "/instance/uploads"
    assert settings.database_uri == "sqlite:////instance/resumable.sqlite"


@pytest.mark.parametrize(
    ("uri", "absolute"),
    [
        ("sqlite:///state.db", "sqlite:////instance/state.db"),
        ("sqlite+pysqlite:///a/../state.db", "sqlite+pysqlite:////instance/state.db"),
        ("sqlite:///state.db?timeout=5", "sqlite:////instance/state.db?timeout=5"),
        ("sqlite:///file:state.db?uri=true", "sqlite:///file:/instance/state.db?uri=true"),
        ("sqlite:////data/state.db", "sqlite:////data/state.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite:///file::memory:?cache=shared&uri=true", "sqlite:///file::memory:?cache=shared&uri=true"),
        ("sqlite:///file:name?mode=memory&uri=true", "sqlite:///file:name?mode=memory&uri=true"),
        ("sqlite://", "sqlite://"),
        ("postgresql://localhost/uploads", "postgresql://localhost/uploads"),
    ],
)
def test_relative_databases_are_in_the_instance_folder(uri: str, absolute: str) -> None:
    """A file of SQLite does not depend on the working directory; nothing else changes."""
    assert _settings(RESUMABLE_DATABASE_URI=uri).database_uri == absolute


def test_relative_folders_are_in_the_instance_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder depends on the working directory; absolute ones stay where they are."""
    monkeypatch.chdir(tmp_path)
    settings = _settings(TUS_UPLOAD_DIR="data/%Y", RESUMABLE_S3_SPOOL_DIRECTORY=Path("spool"))
    assert (settings.upload_dir, settings.s3_spool_directory) == ("/instance/data/%Y", "/instance/spool")
    assert _chunk_settings(FLOW_TEMP_DIR="../chunks").temp_dir == "/chunks"
    assert _settings(TUS_UPLOAD_DIR="/data").upload_dir == "/data"


def test_the_protocols_prefix_comes_first() -> None:
    """``TUS_X`` wins over ``RESUMABLE_X``, and either over the default."""
    assert _tus_settings(RESUMABLE_MAX_SIZE=1).max_size == 1
    assert _tus_settings(RESUMABLE_MAX_SIZE=1, TUS_MAX_SIZE=2).max_size == 2
    assert _tus_settings(RESUMABLE_MAX_SIZE=1, TUS_MAX_SIZE=None).max_size is None


def test_protocols_differ_where_they_are_told_to() -> None:
    """A common key counts for both protocols, one with a prefix for its own only."""
    config = {"RESUMABLE_MAX_SIZE": 1, "FLOW_MAX_SIZE": 2}
    assert (_tus_settings(**config).max_size, _flow_settings(**config).max_size) == (1, 2)
    assert (_tus_settings().upload_url, _flow_settings().upload_url) == ("/files/", "/flow/")


def test_a_setting_can_follow_one_of_another_protocol() -> None:
    """The draft is served where tus is, unless it is told otherwise."""
    assert _ietf_settings().upload_url == _tus_settings().upload_url == "/files/"
    assert _ietf_settings(TUS_UPLOAD_URL="/up").upload_url == "/up/"
    assert _ietf_settings(TUS_UPLOAD_URL="/up", IETF_UPLOAD_URL="/ietf").upload_url == "/ietf/"
    with pytest.raises(ConfigurationError) as caught:
        _settings(TUS_UPLOAD_URL="up")
    assert str(caught.value).count("TUS_UPLOAD_URL") == 1


@pytest.mark.parametrize(
    ("config", "apart"),
    [
        ({}, False),
        ({"FLOW_TEMP_DIR": "/chunks"}, True),
        ({"FLOW_DELETE_CHUNKS_ON_SAVE": False}, True),
        ({"FLOW_PRE_PROCESS_CALLBACK": print}, True),
        ({"FLOW_HASH_NAME_CALLBACK": print}, False),
    ],
    ids=str,
)
def test_any_setting_of_the_chunks_folder_chooses_it(config: dict[str, Any], apart: bool) -> None:
    """Chunks are kept apart and merged as soon as one of the settings that only make sense then is set."""
    assert _chunk_settings(**config).keeps_chunks_apart == apart


@pytest.mark.parametrize("key", ["FLOW_UPLOAD_DIR", "TUS_TEMP_DIR", "RESUMABLE_UPLOAD_URL"])
def test_settings_of_the_other_protocol_are_slips(key: str) -> None:
    """A key that nobody would read is refused, and the right one named where there is one."""
    with pytest.raises(ConfigurationError, match=key):
        _settings(**{key: "/somewhere"})


def test_the_seeds_settings_mean_what_they_did() -> None:
    """The five documented names of the older package work, and their kinds of value."""
    config = {
        "TUS_UPLOAD_URL": "/up",
        "TUS_UPLOAD_DIR": Path("/data/%Y"),
        "TUS_MAX_SIZE": 2**32,
        "TUS_EXPIRATION": timedelta(hours=2),
        "TUS_CHUNK_SIZE": 8192,
    }
    tus, settings = _tus_settings(**config), _settings(**config)
    assert (tus.upload_url, tus.max_size, tus.expiration) == ("/up/", 2**32, timedelta(hours=2))
    assert (settings.upload_dir, settings.digest_block_size) == ("/data/%Y", 8192)


def test_a_setting_may_have_two_names() -> None:
    """An alias sets it as the name does, which wins."""
    assert _settings(RESUMABLE_DIGEST_BLOCK_SIZE=5).digest_block_size == 5
    assert _settings(TUS_CHUNK_SIZE=6, TUS_DIGEST_BLOCK_SIZE=5).digest_block_size == 5


@pytest.mark.parametrize(
    ("slip", "right"),
    [
        ("TUS_MAXSIZE", "TUS_MAX_SIZE"),
        ("FLOW_MAX_CHUNK", "FLOW_MAX_CHUNKS"),
        ("RESUMABLE_LEESE", "RESUMABLE_LEASE"),
        ("FLOW_UPLOAD_DIR", "RESUMABLE_UPLOAD_DIR or TUS_UPLOAD_DIR"),
        ("TUS_MAX_CHUNKS", "FLOW_MAX_CHUNKS or RESUMABLE_MAX_CHUNKS"),
        ("RESUMABLE_S3_BUCKT", "RESUMABLE_S3_BUCKET"),
        ("TUS_S3_REGION_NAME", "TUS_S3_REGION"),
        ("FLOW_TMP_DIR", "FLOW_TEMP_DIR"),
        ("IETF_MIN_APEND_SIZE", "IETF_MIN_APPEND_SIZE"),
        ("TUS_MAX_SIEZ", "TUS_MAX_SIZE"),
        ("RESUMEABLE_MAX_SIZE", "RESUMABLE_MAX_SIZE"),
        ("RESUMEABLE_MAXSIZE", "RESUMABLE_MAX_SIZE"),
        ("RESUMABLES_LEASE", "RESUMABLE_LEASE"),
        ("RESUMABLE-MAX-SIZE", "RESUMABLE_MAX_SIZE"),
        ("RESUMABLE__MAX_SIZE", "RESUMABLE_MAX_SIZE"),
        ("RESUMABLEMAX_SIZE", "RESUMABLE_MAX_SIZE"),
        ("resumable_max_size", "RESUMABLE_MAX_SIZE"),
        ("tus_max_siez", "TUS_MAX_SIZE"),
        ("Tus_Upload_Dir", "TUS_UPLOAD_DIR"),
        ("FLASK_RESUMABLE_MAX_SIZE", "RESUMABLE_MAX_SIZE"),
        ("FLASK_TUS_MAX_SIEZ", "TUS_MAX_SIZE"),
        ("FLWO_MAX_CHUNKS", "FLOW_MAX_CHUNKS"),
        ("FLOWJS_TEMP_DIR", "FLOW_TEMP_DIR"),
        ("TSU_EXPIRATION", "TUS_EXPIRATION"),
        ("TUSS_EXPIRATION", "TUS_EXPIRATION"),
    ],
)
def test_a_slip_is_told_with_the_right_name(slip: str, right: str) -> None:
    """Under every prefix, a name that does not exist is refused, with the name that was meant."""
    with pytest.raises(ConfigurationError, match=rf"{slip}: unknown setting; did you mean {right}\?"):
        _settings(**{slip: 5})


def test_a_slip_like_nothing_is_told_alone() -> None:
    """No name is suggested that has nothing to do with it."""
    with pytest.raises(ConfigurationError, match="TUS_XYZZY: unknown setting; list the key in"):
        _settings(TUS_XYZZY=5)


@pytest.mark.parametrize("enabled", [True, False])
def test_a_slip_is_told_whether_the_protocol_is_served_or_not(enabled: bool) -> None:
    """Settings of a protocol that is switched off may stay, but are checked like all others."""
    assert _flow_settings(FLOW_ENABLED=enabled, FLOW_MAX_CHUNKS=5).max_chunks == 5
    with pytest.raises(ConfigurationError, match="FLOW_MAX_CHUNK: .*\n.*FLOW_MAX_CHUNKS = 0"):
        _settings(FLOW_ENABLED=enabled, FLOW_MAX_CHUNK=5, FLOW_MAX_CHUNKS=0)


@pytest.mark.parametrize(
    "key", ["BUS_MAX_SIZE", "FLOWS_ENABLED", "RESUME_MAX_SIZE", "REUSABLE_LEASE", "MAX_SIZE", "flow_rate", "S3_BUCKET"]
)
def test_keys_of_other_code_are_left_alone(key: str) -> None:
    """Only what can hardly mean anything else is taken for a slip."""
    _settings(**{key: 5})


def test_keys_of_other_code_with_our_prefixes_can_be_listed() -> None:
    """By their names or by patterns. What is not listed stays a slip, and so do wrong values."""
    _settings(TUS_TOKEN=5, FLOW_AUTH_ID=5, RESUMABLE_FOREIGN_KEYS=["TUS_TOKEN", "FLOW_AUTH_*"])
    _settings(TUS_TOKEN=5, FLOW_AUTH_ID=5, RESUMABLE_FOREIGN_KEYS="TUS_TOKEN, FLOW_AUTH_*")
    with pytest.raises(ConfigurationError, match="TUS_TOKENS: unknown"):
        _settings(TUS_TOKENS=5, RESUMABLE_FOREIGN_KEYS=["TUS_TOKEN"])
    with pytest.raises(ConfigurationError, match="TUS_MAX_SIZE = -1"):
        _settings(TUS_MAX_SIZE=-1, RESUMABLE_FOREIGN_KEYS=["TUS_*"])


def test_the_prefix_of_flask_may_stay_if_the_key_is_read_as_well() -> None:
    """An app may load the whole environment beside what Flask takes from it."""
    assert _tus_settings(FLASK_TUS_MAX_SIZE="5", TUS_MAX_SIZE=5).max_size == 5


def test_nested_settings_are_slips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flask makes a dict of two underscores in the environment. A dict of the app's own is left alone."""
    monkeypatch.setenv("FLASK_TUS__MAX_SIZE", "5")
    app = Flask("app", instance_path="/instance")
    app.config.from_prefixed_env()
    with pytest.raises(ConfigurationError, match="TUS: settings are not nested: use TUS_MAX_SIZE"):
        read_settings(app.config, sections(app))
    _settings(FLOW={"rate": 5})


# A value as the environment gives it, and what it means. Flask's from_prefixed_env turns JSON into other types first.
ENVIRONMENT: list[tuple[str, str, Any]] = [
    ("TUS_EXPIRATION", "86400", timedelta(days=1)),
    ("TUS_EXPIRATION", "3600.5", timedelta(seconds=3600.5)),
    ("TUS_EXPIRATION", "7d", timedelta(days=7)),
    ("TUS_EXPIRATION", "none", None),
    ("TUS_EXPIRATION", "null", None),
    ("TUS_IDLE_TIMEOUT", " 90s ", timedelta(seconds=90)),
    ("TUS_PARTS_EXPIRATION", "2 w", timedelta(weeks=2)),
    ("RESUMABLE_LEASE", "10", timedelta(seconds=10)),
    ("RESUMABLE_LINK_LIFETIME", "1h", timedelta(hours=1)),
    ("FLOW_COMPLETED_TTL", "15m", timedelta(minutes=15)),
    ("FLOW_CANCELLED_TTL", "15min", timedelta(minutes=15)),
    ("TUS_CORS_MAX_AGE", "12h", 43200),
    ("TUS_MAX_SIZE", "1048576", 2**20),
    ("TUS_MAX_SIZE", "1e9", 10**9),
    ("TUS_MAX_SIZE", "10MB", 10**7),
    ("TUS_MAX_SIZE", "1.5 GiB", 3 * 2**29),
    ("TUS_MAX_SIZE", "None", None),
    ("RESUMABLE_S3_PART_SIZE", "16mib", 2**24),
    ("RESUMABLE_S3_MEMORY", "64MiB", 2**26),
    ("RESUMABLE_DIGEST_BLOCK_SIZE", "1kB", 1000),
    ("FLOW_MAX_CHUNK_SIZE", "5TB", 5 * 10**12),
    ("FLOW_MAX_CHUNKS", "5", 5),
    ("IETF_MIN_SIZE", "1KiB", 1024),
    ("IETF_MIN_APPEND_SIZE", "0", 0),
    ("IETF_MAX_APPEND_SIZE", "none", None),
    ("TUS_MAX_METADATA", "100", 100),
    ("TUS_CORS_ORIGINS", "https://a.example,https://b.example", ("https://a.example", "https://b.example")),
    ("TUS_CORS_ORIGINS", '["https://a.example"]', ("https://a.example",)),
    ("TUS_CORS_ORIGINS", "", ()),
    ("TUS_CORS_HEADERS", "X-API-Key, traceparent", ("X-API-Key", "traceparent")),
    ("TUS_CORS_EXPOSE_HEADERS", "*", ("*",)),
    ("TUS_DISABLED_EXTENSIONS", "checksum, expiration", ("checksum", "expiration")),
    ("FLOW_TEST_METHODS", "GET", ("GET",)),
    ("FLOW_IDENTITY_PARAMETERS", "album,user[id]", ("album", "user[id]")),
    ("RESUMABLE_INLINE_TYPES", "image/png, image/svg+xml", ("image/png", "image/svg+xml")),
    ("RESUMABLE_DOWNLOADS", "true", "stream"),
    ("RESUMABLE_DOWNLOADS", "0", False),
    ("RESUMABLE_DOWNLOADS", "redirect", "redirect"),
    ("RESUMABLE_DURABILITY", "none", "none"),
    ("RESUMABLE_STORAGE", "local", "local"),
    ("IETF_INTERIM_RESPONSES", "off", "off"),
    ("RESUMABLE_S3_BUCKET", "2024", "2024"),
    ("RESUMABLE_S3_REGION", "none", None),
    ("RESUMABLE_S3_SECRET_KEY", "none", None),
    ("RESUMABLE_S3_ENDPOINT_URL", "null", None),
    ("FLOW_TEMP_DIR", "none", None),
    ("RESUMABLE_S3_SPOOL_DIRECTORY", "null", None),
    ("FLOW_HASH_NAME_CALLBACK", "none", None),
    ("FLOW_METADATA_PARAMETERS", "none", None),
    ("FLOW_METADATA_PARAMETERS", "album,title", ("album", "title")),
    ("TUS_PUBLIC_URL", "none", None),
    ("TUS_PUBLIC_PATH", "null", None),
    ("FLOW_FILE_FIELD", "5", "5"),
    ("TUS_UPLOAD_DIR", "2024", "/instance/2024"),
    *(
        (key, text, value)
        for key in ("TUS_ENABLED", "TUS_CORS_CREDENTIALS", "TUS_SLIDING_EXPIRATION", "TUS_REQUIRE_CHECKSUM")
        for value, texts in ((True, ("true", "1", "yes", "On", "TRUE")), (False, ("false", "0", "no", "off", "")))
        for text in texts
    ),
    *(
        (key, text, value)
        for key in ("RESUMABLE_CREATE_TABLES", "RESUMABLE_S3_EQUAL_PARTS")
        for text, value in (("true", True), ("0", False), ("False", False), ("null", None), ("None", None))
    ),
]


@pytest.mark.parametrize(("key", "text", "value"), ENVIRONMENT)
def test_settings_can_come_from_the_environment(
    key: str, text: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A string means the same as the value it stands for, whether Flask has parsed it or not."""
    monkeypatch.setenv(f"FLASK_{key}", text)
    app = Flask("app", instance_path="/instance")
    app.config.from_prefixed_env()
    name = key.partition("_")[2].lower()
    for config in (app.config, {key: text}):
        section = next(section for section in _read(dict(config)) if hasattr(section, name))
        assert getattr(section, name) == value


WRONG: dict[str, list[Any]] = {
    "TUS_UPLOAD_URL": ["files", "/f/<id>", "//evil/", 5],
    "TUS_UPLOAD_DIR": ["", None, 1.5],
    "TUS_MIN_FREE_SPACE": ["1G", -1, 0.5, True],
    "TUS_MAX_SIZE": [
        "1G",
        "1M",
        "10 apples",
        "-1",
        "",
        "1_000",
        "0.5B",
        -1,
        0.5,
        2**63,
        True,
        float("nan"),
        float("inf"),
    ],
    "TUS_EXPIRATION": [0, -1, timedelta(0), timedelta.max, 1e300, float("nan"), "1y", "", "soon", "-1", True, []],
    "TUS_CHUNK_SIZE": [0, 1.5, None, "none"],
    "RESUMABLE_IDLE_TIMEOUT": [0, -1, "0", "none", None, True, "1" * 99],
    "RESUMABLE_LEASE": [0, None],
    "RESUMABLE_REQUIRE_SIGNATURE": ["maybe", None],
    "RESUMABLE_MAX_ACTIVE_UPLOADS": [-1, 1.5, "many", True],
    "RESUMABLE_MAX_RESERVED_BYTES": [-1, 1.5, "many", 2**63],
    "TUS_PARTS_EXPIRATION": [0, -1, None, timedelta(0), True],
    "RESUMABLE_DURABILITY": ["some", None],
    "RESUMABLE_DOWNLOADS": ["download", 2, None, []],
    "RESUMABLE_LINK_LIFETIME": [0, None, 0.5, timedelta(days=8)],
    "RESUMABLE_INLINE_TYPES": ["png", 5, None, {"image/png": True}, [b"image/png"], "[image/png]"],
    "RESUMABLE_CORS_ORIGINS": ["example.org", ["https://example.org/path"], ["https://a-*.example.org"], [5], 5, [""]],
    "RESUMABLE_CORS_HEADERS": ["X API Key", [""], ["X-API-Key:"], ["X-A, X-B"], [5], 5, None, b"*"],
    "RESUMABLE_CORS_EXPOSE_HEADERS": ["X-Döcument", ["X-A, X-B"], None],
    "RESUMABLE_CORS_CREDENTIALS": [None, "none", "maybe", 2, 1.0, []],
    "RESUMABLE_CORS_MAX_AGE": [-1, "1.5", None, timedelta(seconds=-1)],
    "RESUMABLE_PUBLIC_URL": [
        *("example.org", "//example.org", "/api", "ftp://example.org", "https://", "https:///api", "", 5, b"http://x"),
        *("https://example.org?a=b", "https://example.org/#top", "https://me:secret@example.org", "https://me@host"),
        *("https://example.org:port", "https://example.org:99999", "https://example.org:0", "https://[::1"),
        *("https://example.org/a b", "https://example.org/\n", "https://exämple.org", "https://example.org/a\\b"),
        *("https://example.org/a//b", "https://example.org/../b", "https://example.org/./"),
    ],
    "TUS_PUBLIC_PATH": ["uploads", "", 5, "//evil/", "/a b", "/a?b", "/a#b", "/../a", "/a//b", "https://host/a", "/ä"],
    "IETF_PUBLIC_PATH": ["uploads"],
    "RESUMABLE_DISABLED_EXTENSIONS": [["creatoin"], "creation,checksums", None],
    "RESUMABLE_MAX_METADATA": [65536],
    "RESUMABLE_CREATE_TABLES": ["maybe", 2],
    "RESUMABLE_METRICS": ["maybe", 2],
    "RESUMABLE_METRICS_URL": ["metrics", "/metrics/", "", 5],
    "RESUMABLE_TRACING": ["maybe"],
    "RESUMABLE_STORAGE": ["disk", None],
    "RESUMABLE_S3_BUCKET": ["", "a/b", "a\n", 1.5],
    "RESUMABLE_S3_PREFIX": ["uploads", "/uploads/", "/", "a//b/", "a/../b/", "./", "a\n/", None],
    "RESUMABLE_S3_ENDPOINT_URL": ["localhost:9000", "ftp://host", "http://", "http://me:secret@host", "", 5],
    "RESUMABLE_S3_REGION": ["", True],
    "RESUMABLE_S3_ACCESS_KEY": ["", True],
    "RESUMABLE_S3_SECRET_KEY": ["", 1.5],
    "RESUMABLE_S3_PART_SIZE": [5 * 2**20 - 1, "8M", 2**40],
    "RESUMABLE_S3_MEMORY": [0, "64M", None],
    "RESUMABLE_S3_EQUAL_PARTS": ["maybe", 2],
    "RESUMABLE_S3_SPOOL_DIRECTORY": ["", 1.5],
    "RESUMABLE_S3_CHECK": ["never", None],
    "IETF_UPLOAD_URL": ["files"],
    "IETF_INTERIM_RESPONSES": [True, "yes", None],
    "IETF_MIN_SIZE": [-1, None],
    "IETF_MAX_APPEND_SIZE": [0, 10**15, "1M"],
    "IETF_MIN_APPEND_SIZE": [-1, None],
    "FLOW_UPLOAD_URL": ["flow"],
    "FLOW_ENABLED": ["never", None],
    "FLOW_TEST_METHODS": [["DELETE"], "GET,DELETE"],
    "FLOW_MAX_CHUNKS": [0],
    "FLOW_COMPLETED_TTL": [-1],
    "FLOW_CANCELLED_TTL": [0],
    "RESUMABLE_ACCEL_LOCATIONS": ["/x/", 5, {}, {"x": "/data"}, {"/x/": ""}, {5: "/data"}],
    "RESUMABLE_S3_OBJECT_PARAMETERS": ["StorageClass", 5, {5: "x"}],
    "FLOW_METADATA_PARAMETERS": [5, [5]],
    "FLOW_IDENTITY_PARAMETERS": [5, None, "a,a", [5], [""], ["a", "a"], ["flowChunkNumber"], ["resumableIdentifier"]],
    "RESUMABLE_IDENTITY_PARAMETERS": [["album", "chunkNumber"], None],
    "FLOW_HASH_NAME_CALLBACK": ["sha1"],
    "FLOW_TEMP_DIR": [1.5, ""],
    "RESUMABLE_CHECK_WRITABLE": ["never", None],
    "RESUMABLE_COMMAND_REQUESTS": ["never", None],
    "RESUMABLE_FOREIGN_KEYS": [5, ["*"], ["TUS TOKEN"]],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_wrong_values_stop_the_app_by_name(key: str, value: Any) -> None:
    """A wrong value is refused at start, and the message names the key and what it must be."""
    with pytest.raises(ConfigurationError, match=f"{key} = .*: must be (a |an |one |the |from |True)"):
        _settings(**{key: value})


def test_all_mistakes_are_told_together() -> None:
    """One start shows every mistake, a misspelt key among them."""
    with pytest.raises(ConfigurationError) as caught:
        _settings(TUS_MAX_SIZE="1G", RESUMABLE_LEASE=0, RESUMABLE_MAXSIZE=5)
    for key in ("TUS_MAX_SIZE", "RESUMABLE_LEASE", "RESUMABLE_MAXSIZE"):
        assert key in str(caught.value)


def test_a_bucket_needs_all_that_belongs_to_it() -> None:
    """What is missing for a bucket, or does not go with one, is told with the other mistakes."""
    with pytest.raises(ConfigurationError) as caught:
        _settings(RESUMABLE_STORAGE="s3", RESUMABLE_S3_ACCESS_KEY="key", FLOW_TEMP_DIR="/tmp", TUS_LEASE=0)
    for key in ("S3_BUCKET", "S3_ACCESS_KEY, S3_SECRET_KEY: set both", "FLOW_TEMP_DIR", "TUS_LEASE"):
        assert key in str(caught.value)
    assert len(str(caught.value).splitlines()) == 5
    settings = _settings(RESUMABLE_STORAGE="s3", RESUMABLE_S3_BUCKET="bucket", TUS_S3_PREFIX="a/b/")
    assert (settings.s3_bucket, settings.s3_prefix, settings.s3_access_key) == ("bucket", "a/b/", None)


def test_secrets_are_never_shown() -> None:
    """Neither a mistake's message nor the settings' own text has what only the store may know."""
    with pytest.raises(ConfigurationError) as caught:
        _settings(
            RESUMABLE_S3_SECRET_KEY=["hunter2"],
            RESUMABLE_S3_ACCESS_KEY=["hunter2"],
            RESUMABLE_S3_ENDPOINT_URL="https://me:hunter2@s3.example.org",
        )
    assert "S3_SECRET_KEY" in str(caught.value) and "hunter2" not in str(caught.value)
    settings = _settings(RESUMABLE_S3_SECRET_KEY="hunter2", RESUMABLE_S3_ACCESS_KEY="hunter2")
    assert settings.s3_secret_key == "hunter2" and "hunter2" not in repr(settings)


def test_cookies_are_not_for_everybody() -> None:
    """Any origin with cookies is refused: browsers would refuse it too, and rightly."""
    with pytest.raises(ConfigurationError, match="CORS_CREDENTIALS"):
        _settings(RESUMABLE_CORS_ORIGINS="*", RESUMABLE_CORS_CREDENTIALS=True)


@pytest.mark.parametrize("path", ["", "/api", "/a/b~c.d/@me", "/%C3%BC"])
@pytest.mark.parametrize("host", ["https://example.org", "http://[::1]:8080", "https://127.0.0.1:8443"])
def test_a_public_url_may_end_with_a_slash(host: str, path: str) -> None:
    """It means the same with and without, and with more than one."""
    for spelling in (host + path, host + path + "/", host + path + "//"):
        app = Flask(__name__)
        app.config["RESUMABLE_PUBLIC_URL"] = spelling
        of_tus = read_settings(app.config, sections(app))[2]
        assert (of_tus.public_url, of_tus.endpoint) == (host + path, f"{host}{path}/files/")


def test_a_public_path_needs_a_public_url() -> None:
    """Alone it would be a path of nothing, and two protocols at one place would be one too many."""
    with pytest.raises(ConfigurationError, match="PUBLIC_PATH"):
        _settings(TUS_PUBLIC_PATH="/uploads/")
    with pytest.raises(ConfigurationError, match="PUBLIC_PATH: two protocols have .*https://example.org/uploads/"):
        _settings(RESUMABLE_PUBLIC_URL="https://example.org", TUS_PUBLIC_PATH="/uploads", FLOW_PUBLIC_PATH="/uploads/")
    _settings(
        RESUMABLE_PUBLIC_URL="https://example.org",
        TUS_PUBLIC_PATH="/uploads",
        FLOW_PUBLIC_PATH="/uploads/",
        FLOW_ENABLED=False,
    )


def test_the_sizes_of_requests_must_fit_each_other() -> None:
    """A minimum above the maximum would refuse every request."""
    with pytest.raises(ConfigurationError, match="MIN_APPEND_SIZE"):
        _settings(RESUMABLE_MIN_APPEND_SIZE=2, RESUMABLE_MAX_APPEND_SIZE=1)


def test_settings_are_read_once(tmp_path: Path) -> None:
    """What is changed after init_app has no effect."""
    app = Flask("app", instance_path=str(tmp_path))
    FlaskResumable(app)
    app.config["TUS_MAX_SIZE"] = 1
    response = app.test_client().post("/files/", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "5"})
    assert response.status_code == 201


def test_the_page_has_every_setting() -> None:
    """The tables on the page name each setting, its default and its meaning, and no other."""
    found = re.findall(r"^\| `([A-Z0-9_]+)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    of_all = fields(ProtocolSettings)
    own = [
        item
        for kind in (TusSettings, FlowSettings, IetfSettings)
        for item in fields(kind)
        if not any(item.name == other.name and _row(item) == _row(other) for other in of_all)
    ]
    common = [item for item in of_all if item.name != "upload_url"]
    assert found == [
        (item.name.upper(), _row(item)) for item in (*common, *own, *fields(ChunkSettings), *fields(Settings))
    ]


def _row(item: Any) -> str:
    return f"`{_shown(item.default)}` | {item.metadata['meaning']}"


def _shown(value: Any) -> str:
    if isinstance(value, timedelta):
        return f"timedelta({'days' if value.days else 'seconds'}={value.days or value.seconds})"
    if isinstance(value, tuple) and value:
        return "(" + ", ".join(f'"{name}"' for name in value) + ")"
    return f'"{value}"' if isinstance(value, str) else repr(value)
