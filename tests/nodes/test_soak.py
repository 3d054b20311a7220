"""``python -m proof soak``, for twenty seconds with a few clients."""

from __future__ import annotations

import pytest

from proof.soak.campaign import soak
from proof.soak.stores import STORES
from tests.nodes.nginx import require_nginx

pytestmark = [pytest.mark.live, pytest.mark.thorough, pytest.mark.xdist_group("nodes")]


@pytest.mark.parametrize("store", STORES)
def test_some_clients_and_faults(store: str) -> None:
    """Nothing that a client has finished is lost or doubled, and nothing is left over."""
    require_nginx()
    result = soak(seed=20261130, folder=None, store=store, minutes=1 / 3, amount=20)
    assert not result.faults, "\n".join([*result.faults, *result.figures])
