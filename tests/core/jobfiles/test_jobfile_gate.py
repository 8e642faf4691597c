"""The keys of a job file that say what must happen between two waves."""

from __future__ import annotations

import pytest

from fleet.core.errors import UsageError
from fleet.core.jobfiles.jobfile import read_job, schema
from fleet.core.rollout import GateCommand, Rollout
from tests.plans import Anything

LEAST = "job: rename\nname: least\nselect: 'true'\n"


def rollout(text: str) -> Rollout:
    return read_job(f"{LEAST}rollout: {{{text}}}", "job.yaml", lambda _: Anything)[0].rollout


def test_a_gate_is_a_command_with_a_time() -> None:
    assert rollout('gate: {command: ["./check.sh", "-v"], timeout: 5m}').gate == GateCommand(
        ("./check.sh", "-v"), 300.0
    )
    assert rollout('gate: {command: ["./check.sh"]}').gate == GateCommand(("./check.sh",), 120.0)
    assert rollout("soak: 1m").gate is None


def test_approvals_are_wave_numbers() -> None:
    assert rollout("approve: [1, 3]").approve == (1, 3)
    assert rollout("soak: 1m").approve == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gate: {timeout: 2m}", "rollout.gate.command: is missing"),
        ("gate: ./check.sh", "rollout.gate: must be a mapping such as {key: value}"),
        ("gate: {command: ./check.sh}", "rollout.gate.command: must be a list such as [a, b]"),
        ("gate: {command: []}", "rollout.gate.command: must not be empty"),
        ("gate: {command: ['']}", "rollout.gate.command[0]: must not be empty"),
        ("gate: {command: [true]}", "rollout.gate.command[0]: must be text; put it in quotes"),
        (r'gate: {command: ["a\0b"]}', "rollout.gate.command[0]: must not hold a NUL"),
        ("gate: {command: [a], timeout: 0s}", "rollout.gate.timeout: must be longer than nothing"),
        ("gate: {command: [a], timout: 5s}", "rollout.gate.timout: unknown key; did you mean timeout?"),
        ("approve: 1", "rollout.approve: must be a list such as [a, b]"),
        ("approve: []", "rollout.approve: must not be empty"),
        ("approve: [0]", "rollout.approve[0]: must be greater than or equal to 1"),
        ("approve: [true]", "rollout.approve[0]: must be a whole number"),
        ("approve: [2, 1]", "rollout.approve: must be wave numbers in rising order, such as [1, 2]"),
        ("approve: [1, 1]", "rollout.approve: must be wave numbers in rising order, such as [1, 2]"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        rollout(text)
    assert str(caught.value).partition(": ")[2].startswith(message)


def test_editors_are_told_of_both() -> None:
    parts = schema({})["$defs"]
    assert set(parts["GateModel"]["properties"]) == {"command", "timeout"}
    assert {"gate", "approve"} <= set(parts["RolloutModel"]["properties"])
