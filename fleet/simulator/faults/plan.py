"""The faults of one cloud, asked at the right moments, with how often each has struck.

Seeded: the same faults, the same seed and the same order of requests give the same strokes.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from functools import partial
from random import Random

from fleet.simulator.faults.credentials import OfInstants, SkewedClock
from fleet.simulator.faults.notebooks import OfNotebooks, OfPassages, SoldOut
from fleet.simulator.faults.occasions import CLEAR, Deed, Occasion, OfCalls, Scene, Striking, Timed, Verdict
from fleet.simulator.routing import Operation
from fleet.simulator.states import Status
from fleet.simulator.world import Notebook, Passage

_LED_BY = {
    Status.INIT: (Operation.CREATE_NOTEBOOK, "POST"),
    Status.CREATING: (Operation.CREATE_NOTEBOOK, "POST"),
    Status.STARTING: (Operation.START_NOTEBOOK, "POST"),
    Status.STOPPING: (Operation.STOP_NOTEBOOK, "POST"),
    Status.SNAPSHOTTING: (Operation.CREATE_IMAGE, "POST"),
    Status.DELETING: (Operation.DELETE_NOTEBOOK, "DELETE"),
}


class FaultPlan:
    """What goes wrong in a cloud that was made at the wall second ``started_at``."""

    def __init__(self, faults: Sequence[Timed | OfInstants], seed: int, started_at: float) -> None:
        self._seed = seed
        self._started_at = started_at
        self._struck: Counter[int] = Counter()
        self._tried: Counter[int] = Counter()
        self._calls_seen: Counter[tuple[int, str]] = Counter()
        self._timeline: list[tuple[float, int, Deed]] = []
        self._serial = 0
        numbered = tuple(enumerate(faults))
        self._of_calls = tuple((index, one) for index, one in numbered if isinstance(one, OfCalls))
        self._of_passages = tuple((index, one) for index, one in numbered if isinstance(one, OfPassages))
        self._of_clocks = tuple((index, one) for index, one in numbered if isinstance(one, SkewedClock))
        self._sold_out = tuple(one for one in faults if isinstance(one, SoldOut))
        of_notebooks = tuple((index, one) for index, one in numbered if isinstance(one, OfNotebooks))
        self._after_calls = tuple((index, one) for index, one in of_notebooks if one.call is not None)
        for index, one in of_notebooks:
            if one.call is None:
                self.later(started_at + one.after, partial(self._befall_all, index, one))
        for instants in faults:
            if isinstance(instants, OfInstants):
                for age, deed in instants.timetable():
                    self.later(started_at + age, deed)

    @property
    def strikes_calls(self) -> bool:
        """Need this plan be asked about calls at all?"""
        return bool(self._of_calls or self._of_clocks or self._after_calls)

    def verdict(self, occasion: Occasion, now: float) -> Verdict:
        """What happens to a call."""
        verdict = CLEAR
        for index, fault in self._of_calls:
            draw = self._stroke(index, fault, occasion, now)
            if draw is not None:
                verdict = fault.bend(verdict, draw)
        return verdict

    def skew(self, occasion: Occasion, now: float) -> float:
        """How many seconds the gateway's clock is ahead for a call."""
        return sum(
            fault.seconds
            for index, fault in self._of_clocks
            if self._stroke(index, fault, occasion, now) is not None
        )

    def passing(self, notebook: Notebook, passage: Passage, now: float) -> Passage:
        """How the notebook's way through its transitional status goes."""
        occasion = Occasion(*_LED_BY[notebook.status], notebook)
        for index, fault in self._of_passages:
            if self._stroke(index, fault, occasion, now) is not None:
                passage = fault.bend_passage(passage)
        return passage

    def sold_out(self, flavor: str, now: float) -> bool:
        age = now - self._started_at
        return any(fault.holds(age) and fault.empties(flavor) for fault in self._sold_out)

    def called(self, occasion: Occasion, now: float) -> None:
        """Take note of a client's call that was carried out: something may come of it."""
        notebook = occasion.notebook
        if notebook is None:
            return
        for index, fault in self._after_calls:
            if not self._holds(fault, occasion, now):
                continue
            seen = self._calls_seen
            seen[index, notebook.id] += 1
            if seen[index, notebook.id] == fault.call and self._draw(index, fault) is not None:
                self.later(now + fault.wait, partial(_befall, fault, notebook))

    def later(self, due: float, deed: Deed) -> None:
        """Have something happen at the wall second ``due``."""
        self._serial += 1
        heapq.heappush(self._timeline, (due, self._serial, deed))

    def pop_due(self, now: float) -> tuple[float, Deed] | None:
        """The earliest happening that is due by ``now``, with its instant, if any."""
        if not self._timeline or self._timeline[0][0] > now:
            return None
        due, _, deed = heapq.heappop(self._timeline)
        return due, deed

    def _befall_all(self, index: int, fault: OfNotebooks, scene: Scene, now: float) -> None:
        for notebook in list(scene.world.notebooks.values()):
            if fault.match.names(notebook) and self._draw(index, fault) is not None:
                fault.befall(scene, notebook, now)

    def _stroke(self, index: int, fault: Striking, occasion: Occasion, now: float) -> Random | None:
        """The draw with which the fault strikes here, or None when it does not."""
        return self._draw(index, fault) if self._holds(fault, occasion, now) else None

    def _holds(self, fault: Striking, occasion: Occasion, now: float) -> bool:
        return fault.holds(now - self._started_at) and fault.concerns(occasion)

    def _draw(self, index: int, fault: Striking) -> Random | None:
        """Within ``times`` and by ``probability``."""
        if fault.times is not None and self._struck[index] >= fault.times:
            return None
        self._tried[index] += 1
        draw = Random(f"{self._seed}/fault/{index}/{self._tried[index]}")
        if draw.random() >= fault.probability:
            return None
        self._struck[index] += 1
        return draw


def _befall(fault: OfNotebooks, notebook: Notebook, scene: Scene, now: float) -> None:
    fault.befall(scene, notebook, now)
