"""``python -m proof soak``, for twenty seconds with a few clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from proof.soak.campaign import soak
from tests.nodes.nginx import require_nginx

pytestmark = [pytest.mark.live, pytest.mark.thorough, pytest.mark.xdist_group("nodes")]


def test_some_clients_and_faults(tmp_path: Path) -> None:
    """Nothing that a client has finished is lost or doubled, and nothing is left over."""
    require_nginx()
    result = soak(seed=20261130, folder=None, minutes=1 / 3, amount=20)
    assert not result.faults, "\n".join([*result.faults, *result.figures])
