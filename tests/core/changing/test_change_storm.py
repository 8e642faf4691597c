"""Whatever the weather, a change keeps its promises: a small model of one notebook, and many seeds.

The model is the judge. It knows who started and stopped the notebook, which writes it applied and what every
look showed; the promises are checked against that, never against what the change says of itself.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from fleet.core.changing.change import Await, End, Look, Write, advance, decide
from fleet.core.changing.life import HOUR_MS, LEASE_TOLERANCE_MS, Life
from fleet.core.changing.sight import Sight
from fleet.core.errors import Meaning
from fleet.core.events import (
    Answered,
    Blind,
    ChangeEvent,
    Fate,
    Intended,
    Late,
    Outcome,
    Reopened,
    Saw,
    Step,
)
from fleet.core.notebook import Lease, LeaseType, Status
from fleet.core.patch import When, readable
from fleet.core.planning.plan import Change, Phase
from tests.plans import make_change

NOW = 1_750_000_000.0
DEADLINE = 1800.0
POLL = 15.0
MOST_MOVES = 500
SEEDS = 120
RUNNING, STOPPED, START_FAILED = Status.RUNNING, Status.STOPPED, Status.START_FAILED
STARTABLE = (STOPPED, START_FAILED)

IMAGE = {"image_id": "new-image", "flavor": "new-flavor"}
NAME = {"name": "new-name"}
SIZE = {"storage_new_size": 80}
HOOKS = {"hooks": {"container_hooks": {"pre_start": {"script": "/a", "type": "SCRIPT"}}}}
BEFORE = {"image_id": "old-image", "flavor": "old-flavor", "name": "old-name", "storage_new_size": 50}
PERSONS = {"image_id": "a person's image", "name": "a-persons-name", "storage_new_size": 60}
LEASES = {
    "timing": Lease(enable=True, create_at=int(NOW * 1000) - HOUR_MS, duration=5 * HOUR_MS),
    "off": Lease(enable=False),
    "idle": Lease(enable=True, type=LeaseType.IDLE, create_at=0, duration=2 * HOUR_MS),
}


@dataclass(frozen=True)
class Weather:
    """How many things go wrong at most, and which: faults of writes, acts of persons, faults of the cloud."""

    most: int
    faults: tuple[str, ...] = ()
    acts: tuple[str, ...] = ()
    cloud: tuple[str, ...] = ()
    crashes: tuple[str, ...] = ()


LOSSES = ("lost before", "lost after", "lost, applied later")
REFUSALS = ("busy", "unreachable", "state", "forbidden", "sold out", "duration")
ACTS = ("stop", "start", "restart", "edit", "delete", "snapshot", "extend")
CLOUD = ("start fails", "save fails", "stuck", "freeze", "blind", "stale poll")

FAIR = Weather(0)
LOSSY = Weather(2, faults=LOSSES)
CROWDED = Weather(4, faults=LOSSES, acts=ACTS)
STORM = Weather(8, faults=LOSSES + REFUSALS, acts=ACTS, cloud=CLOUD)
CRASHES = Weather(6, faults=LOSSES, acts=ACTS, cloud=CLOUD, crashes=("crash",))
BROKEN = Weather(6, faults=REFUSALS, cloud=CLOUD)
HEIRS = Weather(3, faults=LOSSES, crashes=("another finishes it",) * 2)
WEATHERS = {"storm": STORM, "crowded": CROWDED, "broken": BROKEN, "crashes": CRASHES}


class Model:
    """One notebook in the cloud, with everything that may happen to it."""

    def __init__(self, change: Change, weather: Weather, seed: int) -> None:
        self.random = random.Random(seed)
        self.change = change
        self.weather = Weather(  # a few kinds at a time meet more often than all of them together
            weather.most,
            *(
                tuple(kind for kind in kinds if self.random.random() < 0.4)
                for kinds in (weather.faults, weather.acts, weather.cloud, weather.crashes)
            ),
        )
        self.trouble = self.random.randint(0, weather.most)
        self.strict = self.random.random() < 0.5  # every field wants a stopped notebook
        self.now = NOW
        self.status = change.run_state
        self.values = dict(change.before)
        self.lease = change.lease or Lease(enable=False)
        self.update_at = 1
        self.mover = ""  # who called the last start or stop: "us", "person", "somebody" (or we), nobody
        self.called = ""  # our last start or stop that was not refused
        self.arrived = True  # and whether a look has shown what it brought about
        self.seen_running = False  # since our last start or stop, refused ones included
        self.settles_at = 0.0
        self.settles_as = self.status
        self.applies: list[tuple[int, Callable[[], object]]] = []
        self.shown: Sight | None = None
        self.shown_mover = ""
        self.must_look = False
        self.sends: Counter[str] = Counter()
        self.doubts: Counter[str] = Counter()
        self.saves = 0  # that left, as far as we can know
        self.has_put = False  # as far as we can know
        self.image = ""  # the status of the one that our save made
        self.finished = False  # by another run, after a crash of ours
        self.row = self._sight()

    # --- what goes wrong ---

    def strikes(self, kinds: tuple[str, ...], chance: float = 0.35) -> str:
        if not kinds or self.trouble <= 0 or self.random.random() > chance:
            return ""
        self.trouble -= 1
        return self.random.choice(kinds)

    def somebody_acts(self) -> None:
        act = self.strikes(self.weather.acts, 0.2)
        match act:
            case "stop" if self.status is RUNNING:
                self._begin(Status.STOPPING, STOPPED, self._person(STOPPED))
            case "start" if self.status in STARTABLE:
                self._begin(Status.STARTING, RUNNING, self._person(RUNNING))
                self._new_lease(HOUR_MS, LeaseType.TIMING)
            case "restart" if self.status is RUNNING and self.called != Step.START:
                self.mover = "person" if self.called else "somebody"
                self._new_lease(HOUR_MS, LeaseType.TIMING)
            case "extend" if self.status is RUNNING:
                self._new_lease(10 * HOUR_MS, LeaseType.TIMING)
            case "edit":
                names = [name for name in self.values if name in PERSONS]
                self.values.update({name: PERSONS[name] for name in names[:1]})
            case "delete":
                self.status, self.mover = Status.DELETED, "person"
            case "snapshot" if self.status is RUNNING:
                self._begin(Status.SNAPSHOTTING, RUNNING, self.mover)
            case _:
                return
        self.update_at += 1
        self.applies.clear()

    def _person(self, state: Status) -> str:
        """Nobody can tell a person's call from ours before a look has shown what ours brought about.

        Before our first one, a call that leads to the planned state is no meddling.
        """
        told = self.arrived and (state is RUNNING or self.seen_running)
        return "person" if told and (self.called or state is not self.change.run_state) else "somebody"

    def _begin(self, passing: Status, then: Status, mover: str) -> None:
        stuck = passing is not Status.SNAPSHOTTING and self.strikes(self.weather.cloud, 0.1) == "stuck"
        self.status, self.settles_as, self.mover = passing, then, mover
        self.settles_at = self.now + (1e9 if stuck else self.random.uniform(1, 90))

    def _new_lease(self, duration: int, kind: LeaseType) -> None:
        on = duration > 0
        self.lease = Lease(on, kind, int(self.now * 1000), duration if on else 0, self.update_at)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        if self.status.heading is not None and self.now >= self.settles_at:
            failed = self.status is Status.STARTING and self.strikes(self.weather.cloud) == "start fails"
            self.status = START_FAILED if failed else self.settles_as
            if self.image == "CREATING":
                broken = self.strikes(self.weather.cloud) == "save fails"
                self.image = "CREATE_FAILED" if broken else "ACTIVE"
        if self.strikes(self.weather.cloud, 0.03) == "freeze" and self.status is not Status.DELETED:
            self.status = Status.FROZEN

    def crash(self, step: Step | None = None) -> Reopened | None:
        """A crash here loses whatever was not recorded; a new process goes on."""
        crash = self.strikes(self.weather.crashes, 0.1)
        if not crash:
            return None
        self.must_look = True
        self.has_put |= step is Step.PUT
        self.saves += step is Step.SAVE
        if step in (Step.STOP, Step.START):
            self.called, self.arrived, self.seen_running = step, False, False
        self.pass_time(self.random.uniform(1, 600))
        if crash == "another finishes it":
            self._finish()
        self.somebody_acts()
        return Reopened(0, self.now)

    def _finish(self) -> None:
        """Another run changes the notebook as planned, and brings it home."""
        self.values = {name: self.change.after.get(name, value) for name, value in self.values.items()}
        self.status, self.mover, self.finished = self.change.run_state, "person", True
        if self.lease.enable:
            self._new_lease(HOUR_MS, LeaseType.TIMING)
        self.update_at += 1
        self.applies.clear()

    # --- looks ---

    def _sight(self) -> Sight:
        left = self.lease.left(int(self.now * 1000)) if self.lease.enable else None
        shown = {name: value for name, value in self.values.items() if readable(name)}
        return Sight(self.status, shown, self.lease, left, self.update_at, saved=self.image)

    def _show(self, sight: Sight, mover: str) -> Saw:
        self.shown, self.shown_mover, self.must_look = sight, mover, False
        self.seen_running |= sight.status is RUNNING
        self.arrived |= sight.status is (RUNNING if self.called == Step.START else STOPPED)
        return Saw(0, self.now, sight)

    def look(self, wait: float) -> Saw | Blind:
        self.pass_time(wait + 0.2)
        self.somebody_acts()
        due, self.applies = self.applies, [(count - 1, apply) for count, apply in self.applies if count]
        for count, apply in due:
            if not count:
                apply()
        if self.strikes(self.weather.cloud, 0.02) == "blind":
            return Blind(0, self.now, Meaning.FORBIDDEN, "no look allowed")
        return self._show(self._sight(), self.mover)

    def wait(self, status: Status, time_up: float) -> Saw | None:
        while self.now + POLL < time_up:
            before, mover = self.row, self.mover
            self.pass_time(POLL)
            self.somebody_acts()
            self.row = self._sight()
            stale = self.strikes(self.weather.cloud, 0.1) == "stale poll"
            seen = before if stale else self.row
            if seen.status is not status:
                return self._show(seen, mover if stale else self.mover)
        return None

    # --- writes ---

    def send(self, write: Write) -> Answered:
        self._must_be_justified(write)
        arrived, moves = self.arrived, write.step in (Step.STOP, Step.START)
        self.arrived, self.seen_running = arrived and not moves, self.seen_running and not moves
        self.pass_time(0.2)
        self.somebody_acts()
        kind = f"{write.step} {sorted(write.body)}"
        self.sends[kind] += 1
        fault = self.strikes(self.weather.faults)
        self.doubts[kind] += bool(fault)
        answer = self._refusal(fault, write) if fault in REFUSALS else None
        if answer is None:
            answer = self._take(fault, write)
        self.has_put |= write.step is Step.PUT and answer.fate is not Fate.REFUSED
        self.must_look = answer.fate is Fate.IN_DOUBT or answer.meaning in (
            Meaning.BUSY,
            Meaning.WRONG_STATE,
            Meaning.UNREACHABLE,
        )
        self.saves += write.step is Step.SAVE and answer.meaning is not Meaning.UNREACHABLE
        if moves and answer.fate is not Fate.REFUSED:
            self.called = write.step
        else:
            self.arrived = arrived
        return answer

    def _must_be_justified(self, write: Write) -> None:
        assert self.shown is not None, "a write without a look"
        assert not self.must_look, f"{write.step} sent again without a look"
        status, values = self.shown.status, self.shown.values
        assert self.change.may_restart or write.step in (Step.PUT, Step.LEASE), "a restart nobody allowed"
        match write.step:
            case Step.SAVE:
                assert status is RUNNING, f"save of a notebook shown as {status}"
                assert not self.saves, "saved twice"
                assert not self.called, "saved after a stop"
            case Step.STOP:
                assert status is RUNNING, f"stop of a notebook shown as {status}"
                owes_image = self.change.save and self.change.run_state is RUNNING
                assert not owes_image or self.image == "ACTIVE", "stopped without an image"
                assert not (self.called and self.shown_mover == "person"), "stopped what a person started"
            case Step.START:
                assert status in STARTABLE, f"start of a notebook shown as {status}"
                assert self.shown_mover != "person" or status is START_FAILED, "started what a person stopped"
            case Step.PUT:
                names = [name for name in write.body if readable(name)]
                assert status in (RUNNING, *STARTABLE)
                assert not names or any(values[name] != write.body[name] for name in names), "shown already"
                assert not set(values.values()) & set(PERSONS.values()), "over a third value"
            case _:
                assert status is RUNNING
                assert not self._is_longer(self.shown, write.body["duration"]), "over a longer lease"

    def _is_longer(self, sight: Sight, duration: int) -> bool:
        """Whether the lease that is shown lasts longer than one of `duration` ms, -1 being none."""
        return duration > 0 and (sight.left is None or sight.left > duration + LEASE_TOLERANCE_MS)

    def _refusal(self, fault: str, write: Write) -> Answered | None:
        meaning, code = {
            "busy": (Meaning.BUSY, "ModelArts.6357"),
            "unreachable": (Meaning.UNREACHABLE, ""),
            "state": (Meaning.WRONG_STATE, "ModelArts.6347"),
            "forbidden": (Meaning.FORBIDDEN, "ModelArts.0112"),
            "sold out": (Meaning.SOLD_OUT, "ModelArts.6329"),
            "duration": (Meaning.INVALID, "ModelArts.6349"),
        }[fault]
        if fault in ("sold out", "duration") and write.step is not Step.START:
            return None
        return self._answer(write, Fate.REFUSED, meaning, code)

    def _answer(self, write: Write, fate: Fate, meaning: Meaning | None = None, code: str = "") -> Answered:
        return Answered(0, self.now, write.step, fate, meaning=meaning, code=code)

    def _take(self, fault: str, write: Write) -> Answered:
        if fault == "lost before":
            return self._answer(write, Fate.IN_DOUBT, Meaning.LOST)
        if fault == "lost, applied later":
            self.applies.append((self.random.randint(0, 1), lambda: self._apply(write)))
            return self._answer(write, Fate.IN_DOUBT, Meaning.LOST)
        refused = self._apply(write)
        if fault == "lost after":
            return self._answer(write, Fate.IN_DOUBT, Meaning.LOST)
        if refused is not None:
            return self._answer(write, Fate.REFUSED, *refused)
        return self._answer(write, Fate.ACCEPTED)

    def _apply(self, write: Write) -> tuple[Meaning, str] | None:
        if self.status is Status.DELETED:
            return Meaning.GONE, "ModelArts.6309"
        if self.status is Status.FROZEN:
            return Meaning.FROZEN, "ModelArts.6326"
        match write.step:
            case Step.SAVE if self.status is RUNNING:
                self._begin(Status.SNAPSHOTTING, RUNNING, self.mover)
                self.image = "CREATING"
            case Step.STOP if self.status is RUNNING:
                self._begin(Status.STOPPING, STOPPED, "us")
            case Step.START if self.status in STARTABLE:
                self._begin(Status.STARTING, RUNNING, "us")
                self._new_lease(write.body["duration"], LeaseType(write.body.get("type", "TIMING")))
            case Step.LEASE if self.status is RUNNING:
                self._new_lease(write.body["duration"], LeaseType(write.body.get("type", "TIMING")))
            case Step.PUT if self.status in (RUNNING, *STARTABLE):
                if not self._allowed(write.body):
                    return Meaning.WRONG_STATE, "ModelArts.6347"
                self.values.update(write.body)
            case _:
                return Meaning.BUSY, "ModelArts.6357"
        self.update_at += 1
        return None

    def _allowed(self, body: Mapping[str, Any]) -> bool:
        if self.strict:
            return self.status is not RUNNING
        stopped = {"image_id", "flavor", "hooks"} & body.keys()
        running = {"storage_new_size"} & body.keys()
        return not (stopped if self.status is RUNNING else running)


def perform(change: Change, model: Model) -> Life:
    """Walks a change to its end as the engine would. The model's clock decides when it is late."""
    life, time_up = Life.begin(change), NOW + DEADLINE
    for _ in range(MOST_MOVES):
        event: ChangeEvent | None
        match decide(life):
            case End():
                return life
            case Write() as write:
                intent = Intended(0, model.now, write.step, life.tried(write.step) + 1, write.body)
                life = advance(life, intent)
                assert not isinstance(decide(life), Write), "two writes at once"
                event = model.crash(write.step) or model.send(write)
                event = model.crash(write.step) or event
            case Look(wait):
                event = model.crash() or (model.look(wait) if model.now + wait < time_up else None)
            case Await(status):
                event = model.crash() or model.wait(status, time_up)
        if event is None:
            model.now = max(model.now, time_up)
            time_up = model.now + DEADLINE
            event = Late(0, model.now)
        life = advance(life, event)
    raise AssertionError(f"does not end: {life}")


# --- the plans --------------------------------------------------------------------------------------------


def plan(
    run_state: Status, *phases: Phase, lease: str = "timing", may_restart: bool = True, save: str = ""
) -> Change:
    after = {name: value for phase in phases for name, value in phase.body.items()}
    return make_change(
        run_state=run_state,
        may_restart=may_restart,
        phases=phases,
        before={name: BEFORE[name] for name in after if readable(name)},
        after=after,
        lease=LEASES[lease],
        save=save,
    )


SAVE = "lab/before-nb-0"
STOPPED_PUT, RUNNING_PUT = Phase(When.STOPPED, {**IMAGE, **NAME}), Phase(When.RUNNING, SIZE)
PLANS = {
    "migrate a running one": plan(RUNNING, Phase(When.STOPPED, IMAGE)),
    "migrate one without auto stop": plan(RUNNING, Phase(When.STOPPED, IMAGE), lease="off"),
    "migrate an idle-stopped one": plan(RUNNING, Phase(When.STOPPED, {**IMAGE, **HOOKS}), lease="idle"),
    "save and migrate a running one": plan(RUNNING, Phase(When.STOPPED, IMAGE), save=SAVE),
    "grow, save and migrate one": plan(RUNNING, RUNNING_PUT, STOPPED_PUT, save=SAVE),
    "migrate a stopped one": plan(STOPPED, Phase(When.STOPPED, IMAGE)),
    "grow and migrate a running one": plan(RUNNING, RUNNING_PUT, STOPPED_PUT),
    "migrate and grow a stopped one": plan(STOPPED, STOPPED_PUT, RUNNING_PUT),
    "grow a stopped one": plan(STOPPED, RUNNING_PUT),
    "hooks only": plan(RUNNING, Phase(When.STOPPED, HOOKS)),
    "rename without a restart": plan(RUNNING, Phase(When.ANY, NAME), may_restart=False),
    "rename": plan(RUNNING, Phase(When.ANY, NAME)),
}


def walks(weather: Weather, name: str, seeds: int = SEEDS) -> Iterator[tuple[int, Model, Life]]:
    change = PLANS[name]
    for seed in range(seeds):
        model = Model(change, weather, seed)
        try:
            life = perform(change, model)
        except AssertionError as error:
            error.add_note(f"plan {name!r}, seed {seed}")
            raise
        yield seed, model, life


def outcome_of(life: Life) -> Outcome:
    assert life.end is not None
    return life.end[0]


def runs(model: Model) -> bool:
    return model.status in (RUNNING, Status.SNAPSHOTTING)


def left_down(model: Model) -> bool:
    """Whether a notebook that ran is not running, and we were the last to call."""
    return model.change.run_state is RUNNING and not runs(model) and model.mover == "us"


def left_up(model: Model) -> bool:
    return model.change.run_state is STOPPED and model.status is RUNNING and model.mover == "us"


@pytest.mark.row(48)
@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("weather", WEATHERS.values(), ids=WEATHERS)
def test_every_promise_holds_in_any_weather(weather: Weather, name: str) -> None:
    for seed, model, life in walks(weather, name):
        outcome, said = outcome_of(life), f"seed {seed}: {life.end}, {model.status} by {model.mover!r}"
        shown = model.shown
        if outcome is Outcome.CHANGED:
            assert shown is not None, said
            theirs = shown.status is STOPPED and model.shown_mover == "person"  # once we had brought it back
            assert theirs or shown.status is model.change.run_state, said
            assert all(shown.values[key] == model.change.after[key] for key in shown.values), said
        if outcome in (Outcome.CHANGED, Outcome.UNCHANGED, Outcome.FAILED, Outcome.SKIPPED):
            assert not left_down(model), said
            assert not left_up(model), said
            assert not life.debt, said
            assert not life.fix, said
        if outcome in (Outcome.DRIFTED, Outcome.GONE):
            assert not life.fix, said
        if model.status not in (Status.DELETED, Status.FROZEN):
            assert life.debt or not left_down(model), said
        if outcome is not Outcome.UNKNOWN:
            assert not (life.debt and runs(model)), said
        assert life.fix.startswith("fleet start") == life.debt, said
        if left_up(model) and outcome is Outcome.STRANDED:
            assert life.fix.startswith("fleet stop"), said


@pytest.mark.row(48)
@pytest.mark.parametrize("name", [name for name, change in PLANS.items() if all(map(readable, change.after))])
def test_what_another_run_finished_after_a_crash_of_ours_is_as_planned(name: str) -> None:
    met = 0
    for seed, model, life in walks(HEIRS, name, 300):
        if model.finished:
            met += 1
            wanted = Outcome.CHANGED if model.has_put else Outcome.UNCHANGED
            assert (outcome_of(life), life.debt) == (wanted, False), f"seed {seed}: {life.end}"
            assert model.status is model.change.run_state, f"seed {seed}"
    assert met > 20


@pytest.mark.row(11, 12)
@pytest.mark.parametrize("name", [name for name, change in PLANS.items() if not change.save])
def test_lost_answers_alone_cost_a_resend_at_most_and_never_the_change(name: str) -> None:
    for seed, model, life in walks(LOSSY, name, 400):
        hopeless = model.strict and not model.change.may_restart
        if not hopeless and max(model.doubts.values(), default=0) < 2:
            assert outcome_of(life) is Outcome.CHANGED, f"seed {seed}: {life.end}"
        for kind, sends in model.sends.items():
            refused = kind.startswith("put") and model.strict
            assert sends <= 1 + model.doubts[kind] + refused, f"seed {seed}: {kind} sent {sends} times"


@pytest.mark.parametrize("name", [name for name in PLANS if PLANS[name].may_restart])
def test_in_fair_weather_every_write_is_sent_once_and_the_lease_is_given_back(name: str) -> None:
    for seed, model, life in walks(FAIR, name, 50):
        assert outcome_of(life) is Outcome.CHANGED, f"seed {seed}: {life.end}"
        saved = (f"its environment was saved as {SAVE}",) if model.change.save else ()
        assert life.notes == saved, f"seed {seed}"
        for kind, sends in model.sends.items():
            assert sends <= 1 + (model.strict and kind.startswith("put")), f"seed {seed}: {kind}"
        before = model.change.lease
        if model.change.run_state is RUNNING and life.restarted and before is not None:
            assert (model.lease.enable, model.lease.type) == (before.enable, before.type)


def test_the_storm_reaches_every_outcome_of_a_change() -> None:
    seen = {outcome_of(life) for name in PLANS for _, _, life in walks(STORM, name, 120)}
    assert seen == set(Outcome) - {Outcome.NOT_STARTED, Outcome.UNCHANGED}
