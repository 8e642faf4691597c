"""A run as values for telling: its rows, what they add up to, and what an operator does next.

Pure, and the same for every format; the rows come from `core.fold`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fleet.core.commands import whole
from fleet.core.errors import Exit
from fleet.core.events import Outcome
from fleet.core.fold import Debt, RunState, between_stages, count, debts, exit_code
from fleet.core.pacing.limits import Limit
from fleet.core.rows import Calls, Row, sum_of
from fleet.report.makespan import Makespan, makespan, took


@dataclass(frozen=True, slots=True)
class Cost:
    """What changed notebooks of one run state took: how many there were, and calls for each on average."""

    notebooks: int
    calls: float
    by_kind: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """One run. Instants are wall seconds, durations seconds.

    `state` is `running`, how the run ended, or `interrupted` when it broke off; `reason` says why.
    `between_stages` are the notebooks that have so many stages done and not their last: their outcome tells
    of the stage after. `costs` is by the run state that the notebooks had before. `calls` are those of the
    rows; `requests` are all that the run made, by operation, list polls and logins included: at least so many
    when they are not all `requests_known`, as a process was killed. `limits` are those that the cloud named,
    by throttle key, `throttled` the last news of one that named none. `peaks` tell by throttle key how many
    requests left at most in any window of each limit that was kept; a process that was killed, as at least
    one was when the run `broke_off`, told none. `undoable` says that a PUT was accepted or may have been.
    `makespan` is None where a person, a budget or a crash had its part in how long the run took. `config` and
    `run_dir` are the options that commands named here need to find the same cloud and the same runs again.
    `damage` lists what of the journal is not to be trusted, `overrides` the guards that the plan lifts.
    """

    run: str
    job: str
    state: str
    reason: str
    started_at: float | None
    finished_at: float | None
    duration_s: float
    makespan: Makespan | None
    rows: tuple[Row, ...]
    counts: Mapping[str, int]
    between_stages: Mapping[int, int]
    calls: Calls
    costs: Mapping[str, Cost]
    longest_away: Row | None
    slowest: Row | None
    requests: Mapping[str, int]
    requests_known: bool
    limits: Mapping[str, tuple[str, ...]]
    throttled: Mapping[str, str]
    peaks: Mapping[str, Mapping[Limit, int]]
    broke_off: bool
    undoable: bool
    debts: tuple[Debt, ...]
    damage: tuple[str, ...]
    exit: Exit
    overrides: Mapping[str, str] = field(default_factory=dict)
    config: str = ""
    run_dir: str = ""

    def whole(self, text: str) -> str:
        """The text with commands that can be typed anywhere."""
        return whole(text, self.config, self.run_dir)

    @property
    def owed(self) -> tuple[Debt, ...]:
        """The debts that nobody is about to pay: what is open in a live run comes back by itself."""
        under_way = {row.item for row in self.rows if row.outcome is None} if self.live else set()
        return tuple(debt for debt in self.debts if debt.item not in under_way)

    @property
    def live(self) -> bool:
        """Whether the run is still going on, so that rows may be open."""
        return self.state == "running"


def summarize(state: RunState, *, live: bool = False, damage: Iterable[object] = ()) -> Report:
    """The report of a run. `live` says that a process is still working on it; `damage` is shown as it is."""
    live = live and state.end is None
    rows = state.rows(over=not live)
    started = state.at if state.started_at is None else state.started_at
    until = state.at if state.finished_at is None else state.finished_at
    duration_s = round(max(0.0, until - started), 3)
    calls = sum_of(row.calls for row in rows)
    return Report(
        run=state.run,
        job=state.plan.job,
        state="running" if live else (state.end or "interrupted"),
        reason=state.reason,
        started_at=state.started_at,
        finished_at=state.finished_at,
        duration_s=duration_s,
        makespan=makespan(state, duration_s),
        rows=rows,
        counts=count(rows),
        between_stages=between_stages(rows),
        calls=calls,
        costs=_costs(rows),
        longest_away=_largest(rows, lambda row: row.away_s),
        slowest=_largest(rows, took),
        requests=_requests(state.spent, calls),
        requests_known=state.end is not None and not state.broke_off and not state.gaps,
        limits={key: tuple(map(str, named.values())) for key, named in state.limits.items()},
        throttled=dict(state.throttled),
        peaks=dict(state.peaks),
        broke_off=state.broke_off or (state.end is None and not live),
        undoable=state.gaps or any(row.written for row in rows),
        debts=debts(state),
        damage=tuple(str(one) for one in damage),
        exit=exit_code(rows, state.end),
        overrides=state.plan.overrides,
    )


def is_complete(report: Report) -> bool:
    """Whether the run came to its end with nothing left to do or to find out."""
    open_ends = (Outcome.STRANDED, Outcome.UNKNOWN, Outcome.NOT_STARTED)
    return report.state == "finished" and not any(report.counts[outcome] for outcome in open_ends)


def next_steps(report: Report) -> tuple[str, ...]:
    """The commands that come next, each with its reason first."""
    if report.live:
        return ()
    counts, steps = report.counts, []
    left_out = sum(row.outcome is Outcome.NOT_STARTED and row.wave is None for row in report.rows)
    unfinished = counts.get("open", 0) + counts[Outcome.UNKNOWN] + counts[Outcome.NOT_STARTED] - left_out
    if report.damage:
        steps.append(f"to see what it left, for nobody can go on with it: fleet recover {report.run}")
    elif unfinished or (report.debts and report.state != "finished"):
        steps.append(f"to go on where it stopped: fleet resume {report.run}")
    if any(counts[outcome] for outcome in (Outcome.FAILED, Outcome.DRIFTED)):
        steps.append(
            f"to plan those again that failed, drifted or never began: fleet retry {report.run} -o PLAN"
        )
    if report.undoable:
        steps.append(f"to take the changes back: fleet undo {report.run} -o PLAN")
    return tuple(map(report.whole, steps))


def _requests(spent: Mapping[str, int], of_rows: Calls) -> dict[str, int]:
    """The requests by operation, as the clouds counted them; rows know what a killed process did not tell."""
    known = of_rows.by_kind
    return {kind: max(known.get(kind, 0), spent.get(kind, 0)) for kind in {**known, "list": 0, **spent}}


def _costs(rows: Sequence[Row]) -> dict[str, Cost]:
    changed = [row for row in rows if row.outcome is Outcome.CHANGED]
    return {
        state: _cost([row for row in changed if row.run_state_before == state])
        for state in sorted({row.run_state_before for row in changed})
    }


def _cost(rows: Sequence[Row]) -> Cost:
    total = sum_of(row.calls for row in rows).by_kind
    by_kind = {kind: round(number / len(rows), 2) for kind, number in total.items()}
    return Cost(len(rows), round(sum(total.values()) / len(rows), 2), by_kind)


def _largest(rows: Iterable[Row], size: Callable[[Row], float]) -> Row | None:
    """The first of the rows with the largest size; None when there is none above zero."""
    largest = max(rows, key=size, default=None)
    return largest if largest is not None and size(largest) > 0 else None
