"""Shared by the tests of a change's life: planned changes, and a walk through what may happen to one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from fleet.core.changing.change import Await, End, Look, Write, advance, decide
from fleet.core.changing.life import HOUR_MS, Life
from fleet.core.changing.sight import Sight
from fleet.core.errors import Meaning
from fleet.core.events import Answered, Began, Blind, Fate, Intended, Late, Saw, Step
from fleet.core.notebook import Lease, LeaseType, Status
from fleet.core.patch import When
from fleet.core.planning.plan import Change, Phase
from tests.plans import make_change

NOW = 1_750_000_000.0
OLD = {"image_id": "old-image", "flavor": "old-flavor"}
NEW = {"image_id": "new-image", "flavor": "new-flavor"}
LEASE = Lease(enable=True, create_at=int(NOW * 1000) - HOUR_MS, duration=5 * HOUR_MS, update_at=7)

ANSWERS: Mapping[str, tuple[Fate, Meaning | None, str]] = {
    "ok": (Fate.ACCEPTED, None, ""),
    "lost": (Fate.IN_DOUBT, Meaning.LOST, ""),
    "500": (Fate.IN_DOUBT, Meaning.SERVER, "ModelArts.0010"),
    "busy": (Fate.REFUSED, Meaning.BUSY, "ModelArts.6357"),
    "state": (Fate.REFUSED, Meaning.WRONG_STATE, "ModelArts.6347"),
    "sold-out": (Fate.REFUSED, Meaning.SOLD_OUT, "ModelArts.6329"),
    "quota": (Fate.REFUSED, Meaning.QUOTA, "ModelArts.0118"),
    "invalid": (Fate.REFUSED, Meaning.INVALID, "ModelArts.0107"),
    "duration": (Fate.REFUSED, Meaning.INVALID, "ModelArts.6349"),
    "forbidden": (Fate.REFUSED, Meaning.FORBIDDEN, "ModelArts.0112"),
    "throttled": (Fate.REFUSED, Meaning.THROTTLED, "APIGW.0308"),
    "unreachable": (Fate.REFUSED, Meaning.UNREACHABLE, ""),
    "gone": (Fate.REFUSED, Meaning.GONE, "ModelArts.6309"),
}
GRANTED = {"default": 1, "shortened": 2, "extended": 10}  # hours


def _planned(
    run_state: Status = Status.RUNNING,
    *phases: Phase,
    before: Mapping[str, Any] = OLD,
    lease: Lease | None = LEASE,
    arriving: bool = False,
    may_restart: bool = True,
    save: str = "",
) -> Change:
    """A change; the default migrates image and flavor of a running notebook in one PUT."""
    phases = phases or (Phase(When.STOPPED, NEW),)
    after = {name: value for phase in phases for name, value in phase.body.items()}
    return make_change(
        owner="ada",
        flavor="old-flavor",
        run_state=run_state,
        arriving=arriving,
        may_restart=may_restart,
        phases=phases,
        before={name: value for name, value in before.items() if name in after},
        after=after,
        lease=lease,
        save=save,
    )


class Walk:
    """One change on its way. Every call feeds words; a write or a look must be the one that is due.

    A write is "stop ok", "put lost", "start busy" and so on (see ANSWERS), or "stop unanswered" for an intent
    alone. A look is a status and how the planned fields look: "STOPPED", "STOPPED new", "RUNNING third",
    "RUNNING mixed"; they stay as they were until told otherwise. "restarted" after it shows a lease granted
    anew, "touched" a newer update time; "off" shows auto stop off, "default" the hour that a start without
    a duration gets, "shortened" and "extended" two and ten hours that somebody has just granted; "image:X"
    shows that status of the image that was saved. "late" and "blind" say themselves.
    Ten seconds pass with every word.
    """

    def __init__(self, change: Change, moved: Mapping[str, When] | None = None) -> None:
        self.change = change
        self.life = advance(Life.begin(change), Began(change.item, NOW, moved or {}))
        self.at = NOW
        self.lease = change.lease
        self.update_at = 7
        self.values = dict(change.before)

    def __call__(self, *words: str) -> Walk:
        for word in words:
            self._feed(word)
            self.at += 10.0
        return self

    def _feed(self, word: str) -> None:
        head, *tail = word.split()
        if head == "late":
            self.life = advance(self.life, Late(0, self.at))
        elif head == "blind":
            self.life = advance(self.life, Blind(0, self.at, Meaning.FORBIDDEN, "no look allowed"))
        elif head in list(Step):
            self._write(Step(head), tail[0])
        else:
            self._look(Status(head), tail)

    def _write(self, step: Step, answer: str) -> None:
        write = decide(self.life)
        assert isinstance(write, Write), f"{step} is not due: {self.move}"
        assert write.step is step, f"{step} is not due: {self.move}"
        attempt = self.life.tried(step) + 1
        self.life = advance(self.life, Intended(0, self.at, step, attempt, write.body))
        assert not isinstance(decide(self.life), Write), "a second write while one is under way"
        if answer != "unanswered":
            fate, meaning, code = ANSWERS[answer]
            text = "" if fate is Fate.ACCEPTED else answer
            answered = Answered(0, self.at, step, fate, meaning=meaning, code=code, text=text)
            self.life = advance(self.life, answered)
        if step in (Step.START, Step.LEASE) and answer == "ok":
            self.grant(write.body)

    def grant(self, query: Mapping[str, Any]) -> None:
        """Lets the cloud grant a lease by the query of a start."""
        duration, now = query["duration"], int(self.at * 1000)
        kind = LeaseType(query.get("type", LeaseType.TIMING))
        self.lease = Lease(duration > 0, kind, now, max(duration, 0), now)

    def looks_before_write(self, word: str) -> None:
        """Feeds a look although a write is due."""
        assert isinstance(decide(self.life), Write), f"no write is due: {self.move}"
        head, *tail = word.split()
        self._show(Status(head), tail)
        self.at += 10.0

    def _look(self, status: Status, words: list[str]) -> None:
        assert isinstance(decide(self.life), Look | Await), f"a look is not due: {self.move}"
        self._show(status, words)

    def _show(self, status: Status, words: list[str]) -> None:
        before, after, saved = self.change.before, self.change.after, ""
        for word in words:
            match word:
                case "old":
                    self.values = dict(before)
                case "new":
                    self.values = {**before, **after}
                case "mixed":
                    self.values = {**before, "image_id": after["image_id"]}
                case "third":
                    self.values = {**before, "image_id": "somebody's image"}
                case "restarted":
                    assert self.lease is not None
                    self.lease = replace(self.lease, update_at=int(self.at * 1000))
                case "touched":
                    self.update_at += 1
                case "off":
                    self.lease = Lease(enable=False)
                case "default" | "shortened" | "extended":
                    self.grant({"duration": GRANTED[word] * HOUR_MS})
                case image if image.startswith("image:"):
                    saved = image.removeprefix("image:")
                case other:
                    raise ValueError(other)
        why = "why it failed"
        self.saw(Sight(status, self.values, self.lease, self._left(), self.update_at, why, saved=saved))

    def _left(self) -> int | None:
        if self.lease is None or not self.lease.enable:
            return None
        return self.lease.left(int(self.at * 1000))

    def saw(self, sight: Sight) -> None:
        """Feeds one look as it is."""
        self.life = advance(self.life, Saw(0, self.at, sight))

    @property
    def move(self) -> str:
        """What is due, in words: "stop", "put", "look", "look 10", "await", "end drifted"."""
        match decide(self.life):
            case Write(step):
                return str(step)
            case Look(wait):
                return f"look {wait:g}" if wait else "look"
            case Await():
                return "await"
            case End(outcome):
                return f"end {outcome}"

    @property
    def end(self) -> End:
        """The end that was reached."""
        end = decide(self.life)
        assert isinstance(end, End), self.move
        return end

    @property
    def body(self) -> dict[str, Any]:
        """Body or query of the write that is due."""
        write = decide(self.life)
        assert isinstance(write, Write), self.move
        return dict(write.body)


@pytest.fixture
def planned() -> Callable[..., Change]:
    return _planned


@pytest.fixture
def walk() -> Callable[..., Walk]:
    return Walk
