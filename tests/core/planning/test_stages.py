"""Proposals in stages: the changes that they become, the rows that these add up to, undo and retry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from fleet.core.catalog import Catalog
from fleet.core.changing.change import advance
from fleet.core.changing.life import Life
from fleet.core.changing.sight import Sight
from fleet.core.errors import UsageError
from fleet.core.events import (
    Answered,
    Began,
    Ended,
    Event,
    Fate,
    Intended,
    Outcome,
    Reopened,
    RunEnd,
    RunEnded,
    RunStarted,
    Saw,
    Step,
    WaveEnded,
)
from fleet.core.fold import RunState, count, exit_code, fold
from fleet.core.job import Context, JobSpec, Proposal, Skip, Staged
from fleet.core.notebook import Endpoint, Notebook, Status
from fleet.core.patch import NotebookPatch as Patch
from fleet.core.patch import When
from fleet.core.planning.again import Again, Past, Recall, Writes, earliest, retry, undo
from fleet.core.planning.estimate import Bounds, estimate
from fleet.core.planning.one_notebook import Target, plan_one
from fleet.core.planning.plan import Change, Phase, Plan, Settled, Stage
from fleet.core.planning.plan_file import dump_plan, load_plan
from fleet.core.planning.planner import plan_changes
from fleet.core.planning.stages import stage_remarks, stage_words, stages_of, totals
from fleet.core.rollout import Disruption, Rollout, Share, without_empty_waves
from fleet.core.rows import Row
from fleet.core.scheduling.timing import Moment, Otherwise
from fleet.core.selecting.selection import Key
from fleet.report.as_json import document
from fleet.report.as_text import summary_text, tally
from fleet.report.makespan import took
from fleet.report.summary import summarize
from tests.plans import make_change, make_plan

CONTEXT = Context("lab-a", Catalog(), 0)
RESTARTS = Rollout(disruption=Disruption.RESTART)
A, B, C = "8.8.8.1", "8.8.8.2", "8.8.8.3"


def ssh(*addresses: str) -> tuple[Endpoint, ...]:
    return (Endpoint("SSH", ("key",), addresses, "ssh://host:1"),)


def notebook(number: int = 0, status: Status = Status.STOPPED, **fields: Any) -> Notebook:
    given = {"name": f"nb-{number}", "owner": "ada", "endpoints": ssh(A), **fields}
    return Notebook(f"00000000-0000-4000-9000-{number:012d}", status, **given)


class Job(JobSpec):
    """Proposes these patches one after the other."""

    patches: Any

    def propose(self, notebook: Notebook, context: Context) -> Proposal:
        return Staged(tuple(self.patches))


ROTATION = (Patch(endpoints=ssh(A, B)), Patch(endpoints=ssh(B)))


def planned(found: Notebook, patches: Any = ROTATION, rollout: Rollout = RESTARTS) -> tuple[Change, ...]:
    row = plan_one(Target(found, CONTEXT), Job(patches=patches), rollout)
    assert isinstance(row, tuple), row
    return row


def settled(found: Notebook, patches: Any = ROTATION, rollout: Rollout = RESTARTS) -> tuple[Outcome, str]:
    row = plan_one(Target(found, CONTEXT), Job(patches=patches), rollout)
    assert isinstance(row, Settled), row
    return row.outcome, row.reason


def addresses(values: Any) -> list[str]:
    return [address for item in values["endpoints"] for address in item["allowed_access_ips"]]


# --- the changes -----------------------------------------------------------------------------------------


def test_each_stage_starts_from_what_the_one_before_leaves() -> None:
    first, second = planned(notebook())
    assert (addresses(first.before), addresses(first.after)) == ([A], [A, B])
    assert (addresses(second.before), addresses(second.after)) == ([A, B], [B])
    assert (first.stage, second.stage) == (1, 2)


def test_a_stage_that_changes_nothing_is_left_out() -> None:
    (second,) = planned(notebook(endpoints=ssh(A, B)))
    assert (second.stage, addresses(second.before)) == (2, [A, B])
    (first,) = planned(notebook(endpoints=ssh(A)), ROTATION[:1])
    assert first.stage == 1
    assert settled(notebook(endpoints=ssh(A)), (Patch(endpoints=ssh(A)), Patch())) == (
        Outcome.UNCHANGED,
        "already so",
    )


def test_a_stage_that_goes_back_to_where_it_began_is_a_stage_all_the_same() -> None:
    there, back = planned(notebook(), (Patch(endpoints=ssh(A, B)), Patch(endpoints=ssh(A))))
    assert addresses(there.before) == addresses(back.after) == [A]


@pytest.mark.parametrize(
    ("patches", "reason"),
    [
        ((Patch(name="x"), Patch(endpoints=(Endpoint("SSH", ("key",)),))), "stage 2: endpoints: the SSH"),
        ((Patch(storage_new_size=9), Patch(name="x")), "stage 1: storage_new_size: only an EVS disk"),
    ],
)
def test_a_stage_that_must_not_be_sent_leaves_the_notebook_as_it_is(patches: Any, reason: str) -> None:
    outcome, told = settled(notebook(), patches)
    assert outcome is Outcome.SKIPPED
    assert told.startswith(reason)


def test_without_leave_to_restart_a_running_notebook_gets_no_stage_at_all() -> None:
    outcome, told = settled(notebook(status=Status.RUNNING), (Patch(name="x"), ROTATION[0]), Rollout())
    assert outcome is Outcome.SKIPPED
    assert told == "stage 2: is RUNNING and would have to be stopped; rollout.disruption is none"


def test_the_plan_says_that_each_stage_takes_a_restart() -> None:
    first, second = planned(notebook(status=Status.RUNNING))
    assert "is stopped and started 2 times, once for each stage" in first.notes
    assert second.notes == ()
    patient = Rollout(disruption=Disruption.RESTART, when=Moment.NEXT_STOP, patience=60.0)
    assert not planned(notebook(status=Status.RUNNING), rollout=patient)[0].notes
    forcing = replace(patient, otherwise=Otherwise.FORCE)
    lost, note = planned(notebook(status=Status.RUNNING), rollout=forcing)[0].notes
    assert lost.startswith("a stop keeps only")
    assert note == "is stopped and started up to 2 times, once for each stage"
    assert not [note for change in planned(notebook()) for note in change.notes]


def test_only_the_first_stage_waits_for_a_notebook_that_is_on_its_way() -> None:
    first, second = planned(notebook(status=Status.STARTING))
    assert (first.arriving, second.arriving) == (True, False)
    assert first.run_state is second.run_state is Status.RUNNING


@given(ready=st.lists(st.booleans(), max_size=12), waves=st.sampled_from([(1, 100), (1, 50, 100), (100,)]))
def test_the_waves_of_a_stage_follow_those_of_the_one_before(
    ready: list[bool], waves: tuple[int, ...]
) -> None:
    """Those that are `ready` hold the new address already and need the second stage only."""
    shares = tuple(Share(one, percent=one > 1) for one in waves)
    rows = [notebook(n, endpoints=ssh(A, B) if done else ssh(A)) for n, done in enumerate(ready)]
    targets = [Target(row, CONTEXT) for row in rows]
    rollout = replace(RESTARTS, waves=shares)
    changes, left = plan_changes(targets, Job(patches=ROTATION), rollout)
    assert left == ()
    assert [change.item for change in changes] == list(range(len(changes)))
    assert [change.wave for change in changes] == sorted(change.wave for change in changes)
    assert {change.wave for change in changes} == set(range(1, len({c.wave for c in changes}) + 1))
    assert sum(change.stage == 1 for change in changes) == ready.count(False)
    assert sum(change.stage == 2 for change in changes) == len(ready)
    by_item = {change.item: change for change in changes}
    for change in changes:
        if change.follows is None:
            assert change.stage == 1 or change.id in {
                row.id for row, done in zip(rows, ready, strict=True) if done
            }
        else:
            before = by_item[change.follows]
            assert (before.id, before.stage) == (change.id, 1)
            assert before.wave < change.wave
    assert make_plan(*changes).notebooks == len(ready)


def staged_plan(count: int = 1, **rollout: Any) -> Plan:
    targets = [Target(notebook(number), CONTEXT) for number in range(count)]
    how = replace(RESTARTS, **rollout)
    changes, _ = plan_changes(targets, Job(patches=ROTATION), how)
    stages = stages_of(changes, 3600.0, ("adds", "removes"), how)
    return make_plan(*changes, rollout=how, stages=stages)


def test_the_pause_takes_the_place_of_the_soak_between_stages_only() -> None:
    plan = staged_plan(4, waves=(Share(1), Share(100, percent=True)), soak=60.0)
    assert plan.stages == (Stage(1, 1, 0.0, "adds"), Stage(2, 3, 3600.0, "removes"))
    assert [plan.pause_before(wave) for wave in (2, 3, 4)] == [60.0, 3600.0, 60.0]


def test_a_plan_tells_its_stages_in_words() -> None:
    plan = staged_plan(4, waves=(Share(1), Share(100, percent=True)))
    assert stage_words(plan.changes, plan.stages) == (
        "stage 1 adds (4 notebooks, waves 1 to 2); 1h later stage 2 removes (4 notebooks, waves 3 to 4)"
    )
    plan = staged_plan(1)
    assert stage_words(plan.changes, plan.stages) == (
        "stage 1 adds (1 notebook, wave 1); 1h later stage 2 removes (1 notebook, wave 2)"
    )


def test_where_nobody_needs_the_first_stage_the_second_does_not_wait_and_the_plan_says_so() -> None:
    targets = [Target(notebook(endpoints=ssh(A, B)), CONTEXT)]
    changes, _ = plan_changes(targets, Job(patches=ROTATION), RESTARTS)
    stages = stages_of(changes, 3600.0, ("adds", "removes"), RESTARTS)
    assert stages == (Stage(2, 1, 0.0, "removes"),)
    (told,) = stage_remarks(stages, 3600.0)
    assert told.startswith("NO PAUSE: no notebook needs stage 1 any more, and since when is unknown; ")
    assert told.endswith("stage 2 removes at once, without the 1h in between")
    assert list(stage_remarks(staged_plan().stages, 3600.0)) == []


def test_where_an_earlier_run_made_the_first_stage_the_second_waits_for_what_is_left_of_the_pause() -> None:
    targets = [Target(notebook(endpoints=ssh(A, B)), CONTEXT)]
    changes, _ = plan_changes(targets, Job(patches=ROTATION), RESTARTS)
    stages = stages_of(changes, 3600.0, ("adds", "removes"), RESTARTS, {2: 1_764_003_600.0})
    assert stages == (Stage(2, 1, 0.0, "removes", not_before=1_764_003_600.0),)
    (told,) = stage_remarks(stages, 3600.0)
    assert told.endswith("begins at 2025-11-24 17:00:00 UTC at the earliest")
    plan = make_plan(*changes, stages=stages)
    assert load_plan(dump_plan(plan), "plan") == plan


def test_a_stage_that_follows_another_in_the_same_plan_waits_for_that_one_only() -> None:
    changes = staged_plan(2).changes
    stages = stages_of(changes, 3600.0, (), RESTARTS, {2: 1_764_003_600.0})
    assert [stage.not_before for stage in stages] == [0.0, 0.0]


def test_no_change_at_all_has_no_stages() -> None:
    assert stages_of([], 3600.0, ("adds", "removes"), RESTARTS) == ()


def test_a_plan_of_one_patch_each_has_no_stages() -> None:
    assert stages_of([make_change()], 3600.0, (), RESTARTS) == ()


def test_a_deadline_that_the_pause_would_outlast_is_refused() -> None:
    with pytest.raises(UsageError, match=r"rollout.deadline: 1h are over before the 1h between the stages"):
        staged_plan(deadline=3600.0)
    assert staged_plan(deadline=3601.0).stages


@pytest.mark.parametrize(
    ("approve", "moved"),
    [((1,), (1,)), ((3,), (2,)), ((4,), (3,)), ((2, 3), (1, 2)), ((6,), ()), ((9,), ())],
)
def test_approvals_are_counted_through_all_stages(approve: tuple[int, ...], moved: tuple[int, ...]) -> None:
    """Of [1, 1, 100%] the second wave of two changes is empty in each stage."""
    shares = (Share(1), Share(1), Share(100, percent=True))
    walked = without_empty_waves(Rollout(waves=shares, approve=approve), 2, 2)
    assert walked.approve == moved
    assert walked.waves == (shares[0], shares[2])


def test_the_estimate_holds_the_pause_and_percentages_of_notebooks() -> None:
    plan = staged_plan(4)
    short = estimate(plan.changes, (), plan.rollout).seconds
    assert estimate(plan.changes, (), plan.rollout, plan.stages).seconds == short + 3600.0
    halves = replace(RESTARTS, max_failures=Share(50, percent=True))
    assert Bounds.of(plan.changes, (), halves).slots == 2


def test_totals_are_by_stage() -> None:
    assert totals(staged_plan(3).changes) == [3, 3]
    assert totals([]) == []


def test_a_plan_in_stages_is_a_file_like_any_other() -> None:
    plan = staged_plan(2)
    assert load_plan(dump_plan(plan), "plan") == plan


@pytest.mark.parametrize("follows", [0, 1, 2, 3, 99])
def test_a_plan_whose_stage_follows_no_stage_of_its_notebook_is_refused(follows: int) -> None:
    first, other, second, last = staged_plan(2).changes
    forged = make_plan(first, other, replace(second, follows=follows), last)
    if follows == 0:
        assert load_plan(dump_plan(forged), "plan") == forged
    else:
        with pytest.raises(UsageError, match="item 2 follows no earlier stage of its notebook"):
            load_plan(dump_plan(forged), "plan")


# --- what a later stage finds -----------------------------------------------------------------------------


def second_stage(run_state: Status, *, may_restart: bool = True) -> Change:
    phases = (Phase(When.STOPPED, {"name": "b"}),)
    how: dict[str, Any] = {"run_state": run_state, "may_restart": may_restart, "follows": 0, "stage": 2}
    return make_change(1, phases=phases, before={"name": "a"}, after={"name": "b"}, **how)


def fenced(change: Change, status: Status) -> Life:
    life = advance(Life.begin(change), Began(change.item, 1.0))
    return advance(life, Saw(change.item, 2.0, Sight(status, {"name": "a"})))


@pytest.mark.parametrize("found", [Status.RUNNING, Status.STOPPED])
@pytest.mark.parametrize("planned_for", [Status.RUNNING, Status.STOPPED])
def test_a_later_stage_takes_the_run_state_that_it_finds(planned_for: Status, found: Status) -> None:
    life = fenced(second_stage(planned_for), found)
    assert life.end is None
    assert life.change.run_state is found


def test_a_later_stage_that_finds_a_notebook_running_obeys_the_disruption() -> None:
    life = fenced(second_stage(Status.STOPPED, may_restart=False), Status.RUNNING)
    assert life.end == (Outcome.SKIPPED, "name: needs a restart; disruption is none")


@pytest.mark.parametrize("found", [Status.RUNNING, Status.STOPPED])
def test_a_later_stage_whose_forerunner_was_in_another_plan_takes_the_run_state_that_it_finds(
    found: Status,
) -> None:
    life = fenced(replace(second_stage(Status.RUNNING), follows=None), found)
    assert (life.end, life.change.run_state) == (None, found)


def test_a_first_stage_that_finds_another_run_state_is_drifted() -> None:
    life = fenced(replace(second_stage(Status.RUNNING), stage=1, follows=None), Status.STOPPED)
    assert life.end is not None
    assert life.end[0] is Outcome.DRIFTED


def test_a_later_stage_counts_as_one_that_may_go_away_if_it_may_restart() -> None:
    assert second_stage(Status.STOPPED).may_go_away
    assert not second_stage(Status.STOPPED, may_restart=False).may_go_away
    assert replace(second_stage(Status.STOPPED), follows=None).may_go_away
    assert not replace(second_stage(Status.STOPPED), stage=1, follows=None).may_go_away


# --- rows -------------------------------------------------------------------------------------------------

PLAN = staged_plan(1)


def stage_events(item: int, at: float, outcome: Outcome, *, sends: bool = True) -> list[Event]:
    change = PLAN.changes[item]
    body = change.phases[0].body
    events: list[Event] = [Began(item, at)]
    if sends:
        before, after = change.before, change.after
        shown = after if outcome in (Outcome.CHANGED, Outcome.UNCHANGED) else before
        events += [
            Saw(item, at + 1, Sight(Status.STOPPED, before), f"look-{item}"),
            Intended(item, at + 2, Step.PUT, 1, body),
            Answered(item, at + 3, Step.PUT, Fate.ACCEPTED, request_id=f"put-{item}"),
            Saw(item, at + 4, Sight(Status.STOPPED, shown), f"back-{item}"),
        ]
    return [*events, Ended(item, at + 10, outcome, f"why {item}")]


def row_of(*events: Event, over: bool = True) -> Row:
    (row,) = fold(PLAN, events).rows(over=over)
    return row


def test_a_notebook_has_one_row_from_before_its_first_stage_to_after_its_last() -> None:
    row = row_of(*stage_events(0, 100.0, Outcome.CHANGED), *stage_events(1, 9000.0, Outcome.CHANGED))
    assert (row.item, row.wave, row.outcome) == (0, 2, Outcome.CHANGED)
    assert (addresses(row.before), addresses(row.after)) == ([A], [B])
    assert (row.started_at, row.finished_at, row.idle_s) == (100.0, 9010.0, 8890.0)
    assert took(row) == 20.0
    assert (row.calls.put, row.calls.get) == (2, 4)
    assert row.request_ids == ("look-0", "put-0", "back-0", "look-1", "put-1", "back-1")


@pytest.mark.parametrize("bad", sorted(set(Outcome) - {Outcome.CHANGED, Outcome.UNCHANGED}))
def test_the_first_stage_that_does_not_go_well_decides(bad: Outcome) -> None:
    skipped = Ended(1, 9000.0, Outcome.SKIPPED, f"the stage before it ended as {bad}")
    row = row_of(*stage_events(0, 100.0, bad), skipped)
    begun = " not started" if bad is Outcome.NOT_STARTED else ""
    assert (row.outcome, row.wave, row.reason) == (bad, 1, f"stage 1{begun}: why 0")
    assert row.stages_done == 0
    assert (row.finished_at, addresses(row.after)) == (110.0, [A])
    row = row_of(*stage_events(0, 100.0, Outcome.CHANGED), *stage_events(1, 9000.0, bad))
    begun = " not started" if bad is Outcome.NOT_STARTED else ""
    assert (row.outcome, row.wave, row.reason) == (bad, 2, f"stage 1 done; stage 2{begun}: why 1")
    assert (row.stages_done, addresses(row.after)) == (1, [A, B])


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("changed", "unchanged", "changed"),
        ("unchanged", "changed", "changed"),
        ("unchanged", "unchanged", "unchanged"),
    ],
)
def test_a_notebook_that_any_stage_changed_is_changed(first: str, second: str, both: str) -> None:
    row = row_of(*stage_events(0, 100.0, Outcome(first)), *stage_events(1, 9000.0, Outcome(second)))
    assert row.outcome == both


def test_between_the_stages_of_a_run_that_goes_on_the_row_is_open() -> None:
    row = row_of(*stage_events(0, 100.0, Outcome.CHANGED), over=False)
    assert (row.outcome, row.finished_at, addresses(row.after)) == (None, None, [A, B])
    assert (row.reason, row.stages_done) == ("stage 1 done", 1)


def test_a_run_that_ends_between_the_stages_has_not_started_the_second_one() -> None:
    ended = RunEnded(200.0, RunEnd.INTERRUPTED, "enough")
    row = row_of(*stage_events(0, 100.0, Outcome.CHANGED), ended)
    told = "stage 1 done; stage 2 not started: the run was interrupted: enough"
    assert (row.outcome, row.reason, row.written) == (Outcome.NOT_STARTED, told, True)


def test_the_summary_and_json_of_a_run_that_ends_between_the_stages_count_the_first_one() -> None:
    plan = staged_plan(3)
    events = [event for item in (0, 1) for event in stage_events(item, 100.0, Outcome.CHANGED, sends=False)]
    report = summarize(fold(plan, [*events, RunEnded(200.0, RunEnd.INTERRUPTED, "enough")]))
    assert tally(report.counts, report.between_stages) == (
        "3 selected: 3 not-started; stage 1 done: 2 notebooks"
    )
    assert "3 selected: 3 not-started; stage 1 done: 2 notebooks\n" in summary_text(report)
    assert document(report)["between_stages"] == {"1": 2}
    assert sorted(row["stages_done"] for row in document(report)["rows"]) == [0, 1, 1]


def test_a_notebook_with_all_its_stages_behind_it_is_not_between_them() -> None:
    events = (*stage_events(0, 100.0, Outcome.CHANGED), *stage_events(1, 9000.0, Outcome.CHANGED))
    assert row_of(*events).stages_done == 2
    assert summarize(fold(PLAN, events)).between_stages == {}


def test_counts_and_the_exit_code_are_of_notebooks() -> None:
    rows = fold(PLAN, [*stage_events(0, 100.0, Outcome.FAILED), Ended(1, 9000.0, Outcome.SKIPPED)]).rows(
        over=True
    )
    assert {name: number for name, number in count(rows).items() if number} == {"failed": 1}
    assert exit_code(rows, RunEnd.FINISHED) == 3


def test_the_makespan_of_a_run_in_stages_holds_the_pause() -> None:
    events = [*stage_events(0, 100.0, Outcome.CHANGED), *stage_events(1, 3710.0, Outcome.CHANGED)]
    state = fold(PLAN, [RunStarted(100.0, "run", ""), *events, RunEnded(3720.0, RunEnd.FINISHED)])
    told = summarize(state).makespan
    assert told is not None
    assert (told.took_s, told.bound_s) == (3620.0, 3618.0)  # each stage waited a second for its first look


def test_the_end_of_a_wave_counts_from_the_first_time_after_its_last_change() -> None:
    state = RunState(PLAN)
    for event in (WaveEnded(10.0, 1, False), WaveEnded(20.0, 1, True)):
        state.apply(event)
    assert state.waves_ended == {1: 10.0}
    state.apply(Reopened(0, 30.0))
    assert state.waves_ended == {}
    state.apply(WaveEnded(40.0, 1, True))
    assert state.waves_ended == {1: 40.0}


# --- undo and retry ---------------------------------------------------------------------------------------


def past(*events: Event) -> tuple[Past, Writes]:
    writes = Writes()
    for event in events:
        writes.see(event)
    state = fold(PLAN, events)
    (row,) = state.rows(over=True)
    pairs = zip(PLAN.changes, state.change_rows(over=True), strict=True)
    return Past(row, tuple(pairs)), writes


DONE = [*stage_events(0, 100.0, Outcome.CHANGED), *stage_events(1, 9000.0, Outcome.CHANGED)]
HALF = [*stage_events(0, 100.0, Outcome.CHANGED), *stage_events(1, 9000.0, Outcome.FAILED, sends=False)]


def tried_again(*events: Event) -> Mapping[Key, Recall]:
    one, writes = past(*events)
    return retry([one], writes, [Outcome.FAILED])


NONE = [*stage_events(0, 100.0, Outcome.FAILED, sends=False), Ended(1, 9000.0, Outcome.SKIPPED)]


@pytest.mark.parametrize("found", [ssh(A, B), ssh(B)])
def test_undo_puts_back_what_was_before_the_first_stage_whatever_stage_is_found(found: Any) -> None:
    one, writes = past(*DONE)
    patch = Again(recalls=undo([one], writes)).propose(notebook(endpoints=found), CONTEXT)
    assert patch == Patch(endpoints=tuple(structs.replace(item, uri="") for item in ssh(A)))


def test_undo_leaves_a_value_alone_that_no_stage_gave() -> None:
    one, writes = past(*DONE)
    left = Again(recalls=undo([one], writes)).propose(notebook(endpoints=ssh(C)), CONTEXT)
    assert isinstance(left, Skip)
    assert left.outcome is Outcome.DRIFTED
    one, writes = past(*HALF)
    left = Again(recalls=undo([one], writes)).propose(notebook(endpoints=ssh(B)), CONTEXT)
    assert isinstance(left, Skip)


def test_retry_proposes_the_stages_that_are_left_as_stages() -> None:
    job = Again(recalls=tried_again(*HALF), plan_stages=PLAN.stages)
    assert (job.pause(), job.stages(CONTEXT)) == (3600.0, ("adds", "removes"))
    found = notebook(endpoints=ssh(A, B))
    (change,) = plan_one(Target(found, CONTEXT), job, RESTARTS)  # type: ignore[misc]  # stages, as asserted
    assert (change.stage, addresses(change.after)) == (2, [B])


def test_retry_of_a_notebook_that_failed_at_once_has_all_stages_again() -> None:
    job = Again(recalls=tried_again(*NONE), plan_stages=PLAN.stages)
    row = plan_one(Target(notebook(), CONTEXT), job, RESTARTS)
    assert isinstance(row, tuple)
    assert [addresses(change.after) for change in row] == [[A, B], [B]]


def test_retry_does_not_add_again_what_a_second_stage_removed_after_all() -> None:
    job = Again(recalls=tried_again(*HALF), plan_stages=PLAN.stages)
    row = plan_one(Target(notebook(endpoints=ssh(B)), CONTEXT), job, RESTARTS)
    assert isinstance(row, Settled)
    assert row.outcome is Outcome.UNCHANGED


def test_retry_does_not_add_again_what_somebody_removed_before_the_first_stage() -> None:
    job = Again(recalls=tried_again(*NONE), plan_stages=PLAN.stages)
    row = plan_one(Target(notebook(endpoints=ssh(B)), CONTEXT), job, RESTARTS)
    assert isinstance(row, Settled)
    assert row.outcome is Outcome.UNCHANGED


@pytest.mark.parametrize("events", [HALF, NONE])
@pytest.mark.parametrize(
    "theirs", [ssh(A, B, C), ssh(C), (structs.replace(ssh(A, B)[0], key_pair_names=("other",)),)]
)
def test_retry_leaves_a_list_alone_that_somebody_changed(events: list[Event], theirs: Any) -> None:
    job = Again(recalls=tried_again(*events), plan_stages=PLAN.stages)
    row = plan_one(Target(notebook(endpoints=theirs), CONTEXT), job, RESTARTS)
    assert isinstance(row, Settled)
    assert row.outcome is Outcome.DRIFTED


def test_retry_does_not_make_the_second_stage_where_somebody_took_the_first_one_back() -> None:
    job = Again(recalls=tried_again(*HALF), plan_stages=PLAN.stages)
    row = plan_one(Target(notebook(endpoints=ssh(A)), CONTEXT), job, RESTARTS)
    assert isinstance(row, Settled)
    assert row.outcome is Outcome.DRIFTED


def test_the_pause_counts_from_the_last_change_of_the_stage_before() -> None:
    assert earliest([past(*HALF)[0]], PLAN.stages) == {2: 110.0 + 3600.0}
    assert earliest([past(*NONE)[0]], PLAN.stages) == {}
    applied = [*stage_events(0, 100.0, Outcome.FAILED), Ended(1, 9000.0, Outcome.SKIPPED)]
    assert earliest([past(*applied)[0]], PLAN.stages) == {2: 110.0 + 3600.0}


def test_a_retry_of_a_retry_waits_as_long_as_the_first_would_have() -> None:
    stages = (Stage(2, 1, 0.0, "removes", not_before=5000.0),)
    assert earliest([past(*HALF)[0]], stages) == {2: 5000.0}
