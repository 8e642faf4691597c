"""The cloud may answer the vendor's open questions in one way or the other: the run ends right under both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit
from fleet.simulator.faults import FailingStart
from fleet.simulator.rules import Rules
from fleet.simulator.states import Status

if TYPE_CHECKING:
    from tests.scenarios.conftest import MakeLab

pytestmark = pytest.mark.looptime

ONE_BY_ONE = """\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8")
with: {to: {name: pytorch2.6}}
rollout: {disruption: restart, concurrency: 1}
"""
HOOK = '{"container_hooks": {"post_start": {"script": "/home/ma-user/start.sh", "type": "SCRIPT"}}}'


def edit(fields: str, disruption: str, more: str = "concurrency: 1") -> str:
    return f"""\
job: edit
name: edit
select: "true"
with: {{{fields}}}
rollout: {{disruption: {disruption}, {more}}}
"""


NAMES = 'set: {name: new-name, description: "new words"}'
GROWTH = "set: {storage_new_size: 100}"


@pytest.mark.parametrize(
    ("fields", "rules", "begins", "first", "second"),
    [
        (NAMES, "observed", "running", ["put"], ["put"]),
        (NAMES, "observed", "stopped", ["put"], ["put"]),
        (NAMES, "seed", "running", ["put", "stop", "put", "start"], ["stop", "put", "start"]),
        (NAMES, "seed", "stopped", ["put"], ["put"]),
        (GROWTH, "observed", "running", ["put"], ["put"]),
        (GROWTH, "observed", "stopped", ["start", "put", "stop"], ["start", "put", "stop"]),
        (GROWTH, "seed", "running", ["put", "stop", "put", "start"], ["stop", "put", "start"]),
        (GROWTH, "seed", "stopped", ["start", "put", "stop", "put"], ["put"]),
        (f"set: {{hooks: {HOOK}}}", "seed", "running", ["stop", "put", "start"], ["stop", "put", "start"]),
        (f"set: {{hooks: {HOOK}}}", "observed", "stopped", ["put"], ["put"]),
        (
            'addresses: ["198.51.100.7"]',
            "seed",
            "running",
            ["stop", "put", "start"],
            ["stop", "put", "start"],
        ),
        (
            'set: {description: "words", storage_new_size: 100, flavor: modelarts.vm.cpu.4u}',
            "observed",
            "running",
            ["put", "stop", "put", "start"],
            ["put", "stop", "put", "start"],
        ),
        (
            'set: {description: "words", storage_new_size: 100, flavor: modelarts.vm.cpu.4u}',
            "seed",
            "running",
            ["put", "stop", "put", "start"],
            ["stop", "put", "start"],
        ),
        (
            'set: {description: "words", storage_new_size: 100, flavor: modelarts.vm.cpu.4u}',
            "observed",
            "stopped",
            ["put", "start", "put", "stop"],
            ["put", "start", "put", "stop"],
        ),
    ],
)
async def test_a_field_goes_where_the_cloud_wants_it_and_the_run_remembers(
    world: MakeLab, fields: str, rules: str, begins: str, first: list[str], second: list[str]
) -> None:
    lab = await world(**{begins: 2}, rules=Rules(rules=rules))  # type: ignore[arg-type]  # one of the two words
    run = await lab.go(edit(fields, "restart"))
    assert (run.outcomes, run.report.exit) == (["changed"] * 2, Exit.DONE)
    assert [run.calls(notebook) for notebook in lab.notebooks] == [first, second]
    assert run.findings() == []
    assert {notebook.status.value.lower() for notebook in lab.notebooks} == {begins}


@pytest.mark.parametrize("fields", [NAMES, GROWTH])
async def test_without_leave_to_restart_a_field_that_needs_it_is_skipped(world: MakeLab, fields: str) -> None:
    lab = await world(running=2, rules=Rules(rules="seed"))
    run = await lab.go(edit(fields, "none"))
    assert run.outcomes == ["skipped"] * 2
    assert [run.calls(notebook) for notebook in lab.notebooks] == [["put"], []]
    assert all("needs a restart; disruption is none" in row.reason for row in run.report.rows)
    assert run.findings() == []


@pytest.mark.parametrize("fields", ['addresses: ["198.51.100.7"]', f"set: {{hooks: {HOOK}}}"])
async def test_without_leave_to_restart_only_the_stopped_are_changed(world: MakeLab, fields: str) -> None:
    lab = await world(running=1, stopped=1)
    running, stopped = lab.notebooks
    run = await lab.go(edit(fields, "none"))
    assert (run.row(running).outcome, run.row(stopped).outcome) == ("skipped", "changed")
    assert "would have to be stopped; rollout.disruption is none" in run.row(running).reason
    assert (run.calls(running), run.calls(stopped)) == ([], ["put"])
    assert run.findings() == []


async def test_a_field_that_turns_out_to_need_a_restart_keeps_the_budget_of_those_away(
    world: MakeLab,
) -> None:
    lab = await world(running=4, rules=Rules(rules="seed"))
    run = await lab.go(edit(NAMES, "restart", "max_unavailable: {fleet: 1}"))
    assert run.outcomes == ["changed"] * 4
    assert run.most_away() == 1


@pytest.mark.parametrize("endpoints", ["replace", "merge"])
@pytest.mark.parametrize("keys", ["clear", "keep"])
@pytest.mark.parametrize("ips", ["clear", "keep"])
async def test_new_addresses_open_nothing_and_lose_no_key(
    world: MakeLab, endpoints: str, keys: str, ips: str
) -> None:
    rules = Rules(endpoints=endpoints, omitted_keys=keys, omitted_ips=ips)  # type: ignore[arg-type]  # see above
    lab = await world(running=2, stopped=1, rules=rules)
    both, ssh, _ = lab.notebooks
    lab.edit(both, endpoints=[{"service": "NOTEBOOK"}, *both.endpoints])
    lab.edit(ssh, endpoints=[{**ssh.endpoints[0], "key_pair_names": ["kp-ana", "kp-bo"]}])
    run = await lab.go(edit('addresses: ["198.51.100.7", "198.51.100.8"]', "restart"))
    assert (run.outcomes, run.findings()) == (["changed"] * 3, [])
    for notebook in lab.notebooks:
        found = next(item for item in notebook.endpoints if item["service"] == "SSH")
        assert found["allowed_access_ips"] == ["198.51.100.7", "198.51.100.8"]
        assert found["key_pair_names"][0] == "kp-ana"
    assert [item["service"] for item in both.endpoints] == ["NOTEBOOK", "SSH"]


async def test_auto_stop_that_cannot_be_switched_off_again_is_72_hours_and_a_note(world: MakeLab) -> None:
    lab = await world(running=1, rules=Rules(duration_minus_one="refuse"))
    (notebook,) = lab.notebooks
    lab.lend(notebook, None)
    run = await lab.go()
    assert run.outcomes == ["changed"]
    assert "it is set to 72 hours" in run.only.reason
    assert run.only.lease_after is not None
    assert run.only.lease_after.left_s == pytest.approx(72 * 3600, abs=600)
    assert run.findings() == [f"{notebook.id}: lease: automatic stop is on"]
    assert run.calls(applied=True) == ["stop", "put", "start"]


@pytest.mark.row(31)
@pytest.mark.parametrize("missing", [400, 404])
@pytest.mark.parametrize("deleted", ["gone", "listed"])
@pytest.mark.parametrize("moment", ["before", "StopNotebook", "StartNotebook"])
async def test_a_deleted_notebook_is_gone_in_whatever_words(
    world: MakeLab, missing: int, deleted: str, moment: str
) -> None:
    rules = Rules(missing=missing, deleted=deleted)  # type: ignore[arg-type]  # see above
    lab = await world(running=1, rules=rules)
    (notebook,) = lab.notebooks

    def delete() -> None:
        lab.put_into(notebook, Status.DELETING)

    plan = await lab.plan()
    if moment == "before":
        delete()
    else:
        lab.when(moment, delete)
    run = await lab.apply(plan)
    assert (run.outcomes, run.report.exit) == (["gone"], Exit.SOME_DRIFTED)
    assert run.report.debts == ()


@pytest.mark.row(34)
@pytest.mark.parametrize("start_failed", ["stopped", "stuck"])
async def test_a_notebook_stuck_after_a_failed_start_harms_no_other(
    world: MakeLab, start_failed: str
) -> None:
    rules = Rules(start_failed=start_failed)  # type: ignore[arg-type]  # see above
    lab = await world(running=2, rules=rules, faults=[FailingStart(times=1)])
    first, second = lab.notebooks
    run = await lab.go(ONE_BY_ONE)
    stuck = start_failed == "stuck"
    assert run.row(first).outcome == ("stranded" if stuck else "failed")
    assert run.row(first).debt is stuck
    assert run.row(second).outcome == "changed"
    assert run.calls(second, applied=True) == ["stop", "put", "start"]
    assert run.findings(first) == []


@pytest.mark.row(40)
async def test_a_list_that_reorders_itself_while_it_is_read_loses_nobody(world: MakeLab) -> None:
    lab = await world(running=8, stopped=50, rules=Rules(list_order="update_at"))
    run = await lab.go()
    assert (set(run.outcomes), len(run.outcomes)) == ({"changed"}, 58)
    assert run.findings() == []
