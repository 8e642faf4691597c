"""Credentials that are wrong, go bad, or must be renewed while a run goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import CallError, Exit
from fleet.core.events import RunEnd
from fleet.core.scope import AkSkKeys, PasswordLogin
from fleet.simulator.faults import load_faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleet.simulator.cloud import Cloud
    from tests.scenarios.conftest import Lab, MakeLab

pytestmark = pytest.mark.looptime

LOGIN = "KeystoneCreateUserTokenByPassword"
BOTH_ARCHITECTURES = """\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8") && status in ["RUNNING", "STOPPED"]
with: {to: {name: pytorch2.6}}
rollout: {disruption: restart}
"""
ONE_AT_A_TIME = """\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8")
with: {to: {name: pytorch2.6}}
rollout: {disruption: restart, concurrency: 1}
"""


def wrong_key(cloud: Cloud) -> AkSkKeys:
    return AkSkKeys(cloud.identity.access_key, "not-the-secret-key")


def password(cloud: Cloud) -> PasswordLogin:
    identity = cloud.identity
    return PasswordLogin(identity.user, identity.domain, identity.password)


def rotate(lab: Lab) -> None:
    """The secret key is another one from now on."""
    lab.cloud.access.identity = replace(lab.cloud.identity, secret_key="a-new-secret-key")


def logins(lab: Lab) -> int:
    return sum(record.operation == LOGIN for record in lab.cloud.log)


@pytest.mark.security("secrets")
async def test_a_wrong_secret_key_costs_one_request_and_no_plan(world: MakeLab) -> None:
    lab = await world(seeded=60, credential=wrong_key)
    refused = pytest.RaisesExc(CallError, match="^not authenticated: APIGW.0301: [^\n]*check the secret key")
    with pytest.RaisesGroup(refused, refused, refused, flatten_subgroups=True) as caught:
        await lab.plan()
    assert len(lab.cloud.log) == 1
    assert "not-the-secret-key" not in repr(caught.value)


@pytest.mark.row(18)
@pytest.mark.parametrize(
    ("moment", "outcome", "code"),
    [
        ("ShowNotebook", "failed", Exit.STOPPED_BY_GUARD),
        ("StopNotebook", "unknown", Exit.STRANDED),
        ("UpdateNotebook", "unknown", Exit.STRANDED),
        ("StartNotebook", "unknown", Exit.STRANDED),
    ],
)
async def test_a_key_that_goes_bad_ends_the_run(
    world: MakeLab, moment: str, outcome: str, code: Exit
) -> None:
    lab = await world(running=3)
    plan = await lab.plan(ONE_AT_A_TIME)
    lab.when(moment, lambda: rotate(lab))
    run = await lab.apply(plan)
    assert run.outcomes == [outcome, "not-started", "not-started"]
    assert (run.end, run.report.exit) == (RunEnd.LOCKED_OUT, code)
    assert bool(run.report.debts) == (code is Exit.STRANDED)
    assert sum(record.status == 401 for record in run.log) == 1


async def test_a_password_logs_in_once_for_each_project(world: MakeLab) -> None:
    lab = await world(seeded=40, credential=password)
    plan = await lab.plan(BOTH_ARCHITECTURES)
    assert logins(lab) == 3
    run = await lab.apply(plan)
    assert set(run.outcomes) == {"changed"}
    assert logins(lab) == 6
    assert run.findings() == []


@pytest.mark.row(17)
async def test_a_token_that_expires_under_way_is_refreshed_and_nothing_fails(world: MakeLab) -> None:
    lab = await world(running=3, credential=password, token_seconds=120.0)
    plan = await lab.plan()
    run = await lab.apply(plan)
    assert run.outcomes == ["changed"] * 3
    assert 120.0 < run.report.duration_s < 200.0
    assert sum(record.operation == LOGIN for record in run.log) == 2
    assert not [record for record in run.log if record.status == 401]


@pytest.mark.row(18)
@pytest.mark.parametrize("credential", [None, password])
@pytest.mark.parametrize("moment", ["StopNotebook", "UpdateNotebook", "StartNotebook"])
async def test_credentials_lost_by_many_at_once_leave_a_row_and_a_debt_for_each(
    world: MakeLab, credential: Callable[[Cloud], PasswordLogin] | None, moment: str
) -> None:
    # So fast that one poll answers all four, who then write at the same moment.
    lab = await world(running=6, credential=credential, time_scale=1000.0)
    plan = await lab.plan(ONE_AT_A_TIME.replace("concurrency: 1", "concurrency: 4"))
    lab.when(moment, lab.cloud.access.revoke_tokens if credential else lambda: rotate(lab))
    run = await lab.apply(plan)
    assert (run.end, run.report.exit) == (RunEnd.LOCKED_OUT, Exit.STRANDED)
    assert run.outcomes[4:] == ["not-started"] * 2
    away = [notebook.id for notebook in lab.notebooks if run.calls(notebook, applied=True)]
    assert away
    assert [debt.id for debt in run.report.debts] == away
    ended = {str(run.row(notebook).outcome) for notebook in lab.notebooks if notebook.id in away}
    assert ended <= {"unknown", "stranded"}
    assert 1 <= sum(record.status == 401 for record in run.log) <= 4


@pytest.mark.row(17)
async def test_tokens_that_all_end_under_way_cost_one_login_and_no_change(world: MakeLab) -> None:
    faults = load_faults("[{kind: tokens-expire, after: 100}]")
    lab = await world(running=20, credential=password, faults=faults)
    run = await lab.go(ONE_AT_A_TIME.replace("concurrency: 1", "concurrency: 20"))
    assert (run.outcomes, run.findings()) == (["changed"] * 20, [])
    assert any(record.status == 401 for record in run.log)
    assert sum(record.operation == LOGIN for record in run.log) == 2
    assert run.calls(applied=True).count("put") == 20


@pytest.mark.row(20)
async def test_while_nobody_can_log_in_the_present_token_serves_and_then_the_run_waits(
    world: MakeLab,
) -> None:
    """The token lives for 300 s, nobody can log in from 200 to 500 s."""
    down = load_faults("[{kind: server-error, status: 503, match: {calls: logins}, after: 200, until: 500}]")
    lab = await world(running=8, credential=password, token_seconds=300.0, faults=down)
    run = await lab.go(ONE_AT_A_TIME.replace("concurrency: 1", "concurrency: 2"))
    assert (run.outcomes, run.findings()) == (["changed"] * 8, [])
    refused = [record.at - run.before.at for record in run.log if record.status == 503]
    served = [record.at - run.before.at for record in run.log if record.status == 200]
    assert 1 < len(refused) < 60
    assert any(refused[0] < at < 300.0 for at in served)
    assert not any(301.0 < at < 500.0 for at in served)
    assert any(at > 500.0 for at in served)
