"""What lets the next wave go: the program first, then a person; a stop is never overruled."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.rollout import GateCommand
from fleet.core.wave_gate import (
    AskPerson,
    Check,
    Decision,
    Finding,
    Question,
    RunCommand,
    check_of,
    environment,
    next_move,
    no_check,
)

COMMAND = GateCommand(("./check.sh",))
GO, STOP, UNCLEAR = (Check(finding, finding.value) for finding in Finding)


@pytest.mark.parametrize(
    ("code", "said", "finding", "reason"),
    [
        (0, "", Finding.GO, "the gate's command says go (exit code 0)"),
        (1, "5 % errors", Finding.STOP, "the gate's command says stop (exit code 1: 5 % errors)"),
        (2, "", Finding.INCONCLUSIVE, "the gate's command says inconclusive (exit code 2)"),
        (-9, "", Finding.INCONCLUSIVE, "the gate's command says inconclusive (killed by signal 9)"),
    ],
)
def test_an_exit_code_has_a_meaning(code: int, said: str, finding: Finding, reason: str) -> None:
    assert check_of(code, said) == Check(finding, reason)


def test_a_program_without_an_end_is_inconclusive() -> None:
    assert no_check("took longer than 2m").finding is Finding.INCONCLUSIVE


@pytest.mark.parametrize(
    ("question", "move"),
    [
        (Question(None, False, False), Decision(True, "")),
        (Question(COMMAND, False, False), RunCommand(COMMAND)),
        (Question(COMMAND, True, True), RunCommand(COMMAND)),
        (Question(COMMAND, False, True, GO), Decision(True, "go")),
        (Question(COMMAND, True, True, STOP), Decision(False, "stop")),
        (Question(COMMAND, False, True, UNCLEAR), AskPerson("inconclusive")),
        (
            Question(COMMAND, False, False, UNCLEAR, run="R"),
            Decision(
                False,
                "inconclusive; nobody could be asked: "
                "at a terminal this asks again, and you may approve: fleet resume R",
            ),
        ),
        (Question(COMMAND, False, True, UNCLEAR, True), Decision(True, "inconclusive; approved by a person")),
        (Question(None, True, False), AskPerson("")),
        (Question(None, True, True), AskPerson("")),
        (Question(None, True, False, None, True), Decision(True, "approved by a person")),
        (Question(COMMAND, True, False, GO), AskPerson("go")),
        (Question(COMMAND, True, False, UNCLEAR), AskPerson("inconclusive")),
    ],
)
def test_the_next_move(question: Question, move: RunCommand | AskPerson | Decision) -> None:
    assert next_move(question) == move


@given(
    command=st.sampled_from([None, COMMAND]),
    wanted=st.booleans(),
    attended=st.booleans(),
    check=st.sampled_from([GO, STOP, UNCLEAR]),
)
def test_each_question_is_asked_once_and_then_it_is_decided(
    command: GateCommand | None, wanted: bool, attended: bool, check: Check
) -> None:
    question, asked = Question(command, wanted, attended), []
    while not isinstance(move := next_move(question), Decision):
        asked.append(type(move))
        if isinstance(move, RunCommand):
            question = replace(question, check=check)
        else:
            question = replace(question, approved=True)
    assert len(set(asked)) == len(asked)
    assert (RunCommand in asked) is (command is not None)
    if command is not None and check is STOP:
        assert move == Decision(False, "stop")
        assert AskPerson not in asked
    if wanted and move.go:
        assert AskPerson in asked


def test_the_program_is_told_where_the_run_stands() -> None:
    told = environment("20260101-000000-abcd", 2, {"changed": 3, "failed": 0})
    assert json.loads(told.pop("FLEET_COUNTS")) == {"changed": 3, "failed": 0}
    assert told == {"FLEET_RUN": "20260101-000000-abcd", "FLEET_WAVE": "2"}
