"""Jobs that come from an earlier run: put its changes back, or make those that did not happen.

They are jobs like any other: they propose, the planner plans, a person reviews, the engine performs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pydantic import ConfigDict

from fleet.core.changing.saved_image import image_path, organization_of
from fleet.core.differences import differences
from fleet.core.events import Answered, Event, Fate, Intended, Outcome, Step
from fleet.core.job import Context, JobSpec, Proposal, Skip, Staged, Wants
from fleet.core.notebook import Notebook
from fleet.core.patch import NotebookPatch, from_body, read_field, readable
from fleet.core.planning.plan import Change, Stage
from fleet.core.rows import WELL, Row
from fleet.core.selecting.selection import Key
from fleet.core.whitelist import Breadth

# A disk only grows, and no answer of the cloud shows hooks: what they were is not known.
_IRREVERSIBLE = frozenset({"storage_new_size", "hooks"})

# Ends that no change reaches once a PUT of it may have been applied.
_NEVER_WRITTEN = frozenset({Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.NOT_STARTED})


@dataclass(frozen=True, slots=True)
class Recall:
    """What an earlier run says of one notebook: the values it may hold, and those it shall get.

    `wanted` are the latter, stage by stage. `holds` are for each field values that the run gave it one after
    the other, or may have given it, and `before` those it had; a notebook that holds another one is left
    alone, unless it has come to hold all that is wanted in the end. `allow` are the forms of whitelist
    entries that it may get. `lost` are fields that cannot be put back. Until the notebook is `home` again, in
    the run state that it came from, the command `fix` comes first. Its environment is saved as an image of
    the organization `save_to`, if there is one, before it is stopped.
    """

    name: str
    wanted: tuple[Mapping[str, Any], ...]
    holds: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    allow: tuple[Breadth, ...] = ()
    before: Mapping[str, Any] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    home: str = ""
    fix: str = ""
    save_to: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """One notebook of an earlier run: its row, and its changes in their order, each with a row of its own."""

    row: Row
    changes: tuple[tuple[Change, Row], ...] = ()

    @property
    def key(self) -> Key:
        return self.row.scope, self.row.id


class Again(JobSpec):
    """Proposes for each notebook of an earlier run what `recalls` says, in the stages of that run's plan."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    recalls: Mapping[Key, Recall]
    plan_stages: tuple[Stage, ...] = ()

    def wants(self) -> Wants:
        """Whether a flavor that is wanted can be had."""
        return Wants(switchable=True)

    def needs_switchable(self, notebook: Notebook, context: Context) -> bool:
        """Where a flavor is to change, or what the notebook runs on is in no catalogue."""
        wanted = [body for body in self.recalls[context.scope, notebook.id].wanted if body]
        return any("flavor" in body for body in wanted) or (
            any("image_id" in body for body in wanted) and context.catalog.machine(notebook) is None
        )

    def pause(self) -> float:
        """That of the run's plan."""
        return max((stage.pause for stage in self.plan_stages), default=0.0)

    def stages(self, context: Context) -> tuple[str, ...]:
        """In the words of the run's plan."""
        does = {stage.number: stage.does for stage in self.plan_stages}
        return tuple(does.get(number, "") for number in range(1, max(does, default=0) + 1))

    def bars(self, notebook: Notebook, context: Context) -> str:
        """A notebook that the run still owes a start or a stop is brought home first."""
        recall = self.recalls[context.scope, notebook.id]
        if not recall.fix or (notebook.status.heading or notebook.status).value == recall.home:
            return ""
        return f"left away by the run: bring it back first with: {recall.fix}"

    def propose(self, notebook: Notebook, context: Context) -> Proposal:
        """The recalled values, unless somebody has changed the notebook since."""
        recall = self.recalls[context.scope, notebook.id]
        final = {name: value for body in recall.wanted for name, value in body.items()}
        done = bool(final) and all(readable(name) for name in final) and _holds(notebook, final)
        for name, values in recall.holds.items():
            expected = (recall.before.get(name), *values)
            now = read_field(notebook, name)
            if now not in expected and not (done and name in final):
                off = "; ".join(differences(name, now, expected[-1], "was"))
                return Skip(f"{off} as the run left it", Outcome.DRIFTED)
        lost = _lost(recall, notebook)
        if lost and not any(recall.wanted):
            return Skip(f"cannot be undone: {', '.join(lost)}")
        patches = tuple(from_body(body, recall.allow) for body in recall.wanted)
        if done:  # what an earlier stage would do is over
            return (
                patches[-1]
                if len(patches) == 1
                else Staged((*[NotebookPatch()] * (len(patches) - 1), patches[-1]))
            )
        return patches[0] if len(patches) == 1 else Staged(patches)

    def saves(self, notebook: Notebook, context: Context) -> str:
        """What was to be saved before a stop that did not happen is saved before it does."""
        organization = self.recalls[context.scope, notebook.id].save_to
        return image_path(organization, notebook, context.now) if organization else ""

    def saves_by(self, context: Context) -> str:
        """A retry does as its run."""
        return "as the run was to"

    def remarks(self, notebook: Notebook, context: Context) -> tuple[str, ...]:
        """Says which part of a change cannot be taken back."""
        lost = _lost(self.recalls[context.scope, notebook.id], notebook)
        return (f"{', '.join(lost)} cannot be undone and stays",) if lost else ()


def _holds(notebook: Notebook, values: Mapping[str, Any]) -> bool:
    return all(read_field(notebook, name) == value for name, value in values.items())


def _lost(recall: Recall, notebook: Notebook) -> tuple[str, ...]:
    """The fields that the run changed for good; one that shows its old value was not changed."""
    return tuple(
        name
        for name in recall.lost
        if not readable(name) or read_field(notebook, name) != recall.before.get(name)
    )


@dataclass(slots=True)
class Writes:
    """Which fields the PUTs of a run changed or may have changed. `see` takes its events in their order."""

    _sent: dict[int, set[str]] = field(default_factory=dict)
    _due: dict[int, Intended] = field(default_factory=dict)

    def see(self, event: Event) -> None:
        match event:
            case Intended(step=Step.PUT):
                self._settle(event.item)  # an earlier one was never answered
                self._due[event.item] = event
            case Answered(step=Step.PUT, fate=Fate.REFUSED):
                self._due.pop(event.item, None)
            case Answered(step=Step.PUT):
                self._settle(event.item)

    def fields(self, item: int) -> frozenset[str]:
        """The names of the fields of this item."""
        due = self._due.get(item)
        return frozenset(self._sent.get(item, ())) | frozenset(due.body if due is not None else ())

    def _settle(self, item: int) -> None:
        due = self._due.pop(item, None)
        if due is not None:
            self._sent.setdefault(item, set()).update(due.body)


def undo(past: Iterable[Past], writes: Writes, *, gaps: bool = False) -> dict[Key, Recall]:
    """What takes a run back: the values from before, where a PUT changed something or may have changed it.

    A notebook that it left away from home is among them even if nothing was written to it: where it was is
    part of before. With `gaps` in the journal any PUT may be missing from it.
    """
    found = {}
    for one in past:
        given: dict[str, tuple[Any, ...]] = {}
        for change, row in one.changes:
            for name, value in _given(change, row, writes, gaps=gaps).items():
                given[name] = (*given.get(name, ()), value)
        if given or one.row.outcome is Outcome.STRANDED or one.row.debt:
            found[one.key] = _back(one, given)
    return found


def _given(change: Change, row: Row, writes: Writes, *, gaps: bool) -> Mapping[str, Any]:
    """The values that this change gave its notebook, or may have given it."""
    if row.outcome is Outcome.CHANGED or (gaps and row.outcome not in _NEVER_WRITTEN):
        return change.after
    names = writes.fields(change.item)
    return {name: value for name, value in change.after.items() if name in names}


def _back(past: Past, given: Mapping[str, tuple[Any, ...]]) -> Recall:
    row = past.row
    return Recall(
        name=row.name,
        wanted=({name: row.before[name] for name in given if name not in _IRREVERSIBLE},),
        holds={name: values for name, values in given.items() if readable(name)},
        allow=_allowed(past),
        before=row.before,
        lost=tuple(name for name in given if name in _IRREVERSIBLE),
        home=row.run_state_before,
        fix=row.fix,
    )


def retry(
    past: Iterable[Past], writes: Writes, outcomes: Iterable[Outcome], *, gaps: bool = False
) -> dict[Key, Recall]:
    """What makes the changes that did not happen: for rows with one of `outcomes` the planned values.

    A stage that went well is left empty: what is left of a notebook stays in the stage that it was in.
    """
    chosen = set(outcomes)
    return {
        one.key: _forth(one, writes, gaps=gaps) for one in past if one.row.outcome in chosen and one.changes
    }


def _forth(past: Past, writes: Writes, *, gaps: bool) -> Recall:
    before: dict[str, Any] = {}
    holds: dict[str, tuple[Any, ...]] = {}
    left: dict[int, Mapping[str, Any]] = {}
    for change, row in past.changes:
        left[change.stage] = {} if row.outcome in WELL else change.after
        given = _given(change, row, writes, gaps=gaps)
        for name in filter(readable, left[change.stage]):
            before.setdefault(name, change.before[name])
            holds[name] = holds.get(name, ()) + ((given[name],) if name in given else ())
    return Recall(
        name=past.row.name,
        wanted=tuple(left.get(stage, {}) for stage in range(1, max(left) + 1)),
        holds=holds,
        allow=_allowed(past),
        before=before,
        save_to=_organization(past),
    )


def earliest(past: Iterable[Past], stages: Sequence[Stage]) -> dict[int, float]:
    """When (wall seconds) the pause before each of the `stages` of a run is over, by the number of the stage.

    It counts from the last change of the stage before it, and is unknown where that was never made.
    """
    ended: dict[int, float] = {}
    for change, row in (pair for one in past for pair in one.changes):
        if row.finished_at is not None and (row.outcome in WELL or row.written):
            ended[change.stage] = max(row.finished_at, ended.get(change.stage, 0.0))
    over = {stage.number: stage.not_before for stage in stages if stage.not_before}
    for before, stage in pairwise(stages):
        if before.number in ended:
            over[stage.number] = ended[before.number] + stage.pause
    return over


def _organization(past: Past) -> str:
    return next((organization_of(change.save) for change, _ in past.changes if change.save), "")


def _allowed(past: Past) -> tuple[Breadth, ...]:
    return tuple(sorted({form for change, _ in past.changes for form in change.allow}))
