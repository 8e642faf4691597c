"""What one look at a notebook shows of a change: its status, the planned fields, its lease."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fleet.core.notebook import Lease, Notebook, Status
from fleet.core.patch import read_field, readable


class Sight(msgspec.Struct, frozen=True, omit_defaults=True):
    """One look. `left` is the lease's time left in ms at the moment of the look, None when auto stop is off.

    `values` holds the planned fields in the form of the PUT body, those that the cloud shows. `saved` is the
    status of the image that its environment was saved as, where that was asked for and there is one.
    """

    status: Status
    values: Mapping[str, Any] = msgspec.field(default_factory=dict)
    lease: Lease | None = None
    left: int | None = None
    update_at: int = 0
    fail_reason: str = ""
    word: str = ""
    saved: str = ""

    @property
    def because(self) -> str:
        """Why it failed, in the cloud's words, as the end of a sentence; empty where it says nothing."""
        return f": {self.fail_reason}" if self.fail_reason else ""


GONE = Sight(Status.DELETED)


def sight_of(notebook: Notebook, fields: Iterable[str], now: int, saved: str = "") -> Sight:
    """The look that `notebook`, read at wall time `now` (ms), gives of the planned `fields`.

    The cloud's own clock is used for the lease where the answer carries it.
    """
    lease = notebook.lease
    at = notebook.current_time or now
    return Sight(
        status=notebook.status,
        values={name: read_field(notebook, name) for name in fields if readable(name)},
        lease=lease,
        left=lease.left(at) if lease is not None and lease.enable else None,
        update_at=notebook.update_at or (lease.update_at if lease is not None else 0),
        fail_reason=notebook.fail_reason,
        word=notebook.status_word or notebook.status._value_,
        saved=saved,
    )


def mark(sight: Sight, before: tuple[int, int]) -> tuple[int, int]:
    """The newest times of lease and update, of this look and of those before."""
    granted, updated = before
    lease, touched = sight.lease, sight.update_at
    if lease is not None and (lease.create_at > granted or lease.update_at > granted):
        granted = max(lease.create_at, lease.update_at)
    return granted, touched if touched > updated else updated
