"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Generator
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from flask import Flask

from tests.folders import has_memory
from tests.folders import MEMORY
from tests.prerequisites import Missing
from tests.sampling import of_sample
from tests.sampling import THOROUGH

# What needs a server, a browser or a process of its own for longer than a moment.
SLOW_FOLDERS = {"apps", "browser", "databases", "live", "nodes", "s3", "typed", "without_linux"}
SLOW_FILES = {"test_containers.py", "test_extras.py", "test_multipart.py", "test_processes.py", "test_project.py"}
LONG_FILES = {
    "test_crash_points.py",
    "test_moved.py",
    "test_power_loss.py",
    "test_without_linux.py",
}  # each test is a minute of work
SLOW_MARKS = ("browser", "live", "slow", "xdist_group")
SHARED = {"shared", "shared_live"}  # fixtures
# Of two processes with a browser, one runs these. Each browser and its demo take half a gigabyte, and a while to start.
FIRST_BROWSER = {"test_clients.py", "test_cross_origin.py", "test_readme.py", "test_s3.py", "test_start.py"}
SERVERS = {"database", "mariadb", "mongo", "own_database", "postgresql"}  # fixtures


def pytest_addoption(parser: pytest.Parser) -> None:
    """``make test-fast`` passes the first."""
    parser.addoption("--fast", action="store_true", help="only what needs no server, and databases once")
    parser.addoption("--thorough", action="store_true", help="every case in every place, not only in one of them")


def pytest_configure(config: pytest.Config) -> None:
    """In a hurry, try fewer examples, and keep files in memory, where a sync costs nothing."""
    if config.getoption("thorough"):
        os.environ[THOROUGH] = "1"
    if config.getoption("fast"):
        hypothesis.settings.register_profile("fast", max_examples=20)
        hypothesis.settings.load_profile("fast")
        if has_memory():
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out folders and files that are slow as a whole, if that is wished."""
    return True if config.getoption("fast") and collection_path.name in SLOW_FOLDERS | SLOW_FILES else None


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Begin with the longest tests, so that no process is left with one of them at the end. Let one process run all
    tests of a file that share a server. Leave out single tests that are slow, if that is wished, and cases that differ
    from others only in their place, unless they are.
    """
    items.sort(key=lambda item: (item.path.name not in LONG_FILES, item.path.parent.name != "browser"))
    for item in items:
        if item.path.parent.name == "browser":
            item.add_marker(pytest.mark.xdist_group(f"browser-{1 if item.path.name in FIRST_BROWSER else 2}"))
        if not SHARED.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(f"{item.path.stem}-{_server_of(item)}"))
        if getattr(config.option, "loadgroup", False):
            _name_group(item)
    if config.getoption("fast"):
        _select(config, items, [not _is_slow(item) for item in items])
    yield
    # What has failed, or was chosen by its id, is run in any case.
    is_chosen = config.getoption("lf", False) or any("[" in argument for argument in config.args)
    if not config.getoption("thorough") and not is_chosen:
        _select(config, items, of_sample(items))


def _select(config: pytest.Config, items: list[pytest.Item], are_run: list[bool]) -> None:
    pairs = list(zip(items, are_run, strict=True))
    config.hook.pytest_deselected(items=[item for item, is_run in pairs if not is_run])
    items[:] = [item for item, is_run in pairs if is_run]


def _name_group(item: Any) -> None:
    """Append the name of a test's group to its id. From pytest 9.2 on, pytest-xdist 3.8 tries so in vain."""
    mark = item.get_closest_marker("xdist_group")
    if mark is not None and hasattr(item, "_id"):
        item._id = type(item._id).parse(f"{item.nodeid}@{mark.args[0]}")


def _server_of(item: pytest.Item) -> str:
    """The kind of server that a test is about."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    path = params.get("path")
    return str(params.get("server") or params.get("kind") or getattr(path, "kind", "gthread"))


def _is_slow(item: pytest.Item) -> bool:
    is_marked = any(item.get_closest_marker(mark) for mark in SLOW_MARKS)
    return is_marked or not SERVERS.isdisjoint(getattr(item, "fixturenames", ()))


@contextmanager
def _needs() -> Iterator[None]:
    """Skip the test if the machine lacks what it needs; on a CI machine, which can install everything, let it fail."""
    try:
        yield
        return
    except Missing as error:
        message = str(error)
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """For fixtures; those of the session remember that something was missing."""
    with _needs():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """For the test itself."""
    with _needs():
        return (yield)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep how the run has ended: ``.ci/run`` repeats tests that failed only if all the others have run, too."""
    cache: pytest.Cache | None = getattr(session.config, "cache", None)
    if cache is not None and not hasattr(session.config, "workerinput"):
        cache.set("suite/end", int(exitstatus))


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """An app with an instance folder of its own, and without the extension."""
    app = Flask("app", instance_path=str(tmp_path / "instance"))
    app.config["TESTING"] = True
    yield app
    state = app.extensions.get("resumable")
    if state is not None and hasattr(state.repository, "dispose"):
        state.repository.dispose()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what no encoding can write, such as half a surrogate pair in a log. Reports travel between processes."""
    report = yield
    report.sections = [(title, text.encode("utf-8", "backslashreplace").decode()) for title, text in report.sections]
    return report
