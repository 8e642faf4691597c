"""Stages of a plan: which waves make which patch of a staged proposal, and how long to wait before them.

Neighbours: `planner` makes a change of each stage, `rows` joins them again to one row a notebook.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from fleet.core.duration import duration
from fleet.core.errors import UsageError
from fleet.core.planning.plan import Change, Stage
from fleet.core.rollout import Rollout


def stages_of(
    changes: Sequence[Change],
    pause: float,
    words: Sequence[str],
    rollout: Rollout,
    earliest: Mapping[int, float] | None = None,
) -> tuple[Stage, ...]:
    """The stages that hold changes; none when every change is of the first and nothing is said of it.

    `pause` are the seconds between two of them, `words` what each does. The first of them waits until the
    instant (wall seconds) that `earliest` names for its number; the others wait for it. Raises UsageError
    when the rollout leaves no time for the pauses.
    """
    first: dict[int, int] = {}
    for change in changes:
        first[change.stage] = min(change.wave, first.get(change.stage, change.wave))
    if not first or (not words and max(first) == 1):
        return ()
    named = dict(enumerate(words, start=1))
    head, *others = sorted(first)
    stages = (
        Stage(head, first[head], 0.0, named.get(head, ""), (earliest or {}).get(head, 0.0)),
        *(Stage(number, first[number], pause, named.get(number, "")) for number in others),
    )
    pauses = sum(stage.pause for stage in stages)
    if rollout.deadline is not None and rollout.deadline <= pauses:
        raise UsageError(
            f"rollout.deadline: {duration(rollout.deadline)} are over before the {duration(pauses)} between "
            "the stages; give a later one, or none"
        )
    return stages


def totals(changes: Sequence[Change]) -> list[int]:
    """How many changes each stage holds."""
    stages = sorted({change.stage for change in changes})
    return [sum(change.stage == number for change in changes) for number in stages]


def of_first_stage(changes: Sequence[Change]) -> list[Change]:
    """The changes that no other stage of the plan comes before."""
    lowest = min((change.stage for change in changes), default=1)
    return [change for change in changes if change.stage == lowest]


def stage_remarks(stages: Sequence[Stage], pause: float) -> Iterator[str]:
    """What a person should know of stages that nobody has to make any more; `pause` lies between two."""
    if not stages or stages[0].number == 1:
        return
    stage = stages[0]
    done = "stage 1" if stage.number == 2 else f"stages 1 to {stage.number - 1}"
    if stage.not_before:
        begins = datetime.fromtimestamp(stage.not_before, UTC)
        yield (
            f"no notebook needs {done} any more; stage {stage.number} waits for what is left of the pause "
            f"since the run before, and begins at {begins:%Y-%m-%d %H:%M:%S} UTC at the earliest"
        )
        return
    yield (
        f"NO PAUSE: no notebook needs {done} any more, and since when is unknown; stage {stage.number}"
        f"{f' {stage.does}' if stage.does else ''} at once, without the {duration(pause)} in between"
    )


def stage_words(changes: Sequence[Change], stages: Sequence[Stage]) -> str:
    """All stages in one sentence, for people."""
    ends = [later.wave - 1 for _, later in pairwise(stages)] + [max((one.wave for one in changes), default=1)]
    parts: list[str] = []
    for stage, last in zip(stages, ends, strict=True):
        count = sum(stage.wave <= change.wave <= last for change in changes)
        waves = f"wave {last}" if last == stage.wave else f"waves {stage.wave} to {last}"
        after = f"{duration(stage.pause)} later " if parts else ""
        does = f" {stage.does}" if stage.does else ""
        parts.append(f"{after}stage {stage.number}{does} ({count} notebook{'s' * (count > 1)}, {waves})")
    return "; ".join(parts)
