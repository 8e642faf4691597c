"""A fixed set of storms and some fresh ones. What breaks a promise is told with the command to repeat it."""

from __future__ import annotations

import secrets

import pytest

from tests.storms.storm import again, run_seed


def _weather_holds(seed: int) -> None:
    storm, broken = run_seed(seed)
    assert not broken, "\n".join([again(seed), *broken, *storm.acts])


@pytest.mark.parametrize("seed", range(25))
def test_every_promise_holds_in_the_storms_that_we_know(seed: int) -> None:
    _weather_holds(seed)


@pytest.mark.parametrize("storm", range(10))
def test_every_promise_holds_in_fresh_storms(storm: int) -> None:
    _weather_holds(secrets.randbelow(1_000_000_000))
