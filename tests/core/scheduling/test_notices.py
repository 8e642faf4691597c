"""What owners are told, what they are not, and how the file of their wishes is read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fleet.core.patch import When
from fleet.core.planning.plan import Phase
from fleet.core.rollout import Rollout
from fleet.core.scheduling.calendar import Calendar, Window
from fleet.core.scheduling.notices import earliest, message, parse_postponed
from fleet.core.scheduling.timing import Moment, Notice, Otherwise
from tests.plans import NEW, OLD, make_change, make_plan

DAY = 86_400.0
NOTICE = Notice(("mail",), lead=DAY, postponed="later.csv")


def test_an_owner_is_told_what_changes_when_and_how_to_put_it_off() -> None:
    plan = make_plan(
        make_change(name="work"), rollout=Rollout(notice=NOTICE), names={OLD: "torch1", NEW: "torch2"}
    )
    told = message("run-1", plan, "ann", plan.changes, 0.0)
    assert (
        json.loads(json.dumps(told))
        == told
        == {
            "run": "run-1",
            "job": "torch",
            "owner": "ann",
            "when": "now",
            "earliest": "1970-01-01T00:00:00Z",
            "notebooks": [
                {
                    "scope": "lab-a",
                    "id": plan.changes[0].id,
                    "name": "work",
                    "changes": {"image_id": {"before": "torch1", "after": "torch2"}},
                }
            ],
            "stopped_before": "what its owner stops before that is changed as well, and stays stopped",
            "later": "a line ann,UNTIL in later.csv puts it off; UNTIL as in 2026-01-31T18:00:00Z",
        }
    )
    asked = make_plan(make_change(), rollout=Rollout(notice=replace(NOTICE, ask="call 1234")))
    assert message("run-1", asked, "ann", asked.changes, 0.0)["later"] == "call 1234"


def test_scripts_addresses_and_keys_are_nobody_s_business() -> None:
    body = {
        "hooks": {"container_hooks": {"pre_start": {"script": "/secret", "type": "SCRIPT"}}},
        "endpoints": [
            {"service": "SSH", "key_pair_names": ["secret"], "allowed_access_ips": ["203.0.113.1"]}
        ],
    }
    plan = make_plan(make_change(phases=(Phase(When.STOPPED, body),), after=body, before={}))
    told = message("run-1", plan, "ann", plan.changes, 0.0)
    assert told["notebooks"][0]["changes"] == {"hooks": {}, "endpoints": {}}
    assert "secret" not in json.dumps(told)


def test_the_earliest_stop_is_after_lead_patience_and_in_a_window() -> None:
    assert earliest(Rollout(notice=NOTICE), 0.0, 10.0) == DAY + 10
    waits = Rollout(notice=NOTICE, when=Moment.NEXT_STOP, patience=3 * DAY, otherwise=Otherwise.FORCE)
    assert earliest(waits, 0.0, 10.0) == 3 * DAY
    night = Calendar((Window("0 2 * * *", 3600.0),))
    assert earliest(Rollout(notice=NOTICE, calendar=night), 0.0, 10.0) == DAY + 7200


def test_wishes_are_read_with_their_zones() -> None:
    lines = ("ann,1970-01-01T01:00:00+01:00", " ann , 1970-01-02T00:00:00Z", "bob,1970-01-01 00:01:00Z")
    text = "\n".join(("owner,until", "", "# a remark", *lines))
    assert parse_postponed(text) == {"ann": DAY, "bob": 60.0}


@pytest.mark.parametrize(
    "line",
    ["ann", "ann,", ",1970-01-01T00:00:00Z", "ann,tomorrow", "ann,1970-01-01T00:00:00", "ann,2026-01-31,x"],
)
def test_a_wish_that_says_no_exact_time_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(ValueError, match="line 2: "):
        parse_postponed(f"owner,until\n{line}\n")
