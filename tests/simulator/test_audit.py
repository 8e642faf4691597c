"""The audit: silent about a right run, and it finds every kind of tampering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.simulator import life
from fleet.simulator.audit import Finding, audit, is_read, is_write, snapshot, worst_window
from fleet.simulator.cloud import Cloud
from fleet.simulator.records import Record
from fleet.simulator.seed import make_cloud
from fleet.simulator.states import Status
from fleet.simulator.world import Notebook

Ask = Callable[..., tuple[int, Any]]
Plain = Callable[[Cloud, Status], Notebook]

HOUR_MS = 3_600_000
SETTLE = 1800  # seconds by which a stop or a start has ended
LEFT_AT_STOP = 5 * HOUR_MS


class Run:
    """One image migration of one running notebook, step by step, and its audit."""

    def __init__(self, cloud: Cloud, ask: Ask, notebook: Notebook, now: float) -> None:
        self.cloud, self.ask, self.notebook, self.now = cloud, ask, notebook, now
        notebook.lease.grant(LEFT_AT_STOP, "TIMING", round(now * 1000))
        life.watch_lease(cloud.world, notebook, now)
        self.path = f"notebooks/{notebook.id}"
        self.target = next(
            image for image in cloud.world.images.values() if image.name.startswith("pytorch2.6-cuda12.4")
        )
        self.before = snapshot(cloud, now)

    def call(self, method: str, path: str, body: object = None, query: str = "") -> None:
        status, reply = self.ask(method, f"{self.path}{path}", body, query=query, at=self.now)
        assert status in (200, 204), reply

    def stop(self) -> None:
        self.call("POST", "/stop")
        self.now += SETTLE

    def migrate(self) -> None:
        self.call("PUT", "", {"image_id": self.target.id})

    def start(self, query: str = f"duration={LEFT_AT_STOP}&type=TIMING") -> None:
        self.call("POST", "/start", query=query)
        self.now += SETTLE

    def findings(self, *fields: str) -> Sequence[Finding]:
        after = snapshot(self.cloud, self.now)
        return audit(self.before, after, self.cloud.log, {self.notebook.id: fields})

    def kinds(self, *fields: str) -> set[str]:
        findings = self.findings(*fields)
        assert {finding.notebook for finding in findings} <= {self.notebook.id}
        return {finding.what for finding in findings}


@pytest.fixture
def run(caller_of: Callable[[Cloud], Ask], plain: Plain, now: float) -> Run:
    cloud = make_cloud(notebooks=60, seed=2, now=now, projects=1)
    return Run(cloud, caller_of(cloud), plain(cloud, Status.RUNNING), now)


def test_a_fleet_left_alone_has_no_findings(run: Run) -> None:
    run.now += 5400
    assert audit(run.before, snapshot(run.cloud, run.now), run.cloud.log, {}) == []


def test_a_right_migration_has_no_findings(run: Run) -> None:
    run.stop()
    run.migrate()
    run.start()
    assert run.findings("image_id") == []


def test_a_change_that_was_not_planned_is_found(run: Run) -> None:
    run.stop()
    run.migrate()
    run.start()
    assert run.kinds("flavor") == {"field-changed"}


def test_a_write_to_a_notebook_outside_the_plan_is_found(run: Run) -> None:
    run.stop()
    run.start()
    after = snapshot(run.cloud, run.now)
    found = audit(run.before, after, run.cloud.log, {})
    assert [finding.what for finding in found] == ["unplanned-write"]
    assert "StartNotebook, StopNotebook" in found[0].detail


def test_a_notebook_left_stopped_is_found(run: Run) -> None:
    run.stop()
    run.migrate()
    assert run.kinds("image_id") == {"run-state"}


def test_a_notebook_started_that_was_stopped_is_found(
    caller_of: Callable[[Cloud], Ask], plain: Plain, now: float
) -> None:
    cloud = make_cloud(notebooks=60, seed=2, now=now, projects=1)
    run = Run(cloud, caller_of(cloud), plain(cloud, Status.STOPPED), now)
    run.start()
    assert "run-state" in run.kinds()


@pytest.mark.parametrize(
    "query",
    [
        "",  # the hour that a start gives when nothing is said
        "duration=-1",
        f"duration={LEFT_AT_STOP}&type=IDLE",
        f"duration={LEFT_AT_STOP - 1_000_000}",
        f"duration={LEFT_AT_STOP + 6_000_000}",
    ],
)
def test_a_lease_that_was_not_given_back_is_found(run: Run, query: str) -> None:
    run.stop()
    run.start(query)
    assert run.kinds() == {"lease"}


def test_a_short_lease_may_come_back_as_an_hour(run: Run) -> None:
    run.now += 4.9 * 3600
    run.stop()
    run.start(f"duration={HOUR_MS}")
    assert run.kinds() == set()


def test_a_lease_changed_without_a_stop_is_found(run: Run) -> None:
    run.call("PATCH", "/lease", {"duration": 2 * HOUR_MS})
    assert run.kinds() == {"lease"}


def test_a_lease_that_ended_by_itself_is_nobodys_doing(run: Run) -> None:
    run.now += 5.5 * 3600
    after = snapshot(run.cloud, run.now)
    assert run.notebook.status is Status.STOPPED
    found = audit(run.before, after, run.cloud.log, {})
    assert run.notebook.id not in {finding.notebook for finding in found}


@pytest.mark.parametrize(
    ("endpoints", "kinds"),
    [
        (
            [{"service": "NOTEBOOK"}, {"service": "SSH", "key_pair_names": ["kp-ana"]}],
            {"endpoint-opened"},
        ),
        (
            [
                {"service": "NOTEBOOK"},
                {"service": "SSH", "key_pair_names": ["kp-ana"], "allowed_access_ips": []},
            ],
            {"endpoint-opened"},
        ),
        (
            [{"service": "NOTEBOOK"}, {"service": "SSH", "allowed_access_ips": ["8.8.8.8"]}],
            {"endpoint-changed"},
        ),
        (
            [
                {
                    "service": "SSH",
                    "key_pair_names": ["kp-ana"],
                    "allowed_access_ips": ["8.8.8.8"],
                }
            ],
            {"endpoint-lost"},
        ),
        (
            [
                {"service": "NOTEBOOK"},
                {
                    "service": "SSH",
                    "key_pair_names": ["kp-ana"],
                    "allowed_access_ips": ["8.8.8.8"],
                },
            ],
            set(),
        ),
    ],
)
def test_a_planned_change_of_addresses_may_not_harm_endpoints(
    run: Run, endpoints: list[dict[str, Any]], kinds: set[str]
) -> None:
    run.stop()
    run.call("PUT", "", {"endpoints": endpoints})
    run.start()
    assert run.kinds("endpoints") == kinds


def test_a_deleted_notebook_is_found(run: Run) -> None:
    run.call("DELETE", "")
    run.now += SETTLE
    assert run.kinds() == {"gone"}


def test_tampering_that_left_no_trace_in_the_log_is_found(run: Run) -> None:
    run.notebook.hooks = {"container_hooks": {}}
    run.notebook.tags = {"new": "tag"}
    run.notebook.flavor = "modelarts.vm.cpu.16u"
    assert run.kinds() == {"field-changed"}
    assert len(run.findings()) == 3


def record(at: float, method: str = "GET", operation: str = "ShowNotebook") -> Record:
    return Record(
        at=at,
        project="",
        operation=operation,
        method=method,
        path="",
        query={},
        body=None,
        notebook="",
        user="",
        status=200,
        code="",
        applied=False,
        answered=True,
        request_id="",
    )


@given(st.lists(st.integers(0, 100), max_size=40), st.integers(1, 50))
def test_the_worst_window_is_the_largest_count_in_any_window(instants: list[int], seconds: int) -> None:
    log = [record(at) for at in instants]
    counts = [sum(at - seconds < other <= at for other in instants) for at in instants]
    assert worst_window(log, seconds, is_read) == max(counts, default=0)


def test_reads_and_writes_are_told_apart_and_logins_are_neither() -> None:
    log = [
        record(0, "GET"),
        record(0, "PUT", "UpdateNotebook"),
        record(0, "POST", "KeystoneCreateUserTokenByPassword"),
        record(0, "GET", "KeystoneListProjects"),
    ]
    assert [is_read(row) for row in log] == [True, False, False, False]
    assert [is_write(row) for row in log] == [False, True, False, False]
