"""What runs that are over, or died, still owe: no later run may take our own stop for somebody's wish.

The claims (see `journal.claims`) say which run had a notebook last, and its journal how it left it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fleet.core.commands import elsewhere
from fleet.core.events import Ended, Event, Intended, Outcome
from fleet.core.life import Life
from fleet.core.plan import Change, Plan, PlanScope, Settled, seal
from fleet.core.reopen import OPEN_ENDS, is_open
from fleet.core.scope import ScopeSpec
from fleet.journal.claims import Key, left_behind
from fleet.journal.errors import JournalError
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL, is_run_dir


def claim_key(scope: ScopeSpec | PlanScope, notebook: str) -> Key:
    """The name of a notebook that is the same in every configuration."""
    return f"{scope.endpoint.rstrip('/').lower()} {scope.project_id}", notebook


def named(folder: Path) -> str:
    """The run of another command in `folder`, as a command finds it."""
    return elsewhere(folder.name, os.path.realpath(folder.parent))


def is_owed(life: Life) -> bool:
    """Whether something was sent and its end is not known, or it ended away from home."""
    return bool(life.tries) and is_open(life)


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
        except JournalError:
            reason = f"claimed by run {folder.name}, whose journal cannot be read"
            look = f"see what it left with: fleet recover {named(folder)}"
            end = f"when it owes nothing, remove {folder}"
            self.reasons |= dict.fromkeys(keys, f"{reason}; {look}; {end}")
            return keys

    def _owed(self, folder: Path, keys: Collection[Key], reader: JournalReader) -> list[Key]:
        state = reader.fold()
        lives, scopes = state.lives(), {scope.name: scope for scope in state.plan.scopes}
        owed = []
        for change in state.plan.changes:
            key, life = claim_key(scopes[change.scope], change.id), lives.get(change.item)
            left = state.gaps if life is None else is_owed(life)
            way = change if life is None else life.change  # a later stage finds its own state to come back to
            if key not in keys or not left or self._saw_home(key, way, since=state.at):
                continue
            stopped = life is not None and life.debt
            what = f"{'stopped' if stopped else 'left under way'} by run {folder.name}, which owes it"
            self.reasons[key] = f"{what}: fleet resume {named(folder)}"
            owed.append(key)
        return owed

    def _saw_home(self, key: Key, change: Change, since: float) -> bool:
        """Whether the plan was made later and found the notebook where it came from: the debt is paid."""
        return self._created_at > since and self._seen.get(key) == change.run_state.value


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
