"""People over a real socket: they act through the cloud's own operations, and the log says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from fleet.simulator.audit import audit, is_write, snapshot
from fleet.simulator.messages import SOMEBODY
from fleet.simulator.states import Status
from fleet.simulator.throttle import Limit

pytestmark = pytest.mark.looptime

MakeSite = Callable[..., Awaitable[Any]]


def theirs(lab: Any) -> Sequence[tuple[str, int]]:
    """What people did: operation and status."""
    return [(one.operation, one.status) for one in lab.cloud.log if one.user == SOMEBODY.id]


async def look(lab: Any, row: Any, wait: float = 0.0) -> Any:
    """The notebook as the cloud shows it so many seconds later."""
    await asyncio.sleep(wait)
    return (await lab.ask("GET", f"notebooks/{row.id}"))[1]


async def test_somebody_stops_a_notebook_at_an_instant(site: MakeSite) -> None:
    name = (await site()).row(Status.RUNNING).name
    lab = await site(f'- {{kind: person, does: [stop], after: 60, match: {{notebook: "{name}"}}}}')
    row = lab.row(Status.RUNNING)
    assert (await look(lab, row, 59))["status"] == "RUNNING"
    assert (await look(lab, row, 1))["status"] == "STOPPING"
    before, record, after = lab.cloud.log
    assert (record.operation, record.notebook, record.status) == ("StopNotebook", row.id, 200)
    assert (record.at, record.user, record.applied) == (1_764_000_060.0, SOMEBODY.id, True)
    assert (record.before["status"], record.after["status"]) == ("RUNNING", "STOPPING")
    assert before.user == after.user == lab.cloud.identity.user_id != SOMEBODY.id


async def test_somebody_starts_what_we_stopped_the_instant_it_has_stopped(site: MakeSite) -> None:
    lab = await site("- {kind: person, does: [start], match: {operation: StopNotebook}, call: 1}")
    row = lab.row(Status.RUNNING)
    _, reply, _ = await lab.ask("POST", f"notebooks/{row.id}/stop")
    assert reply["status"] == "STOPPING"
    assert (await look(lab, row, 1))["status"] == "STOPPING"
    stopped_at = row.transition_end
    assert (await look(lab, row, 1800))["status"] == "RUNNING"
    (record,) = [one for one in lab.cloud.log if one.user == SOMEBODY.id]
    assert (record.operation, record.at) == ("StartNotebook", stopped_at)


async def test_somebody_edits_between_our_stop_and_our_put(site: MakeSite) -> None:
    fault = "match: {operation: StopNotebook}, call: 1, does: [update], set: {name: mine, description: d}"
    lab = await site(f"- {{kind: person, {fault}}}")
    row = lab.row(Status.RUNNING)
    await lab.ask("POST", f"notebooks/{row.id}/stop")
    await asyncio.sleep(row.transition_end - 1_764_000_000.0 - lab.seconds())
    await lab.ask("PUT", f"notebooks/{row.id}", {"description": "ours"})
    assert [one.operation for one in lab.cloud.log] == ["StopNotebook", "UpdateNotebook", "UpdateNotebook"]
    assert [one.user == SOMEBODY.id for one in lab.cloud.log] == [False, True, False]
    assert (row.name, row.description) == ("mine", "ours")


async def test_somebody_restarts_after_our_put(site: MakeSite) -> None:
    lab = await site("- {kind: person, does: [start, stop], match: {method: PUT}, call: 1, wait: 5}")
    row = lab.row(Status.STOPPED)
    await lab.ask("PUT", f"notebooks/{row.id}", {"description": "ours"})
    assert (await look(lab, row, 4))["status"] == "STOPPED"
    assert (await look(lab, row, 1))["status"] == "STARTING"
    assert (await look(lab, row, 3600))["status"] == "STOPPED"
    assert theirs(lab) == [("StartNotebook", 200), ("StopNotebook", 200)]


async def test_somebody_deletes_and_creates_anew_under_the_same_name(site: MakeSite) -> None:
    lab = await site("- {kind: person, does: [delete, create], match: {operation: StopNotebook}, call: 1}")
    row = next(
        one
        for one in lab.cloud.world.rows(lab.project, "NOTEBOOK", "0", "")
        if one.status is Status.RUNNING and one.custom_spec is None
    )
    await lab.ask("POST", f"notebooks/{row.id}/stop")
    await asyncio.sleep(3600)
    assert (await lab.ask("GET", f"notebooks/{row.id}"))[1]["error_code"] == "ModelArts.6309"
    _, reply, _ = await lab.ask("GET", f"notebooks/all?name={row.name}")
    (fresh,) = reply["data"]
    assert (fresh["name"], fresh["image"]["id"]) == (row.name, row.image.id)
    assert (fresh["id"] != row.id, fresh["user_id"]) == (True, SOMEBODY.id)


async def test_each_notebook_counts_its_own_calls_and_times_counts_all(site: MakeSite) -> None:
    fault = "match: {operation: StopNotebook}, call: 1, times: 2, does: [update], set: {description: theirs}"
    lab = await site(f"- {{kind: person, {fault}}}")
    rows = [one for one in lab.cloud.world.notebooks.values() if one.status is Status.RUNNING][:3]
    for row in rows:
        await lab.ask("POST", f"notebooks/{row.id}/stop")
    await look(lab, rows[0], 1800)
    assert [row.description == "theirs" for row in rows] == [True, True, False]


async def test_people_pass_no_gateway_and_meet_no_faults(site: MakeSite) -> None:
    faults = "[{kind: server-error, match: {method: POST}}, {kind: person, does: [stop], after: 5, times: 9}]"
    lab = await site(faults, throttle=[Limit(limit=2)])
    await asyncio.sleep(6)
    row = lab.row(Status.RUNNING)
    codes = [(await lab.ask("GET", f"notebooks/{row.id}"))[0] for _ in range(3)]
    assert codes == [200, 200, 429]
    assert len(theirs(lab)) == 9
    assert 200 in {code for _, code in theirs(lab)}


async def test_people_are_refused_like_everybody(site: MakeSite) -> None:
    lab = await site("- {kind: person, does: [start], match: {operation: ShowNotebook}, call: 1}")
    await look(lab, lab.row(Status.RUNNING))
    await look(lab, lab.row(Status.STOPPED), 1)
    assert theirs(lab) == [("StartNotebook", 400)]
    (record,) = [one for one in lab.cloud.log if one.user == SOMEBODY.id]
    assert (record.code, record.applied) == ("ModelArts.6357", False)


async def test_somebody_who_waits_for_a_notebook_that_goes_is_refused(site: MakeSite) -> None:
    lab = await site("- {kind: person, does: [start], match: {operation: DeleteNotebook}, call: 1}")
    row = lab.row(Status.STOPPED)
    await lab.ask("DELETE", f"notebooks/{row.id}")
    await look(lab, row, 3600)
    assert theirs(lab) == [("StartNotebook", 400)]


async def test_the_acts_of_people_set_off_no_other_people(site: MakeSite) -> None:
    stops = "{kind: person, does: [stop], after: 5, times: 40}"
    starts = "{kind: person, does: [start], match: {operation: StopNotebook}, call: 1}"
    lab = await site(f"[{stops}, {starts}]")
    await look(lab, lab.row(Status.RUNNING), 3600)
    assert {operation for operation, _ in theirs(lab)} == {"StopNotebook"}


async def test_the_served_log_has_the_acts_of_people_in_their_place(site: MakeSite) -> None:
    lab = await site("- {kind: person, does: [stop], after: 60, times: 1, match: {notebook: '*-00001'}}")
    row = next(one for one in lab.cloud.world.notebooks.values() if one.name.endswith("-00001"))
    await look(lab, row, 10)
    await look(lab, row, 100)
    lines = lab.lines.getvalue().splitlines()
    assert [one.to_line().rstrip() for one in lab.cloud.log] == lines
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("does", "ours", "found"),
    [
        ("[start]", ["stop", "wait"], set()),
        ("[start]", ["stop", "wait", "stop"], {"overruled"}),
        ("[start, stop]", ["stop", "wait", "wait"], set()),
        ("[start, stop]", ["stop", "wait", "wait", "start"], {"overruled"}),
        ("[update], set: {name: mine}", ["stop", "wait", "put"], set()),
        ("[update], set: {description: mine}", ["stop", "wait", "put"], {"overruled"}),
        ("[delete]", ["stop", "wait"], set()),
    ],
)
async def test_the_audit_holds_nothing_of_theirs_against_us_but_undoing_it(
    site: MakeSite, does: str, ours: Sequence[str], found: set[str]
) -> None:
    lab = await site(f"- {{kind: person, match: {{operation: StopNotebook}}, call: 1, does: {does}}}")
    row = lab.row(Status.RUNNING)
    before = snapshot(lab.cloud, 1_764_000_000.0 + lab.seconds())
    for step in ours:
        if step == "wait":
            await look(lab, row, 1800)
        elif step == "put":
            await lab.ask("PUT", f"notebooks/{row.id}", {"description": "ours"})
        else:
            await lab.ask("POST", f"notebooks/{row.id}/{step}")
    after = snapshot(lab.cloud, 1_764_000_000.0 + lab.seconds())
    findings = audit(before, after, lab.cloud.log, {row.id: ["description"]})
    assert {finding.what for finding in findings} == found
    assert sum(is_write(one) for one in lab.cloud.log) == len(ours) - ours.count("wait")
    unplanned = audit(before, after, lab.cloud.log, {})
    assert {finding.what for finding in unplanned} == found | {"unplanned-write"}
