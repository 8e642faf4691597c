"""Events as the journal keeps them: what is written is read again, under the word that journals know."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from fleet.core.changing.sight import Sight
from fleet.core.errors import Meaning
from fleet.core.events import (
    Answered,
    Began,
    Blind,
    Counted,
    Ended,
    Event,
    Fate,
    Held,
    Intended,
    Late,
    Leave,
    Noticed,
    Outcome,
    OutOfReach,
    Reopened,
    RunEnd,
    RunEnded,
    RunResumed,
    RunStarted,
    Saw,
    Slowed,
    Spent,
    Steered,
    Step,
    Used,
    WaveEnded,
    WaveStarted,
    dump_event,
    load_event,
)
from fleet.core.notebook import Lease, LeaseType, Status
from fleet.core.pacing.limits import Limit, Rate
from fleet.core.patch import When

SIGHT = Sight(Status.RUNNING, {"image_id": "x", "hooks": [1, {"a": None}]}, Lease(True, LeaseType.IDLE), 7)
KINDS: dict[str, Event] = {
    "began": Began(0, 1.5, {"name": When.STOPPED}, Leave.IDLE),
    "intended": Intended(0, 1.5, Step.PUT, 2, {"image_id": "x"}),
    "answered": Answered(0, 1.5, Step.STOP, Fate.REFUSED, Meaning.BUSY, "c", "t", 409, "r", 2),
    "saw": Saw(0, 1.5, SIGHT, "r", 2),
    "blind": Blind(0, 1.5, Meaning.UNREACHABLE, "t", 0),
    "late": Late(0, 1.5, "why", unrecorded=True),
    "ended": Ended(0, 1.5, Outcome.STRANDED, "why", debt=True, fix="fleet start"),
    "reopened": Reopened(0, 1.5, Leave.FORCED),
    "run-started": RunStarted(1.5, "run", "digest"),
    "run-resumed": RunResumed(1.5),
    "wave-started": WaveStarted(1.5, 1, 2),
    "wave-ended": WaveEnded(1.5, 1, go=False, reason="why"),
    "noticed": Noticed(1.5, 1, "ana"),
    "slowed": Slowed(1.5, "key", "t", Limit("user", 60, 60.0)),
    "counted": Counted(1.5, "key", "user", 60.0, 60, 58),
    "held": Held(1.5, "lab-a", "t"),
    "out-of-reach": OutOfReach(1.5, "host", "t", 1.0),
    "used": Used(1.5, {0: "idle", 7: "busy"}),
    "steered": Steered(1.5, "set to rate 5/s", {"lab-a": Rate(5, 1.0)}, {"a, reads": 9.5}),
    "spent": Spent(1.5, "lab-a", {"get": 3}),
    "run-ended": RunEnded(1.5, RunEnd.LOCKED_OUT, "why"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_is_written_under_its_word_and_read_again(kind: str) -> None:
    event = KINDS[kind]
    assert (event.kind, json.loads(dump_event(event))["kind"]) == (kind, kind)
    assert load_event(dump_event(event)) == event


def test_every_event_has_a_word() -> None:
    assert {type(event) for event in KINDS.values()} == {*get_args(Event)}


def test_what_was_steered_by_an_earlier_version_is_read_without_its_rates() -> None:
    written = b'{"kind":"steered","at":1.5,"what":"set to rate 5/s"}'
    assert load_event(written) == Steered(1.5, "set to rate 5/s")
    assert dump_event(load_event(written)) == written


def test_what_is_as_by_default_is_not_written() -> None:
    assert dump_event(Ended(3, 1.5, Outcome.CHANGED)) == (
        b'{"kind":"ended","item":3,"at":1.5,"outcome":"changed"}'
    )


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"kind":"unheard-of","at":1.5}',
        b'{"item":0,"at":1.5}',
        b'{"kind":"ended","item":0,"at":1.5}',
        b'{"kind":"ended","item":0,"at":1.5,"outcome":"splendid"}',
    ],
)
def test_anything_else_is_no_event(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the parser says
        load_event(text)
