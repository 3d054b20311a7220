"""pytest fixtures for apps that use the extension.

Write this in ``conftest.py``, beside your own fixture ``client``, which returns ``app.test_client()``::

    pytest_plugins = ["flask_resumable.testing.fixtures"]
"""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from .client import ManualClock
from .client import UploadClient


@pytest.fixture
def upload_client(client: FlaskClient) -> UploadClient:
    """A client that uploads with tus, through your own fixture ``client``."""
    return UploadClient(client)


@pytest.fixture
def upload_clock() -> ManualClock:
    """A clock for the ``now=`` of :class:`~flask_resumable.FlaskResumable`, which you move with ``advance()``."""
    return ManualClock()
