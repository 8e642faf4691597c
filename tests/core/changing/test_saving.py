"""The environment is saved as an image before the first stop: what every answer and every status means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleet.core.changing.change import Await, advance, decide
from fleet.core.changing.life import LOOKS, Life, Saving, Stage
from fleet.core.events import Ended, Late, Outcome, Reopened, Step
from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.planning.plan import Change, Phase
from tests.plans import make_change

Walking = Callable[..., Any]

SAVE = "lab/before-nb-0"
GROW, SIZE = Phase(When.RUNNING, {"storage_new_size": 80}), {"storage_new_size": 50}
IMAGE = Phase(When.STOPPED, {"image_id": "new-image"})

SAVED = ("RUNNING", "save ok", "RUNNING image:ACTIVE")
HOME = ("STOPPED", "put ok", "STOPPED new", "start ok", "RUNNING")
NOTE = f"its environment was saved as {SAVE}"
COULD_NOT = "the environment could not be saved: {}; nothing was stopped"


@pytest.fixture
def saving(planned: Callable[..., Change]) -> Callable[..., Change]:
    """A change of a running notebook that is saved first."""

    def make(*phases: Phase, **fields: Any) -> Change:
        return planned(fields.pop("run_state", Status.RUNNING), *phases, save=SAVE, **fields)

    return make


def test_a_running_notebook_is_saved_once_before_its_first_stop(
    saving: Callable[..., Change], walk: Walking
) -> None:
    walked = walk(saving())("RUNNING")
    assert (walked.move, walked.body) == ("save", {"name": "before-nb-0", "namespace": "lab"})
    walked("save ok")
    assert decide(walked.life) == Await(Status.SNAPSHOTTING)
    walked("SNAPSHOTTING", "RUNNING image:ACTIVE")
    assert (walked.move, walked.life.debt) == ("stop", False)
    walked("stop ok", *HOME)
    assert (walked.end.outcome, walked.end.reason) == (Outcome.CHANGED, NOTE)
    assert walked.life.tried(Step.SAVE) == 1


def test_a_stopped_notebook_is_never_saved_also_when_it_has_to_run_for_a_put(
    saving: Callable[..., Change], walk: Walking
) -> None:
    assert walk(saving(run_state=Status.STOPPED))("STOPPED").move == "put"
    walked = walk(saving(GROW, run_state=Status.STOPPED, before=SIZE))
    walked("STOPPED", "start ok", "RUNNING", "put ok", "RUNNING new")
    assert walked.move == "stop"


def test_what_can_be_sent_while_it_runs_goes_before_the_save(
    saving: Callable[..., Change], walk: Walking
) -> None:
    walked = walk(saving(GROW, IMAGE, before={"image_id": "old-image", **SIZE}))("RUNNING", "put ok")
    walked.values.update(GROW.body)
    assert walked("RUNNING").move == "save"


LOST = ("RUNNING", "save lost")
SENT = {
    "accepted": ("RUNNING", "save ok"),
    "seen": ("RUNNING", "save ok", "SNAPSHOTTING"),
    "lost": LOST,
    "unanswered": ("RUNNING", "save unanswered", "dies"),
}

# What a look shows after the save was sent, and what is to be done: the same wherever the save stands.
SHOWN = [
    ("RUNNING image:ACTIVE", "stop"),
    ("RUNNING image:CREATING", "look 10"),
    ("RUNNING image:INIT", "look 10"),
    ("RUNNING image:CREATE_FAILED", "end failed"),
    ("RUNNING image:ERROR", "end failed"),
    ("RUNNING image:DELETED", "end failed"),
    ("RUNNING", "look 10"),
    ("RUNNING third image:ACTIVE", "end drifted"),
    ("RUNNING mixed image:ACTIVE", "end drifted"),
    ("RUNNING new", "end unchanged"),
    ("SNAPSHOTTING", "await"),
    ("STOPPED", "end drifted"),
    ("STOPPING", "look 10"),
    ("STARTING", "look 10"),
    ("INIT", "look 10"),
    ("CREATING", "look 10"),
    ("?", "look 10"),
    ("START_FAILED", "end failed"),
    ("CREATE_FAILED", "end failed"),
    ("DELETE_FAILED", "end failed"),
    ("ERROR", "end failed"),
    ("FROZEN", "end failed"),
    ("DELETING", "end gone"),
    ("DELETED", "end gone"),
]


def walk_to(walk: Walking, change: Change, way: tuple[str, ...]) -> Any:
    walked = walk(change)
    for word in way:
        if word == "dies":
            walked.life = advance(walked.life, Reopened(0, walked.at))
        else:
            walked(word)
    return walked


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
@pytest.mark.parametrize(("shown", "then"), SHOWN)
def test_what_a_look_shows_after_a_save_decides_what_follows(
    saving: Callable[..., Change], walk: Walking, sent: tuple[str, ...], shown: str, then: str
) -> None:
    walked = walk_to(walk, saving(), sent)(shown)
    assert walked.move == then
    assert not walked.life.debt
    if then == "end failed":
        assert "the environment could not be saved: " in walked.end.reason
        assert walked.end.reason.endswith("; nothing was stopped")


def test_every_status_is_among_those_looks() -> None:
    assert {shown.split()[0] for shown, _ in SHOWN} == set(Status)


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
def test_without_an_image_of_that_name_nothing_is_stopped_and_no_second_save_is_sent(
    saving: Callable[..., Change], walk: Walking, sent: tuple[str, ...]
) -> None:
    walked = walk_to(walk, saving(), sent)(*("RUNNING",) * (LOOKS - 1))
    assert walked.move == "look 10"
    walked("RUNNING")
    assert walked.end.outcome is Outcome.FAILED
    why = "lost" if sent == LOST else "there is no such image"
    assert walked.end.reason == COULD_NOT.format(why)


def test_an_image_in_the_making_is_waited_for_until_the_time_is_up(
    saving: Callable[..., Change], walk: Walking
) -> None:
    walked = walk(saving())("RUNNING", "save ok", *("RUNNING image:CREATING",) * 50)
    assert walked.move == "look 10"
    assert walked("late").end.reason == COULD_NOT.format("its time was up in stage: save settling")


@pytest.mark.parametrize("answer", ["busy", "state", "quota", "invalid", "forbidden", "sold-out"])
def test_a_refused_save_ends_the_change_with_nothing_stopped(
    saving: Callable[..., Change], walk: Walking, answer: str
) -> None:
    walked = walk(saving())("RUNNING", f"save {answer}")
    assert walked.end.outcome is Outcome.FAILED
    assert walked.end.reason == COULD_NOT.format(f"refused: {walked.life.trouble}")


def test_a_save_of_a_notebook_that_is_gone_says_so(saving: Callable[..., Change], walk: Walking) -> None:
    assert walk(saving())("RUNNING", "save gone").end.outcome is Outcome.GONE


@pytest.mark.parametrize("answer", ["throttled", "unreachable"])
def test_a_save_that_never_happened_is_no_save(
    saving: Callable[..., Change], walk: Walking, answer: str
) -> None:
    walked = walk(saving())("RUNNING", f"save {answer}")
    assert (walked.life.stage, walked.life.tries) == (Stage.FENCE, {})
    assert walked("RUNNING").move == "save"
    growing = walk(saving(GROW, IMAGE, before={"image_id": "old-image", **SIZE}))("RUNNING", "put ok")
    growing.values.update(GROW.body)
    growing("RUNNING", f"save {answer}", *("RUNNING",) * LOOKS)
    assert growing.move == "save"


@pytest.mark.parametrize("sent", SENT.values(), ids=SENT)
def test_a_save_that_is_not_over_in_time_fails_at_once(
    saving: Callable[..., Change], walk: Walking, sent: tuple[str, ...]
) -> None:
    walked = walk_to(walk, saving(), sent)("late")
    assert walked.end.outcome is Outcome.FAILED
    assert "could not be saved: its time was up in stage: " in walked.end.reason


def test_a_stop_that_fails_after_the_save_names_the_image(
    saving: Callable[..., Change], walk: Walking
) -> None:
    walked = walk(saving())(*SAVED, "stop forbidden")
    assert walked.end.outcome is Outcome.FAILED
    assert NOTE in walked.end.reason


# --- taken up again --------------------------------------------------------------------------------------

WAY = (*SAVED, "stop ok", *HOME)


@pytest.mark.parametrize("end", range(len(WAY) + 1))
def test_wherever_a_process_dies_the_next_one_saves_nothing_again(
    saving: Callable[..., Change], walk: Walking, end: int
) -> None:
    """Once the save may have left; before, it is the first write of a change that begins anew."""
    walked = walk(saving())(*WAY[:end])
    walked.life = advance(walked.life, Reopened(0, walked.at))
    image = "RUNNING image:ACTIVE"
    sends, down = [], "stop ok" in WAY[:end] and "start ok" not in WAY[:end]
    new = "put ok" in WAY[:end]
    for _ in range(40):
        move = walked.move
        if move.startswith("end"):
            break
        if move in list(Step):
            sends.append(move)
            down = move == "stop" or (down and move != "start")
            new |= move == "put"
            walked(f"{move} ok")
        else:
            walked(f"STOPPED {'new' if new else 'old'}" if down else f"{image} {'new' if new else 'old'}")
    assert walked.end.outcome is Outcome.CHANGED
    assert sends.count("save") == (0 if "save ok" in WAY[:end] else 1)
    assert NOTE in walked.end.reason


def test_a_change_that_ended_unknown_while_saving_looks_for_its_image_when_taken_up(
    saving: Callable[..., Change], walk: Walking
) -> None:
    walked = walk(saving())("RUNNING", "save ok", "blind")
    assert walked.end.outcome is Outcome.UNKNOWN
    walked.life = advance(walked.life, Ended(0, walked.at, Outcome.UNKNOWN))
    walked.life = advance(walked.life, Reopened(0, walked.at))
    assert (walked.life.stage, walked.move) == (Stage.SAVE_SETTLE, "look")


def test_a_change_that_could_not_go_on_after_its_save_begins_anew_without_another(
    saving: Callable[..., Change], walk: Walking
) -> None:
    """The journal had no room for the stop: it is not started, and nothing is forgotten."""
    walked = walk(saving())(*SAVED)
    walked.life = advance(walked.life, Late(0, walked.at, "no room", unrecorded=True))
    assert walked("RUNNING").end.outcome is Outcome.NOT_STARTED
    walked.life = advance(walked.life, Ended(0, walked.at, Outcome.NOT_STARTED))
    assert (walked.life.begun, walked.life.saving) == (False, Saving.DONE)
    assert walked("RUNNING").move == "stop"
    assert NOTE in walked("stop ok", *HOME).end.reason


def test_an_intent_that_was_never_acted_upon_saved_nothing() -> None:
    life = Life.begin(make_change(save=SAVE))._replace(saving=Saving.SENT, tries={Step.SAVE: 1})
    anew = advance(life, Ended(0, 1.0, Outcome.NOT_STARTED))
    assert (anew.saving, anew.begun) == (Saving.NOT_YET, False)
