"""The newest times that looks have shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fleet.core.changing.sight import Sight, mark
from fleet.core.notebook import Lease, Status

TIMES = st.integers(0, 3)
LEASES = st.none() | st.builds(Lease, st.booleans(), create_at=TIMES, update_at=TIMES)


@given(LEASES, TIMES, st.tuples(TIMES, TIMES))
def test_a_mark_never_goes_back(lease: Lease | None, update_at: int, before: tuple[int, int]) -> None:
    times = () if lease is None else (lease.create_at, lease.update_at)
    found = mark(Sight(Status.RUNNING, lease=lease, update_at=update_at), before)
    assert found == (max(before[0], *times, 0), max(before[1], update_at))
