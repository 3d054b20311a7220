"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask

from tests.prerequisites import Missing


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
