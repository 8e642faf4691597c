"""How a plan looks to a person who has to say yes or no."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from fleet.cli.output import table
from fleet.core.duration import duration
from fleet.core.estimate import ASSUMED_START, ASSUMED_STOP
from fleet.core.plan import Change, Plan
from fleet.core.rollout import Rollout
from fleet.core.text import clean

FIRST = 20


def plan_lines(plan: Plan, *, every: bool = False) -> Iterator[str]:
    """The numbers, what is to change, who is left out and why, how it will be released."""
    yield from _head(plan)
    if plan.changes:
        shown = plan.changes if every else plan.changes[:FIRST]
        rows = [_change_row(change, plan.names) for change in shown]
        yield ""
        yield from table(("wave", "scope", "notebook", "owner", "state", "change"), rows)
        if len(shown) < len(plan.changes):
            yield f"... and {len(plan.changes) - len(shown)} more (--all shows every row)"
    if plan.settled:
        reasons = Counter((row.outcome.value, row.reason) for row in plan.settled)
        left = [(str(count), outcome, reason) for (outcome, reason), count in reasons.most_common()]
        yield ""
        yield from table(("count", "left out", "why"), left)
    yield ""
    yield from _tail(plan)


def _head(plan: Plan) -> Iterator[str]:
    restarts = sum(change.needs_restart for change in plan.changes)
    yield f"plan {plan.job} ({plan.job_type}), digest {plan.digest[:12]}"
    yield f"select: {' '.join(plan.select.split())}"
    for scope in plan.scopes:
        rate = scope.rate or "a rate to be learned"
        yield f"scope {scope.name}: {scope.region}, {scope.listed} listed, {rate} at {scope.endpoint}"
    selected = len(plan.changes) + len(plan.settled)
    yield (
        f"{selected} selected: {len(plan.changes)} to change ({restarts} with a stop and a start), "
        f"{len(plan.settled)} left as they are"
    )


def _tail(plan: Plan) -> Iterator[str]:
    if not plan.changes:
        yield "nothing to do"
        return
    sizes = Counter(change.wave for change in plan.changes)
    soak = f", with {duration(plan.rollout.soak)} of soak between them" if plan.rollout.soak else ""
    yield f"notebooks a wave: {', '.join(str(sizes[wave]) for wave in sorted(sizes))}{soak}"
    yield f"limits: {'; '.join(_limits(plan.rollout))}"
    gate = plan.rollout.gate
    if gate is not None:
        program = shlex.join(gate.command)
        yield f"gate: {program} runs here after every wave but the last, {duration(gate.timeout)} each"
    if plan.rollout.approve:
        yield f"approval: a person must release the waves after {', '.join(map(str, plan.rollout.approve))}"
    yield (
        f"estimate: {plan.estimate.writes} writes, {plan.estimate.reads} reads, "
        f"about {plan.estimate.lists} pages of lists in about "
        f"{duration(plan.estimate.seconds)} (stops of {duration(ASSUMED_STOP)} and starts of "
        f"{duration(ASSUMED_START)} assumed)"
    )
    for check in plan.checks:
        yield f"note: {check}"


def _limits(rollout: Rollout) -> Iterator[str]:
    yield f"{rollout.concurrency} under way at once"
    if rollout.max_unavailable:
        shares = [
            f"{share} {'in all' if group == 'fleet' else f'for each {group}'}"
            for group, share in rollout.max_unavailable.items()
        ]
        yield f"unavailable at most {', '.join(shares)}"
    if rollout.max_failures is not None:
        yield f"{rollout.max_failures} failures"
    yield f"{duration(rollout.change_deadline)} for each notebook"
    if rollout.deadline is not None:
        yield f"{duration(rollout.deadline)} for all"


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
    if field == "endpoints":
        return ", ".join(_access(item) for item in values[field]) or "none"
    text = str(values[field])
    return clean(names.get(text, text))


def _access(endpoint: Mapping[str, Any]) -> str:
    """A service and who may connect to it; the rest of an endpoint never changes."""
    return f"{endpoint['service']} for {' '.join(endpoint.get('allowed_access_ips', ())) or 'everybody'}"
