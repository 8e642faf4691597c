"""The demo's claims: each holds for an honest run, and falls as soon as its evidence is doctored."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from fleet.cli.proof import Evidence, claims, proof_lines
from fleet.core.events import Outcome
from fleet.core.pacing.limits import Rate
from fleet.core.planning.plan_file import load_plan
from fleet.service.telling import read_report
from fleet.simulator.audit import Mirror, snapshot
from fleet.simulator.messages import SOMEBODY
from fleet.simulator.records import Record
from fleet.simulator.states import Status

Lab = Any
Doctor = Callable[[Evidence], Evidence]

RATE = Rate(5000, 1.0)


@pytest.fixture
def honest(lab: Lab) -> Evidence:
    """What the cloud shows of a run that restarted one notebook and changed another that was stopped."""
    ids = [lab.old(status)[0].id for status in ("RUNNING", "STOPPED")]
    job = lab.job('image.name.startsWith("pytorch1.8") && status == "STOPPED"', f"id in {ids}")
    plan = load_plan(lab.plan(job).read_bytes(), "plan")
    before = snapshot(lab.cloud, time.time())
    result = lab.apply()
    assert result.code == 0
    return Evidence(
        before=before,
        after=snapshot(lab.cloud, time.time()),
        log=lab.cloud.log,
        selected=frozenset(ids),
        moving=frozenset(),
        plan=plan,
        report=read_report(lab.runs / result.run),
        rate=RATE,
    )


def fallen(seen: Evidence) -> list[str]:
    """The claims that do not hold, by their first words."""
    return [_words(claim.text) for claim in claims(seen) if claim.against]


def _words(text: str) -> str:
    return " ".join(text.split()[:3])


def restarted(seen: Evidence) -> str:
    """The notebook that the run stopped and started."""
    return next(change.id for change in seen.plan.changes if change.needs_restart)


def bystander(seen: Evidence) -> str:
    """A notebook that nobody planned to change."""
    planned = {change.id for change in seen.plan.changes}
    return next(
        id
        for id, mirror in seen.before.notebooks.items()
        if id not in planned and mirror.status is Status.STOPPED
    )


def with_mirrors(seen: Evidence, mirrors: Mapping[str, Mirror]) -> Evidence:
    return replace(seen, after=replace(seen.after, notebooks=mirrors))


def doctored(seen: Evidence, id: str, **news: Any) -> Evidence:
    """The fleet afterwards, with something else about one notebook."""
    mirror = replace(seen.after.notebooks[id], **news)
    return with_mirrors(seen, {**seen.after.notebooks, id: mirror})


def with_fields(seen: Evidence, id: str, **fields: Any) -> Evidence:
    return doctored(seen, id, fields={**seen.after.notebooks[id].fields, **fields})


def one_is_lost(seen: Evidence) -> Evidence:
    lost = bystander(seen)
    return with_mirrors(seen, {id: one for id, one in seen.after.notebooks.items() if id != lost})


def one_is_left_stopped(seen: Evidence) -> Evidence:
    return doctored(seen, restarted(seen), status=Status.STOPPED)


def a_lease_is_switched_off(seen: Evidence) -> Evidence:
    id = bystander(seen)
    return doctored(seen, id, lease_enabled=not seen.after.notebooks[id].lease_enabled)


def a_lease_is_short(seen: Evidence) -> Evidence:
    id = restarted(seen)
    end = seen.after.notebooks[id].lease_end
    assert end is not None
    return doctored(seen, id, lease_end=end - 1800.0)


def another_field_changed(seen: Evidence) -> Evidence:
    return with_fields(seen, restarted(seen), description="something else")


def a_bystander_changed(seen: Evidence) -> Evidence:
    return with_fields(seen, bystander(seen), name="renamed")


def a_bystander_was_written_to(seen: Evidence) -> Evidence:
    write = next(record for record in seen.log if record.operation == "UpdateNotebook")
    return replace(seen, log=[*seen.log, replace(write, notebook=bystander(seen))])


def what_somebody_did_was_undone(seen: Evidence) -> Evidence:
    start = replace(writes(seen, "StartNotebook")[0], user=SOMEBODY.id, at=seen.before.at)
    return replace(seen, log=[start, *seen.log])


def with_an_endpoint(seen: Evidence, **now: Any) -> Evidence:
    """A bystander's SSH endpoint, closed and with a key before, and as `now` says afterwards."""
    id = bystander(seen)
    was = {"service": "SSH", "key_pair_names": ["k"], "allowed_access_ips": ["203.0.113.7"]}
    fields = {**seen.before.notebooks[id].fields, "endpoints": [was]}
    before = {**seen.before.notebooks, id: replace(seen.before.notebooks[id], fields=fields)}
    seen = replace(seen, before=replace(seen.before, notebooks=before))
    return with_fields(seen, id, endpoints=[{**was, **now}])


def a_key_is_gone(seen: Evidence) -> Evidence:
    return with_an_endpoint(seen, key_pair_names=[])


def an_endpoint_is_open(seen: Evidence) -> Evidence:
    return with_an_endpoint(seen, allowed_access_ips=[])


def an_endpoint_is_gone(seen: Evidence) -> Evidence:
    return with_fields(with_an_endpoint(seen), bystander(seen), endpoints=[])


def a_value_did_not_arrive(seen: Evidence) -> Evidence:
    id = restarted(seen)
    return with_fields(seen, id, image_id=seen.before.notebooks[id].fields["image_id"])


def a_success_is_not_told(seen: Evidence) -> Evidence:
    first, *rest = seen.report.rows
    return replace(seen, report=replace(seen.report, rows=(replace(first, outcome=Outcome.FAILED), *rest)))


def a_row_is_missing(seen: Evidence) -> Evidence:
    return replace(seen, selected=seen.selected | {bystander(seen)})


def a_row_is_there_twice(seen: Evidence) -> Evidence:
    rows = seen.report.rows
    return replace(seen, report=replace(seen.report, rows=(*rows, rows[0])))


def a_row_is_of_nobody_selected(seen: Evidence) -> Evidence:
    return replace(seen, selected=frozenset({restarted(seen)}))


def writes(seen: Evidence, operation: str) -> list[Record]:
    return [record for record in seen.log if record.operation == operation]


def a_write_was_sent_twice(seen: Evidence) -> Evidence:
    return replace(seen, log=[*seen.log, writes(seen, "UpdateNotebook")[0]])


def a_start_was_not_sent(seen: Evidence) -> Evidence:
    started = writes(seen, "StartNotebook")[0]
    return replace(seen, log=[record for record in seen.log if record is not started])


def a_write_of_another_kind_was_sent(seen: Evidence) -> Evidence:
    write = replace(writes(seen, "UpdateNotebook")[0], operation="DeleteNotebook", method="DELETE")
    return replace(seen, log=[*seen.log, replace(write, applied=False)])


def reads_came_too_fast(seen: Evidence) -> Evidence:
    read = next(record for record in seen.log if record.method == "GET")
    return replace(seen, log=[*seen.log, *[read] * (RATE.count + 1)])


def one_read_was_refused(seen: Evidence) -> Evidence:
    read = next(record for record in seen.log if record.method == "GET")
    return replace(seen, log=[*seen.log, replace(read, status=429)])


def test_every_claim_holds_for_an_honest_run(honest: Evidence) -> None:
    assert fallen(honest) == []
    assert all(line.startswith("  ok  ") for line in proof_lines(claims(honest)))


def test_a_notebook_that_moved_while_the_plan_was_made_may_have_a_row_or_not(honest: Evidence) -> None:
    one, other = sorted(honest.selected)
    assert fallen(replace(honest, selected=frozenset({one}), moving=frozenset({other}))) == []
    assert fallen(replace(honest, moving=frozenset({bystander(honest)}))) == []


DOCTORS: list[tuple[Doctor, str]] = [
    (one_is_lost, "no notebook is"),
    (one_is_left_stopped, "every notebook is"),
    (a_lease_is_switched_off, "every lease is"),
    (a_lease_is_short, "every lease is"),
    (another_field_changed, "only the planned"),
    (a_bystander_changed, "only the planned"),
    (a_bystander_was_written_to, "only the planned"),
    (what_somebody_did_was_undone, "only the planned"),
    (a_key_is_gone, "every endpoint kept"),
    (an_endpoint_is_open, "every endpoint kept"),
    (an_endpoint_is_gone, "every endpoint kept"),
    (a_value_did_not_arrive, "whatever is reported"),
    (a_success_is_not_told, "whatever is reported"),
    (a_row_is_missing, "one row for"),
    (a_row_is_there_twice, "one row for"),
    (a_row_is_of_nobody_selected, "one row for"),
    (a_write_was_sent_twice, "writes sent: 1"),
    (a_start_was_not_sent, "writes sent: 1"),
    (a_write_of_another_kind_was_sent, "writes sent: 1"),
    (reads_came_too_fast, "rate kept: never"),
    (one_read_was_refused, "not one request"),
]


def test_a_claim_falls_when_its_evidence_is_doctored(honest: Evidence) -> None:
    """One honest run, doctored in one way after the other."""
    for doctor, claim in DOCTORS:
        seen = doctor(honest)
        assert claim in fallen(seen), doctor.__name__
        assert any(line.startswith(f"  NOT {claim}") for line in proof_lines(claims(seen))), doctor.__name__
    assert {claim for _, claim in DOCTORS} == {_words(claim.text) for claim in claims(honest)}
