"""The targets of ``python -m proof hostile`` hold for some hundred inputs."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from proof.hostile.fuzz import changed
from proof.hostile.targets import TARGETS

SEED = 20261130
INPUTS = 300


@pytest.mark.parametrize("name", TARGETS)
def test_no_rule_is_broken(name: str) -> None:
    """By what is valid, nor by what is almost."""
    target = TARGETS[name]()
    for seed in target.seeds:
        target.test(seed)
    for data in islice(changed(target.seeds, target.words, random.Random(SEED)), INPUTS):
        target.test(data[: target.longest])
