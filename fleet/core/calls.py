"""What the engine gets back from calls to the cloud, and the turn it waits for before a write."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum

import msgspec

from fleet.core.notebook import Notebook


class Rank(IntEnum):
    """Whose request goes first where requests have to wait: notebooks come home before others leave."""

    AWAY = 0  # for a notebook that is stopped and not started yet
    UNDER_WAY = 1  # for any other to which something was sent
    NEW = 2  # for one to which nothing was sent: it would only add to what is to be brought home


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """An accepted write. `sends` counts the requests it took, refused ones included."""

    status: int
    request_id: str
    sends: int = 1


class Reading(msgspec.Struct, frozen=True):
    """An answered read of one notebook."""

    notebook: Notebook
    request_id: str
    sends: int = 1


class SavedImage(msgspec.Struct, frozen=True, gc=False):
    """The status of an image that was asked for by name; empty when there is none of that name.

    `touched_at` is when it was made or changed last, in wall ms of the cloud.
    """

    status: str = ""
    touched_at: int = 0
    sends: int = 0


def _never() -> bool:
    return False


class Turn(msgspec.Struct, frozen=True):
    """A place in the write queue: the monotonic instants (s) from which and until which the write may leave.

    Later, what was looked at before the write would be old. `held` is asked right before the bytes leave:
    whether somebody has paused or ended the run, so that nothing may begin.
    """

    at: float
    until: float = math.inf
    rank: Rank = Rank.NEW
    held: Callable[[], bool] = _never
