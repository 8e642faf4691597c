"""A fixed set of storms and some fresh ones. A seed that breaks a promise is named, to be run again:

python -m tests.storms.storm --first SEED --seeds 1
"""

from __future__ import annotations

import secrets

import pytest

from tests.storms.storm import run_seed

FIXED = range(40)
FRESH = [secrets.randbelow(1_000_000_000) for _ in range(20)]


@pytest.mark.parametrize("seed", [*FIXED, *FRESH])
def test_every_promise_holds_in_the_storm(seed: int) -> None:
    storm, broken = run_seed(seed)
    assert not broken, "\n".join([f"seed {seed}", *broken, *storm.acts])
