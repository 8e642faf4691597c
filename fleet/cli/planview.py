"""How a plan looks to a person who has to say yes or no."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fleet.core.duration import duration
from fleet.core.notebook import Status
from fleet.core.planning.estimate import ASSUMED, Times
from fleet.core.planning.forecast import Forecast, Futile, Misfits, forecast
from fleet.core.planning.left_out import by_kind
from fleet.core.planning.plan import Change, Cost, Effort, Estimate, Plan, Settled
from fleet.core.planning.stages import stage_words
from fleet.core.rollout import Rollout
from fleet.core.scheduling.calendar import Span, told, told_span
from fleet.core.scheduling.readiness import REQUEST, holds_back, stops
from fleet.core.scheduling.timing import Moment
from fleet.core.scheduling.timing_words import restart_words, timing_lines, waiting_words
from fleet.core.text import clean
from fleet.report.aligned import aligned

FIRST = 20
OWNERS = 10
WINDOWS = 10
KINDS = 20
DAY = 86_400.0
LOOKS = 60.0 / REQUEST  # a minute, at those who wait


def plan_lines(plan: Plan, *, every: bool = False, now: float | None = None) -> Iterator[str]:
    """The numbers, what is to change, who is left out and why, how it will be released.

    What is expected when counts from `now` (wall s), by default from the making of the plan.
    """
    now = plan.created_at if now is None else now
    usual = forecast(plan, now) if holds_back(plan.rollout) else None
    yield from _head(plan, usual.futile if usual else None)
    if plan.changes:
        shown = plan.changes if every else plan.changes[:FIRST]
        rows = [_change_row(change, plan.names, plan.rollout) for change in shown]
        yield ""
        heads = ("wave", "scope", "notebook", "owner", "state", "change", "why", "cost of a month")
        yield from aligned(*_without_empty(heads, rows))
        if len(shown) < len(plan.changes):
            yield f"... and {len(plan.changes) - len(shown)} more (--all shows every row)"
    if plan.settled:
        yield ""
        yield from _left_out(plan.settled)
        if every:
            yield ""
            whom = [(row.scope, row.name or row.id, row.owner, row.reason) for row in plan.settled]
            yield from aligned(("scope", "left out", "owner", "why"), whom)
    yield ""
    yield from _tail(plan, now, usual)


def _left_out(settled: Sequence[Settled]) -> Iterator[str]:
    """What is left out by kind of reason, with an example for each."""
    kinds = by_kind(settled)
    rows = [
        (str(kind.count), row.outcome.value, row.name or row.id, row.reason)
        for kind in kinds[:KINDS]
        for row in (kind.such,)
    ]
    yield from aligned(("count", "left out", "such as", "why"), rows)
    if more := len(kinds) - len(rows):
        notebooks = sum(kind.count for kind in kinds[KINDS:])
        yield f"... and {more} more ({notebooks} notebooks): see --format json"


def _head(plan: Plan, futile: Futile | None) -> Iterator[str]:
    yield f"plan {plan.job} ({plan.job_type}), digest {plan.digest[:12]}"
    yield f"select: {' '.join(plan.select.split())}"
    yield from (f"select: {narrowed}" for narrowed in plan.narrowed)
    for scope in plan.scopes:
        rate = scope.rate or "a rate to be learned"
        yield f"scope {scope.name}: {scope.region}, {scope.listed} listed, {rate} at {scope.endpoint}"
    selected = plan.notebooks + len(plan.settled)
    yield f"{selected} selected: {_to_change(plan, futile)}, {len(plan.settled)} left as they are"


def _to_change(plan: Plan, futile: Futile | None) -> str:
    number = plan.notebooks
    match futile if plan.changes else None:
        case Futile.NO_WINDOW:
            return f"none to change, as no window opens for {number}"
        case Futile.NO_FIT:
            return f"none to change, as {number} {'fits' if number == 1 else 'fit'} no window"
        case Futile.NO_ROOM:
            return f"{number} to change, but none if applied at once ({', '.join(_restarts(plan))})"
        case None:
            return f"{number} to change ({', '.join(_restarts(plan))})"


def _restarts(plan: Plan) -> Iterator[str]:
    """How many notebooks are stopped and started, and how many only if their persons do not stop them."""
    waited_for, others = set[tuple[str, str]](), set[tuple[str, str]]()
    for change in plan.changes:
        if change.needs_restart:
            waits = plan.rollout.when is not Moment.NOW and stops(change)
            (waited_for if waits else others).add((change.scope, change.id))
    if others or not waited_for:
        yield f"{len(others)} with a stop and a start"
    if waited_for:
        yield f"{len(waited_for)} {Status.RUNNING}, {restart_words(plan.rollout)}"


def _tail(plan: Plan, now: float, usual: Forecast | None) -> Iterator[str]:
    if not plan.changes:
        yield "nothing to do"
        return
    sizes = Counter(change.wave for change in plan.changes)
    soak = f", with {duration(plan.rollout.soak)} of soak between them" if plan.rollout.soak else ""
    yield f"notebooks a wave: {', '.join(str(sizes[wave]) for wave in sorted(sizes))}{soak}"
    if plan.stages:
        yield f"stages: {stage_words(plan.changes, plan.stages)}"
    yield f"limits: {'; '.join(_limits(plan.rollout))}"
    yield from timing_lines(plan.rollout)
    gate = plan.rollout.gate
    if gate is not None:
        program = shlex.join(gate.command)
        yield f"gate: {program} runs here after every wave but the last, {duration(gate.timeout)} each"
    if plan.rollout.approve:
        yield f"approval: a person must release the waves after {', '.join(map(str, plan.rollout.approve))}"
    yield from _estimate(plan)
    for name, reason in plan.overrides.items():
        yield f"guards.{name} is lifted: {reason}"
    yield from _calendar(plan, now, usual)
    for check in plan.checks:
        yield f"note: {check}"


def _estimate(plan: Plan) -> Iterator[str]:
    """Calls, how long it takes, and whose notebooks are away meanwhile."""
    estimate, waits = plan.estimate, plan.rollout.when is not Moment.NOW
    most = "up to " if waits and any(map(stops, plan.changes)) else ""
    pauses = sum(plan.pause_before(wave) for wave in sorted({change.wave for change in plan.changes})[1:])
    soaks = f" and {duration(pauses)} of {'pauses' if plan.stages else 'soak'}" if pauses else ""
    usual, slow = (max(0.0, seconds - pauses) for seconds in (estimate.seconds, estimate.slow_seconds))
    work = f"{_calls(estimate)} in about {_range(usual, slow)} of work{soaks}"
    restarts = [one for one in plan.changes if one.needs_restart and not _spared(one, plan.rollout)]
    yield f"estimate: {most}{work}{f' ({_believed(estimate.times, restarts)})' if restarts else ''}"
    if (spared := estimate.spared) is not None:
        least = f"{_calls(spared)} in about {duration(max(0.0, spared.seconds - pauses))} of work{soaks}"
        yield f"if all stop by themselves: {least}, and nobody is stopped by us"
    if estimate.away:
        told = [
            f"{one.notebooks} of {clean(one.owner) or 'nobody known'} for {duration(one.seconds)}"
            for one in estimate.away[:OWNERS]
        ]
        if more := len(estimate.away) - len(told):
            told.append(f"those of {more} others (--format json tells)")
        yield f"notebooks away, times summed: {most}{', '.join(told)}"


def _calls(effort: Estimate | Effort) -> str:
    lists = f", about {effort.lists} pages of lists" if effort.lists else ""
    return f"{effort.writes} writes, {effort.reads} reads{lists}"


def _spared(change: Change, rollout: Rollout) -> bool:
    """Whether nothing of ours ever stops it."""
    return rollout.stops_nobody and change.run_state is Status.RUNNING


def _believed(times: Times, restarts: Sequence[Change]) -> str:
    """Where the times of stops and starts are from."""
    assumed = (
        f"stops of {_range(ASSUMED.stop, ASSUMED.slow_stop)} and starts of "
        f"{_range(ASSUMED.start, ASSUMED.slow_start)} assumed"
    )
    if not times:
        return f"P50 to P95, {assumed}"
    flavors = "; ".join(
        f"{clean(flavor)} stops in {_range(took.stop, took.slow_stop)}, "
        f"starts in {_range(took.start, took.slow_start)}"
        for flavor, took in times.items()
    )
    others = sum(not {one.flavor, one.after.get("flavor", one.flavor)} <= times.keys() for one in restarts)
    rest = f"; {others} on other flavors: assumed {duration(ASSUMED.stop)} + {duration(ASSUMED.start)}"
    return f"P50 to P95, learned: {flavors}{rest if others else ''}"


def _range(usual: float, slow: float) -> str:
    one, other = duration(usual), duration(slow)
    return one if other == one or slow < usual else f"{one} to {other}"


def _calendar(plan: Plan, now: float, usual: Forecast | None) -> Iterator[str]:
    """When changes may begin, and what is expected when if the plan is applied at once."""
    calendar = plan.rollout.calendar
    for window in calendar.windows:
        yield f"window: opens {window.opens} by the clock of {window.timezone} for {duration(window.lasts)}"
    for blackout in calendar.blackouts:
        yield f"blackout: {blackout.begins} to {blackout.ends} by the clock of {blackout.timezone}"
    if usual is not None:
        zones = [window.timezone for window in calendar.windows]
        zones += [blackout.timezone for blackout in calendar.blackouts]
        yield from _course(plan, now, usual, zones[0] if zones else "UTC")


def _course(plan: Plan, now: float, usual: Forecast, where: str) -> Iterator[str]:
    """What is expected in which window, and when it is over: if all goes well, and on a slow day."""
    if usual.begins is None:
        yield f"note: NOTHING WILL BE CHANGED{_futile_words(usual)}"
        return
    slow = forecast(plan, now, slow=True)
    unless = usual.misfits != slow.misfits
    if slow.misfits is not None:
        yield f"note: {_misfit_words(slow.misfits)}{' if they do not stop by themselves' if unless else ''}"
    patient = plan.rollout.when is not Moment.NOW and any(map(stops, plan.changes))
    most = max(usual.left, slow.left) if patient else usual.left
    if most and not plan.rollout.carry_over:
        about = "about" if most == usual.left else "up to"
        left = f"{about} 1 change has" if most == 1 else f"{about} {most} changes have"
        yield f"note: {left} no room in the window; the run ends with it (rollout.carry_over is false)"
    if plan.rollout.calendar:
        for span, visits in usual.visits[:WINDOWS]:
            waves = ", ".join(map(str, visits))
            yield f"expected: {_open_time(span, where)}: wave{'s' * (len(visits) > 1)} {waves}"
        if (more := len(usual.visits) - WINDOWS) > 0:
            yield f"... and {more} more windows"
    stop = slow.first_stop if unless else usual.first_stop
    ours = "first stop" if plan.rollout.when is Moment.NOW else "first stop by us"
    first = f", {ours} {told(stop, where)}" if stop is not None else ""
    soonest = "at the soonest" if patient else "about"
    over = "not within a year" if usual.over is None else f"{soonest} {told(usual.over, where)}"
    latest, why = _latest(plan, now, slow.over, patient)
    late = "not within a year" if latest is None else told(latest, where)
    if late not in over:
        over += f", {why} {late}"
    begins = told(usual.begins, where)
    yield f"times, if applied at once: begins {begins}{first}, over {over}"
    if waits := waiting_words(plan.rollout, disturbs=any(map(stops, plan.changes))):
        looks = f"; to see who stopped, up to {LOOKS:.0f} requests a minute in each scope" if patient else ""
        yield f"all in all: {_whole(now, usual.over, latest)}; waits {waits}{looks}"


def _latest(plan: Plan, now: float, over: float | None, patient: bool) -> tuple[float | None, str]:
    """When all is over at the latest, and why then."""
    deadline = plan.rollout.deadline
    ends = None if deadline is None else now + deadline
    if ends is not None and (over is None or ends < over):
        return ends, "ended by the deadline"
    return over, "at the latest" if patient else "on a slow day"


def _futile_words(usual: Forecast) -> str:
    if usual.futile is Futile.NO_ROOM:
        return (
            " if applied at once: the next window has no room, and rollout.carry_over is false; "
            "apply it before another one"
        )
    fits_none = usual.misfits if usual.futile is Futile.NO_FIT else None
    return f": {_misfit_words(fits_none) if fits_none else 'no window opens within a year'}"


def _misfit_words(misfits: Misfits) -> str:
    takes = _range(misfits.shortest, misfits.longest)
    who = (
        "1 change fits no window: it takes"
        if misfits.number == 1
        else (f"{misfits.number} changes fit no window: they take")
    )
    return f"{who} about {takes}, the longest window is {duration(misfits.window)}"


def _whole(now: float, soonest: float | None, latest: float | None) -> str:
    """From the beginning to the end, with all waits."""
    if soonest is None or latest is None:
        return "not within a year"
    one, other = _long(soonest - now), _long(latest - now)
    return one if one == other or latest < soonest else f"{one} to {other}"


def _long(seconds: float) -> str:
    """As `duration`, and from two days on in days."""
    return f"{round(seconds / DAY, 1):g}d" if seconds >= 2 * DAY else duration(seconds)


def _open_time(span: Span, where: str) -> str:
    """A time between two blackouts may have no beginning or no end."""
    if math.isinf(span.ends):
        return "from now on" if math.isinf(span.begins) else f"from {told(span.begins, where)}"
    return f"until {told(span.ends, where)}" if math.isinf(span.begins) else told_span(span, where)


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


def _change_row(change: Change, names: Mapping[str, str], rollout: Rollout) -> tuple[str, ...]:
    how = restart_words(rollout) if stops(change) else "restart"
    state = f"{change.run_state}, {how}" if change.needs_restart else change.run_state.value
    difference = "; ".join(
        f"{field}: {_value(change.before, field, names)} -> {_value(change.after, field, names)}"
        for field in change.after
    )
    return (
        str(change.wave),
        change.scope,
        change.name or change.id,
        change.owner,
        state,
        difference,
        change.why,
        _cost(change.cost),
    )


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return ""
    partly = cost.saved_full is not None and (cost.before, cost.after) != (cost.full_before, cost.full_after)
    full = f" (24x7: {cost.full_before} -> {cost.full_after})" if partly else ""
    return f"{cost.before} -> {cost.after} {cost.currency}{full}"


def _without_empty(
    heads: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """A table without the columns in which no row has anything to say."""
    kept = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    return tuple(heads[at] for at in kept), [tuple(row[at] for at in kept) for row in rows]


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
