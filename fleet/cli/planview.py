"""How a plan looks to a person who has to say yes or no."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from fleet.cli.tables import show_lines, show_table
from fleet.core.plan import Change, Plan
from fleet.core.rollout import Rollout
from fleet.core.text import clean
from fleet.telemetry.wording import span

FIRST = 20


def show_plan(plan: Plan, *, every: bool = False) -> None:
    """Prints the plan: the numbers, what is to change, who is left out and why, how it will be released."""
    show_lines(_head(plan))
    if plan.changes:
        shown = plan.changes if every else plan.changes[:FIRST]
        rows = [_change_row(change, plan.names) for change in shown]
        show_table(("wave", "scope", "notebook", "owner", "state", "change"), rows)
        if len(shown) < len(plan.changes):
            show_lines([f"... and {len(plan.changes) - len(shown)} more (--all shows every row)"])
    if plan.settled:
        reasons = Counter((row.outcome.value, row.reason) for row in plan.settled)
        rows = [(str(count), outcome, reason) for (outcome, reason), count in reasons.most_common()]
        show_table(("count", "left out", "why"), rows)
    show_lines(_tail(plan))


def _head(plan: Plan) -> Iterable[str]:
    restarts = sum(change.needs_restart for change in plan.changes)
    yield f"plan {plan.job} ({plan.job_type}), digest {plan.digest[:12]}"
    yield f"select: {' '.join(plan.select.split())}"
    for scope in plan.scopes:
        yield f"scope {scope.name}: {scope.region}, {scope.listed} listed, {scope.rate} at {scope.endpoint}"
    selected = len(plan.changes) + len(plan.settled)
    yield (
        f"{selected} selected: {len(plan.changes)} to change ({restarts} with a stop and a start), "
        f"{len(plan.settled)} left as they are"
    )


def _tail(plan: Plan) -> Iterable[str]:
    if not plan.changes:
        yield "nothing to do"
        return
    sizes = Counter(change.wave for change in plan.changes)
    waves = ", ".join(f"{sizes[wave]}" for wave in sorted(sizes))
    yield f"waves of {waves}; {_limits(plan.rollout)}"
    yield (
        f"estimate: {plan.estimate.writes} writes, {plan.estimate.reads} reads, "
        f"about {span(plan.estimate.seconds)} (stops of 1 min and starts of 2 min assumed)"
    )
    for check in plan.checks:
        yield f"note: {check}"


def _limits(rollout: Rollout) -> str:
    words = [f"{rollout.concurrency} away at once at most"]
    if rollout.soak:
        words.append(f"{span(rollout.soak)} of soak between waves")
    if rollout.max_failures is not None:
        words.append(f"never more than {rollout.max_failures} failures")
    words += [
        f"never more than {share} unavailable per {group}" for group, share in rollout.max_unavailable.items()
    ]
    words.append(f"{span(rollout.change_deadline)} for each")
    if rollout.deadline is not None:
        words.append(f"{span(rollout.deadline)} for all")
    return ", ".join(words)


def _change_row(change: Change, names: Mapping[str, str]) -> tuple[str, ...]:
    state = f"{change.run_state}, restart" if change.needs_restart else change.run_state.value
    difference = "; ".join(
        f"{field}: {_value(change.before, field, names)} -> {_value(change.after, field, names)}"
        for field in change.after
    )
    return (str(change.wave), change.scope, change.name or change.id, change.owner, state, difference)


def _value(values: Mapping[str, Any], field: str, names: Mapping[str, str]) -> str:
    if field not in values:
        return "?"
    text = str(values[field])
    return clean(names.get(text, text), 80)
