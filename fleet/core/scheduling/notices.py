"""What the owner of notebooks is told before they are stopped. Nothing in it is a secret."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from fleet.core.planning.plan import Change, Plan
from fleet.core.rollout import Rollout
from fleet.core.scheduling.timing import Moment

# Fields whose values are told; of all others only the name, as scripts and key pairs are nobody's business.
_TOLD = ("image_id", "flavor", "storage_new_size", "name")


def earliest(rollout: Rollout, wave_began: float, now: float) -> float:
    """When the first notebook may be stopped by us if the notice goes out `now` (wall s)."""
    at = now + (rollout.notice.lead if rollout.notice is not None else 0.0)
    if rollout.when is Moment.NEXT_STOP:
        at = max(at, wave_began + rollout.patience)
    opens = rollout.calendar.next_opening(at, 0.0)
    return at if opens is None else opens


def message(run: str, plan: Plan, owner: str, changes: Sequence[Change], at: float) -> dict[str, Any]:
    """The notice as JSON: what becomes of the owner's notebooks, not before `at`, and how to put it off."""
    return {
        "run": run,
        "job": plan.job,
        "owner": owner,
        "when": plan.rollout.when.value,
        "earliest": _rfc3339(at),
        "notebooks": [
            {
                "scope": change.scope,
                "id": change.id,
                "name": change.name,
                "changes": {name: _difference(change, name, plan) for name in change.after},
            }
            for change in changes
        ],
        "stopped_before": "what its owner stops before that is changed as well, and stays stopped",
        "later": _how_to_put_off(plan.rollout, owner),
    }


def parse_postponed(text: str) -> dict[str, float]:
    """Until when (wall s) owners asked to be left alone: CSV lines `owner,until` with an RFC 3339 time.

    Raises ValueError, with the line, for anything else; a first line that names the columns may be there, and
    lines that begin with #.
    """
    wishes: dict[str, float] = {}
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#") or (number == 1 and cells == ["owner", "until"]):
            continue
        if len(cells) != 2 or not cells[0]:
            raise ValueError(f"line {number}: must be owner,until")
        until = _instant(cells[1], number)
        wishes[cells[0]] = max(until, wishes.get(cells[0], until))
    return wishes


def _instant(text: str, number: int) -> float:
    with suppress(ValueError):
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at.timestamp()
    raise ValueError(f"line {number}: until must be a time with its zone, such as 2026-01-31T18:00:00Z")


def _difference(change: Change, name: str, plan: Plan) -> dict[str, Any]:
    if name not in _TOLD:
        return {}
    before, after = change.before.get(name), change.after[name]
    return {"before": _named(before, plan), "after": _named(after, plan)}


def _named(value: Any, plan: Plan) -> Any:
    return plan.names.get(value, value) if isinstance(value, str) else value


def _how_to_put_off(rollout: Rollout, owner: str) -> str:
    notice = rollout.notice
    if notice is None or notice.ask or not notice.postponed:
        return notice.ask if notice is not None else ""
    return f"a line {owner},UNTIL in {notice.postponed} puts it off; UNTIL as in 2026-01-31T18:00:00Z"


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
