"""What runs that are over, or died, still owe: no later run may take our own stop for somebody's wish.

The claims (see `journal.claims`) say which run had a notebook last, and its journal how it left it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fleet.core.changing.life import Life
from fleet.core.changing.reopen import OPEN_ENDS, is_open
from fleet.core.commands import elsewhere
from fleet.core.events import Ended, Event, Intended, Outcome
from fleet.core.fold import RunState
from fleet.core.planning.plan import Change, Plan, PlanScope, Settled
from fleet.core.planning.plan_file import seal
from fleet.core.scope import ScopeSpec
from fleet.journal.claims import Key, left_behind
from fleet.journal.errors import JournalError, OtherFormat
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL, is_run_dir

# Ends after which a change may have been taken up again.
_MAY_GO_ON = OPEN_ENDS | {Outcome.NOT_STARTED}


def claim_key(scope: ScopeSpec | PlanScope, notebook: str) -> Key:
    """The name of a notebook that is the same in every configuration."""
    return f"{scope.endpoint.rstrip('/').lower()} {scope.project_id}", notebook


def named(folder: Path) -> str:
    """The run of another command in `folder`, as a command finds it."""
    return elsewhere(folder.name, os.path.realpath(folder.parent))


def is_owed(life: Life) -> bool:
    """Whether something was sent and its end is not known, or it ended away from home."""
    return bool(life.tries) and is_open(life)


def is_settled(life: Life) -> bool:
    """Whether its end is recorded, it ended at home, and nothing can have followed."""
    return life.recorded and life.end is not None and life.end[0] not in _MAY_GO_ON and not life.debt


def owed_items(state: RunState) -> set[int]:
    """The items that a run owes which nobody works on.

    Where its journal has gaps, that is every one of which it does not prove the end: what was sent may be in
    a gap.
    """
    lives = state.lives()
    if state.gaps:
        settled = {item for item, life in lives.items() if is_settled(life)}
        return {change.item for change in state.plan.changes} - settled
    return {item for item, life in lives.items() if is_owed(life)}


class Owing:
    """The items that the run at hand owes, kept up to date by its events."""

    def __init__(self, past: Mapping[int, Life]) -> None:
        self.items = {item for item, life in past.items() if is_owed(life)}

    def see(self, event: Event) -> None:
        match event:
            case Intended():
                self.items.add(event.item)
            case Ended() if event.outcome not in OPEN_ENDS and not event.debt:
                self.items.discard(event.item)


class Debts:
    """What other runs owe of the notebooks of `plan`; `reasons` fills as their claims are judged."""

    def __init__(self, plan: Plan) -> None:
        scopes = {scope.name: scope for scope in plan.scopes}
        self.reasons: dict[Key, str] = {}
        self._created_at = plan.created_at
        self._seen = {
            claim_key(scopes[one.scope], one.id): "" if one.arriving else one.run_state.value
            for one in plan.changes
        } | {claim_key(scopes[one.scope], one.id): one.run_state for one in plan.settled}

    @property
    def keys(self) -> Collection[Key]:
        """Every notebook of the plan."""
        return self._seen.keys()

    def among(self, folder: Path, keys: Collection[Key]) -> Collection[Key]:
        """Those of `keys` that the run in `folder`, which nobody works on, owes."""
        if not is_run_dir(folder):
            return ()
        try:
            with JournalReader(folder / JOURNAL) as reader:
                return self._owed(folder, keys, reader)
        except JournalError as error:
            why = error.reason if isinstance(error, OtherFormat) else f"cannot be read; {_way_out(folder)}"
            self.reasons |= dict.fromkeys(keys, f"claimed by run {folder.name}, whose journal {why}")
            return keys

    def _owed(self, folder: Path, keys: Collection[Key], reader: JournalReader) -> list[Key]:
        state = reader.fold()
        lives, scopes = state.lives(), {scope.name: scope for scope in state.plan.scopes}
        items, owed = owed_items(state), []
        for change in state.plan.changes:
            key, life = claim_key(scopes[change.scope], change.id), lives.get(change.item)
            if key not in keys or change.item not in items:
                continue
            way = change if life is None else life.change  # a later stage finds its own state to come back to
            if not state.gaps and self._saw_home(key, way, since=state.at):
                continue  # with gaps nobody knows since when
            self.reasons[key] = _reason(folder, life, damaged=bool(reader.damage))
            owed.append(key)
        return owed

    def _saw_home(self, key: Key, change: Change, since: float) -> bool:
        """Whether the plan was made later and found the notebook where it came from: the debt is paid."""
        return self._created_at > since and self._seen.get(key) == change.run_state.value


def _reason(folder: Path, life: Life | None, *, damaged: bool) -> str:
    """Why the run in `folder` keeps a notebook from others, and what to do."""
    sure = life is not None and is_owed(life)
    what = "stopped" if life is not None and life.debt else "left under way" if sure else "claimed"
    if damaged:  # which no run goes on with
        return f"{what} by run {folder.name}, whose journal is damaged; {_way_out(folder)}"
    return f"{what} by run {folder.name}, which owes it: fleet resume {named(folder)}"


def _way_out(folder: Path) -> str:
    """What to do about a run that cannot go on."""
    look = f"see what it left with: fleet recover {named(folder)}"
    return f"{look}; when it owes nothing, remove {folder}"


def with_debts(plan: Plan, claims: Path) -> Plan:
    """The plan with a check for what runs that nobody works on owe of its notebooks.

    One that is as the job wants it, but away from home, is not simply unchanged: its row says why.
    """
    scopes = {scope.name: scope for scope in plan.scopes}
    debts = Debts(plan)
    with suppress(JournalError):  # whoever applies the plan is told
        for folder, claimed in left_behind(claims, debts.keys).items():
            debts.among(folder, claimed)
    if not debts.reasons:
        return plan

    def mark(row: Settled) -> Settled:
        reason = debts.reasons.get(claim_key(scopes[row.scope], row.id))
        if reason is None or row.outcome is not Outcome.UNCHANGED:
            return row
        return replace(row, outcome=Outcome.NOT_STARTED, reason=reason)

    counts = Counter(debts.reasons.values())
    checks = (f"{count} of the notebooks selected: {reason}" for reason, count in counts.items())
    settled = tuple(map(mark, plan.settled))
    return seal(replace(plan, settled=settled, checks=(*plan.checks, *checks)))


def left_open(plan: Plan, claims: Path) -> Iterator[str]:
    """Says of every run of this very plan that broke off, or owes something, how to go on with it."""
    with suppress(JournalError):  # whoever claims is told
        for folder in left_behind(claims, Debts(plan).keys):
            with suppress(JournalError), JournalReader(folder / JOURNAL) as reader:
                if reader.meta["digest"] == plan.digest:
                    yield from _how_it_stands(folder, reader.fold(), damaged=bool(reader.damage))


def _how_it_stands(folder: Path, state: RunState, *, damaged: bool) -> Iterator[str]:
    number = len(owed_items(state))
    owes = f" and owes {number} notebook{'s' * (number > 1)}, which another leaves alone" if number else ""
    if damaged:
        yield f"run {folder.name} of this plan has a damaged journal{owes}; {_way_out(folder)}"
    elif state.end is None or number:
        stands = "is open" if state.end is None else "has ended"
        how = f"to go on with it instead: fleet resume {named(folder)}"
        yield f"run {folder.name} of this plan {stands}{owes}; {how}"
