"""The judge of a rollout: what it complains of, and what it lets pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.rollout_judge import Verdict, judge

Told = Mapping[str, Any]


def number(amount: int) -> Told:
    return {"amount": amount, "percent": False}


def planned(waves: Sequence[int], **rollout: Any) -> Told:
    """A running notebook for each entry: the wave that it belongs to."""
    usual = {"run_state": "RUNNING", "may_restart": True, "scope": "lab", "owner": "ann", "pool": ""}
    changes = [{"item": item, "wave": wave, "flavor": "", **usual} for item, wave in enumerate(waves)]
    limits: Told = {"max_failures": None, "max_unavailable": {}, "concurrency": 20}
    return {"changes": changes, "rollout": {**limits, **rollout}}


def judged(plan: Told, *words: str) -> Verdict:
    """Words are "0 began", "1 stop", "1 refused", "1 saw RUNNING", "1 ended failed", and "resumed"."""
    return judge(plan, [told(*word.split()) for word in words])


def told(item: str, word: str = "", what: str = "") -> Told:
    if item == "resumed":
        return {"kind": "run-resumed"}
    event: dict[str, Any] = {"item": int(item), "kind": word}
    match word:
        case "stop":
            event |= {"kind": "intended", "step": "stop"}
        case "refused":
            event |= {"kind": "answered", "step": "stop", "fate": "refused"}
        case "saw":
            event["sight"] = {"status": what}
        case "ended":
            event["outcome"] = what
    return event


FIRST_WAVE = {
    ("0 ended changed", "1 ended failed"): "",
    ("0 ended drifted", "1 ended skipped"): "",
    ("0 ended failed", "1 ended drifted"): "none changed, some failed",
    ("0 ended changed", "1 ended stranded"): "some stranded or unknown",
    ("0 ended changed", "1 ended unknown"): "some stranded or unknown",
    ("0 ended changed",): "of wave 1 1 have not ended",
    ("0 ended changed", "1 ended stranded", "resumed", "1 reopened", "1 ended changed"): "",
    ("0 ended changed", "1 ended changed", "resumed", "1 reopened"): "of wave 1 1 have not ended",
}


@pytest.mark.parametrize("death", [(), ("resumed",)])
@pytest.mark.parametrize(("first", "complaint"), FIRST_WAVE.items())
def test_a_later_wave_waits_for_an_end_and_a_good_one_also_through_a_death(
    first: tuple[str, ...], complaint: str, death: tuple[str, ...]
) -> None:
    broken = judged(planned([1, 1, 2]), "0 began", "1 began", *first, *death, "2 began").broken
    assert len(broken) == bool(complaint)
    assert complaint in "".join(broken)


def test_a_change_of_a_later_wave_that_had_begun_in_time_may_come_home() -> None:
    words = ("0 began", "0 ended changed", "1 began", "1 stop", "resumed", "0 reopened", "1 reopened")
    assert judged(planned([1, 2]), *words).broken == []


def test_failures_of_several_processes_add_up_and_one_that_came_home_is_none() -> None:
    plan = planned([1, 1, 1], max_failures=number(1))
    words = ["0 began", "0 stop", "0 ended stranded", "resumed", "0 reopened"]
    assert judged(plan, *words, "0 ended changed", "1 began", "1 ended failed").broken == []
    assert judged(plan, *words, "0 ended failed").broken == []
    (complaint,) = judged(plan, *words, "0 ended failed", "1 began", "1 ended failed").broken
    assert complaint.startswith("2 failures of")


def test_a_notebook_stays_away_through_a_death_until_it_is_seen_running() -> None:
    plan = planned([1, 1], max_unavailable={"fleet": number(1)})
    words = ["0 began", "0 stop", "resumed", "0 reopened"]
    assert judged(plan, *words, "1 began", "1 stop").broken == ["('fleet', ''): 2 of 1"]
    assert judged(plan, *words, "0 saw RUNNING", "1 began", "1 stop").broken == []


@pytest.mark.parametrize("outcome", ["drifted", "gone"])
def test_a_notebook_that_somebody_took_over_is_away_no_longer(outcome: str) -> None:
    plan = planned([1, 1], max_unavailable={"fleet": number(1)})
    assert judged(plan, "0 began", "0 stop", f"0 ended {outcome}", "1 began", "1 stop").broken == []


def test_what_died_with_its_process_is_under_way_no_longer() -> None:
    plan = planned([1, 1], concurrency=1)
    assert judged(plan, "0 began", "resumed", "1 began", "1 ended changed", "0 reopened").broken == []
    assert judged(plan, "0 began", "1 began").broken == ["2 under way of 1"]
