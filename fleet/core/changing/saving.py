"""Saves the environment of a running notebook as an image before the first stop: once, or the change fails.

The rules of its stages, a chapter of `change`. Until the image is proven ACTIVE nothing is stopped; once the
write may have left it is never sent again, however many processes take the change up. The image has a name
that nobody else uses, so that it proves by itself that it was saved, whatever became of the answer.
"""

from __future__ import annotations

from fleet.core.calls import SavedImage
from fleet.core.changing.home_rules import fulfilled
from fleet.core.changing.life import (
    LOOKS,
    Life,
    Saving,
    Stage,
    difference,
    differs,
    holds,
    onward,
    over,
    so_far,
    with_note,
)
from fleet.core.errors import FATAL, TRANSIENT, CallError
from fleet.core.events import Answered, Outcome, Saw
from fleet.core.notebook import Status

USABLE = "ACTIVE"
SKEW = 900.0  # s that our clock may be off: the gateway refuses whoever is further off
_IN_THE_MAKING = frozenset({"INIT", "CREATING"})  # statuses of an image (ListImage API)

STAGES = frozenset({Stage.SAVE_SENT, Stage.SAVE_SETTLE, Stage.SAVING})


def is_due(life: Life) -> bool:
    """Whether the environment has to be saved before this notebook may be stopped."""
    ours_to_stop = life.change.run_state is Status.RUNNING
    return bool(life.change.save) and ours_to_stop and life.saving is Saving.NOT_YET


def asks_for_image(life: Life, status: Status) -> bool:
    """Whether a look that showed `status` has to tell the status of the image, too."""
    return life.stage in STAGES and status is Status.RUNNING


def unseen(error: CallError) -> SavedImage:
    """What to make of an image that could not be asked for: nothing that proves it.

    Raises `error` when the question may succeed later, or no call can succeed any more.
    """
    if error.meaning in TRANSIENT | FATAL:
        raise error
    return SavedImage(f"not shown: {error}", sends=error.sends)


def status_of(life: Life, image: SavedImage) -> str:
    """The status of the image, if it is ours: one from before the save is of an earlier run of the plan."""
    before = 0 < image.touched_at < (life.saved_at - SKEW) * 1000
    return "" if before else image.status


def failed(life: Life, why: str) -> Life:
    """The end of a change whose notebook is as it was, as far as we are concerned."""
    reason = f"{so_far(life)}the environment could not be saved: {why}; nothing was stopped"
    return over(life, Outcome.FAILED, reason)


def refused(life: Life, event: Answered) -> Life:
    return failed(life, f"refused: {life.trouble}")


def running(life: Life, saw: Saw) -> Life:
    """It runs: saved by now, not yet, or never. The image alone tells."""
    life = life._replace(current=Status.RUNNING)
    if holds(life, saw.sight):
        return fulfilled(life, saw)
    if differs(life.expected, saw.sight):
        reason = f"{difference(life.expected, saw.sight.values)}; nothing was stopped"
        return over(life, Outcome.DRIFTED, so_far(life) + reason)
    image = saw.sight.saved
    if image == USABLE:
        life = with_note(life, f"its environment was saved as {life.change.save}")
        return onward(life._replace(saving=Saving.DONE, doubt=False, trouble=""))
    if image in _IN_THE_MAKING or (not image and life.settle + 1 < LOOKS):
        return unsettled(life, saw)
    return failed(life, f"the image is {image}" if image else life.trouble or "there is no such image")


def unsettled(life: Life, saw: Saw) -> Life:
    return life._replace(stage=Stage.SAVE_SETTLE, settle=life.settle + 1)


def under_way(life: Life, saw: Saw) -> Life:
    return life._replace(stage=Stage.SAVING, settle=0)


def stopped(life: Life, saw: Saw) -> Life:
    reason = "stopped, but not by us, while its environment was saved"
    return over(life, Outcome.DRIFTED, so_far(life) + reason)


def broken(life: Life, saw: Saw) -> Life:
    return failed(life._replace(current=saw.sight.status), f"status {saw.sight.status}{saw.sight.because}")
