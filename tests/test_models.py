"""A short search with the state machine over HTTP, and mistakes that it must find."""

from __future__ import annotations

import pytest

from proof.models.runs import hunted
from proof.models.runs import in_process
from proof.models.runs import tried

STEPS = 20


def test_no_answer_contradicts_the_model() -> None:
    """Clients of every protocol on two servers, whose answers are compared with what may be true."""
    with in_process() as worlds:
        found = tried(worlds, seed=1, examples=25, steps=STEPS)
    assert found.error is None, found.example


@pytest.mark.parametrize("name", ["owner", "twice", "offset"])
def test_a_mutant_is_found(name: str) -> None:
    """The search does find mistakes. The campaign has more of them."""
    assert hunted(name, seed=1).error is not None
