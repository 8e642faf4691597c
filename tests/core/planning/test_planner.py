"""From proposals to changes: phases, refusals, order, and what the plan will cost."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from fleet.core.catalog import Catalog
from fleet.core.events import Outcome
from fleet.core.job import Context, JobSpec, Skip, Staged
from fleet.core.notebook import Endpoint, Image, Lease, Notebook, Status, Volume
from fleet.core.patch import FIELD_TABLE, Hook, Hooks, InvalidField, NotebookPatch, When, to_body
from fleet.core.planning.one_notebook import Target, phases_of, plan_one
from fleet.core.planning.plan import Change, Settled
from fleet.core.planning.planner import plan_changes, wave_remarks
from fleet.core.rollout import Disruption, ReleaseOrder, Rollout, Share
from fleet.core.scheduling.timing import Moment, Otherwise

OLD_IMAGE, NEW_IMAGE = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
RESTARTS = Rollout(disruption=Disruption.RESTART)
GENTLE = Rollout()
SSH = Endpoint("SSH", ("key",), ("203.0.113.7",))
LOST = (
    "a stop keeps only what is under the mounted folder: packages installed elsewhere are lost, "
    "storage that was mounted by hand may have to be mounted again"
)


def notebook(number: int = 0, status: Status = Status.RUNNING, **fields: Any) -> Notebook:
    given: dict[str, Any] = {
        "id": f"00000000-0000-4000-9000-{number:012d}",
        "status": status,
        "name": f"nb-{number}",
        "owner": "ada",
        "flavor": "small",
        "image": Image(OLD_IMAGE),
        "lease": Lease(enable=True, duration=1),
        "volume": Volume("EVS", 50),
        "endpoints": (SSH,),
    }
    return Notebook(**{**given, **fields})


def target(found: Notebook, scope: str = "lab-a", *, protected: str = "") -> Target:
    return Target(found, Context(scope, Catalog(), 0), protected)


class Job(JobSpec):
    """Proposes what it was given."""

    proposal: Any

    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch | Skip:
        if isinstance(self.proposal, InvalidField):
            raise self.proposal
        found: NotebookPatch | Skip = self.proposal
        return found


def plan(found: Notebook, proposal: object, rollout: Rollout = RESTARTS) -> Change | Settled:
    row = plan_one(target(found), Job(proposal=proposal), rollout)
    assert not isinstance(row, tuple), row
    return row


def change(found: Notebook, proposal: object, rollout: Rollout = RESTARTS) -> Change:
    row = plan(found, proposal, rollout)
    assert isinstance(row, Change), row
    return row


def settled(found: Notebook, proposal: object, rollout: Rollout = RESTARTS) -> Settled:
    row = plan(found, proposal, rollout)
    assert isinstance(row, Settled), row
    return row


IMAGE = NotebookPatch(image_id=NEW_IMAGE)
GROW = NotebookPatch(storage_new_size=80)
RENAME = NotebookPatch(name="new")
EVERYTHING = NotebookPatch(name="new", image_id=NEW_IMAGE, storage_new_size=80, description="words")


# --- phases ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patch", "run_state", "phases"),
    [
        (IMAGE, Status.RUNNING, [(When.STOPPED, {"image_id"})]),
        (IMAGE, Status.STOPPED, [(When.STOPPED, {"image_id"})]),
        (RENAME, Status.RUNNING, [(When.ANY, {"name"})]),
        (GROW, Status.STOPPED, [(When.RUNNING, {"storage_new_size"})]),
        (
            EVERYTHING,
            Status.RUNNING,
            [(When.RUNNING, {"storage_new_size", "name", "description"}), (When.STOPPED, {"image_id"})],
        ),
        (
            EVERYTHING,
            Status.STOPPED,
            [(When.STOPPED, {"image_id", "name", "description"}), (When.RUNNING, {"storage_new_size"})],
        ),
    ],
)
def test_a_patch_is_split_by_state_and_the_present_state_goes_first(
    patch: NotebookPatch, run_state: Status, phases: list[tuple[When, set[str]]]
) -> None:
    assert [(phase.when, set(phase.body)) for phase in phases_of(patch, run_state)] == phases


PATCHES = st.builds(
    NotebookPatch,
    name=st.none() | st.just("new"),
    description=st.none() | st.just("words"),
    flavor=st.none() | st.just("large"),
    image_id=st.none() | st.just(NEW_IMAGE),
    storage_new_size=st.none() | st.just(80),
    hooks=st.none() | st.just(Hooks(Hook("/start.sh"))),
).filter(bool)


@given(patch=PATCHES, run_state=st.sampled_from([Status.RUNNING, Status.STOPPED]))
def test_every_field_is_sent_once_in_a_state_that_allows_it(patch: NotebookPatch, run_state: Status) -> None:
    phases = phases_of(patch, run_state)
    sent = [(name, phase) for phase in phases for name in phase.body]
    assert sorted(name for name, _ in sent) == sorted(patch.fields())
    assert all(FIELD_TABLE[name] in (When.ANY, phase.when) for name, phase in sent)
    assert len(phases) <= 2
    joined = {name: value for phase in phases for name, value in phase.body.items()}
    assert joined == to_body(patch)
    assert phases[0].when.allows(run_state) or all(not phase.when.allows(run_state) for phase in phases)


# --- one notebook ----------------------------------------------------------------------------------------


def test_a_change_carries_what_to_come_back_to() -> None:
    row = change(notebook(3), IMAGE)
    assert (row.run_state, row.arriving, row.needs_restart) == (Status.RUNNING, False, True)
    assert (row.before, row.after) == ({"image_id": OLD_IMAGE}, {"image_id": NEW_IMAGE})
    assert (row.owner, row.flavor, row.lease) == ("ada", "small", Lease(enable=True, duration=1))


@pytest.mark.parametrize(
    ("status", "heading"),
    [
        (Status.STARTING, Status.RUNNING),
        (Status.SNAPSHOTTING, Status.RUNNING),
        (Status.CREATING, Status.RUNNING),
        (Status.INIT, Status.RUNNING),
        (Status.STOPPING, Status.STOPPED),
    ],
)
def test_a_notebook_on_its_way_is_planned_for_where_it_is_heading(status: Status, heading: Status) -> None:
    row = change(notebook(status=status), IMAGE)
    assert (row.run_state, row.arriving) == (heading, True)


@pytest.mark.parametrize(
    "status", [status for status in Status if status not in ("RUNNING", "STOPPED") and not status.heading]
)
def test_a_notebook_that_no_update_can_reach_is_skipped_by_its_status(status: Status) -> None:
    row = settled(notebook(status=status, status_word=status.value), IMAGE)
    assert (row.outcome, row.reason) == (Outcome.SKIPPED, f"status {status}")


def test_an_unknown_status_is_told_in_the_clouds_own_word() -> None:
    assert settled(notebook(status=Status.STRANGE, status_word="RESTING"), IMAGE).reason == "status RESTING"


def test_what_is_so_already_is_unchanged_and_no_part_of_the_patch() -> None:
    assert settled(notebook(image=Image(NEW_IMAGE)), IMAGE).outcome is Outcome.UNCHANGED
    both = NotebookPatch(name="new", image_id=NEW_IMAGE)
    assert change(notebook(image=Image(NEW_IMAGE)), both, GENTLE).after == {"name": "new"}


def test_hooks_are_always_sent_since_nothing_shows_them() -> None:
    row = change(notebook(status=Status.STOPPED), NotebookPatch(hooks=Hooks(Hook("/start.sh"))))
    assert row.before == {}
    assert "hooks cannot be read back" in row.notes[0]


@pytest.mark.parametrize(
    ("status", "proposal", "reason"),
    [
        (Status.RUNNING, IMAGE, "is RUNNING and would have to be stopped; rollout.disruption is none"),
        (Status.STOPPED, GROW, "is STOPPED and would have to be started; rollout.disruption is none"),
    ],
)
def test_nothing_is_restarted_unless_the_rollout_says_so(
    status: Status, proposal: NotebookPatch, reason: str
) -> None:
    assert settled(notebook(status=status), proposal, GENTLE).reason == reason
    assert change(notebook(status=status), proposal, RESTARTS).may_restart


@pytest.mark.parametrize(("status", "proposal"), [(Status.STOPPED, IMAGE), (Status.RUNNING, RENAME)])
def test_what_needs_no_restart_is_planned_without_leave(status: Status, proposal: NotebookPatch) -> None:
    row = change(notebook(status=status), proposal, GENTLE)
    assert not row.may_restart
    assert not row.needs_restart


def test_a_protected_notebook_is_kept_out_before_the_job_is_asked() -> None:
    job = Job(proposal=InvalidField("name", "asked all the same"))
    row = plan_one(target(notebook(), protected="guards.protect"), job, RESTARTS)
    assert isinstance(row, Settled)
    assert (row.outcome, row.reason) == (Outcome.SKIPPED, "protected by guards.protect")


def test_what_a_job_says_against_a_notebook_is_the_reason() -> None:
    assert settled(notebook(), Skip("has no image")).reason == "has no image"
    assert settled(notebook(), InvalidField("name", "is bad")).reason == "name: is bad"


@pytest.mark.parametrize(
    ("volume", "size", "reason"),
    [
        (Volume("EVS", 50), 80, None),
        (Volume("evs", 50), 80, None),
        (Volume("EVS", 100), 80, "storage_new_size: 80 GB is less than the 100 GB there"),
        (Volume("OBS", 50), 80, "storage_new_size: only an EVS disk can grow"),
        (None, 80, "storage_new_size: only an EVS disk can grow"),
    ],
)
def test_only_an_evs_disk_grows_and_none_shrinks(
    volume: Volume | None, size: int, reason: str | None
) -> None:
    row = plan(notebook(volume=volume), NotebookPatch(storage_new_size=size))
    assert (row.reason if isinstance(row, Settled) else None) == reason


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ((SSH,), (Endpoint("SSH", ("key",), None),), "open to the world"),
        ((SSH,), (Endpoint("NOTEBOOK", ("key",), ("203.0.113.8",)),), "left out of the list"),
    ],
)
def test_an_endpoint_is_never_opened(
    before: tuple[Endpoint, ...], after: tuple[Endpoint, ...], word: str
) -> None:
    row = settled(notebook(endpoints=before), NotebookPatch(endpoints=after))
    assert row.outcome is Outcome.SKIPPED
    assert word in row.reason


def test_an_endpoint_that_was_open_stays_and_is_noted() -> None:
    jupyter = Endpoint("NOTEBOOK")
    moved = structs.replace(SSH, allowed_access_ips=("8.8.8.8",))
    row = change(notebook(endpoints=(SSH, jupyter)), NotebookPatch(endpoints=(moved, jupyter)))
    assert row.notes == ("the NOTEBOOK endpoint is open to every address, as before", LOST)
    assert row.after["endpoints"][1] == {"service": "NOTEBOOK"}


def test_addresses_of_examples_and_growth_are_noted() -> None:
    moved = structs.replace(SSH, allowed_access_ips=("203.0.113.9",))
    row = change(notebook(), NotebookPatch(endpoints=(moved,), storage_new_size=80))
    assert [note.split(":")[0] for note in row.notes] == [
        "a grown disk cannot shrink again",
        "the SSH whitelist holds addresses reserved for documentation",
        "a stop keeps only what is under the mounted folder",
    ]


def test_what_a_stop_takes_away_is_told_of_those_that_we_stop_and_of_no_others() -> None:
    volume = Volume("EVS", 50, mount_path="/home/ma-user/work/")
    assert change(notebook(volume=volume), IMAGE).notes == (
        LOST.replace("the mounted folder", "/home/ma-user/work/"),
    )
    assert change(notebook(volume=None), IMAGE).notes == (LOST,)
    assert change(notebook(status=Status.STARTING), IMAGE).notes == (LOST,)
    assert change(notebook(), RENAME).notes == ()
    assert change(notebook(status=Status.STOPPED), IMAGE).notes == ()
    spared = Rollout(disruption=Disruption.RESTART, when=Moment.NEXT_STOP, patience=60.0)
    assert change(notebook(), IMAGE, spared).notes == ()


# --- the whole selection ---------------------------------------------------------------------------------


def many(sizes: dict[str, int]) -> list[Target]:
    return [target(notebook(number), scope) for scope, size in sizes.items() for number in range(size)]


@given(sizes=st.dictionaries(st.sampled_from("abcd"), st.integers(0, 6)), seed=st.integers(0, 99))
def test_the_order_of_release_is_the_same_for_every_order_of_reading(
    sizes: dict[str, int], seed: int
) -> None:
    targets = many(sizes)
    shuffled = random.Random(seed).sample(targets, len(targets))
    job = Job(proposal=IMAGE)
    assert plan_changes(targets, job, RESTARTS) == plan_changes(shuffled, job, RESTARTS)


def test_scopes_take_turns() -> None:
    changes, _ = plan_changes(many({"b": 1, "a": 3, "c": 2}), Job(proposal=IMAGE), RESTARTS)
    assert "".join(row.scope for row in changes) == "abcaca"
    assert [row.item for row in changes] == list(range(6))


def mixed(rollout: Rollout = RESTARTS) -> tuple[Change, ...]:
    """Two of each of three kinds, the gentlest with the lowest ids."""
    rows = [notebook(number, Status.STOPPED, image=Image("x"), volume=Volume("EVS", 80)) for number in (0, 1)]
    rows += [notebook(number, Status.RUNNING, image=Image(NEW_IMAGE)) for number in (2, 3)]
    rows += [notebook(number, Status.RUNNING) for number in (4, 5)]
    proposal = NotebookPatch(image_id=NEW_IMAGE, name="new")
    return plan_changes([target(row) for row in rows], Job(proposal=proposal), rollout)[0]


def test_the_first_of_each_kind_leads_restarts_before_all() -> None:
    assert [int(row.id[-2:]) for row in mixed()] == [4, 2, 0, 5, 1, 3]


def test_within_a_wave_those_that_take_longer_go_first_and_none_changes_its_wave() -> None:
    """Even ids restart, odd ones do not; the first of each kind leads wherever its wave ends."""
    rows = [
        notebook(number, Status.RUNNING, image=Image(NEW_IMAGE if number % 2 else OLD_IMAGE))
        for number in range(10)
    ]
    rollout = replace(RESTARTS, waves=(Share(1), Share(6), Share(100, percent=True)))
    proposal = NotebookPatch(image_id=NEW_IMAGE, name="new")
    changes, _ = plan_changes([target(row) for row in rows], Job(proposal=proposal), rollout)
    assert [int(row.id[-2:]) for row in changes] == [0, 1, 2, 4, 3, 5, 6, 8, 7, 9]
    assert [row.wave for row in changes] == [1] + [2] * 5 + [3] * 4
    assert [row.item for row in changes] == list(range(10))


def test_a_stopped_notebook_that_must_be_started_comes_before_one_without_a_restart() -> None:
    rows = [target(notebook(0, Status.RUNNING)), target(notebook(1, Status.STOPPED))]
    changes, _ = plan_changes(rows, Job(proposal=GROW), RESTARTS)
    assert [row.run_state for row in changes] == [Status.STOPPED, Status.RUNNING]


def first_wave(size: int) -> list[str]:
    rollout = replace(RESTARTS, waves=(Share(size), Share(100, percent=True)))
    return list(wave_remarks(mixed(rollout), rollout))


def test_it_is_told_which_kinds_the_first_wave_tries() -> None:
    restarts, gentle, stopped = (
        "RUNNING with a restart",
        "RUNNING without a restart",
        "STOPPED without a restart",
    )
    assert first_wave(1) == [f"wave 1 tries 1 {restarts}, none of 2 {gentle}, none of 2 {stopped}"]
    assert first_wave(3) == [f"wave 1 tries 1 {restarts}, 1 {gentle}, 1 {stopped}"]
    assert not [remark for remark in first_wave(6) if "tries" in remark]


def test_of_those_who_are_waited_for_it_is_told_how_they_come_to_stand_still() -> None:
    rollout = replace(
        RESTARTS, waves=(Share(1), Share(100, percent=True)), when=Moment.NEXT_STOP, patience=60.0
    )
    (told,) = wave_remarks(mixed(rollout), rollout)
    assert told.startswith("wave 1 tries 1 RUNNING, at the next stop, none of 2 RUNNING without a restart")
    forcing = replace(rollout, otherwise=Otherwise.FORCE)
    assert "1 RUNNING, at the next stop, else restart after 1m" in next(wave_remarks(mixed(forcing), forcing))


def test_with_one_kind_only_there_is_nothing_to_tell() -> None:
    rollout = replace(RESTARTS, waves=(Share(1), Share(100, percent=True)))
    changes, _ = plan_changes(many({"a": 3}), Job(proposal=IMAGE), rollout)
    assert list(wave_remarks(changes, rollout)) == []


def test_a_wave_that_is_dropped_is_told() -> None:
    rollout = replace(RESTARTS, waves=(Share(1), Share(1), Share(100, percent=True)))
    changes, _ = plan_changes(many({"a": 2}), Job(proposal=IMAGE), rollout)
    assert [row.wave for row in changes] == [1, 2]
    (remark,) = wave_remarks(changes, rollout)
    assert remark.startswith("wave 2 of [1, 1, 100%] would release no further change and is dropped")
    (remark,) = wave_remarks(changes[:1], rollout)
    assert remark.startswith("waves 2, 3 of [1, 1, 100%] would release no further change and are dropped")
    assert list(wave_remarks((), rollout)) == []


class Saving(Job):
    """Saves whatever it may."""

    def saves(self, notebook: Notebook, context: Context) -> str:
        return f"lab/before-{notebook.name}"


@pytest.mark.parametrize(
    ("status", "patch", "rollout", "save"),
    [
        (Status.RUNNING, IMAGE, RESTARTS, "lab/before-nb-0"),
        (Status.STARTING, IMAGE, RESTARTS, "lab/before-nb-0"),
        (Status.STOPPED, IMAGE, RESTARTS, ""),
        (Status.STOPPED, NotebookPatch(storage_new_size=80), RESTARTS, ""),
        (Status.RUNNING, NotebookPatch(name="other"), RESTARTS, ""),
        (Status.RUNNING, IMAGE, replace(RESTARTS, when=Moment.NEXT_STOP, otherwise=Otherwise.SKIP), ""),
    ],
)
def test_an_environment_is_saved_only_where_the_planned_way_stops_what_runs(
    status: Status, patch: NotebookPatch, rollout: Rollout, save: str
) -> None:
    row = plan_one(target(notebook(0, status)), Saving(proposal=patch), rollout)
    assert isinstance(row, Change)
    assert row.save == save


def test_of_several_stages_the_first_that_stops_the_notebook_saves_it() -> None:
    stages = Staged((NotebookPatch(name="other"), IMAGE, NotebookPatch(image_id=OLD_IMAGE)))
    rows = plan_one(target(notebook()), Saving(proposal=stages), RESTARTS)
    assert isinstance(rows, tuple)
    assert [row.save for row in rows] == ["", "lab/before-nb-0", ""]


def test_waves_are_numbered_from_one_in_the_order_of_release() -> None:
    rollout = replace(RESTARTS, waves=(Share(1), Share(50, percent=True), Share(100, percent=True)))
    changes, _ = plan_changes(many({"a": 8}), Job(proposal=IMAGE), rollout)
    assert [row.wave for row in changes] == [1, 2, 2, 2, 3, 3, 3, 3]


def test_rows_without_work_come_after_the_changes_with_numbers_of_their_own() -> None:
    frozen = target(notebook(7, Status.FROZEN))
    changes, kept = plan_changes([frozen, *many({"a": 2})], Job(proposal=IMAGE), RESTARTS)
    assert ([row.item for row in changes], [row.item for row in kept]) == ([0, 1], [2])


POOLS = (("ann", "b"), ("bob", "a"), ("ann", "a"), ("bob", "b"))


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (ReleaseOrder.LONGEST_FIRST, [0, 1, 2, 3]),
        (ReleaseOrder.BY_OWNER, [0, 2, 1, 3]),
        (ReleaseOrder.BY_POOL, [1, 2, 3, 0]),
        (ReleaseOrder.BY_ID, [0, 1, 2, 3]),
    ],
)
def test_who_goes_first_is_for_the_rollout_to_say(order: ReleaseOrder, expected: list[int]) -> None:
    targets = [
        target(notebook(at, Status.STOPPED, owner=owner, pool_id=pool), f"lab-{'ba'[at % 2]}")
        for at, (owner, pool) in enumerate(POOLS)
    ]
    if order is ReleaseOrder.LONGEST_FIRST:
        targets = [replace(one, context=replace(one.context, scope="lab-a")) for one in targets]
    changes, _ = plan_changes(targets, Job(proposal=IMAGE), replace(RESTARTS, order=order))
    assert [int(change.id[-2:]) for change in changes] == expected


def test_the_first_of_each_kind_leads_whatever_the_order() -> None:
    rows = [notebook(0, Status.STOPPED, owner="ann"), notebook(1, owner="zoe"), notebook(2, owner="bob")]
    rollout = replace(RESTARTS, order=ReleaseOrder.BY_OWNER)
    changes, _ = plan_changes([target(row) for row in rows], Job(proposal=IMAGE), rollout)
    assert [change.owner for change in changes] == ["bob", "ann", "zoe"]
