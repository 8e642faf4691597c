"""The clock that counts while the machine is suspended."""

from __future__ import annotations

import time

import pytest

from fleet.client.clock import Clock, boottime


@pytest.mark.row(22)
def test_boot_time_is_the_systems_that_goes_on_in_suspend_where_it_tells() -> None:
    which = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    assert time.clock_gettime(which) <= boottime() <= time.clock_gettime(which)


@pytest.mark.row(22)
def test_boot_time_is_monotonic_time_unless_a_clock_tells_it() -> None:
    assert Clock(lambda: 1.0, lambda: 2.0).boottime() == 1.0
    assert Clock(lambda: 1.0, lambda: 2.0, lambda: 3.0).boottime() == 3.0
