"""The life of a notebook: never off the table, at the right instant, the same every time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fleet.simulator import life
from fleet.simulator.cloud import Cloud
from fleet.simulator.refusals import Refusal
from fleet.simulator.rules import Rules
from fleet.simulator.seed import make_cloud
from fleet.simulator.states import TABLE, TRANSITIONAL, Cause, Status
from fleet.simulator.world import Image, Notebook, Timer, World

Ask = Callable[..., tuple[int, Any]]
Plain = Callable[[Cloud, Status], Notebook]

HOUR_MS = 3_600_000
BY_TIME = {Cause.DONE, Cause.FAILED, Cause.LEASE_END}


def by_time(status: Status) -> set[Status]:
    """Every status that time alone can lead to, the present one included."""
    found, frontier = {status}, [status]
    while frontier:
        ways = TABLE[frontier.pop()]
        fresh = {ways[cause] for cause in BY_TIME if cause in ways} - found
        found |= fresh
        frontier += fresh
    return found


class Lives(RuleBasedStateMachine):
    """Any calls at any times, on notebooks of every status."""

    @initialize(seed=st.integers(0, 5))
    def seed_a_fleet(self, seed: int) -> None:
        self.now = 1_764_000_000.0
        rules = Rules(deleted="listed")
        self.cloud = make_cloud(notebooks=60, seed=seed, now=self.now, rules=rules)
        self.rows = list(self.cloud.world.notebooks.values())
        self.seen = {row.id: row.status for row in self.rows}

    @rule(index=st.integers(0, 59), cause=st.sampled_from([Cause.START, Cause.STOP, Cause.DELETE]))
    def call(self, index: int, cause: Cause) -> None:
        acts: dict[Cause, Callable[[World, Notebook, float], None]] = {
            Cause.START: life.start,
            Cause.STOP: life.stop,
            Cause.DELETE: life.delete,
        }
        row = self.rows[index]
        was = row.status
        if cause in TABLE[was]:
            acts[cause](self.cloud.world, row, self.now)
            assert row.status is TABLE[was][cause]
        else:
            with pytest.raises(Refusal) as caught:
                acts[cause](self.cloud.world, row, self.now)
            expected = "ModelArts.6326" if was is Status.FROZEN else "ModelArts.6357"
            assert (row.status, caught.value.code) == (was, expected)
        self.seen[row.id] = row.status

    @rule(seconds=st.sampled_from([0.5, 10.0, 60.0, 600.0, 3600.0, 20 * 3600.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.cloud.settle(self.now)
        for row in self.rows:
            assert row.status in by_time(self.seen[row.id])
            self.seen[row.id] = row.status

    @invariant()
    def waits_for_what_its_status_says(self) -> None:
        for row in getattr(self, "rows", ()):
            assert (Timer.STATUS in row.timers) == (row.status in TRANSITIONAL)
            runs = row.status is Status.RUNNING
            assert (Timer.LEASE in row.timers) == (runs and row.lease.enable)
            assert (row.running_since is not None) == (runs or row.status is Status.SNAPSHOTTING)


Lives.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLives = Lives.TestCase


def test_the_table_has_every_status_and_ends_in_known_ones() -> None:
    assert set(TABLE) == set(Status)
    assert len(Status) == 14


def test_a_stop_and_a_start_pass_through_their_transitional_statuses(
    cloud: Cloud, ask: Ask, plain: Plain, now: float
) -> None:
    path = f"notebooks/{plain(cloud, Status.RUNNING).id}"
    assert ask("POST", f"{path}/stop")[1]["status"] == "STOPPING"
    assert ask("GET", path, at=now + 0.5)[1]["status"] == "STOPPING"
    assert ask("GET", path, at=now + 600)[1]["status"] == "STOPPED"
    assert ask("POST", f"{path}/start", at=now + 600)[1]["status"] == "STARTING"
    assert ask("GET", path, at=now + 601)[1]["status"] == "STARTING"
    assert ask("GET", path, at=now + 1800)[1]["status"] == "RUNNING"


@pytest.mark.parametrize(
    ("status", "action"),
    [
        (Status.RUNNING, "start"),
        (Status.STARTING, "start"),
        (Status.STOPPED, "stop"),
        (Status.STOPPING, "stop"),
        (Status.SNAPSHOTTING, "stop"),
        (Status.ERROR, "start"),
    ],
)
def test_busy_and_target_state_are_both_6357(
    cloud: Cloud, caller_of: Callable[[Cloud], Ask], now: float, status: Status, action: str
) -> None:
    cloud = make_cloud(notebooks=80, seed=3, now=now, projects=1)
    row = next(row for row in cloud.world.notebooks.values() if row.status is status)
    code, reply = caller_of(cloud)("POST", f"notebooks/{row.id}/{action}")
    assert (code, reply["error_code"]) == (400, "ModelArts.6357")
    assert f"instance {row.name} or" in reply["error_msg"]


def test_how_long_things_take_does_not_depend_on_what_others_do(now: float) -> None:
    """The same notebooks stopped in another order become STOPPED at the same instants."""

    def stopped_at(backwards: bool) -> dict[str, int]:
        cloud = make_cloud(notebooks=40, seed=5, now=now)
        rows = [row for row in cloud.world.notebooks.values() if row.status is Status.RUNNING]
        for row in reversed(rows) if backwards else rows:
            life.stop(cloud.world, row, now)
        cloud.settle(now + 3600)
        return {row.id: row.update_at for row in rows}

    assert stopped_at(backwards=True) == stopped_at(backwards=False)


def test_the_time_scale_shortens_starts_but_not_leases(now: float) -> None:
    slow = make_cloud(notebooks=40, seed=5, now=now)
    fast = make_cloud(notebooks=40, seed=5, now=now, time_scale=1000)
    for cloud, wait in ((slow, 1000.0), (fast, 1.0)):
        row = next(row for row in cloud.world.notebooks.values() if row.status is Status.STOPPED)
        life.start(cloud.world, row, now)
        cloud.settle(now + wait)
        assert row.status is Status.RUNNING
    ends = [[row.lease.end() for row in cloud.world.notebooks.values()] for cloud in (slow, fast)]
    assert ends[0] == ends[1]


def test_a_lease_stops_its_notebook_when_it_ends(cloud: Cloud, ask: Ask, plain: Plain, now: float) -> None:
    path = f"notebooks/{plain(cloud, Status.RUNNING).id}"
    ask("PATCH", f"{path}/lease", {"duration": HOUR_MS, "type": "TIMING"})
    assert ask("GET", path, at=now + 3599)[1]["status"] == "RUNNING"
    assert ask("GET", path, at=now + 3600.5)[1]["status"] == "STOPPING"
    assert ask("GET", path, at=now + 4500)[1]["status"] == "STOPPED"


def test_only_the_latest_renewal_counts(cloud: Cloud, ask: Ask, plain: Plain, now: float) -> None:
    path = f"notebooks/{plain(cloud, Status.RUNNING).id}"
    for hours in (1, 3, 2):
        ask("PATCH", f"{path}/lease", {"duration": hours * HOUR_MS})
    assert ask("GET", path, at=now + 2 * 3600 - 1)[1]["status"] == "RUNNING"
    assert ask("GET", path, at=now + 2 * 3600 + 1)[1]["status"] == "STOPPING"


def test_a_lease_that_ended_meanwhile_stops_the_notebook_after_its_snapshot(
    cloud: Cloud, ask: Ask, plain: Plain, now: float
) -> None:
    path = f"notebooks/{plain(cloud, Status.RUNNING).id}"
    ask("PATCH", f"{path}/lease", {"duration": HOUR_MS, "type": "TIMING"})
    body = {"name": "saved", "namespace": "lab"}
    _, image = ask("POST", f"{path}/create-image", body, at=now + 3599)
    assert image["status"] == "CREATING"
    assert ask("GET", path, at=now + 3601)[1]["status"] == "SNAPSHOTTING"
    assert ask("GET", path, at=now + 9000)[1]["status"] == "STOPPED"
    assert ask("GET", f"images/{image['id']}", at=now + 9000)[1]["status"] == "ACTIVE"


def test_duration_counts_from_the_creation_of_the_lease_not_from_the_start(
    cloud: Cloud, ask: Ask, plain: Plain, now: float
) -> None:
    row = plain(cloud, Status.STOPPED)
    made = row.lease.create_at
    ask("POST", f"notebooks/{row.id}/start", query=f"duration={2 * HOUR_MS}&type=IDLE")
    lease = ask("GET", f"notebooks/{row.id}/lease", at=now + 1800)[1]
    assert (lease["create_at"], lease["type"], lease["enable"]) == (made, "IDLE", True)
    assert made + lease["duration"] == now * 1000 + 2 * HOUR_MS


def test_a_start_without_a_duration_lasts_an_hour(cloud: Cloud, ask: Ask, plain: Plain) -> None:
    row = plain(cloud, Status.STOPPED)
    ask("POST", f"notebooks/{row.id}/start")
    assert row.lease.create_at + row.lease.duration - row.lease.update_at == HOUR_MS


def test_minus_one_switches_automatic_stop_off(cloud: Cloud, ask: Ask, plain: Plain, now: float) -> None:
    row = plain(cloud, Status.STOPPED)
    ask("POST", f"notebooks/{row.id}/start", query="duration=-1")
    cloud.settle(now + 1000 * 3600)
    assert row.status is Status.RUNNING
    assert not row.lease.enable


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("duration=3599999", "ModelArts.6349"),
        ("duration=259200001", "ModelArts.6349"),
        ("duration=0", "ModelArts.6349"),
        ("duration=1h", "ModelArts.0104"),
        ("type=SOON", "ModelArts.0104"),
    ],
)
def test_a_bad_lease_is_refused_and_nothing_starts(
    cloud: Cloud, ask: Ask, plain: Plain, query: str, code: str
) -> None:
    row = plain(cloud, Status.STOPPED)
    assert ask("POST", f"notebooks/{row.id}/start", query=query)[1]["error_code"] == code
    assert row.status is Status.STOPPED


def test_minus_one_can_be_refused_at_start_and_at_renewal(
    caller_of: Callable[[Cloud], Ask], plain: Plain, now: float
) -> None:
    rules = Rules(duration_minus_one="refuse", renew_minus_one="refuse")
    cloud = make_cloud(notebooks=30, seed=3, now=now, projects=1, rules=rules)
    ask, codes = caller_of(cloud), []
    row = plain(cloud, Status.STOPPED)
    codes.append(ask("POST", f"notebooks/{row.id}/start", query="duration=-1")[1])
    row = plain(cloud, Status.RUNNING)
    codes.append(ask("PATCH", f"notebooks/{row.id}/lease", {"duration": -1})[1])
    assert {reply["error_code"] for reply in codes} == {"ModelArts.6349"}


def test_the_query_of_a_renewal_wins_and_makes_it_timing(
    cloud: Cloud, ask: Ask, plain: Plain, now: float
) -> None:
    row = plain(cloud, Status.RUNNING)
    body = {"duration": 9 * HOUR_MS, "type": "IDLE"}
    ask("PATCH", f"notebooks/{row.id}/lease", body, query=f"duration={3 * HOUR_MS}")
    assert row.lease.type == "TIMING"
    assert row.lease.end() == now + 3 * 3600


def test_a_stopped_notebook_keeps_its_lease_but_does_not_answer_for_it(
    cloud: Cloud, ask: Ask, plain: Plain
) -> None:
    row = plain(cloud, Status.STOPPED)
    assert ask("GET", f"notebooks/{row.id}")[1]["lease"]["create_at"] == row.lease.create_at
    assert ask("GET", f"notebooks/{row.id}/lease")[1]["error_code"] == "ModelArts.6327"


def test_a_deleted_notebook_is_gone(cloud: Cloud, ask: Ask, plain: Plain, now: float) -> None:
    path = f"notebooks/{plain(cloud, Status.STOPPED).id}"
    assert ask("DELETE", path)[1]["status"] == "DELETING"
    assert ask("GET", path, at=now + 600)[1]["error_code"] == "ModelArts.6309"
    assert ask("DELETE", path, at=now + 600)[1]["error_code"] == "ModelArts.6309"


def test_deleting_while_running_can_be_refused(
    caller_of: Callable[[Cloud], Ask], plain: Plain, now: float
) -> None:
    rules = Rules(delete_running="refuse")
    cloud = make_cloud(notebooks=30, seed=3, now=now, projects=1, rules=rules)
    row = plain(cloud, Status.RUNNING)
    reply = caller_of(cloud)("DELETE", f"notebooks/{row.id}")[1]
    assert reply["error_code"] == "ModelArts.6304"


@pytest.mark.parametrize(("rule", "same"), [("keep", True), ("change", False)])
def test_whether_addresses_survive_a_restart_is_a_rule(
    caller_of: Callable[[Cloud], Ask], plain: Plain, now: float, rule: Any, same: bool
) -> None:
    cloud = make_cloud(notebooks=30, seed=3, now=now, projects=1, rules=Rules(restart_uri=rule))
    row, ask = plain(cloud, Status.STOPPED), caller_of(cloud)
    before = (row.url, row.token, row.endpoints[1]["uri"])
    ask("POST", f"notebooks/{row.id}/start")
    cloud.settle(now + 3600)
    after = (row.url, row.token, row.endpoints[1]["uri"])
    assert all((x == y) is same for x, y in zip(before, after, strict=True))


def test_a_new_image_is_pulled_once(cloud: Cloud, plain: Plain, now: float) -> None:
    row = plain(cloud, Status.STOPPED)
    target: Image = next(
        image for image in cloud.world.images.values() if image.name.startswith("pytorch2.6-cuda")
    )
    row.image = target
    row.lease.enable = False
    draws = []
    for at in (now, now + 7200):
        before = row.draws
        life.start(cloud.world, row, at)
        draws.append(row.draws - before)
        cloud.settle(at + 1800)
        life.stop(cloud.world, row, at + 1800)
        cloud.settle(at + 3600)
    assert draws == [2, 1]
