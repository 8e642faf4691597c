"""The keys of a job file that leave people alone: what they mean, what is refused, how a plan tells it."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from fleet.core.errors import UsageError
from fleet.core.jobfiles.job_models import JobFileModel
from fleet.core.jobfiles.job_values import parse_duration
from fleet.core.jobfiles.jobfile import read_job
from fleet.core.jobfiles.strict_yaml import read_yaml
from fleet.core.planning.plan_file import dump_plan, load_plan
from fleet.core.rollout import Rollout
from fleet.core.scheduling.timing import Idleness, Moment, Notice, Otherwise
from fleet.core.scheduling.timing_words import timing_lines, timing_remarks
from tests.plans import Anything, make_change, make_plan


def job(rollout: str) -> str:
    return f"job: rename\nname: least\nselect: true\nrollout: {{{rollout}}}"


def parsed(rollout: str) -> Rollout:
    return read_job(job(rollout), "job.yaml", lambda _: Anything)[0].rollout


def test_by_default_nobody_is_waited_for() -> None:
    made = parsed("soak: 0s")
    assert (made.when, made.notice, made.carry_over) == (Moment.NOW, None, True)
    assert list(timing_lines(made)) == list(timing_remarks(made)) == []


@pytest.mark.parametrize(
    ("rollout", "fields"),
    [
        (
            "when: next-stop, patience: 3d, otherwise: skip",
            {"when": Moment.NEXT_STOP, "patience": 259_200.0, "otherwise": Otherwise.SKIP},
        ),
        (
            "when: idle, patience: 12h, otherwise: force, idle: {lasting: 1h, cpu: 10}",
            {
                "when": Moment.IDLE,
                "patience": 43_200.0,
                "otherwise": Otherwise.FORCE,
                "idle": Idleness(lasting=3600.0, cpu=10.0),
            },
        ),
        (
            "notice: {command: [mail, --now], lead: 1d, postponed: later.csv, ask: write to us}",
            {"notice": Notice(("mail", "--now"), "", 86_400.0, "later.csv", "write to us")},
        ),
        (
            "notice: {webhook: 'https://example.com/n?a=b', lead: 0s}",
            {"notice": Notice(webhook="https://example.com/n?a=b")},
        ),
        (
            "notice: {webhook: 'http://127.0.0.1:9/', lead: 0s}",
            {"notice": Notice(webhook="http://127.0.0.1:9/")},
        ),
        ("carry_over: false", {"carry_over": False}),
    ],
)
def test_the_keys_mean_what_they_say_and_are_sealed_with_the_plan(
    rollout: str, fields: dict[str, Any]
) -> None:
    made = parsed(rollout)
    assert made == Rollout(**fields)
    plan = make_plan(make_change(), rollout=made)
    assert load_plan(dump_plan(plan), "plan.json").rollout == made
    jsonschema.validate(read_yaml(job(rollout), "job.yaml").data, JobFileModel.model_json_schema())


@pytest.mark.parametrize(
    ("rollout", "complaint"),
    [
        ("when: next-stop", "when: next-stop needs patience, such as 3d, and otherwise: skip or force"),
        ("when: idle, patience: 3d", "when: idle needs patience, such as 3d, and otherwise: skip or force"),
        ("when: next-stop, otherwise: skip", "needs patience"),
        ("patience: 3d", "patience says nothing without when: idle or when: next-stop"),
        ("when: now, otherwise: skip", "otherwise says nothing without"),
        (
            "when: next-stop, patience: 3d, otherwise: skip, idle: {cpu: 1}",
            "idle says nothing without when: idle",
        ),
        ("when: soon", "must be 'now', 'idle' or 'next-stop'"),
        ("when: idle, patience: 0s, otherwise: skip", "must be longer than nothing"),
        ("when: idle, patience: 1d, otherwise: skip, idle: {cpu: 101}", "less than or equal to 100"),
        ("notice: {lead: 1d}", "needs either a command or a webhook"),
        ("notice: {lead: 1d, command: [a], webhook: 'https://example.com'}", "needs either"),
        ("notice: {command: [a]}", "lead: is missing"),
        ("notice: {lead: 1d, webhook: 'http://example.com/'}", "must begin with https://"),
        ("notice: {lead: 1d, webhook: 'ftp://localhost/'}", "must begin with https://"),
        ("notice: {lead: 1d, webhook: 'https://ann:secret@example.com/'}", "neither a user nor a fragment"),
        ("notice: {lead: 1d, webhook: 'https:///x'}", "is no web address"),
        ("notice: {lead: 1d, webhook: 'https://example.com:99999/'}", "is no web address"),
        ('notice: {lead: 1d, webhook: "https://example.com/\\n"}', "is no web address"),
        ("notice: {lead: 1d, command: []}", "must not be empty"),
    ],
)
def test_what_says_too_little_or_too_much_is_refused(rollout: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=r"job\.yaml:4: ") as refused:
        parsed(rollout)
    assert complaint in str(refused.value)
    assert "secret" not in str(refused.value)


def test_durations_may_count_days() -> None:
    assert parse_duration("1d2h") == 93_600.0


def test_a_plan_tells_its_timing_in_words() -> None:
    made = parsed(
        "when: next-stop, patience: 3d, otherwise: force, deadline: 2d,"
        " notice: {command: [mail], lead: 1d, postponed: later.csv}"
    )
    when, notice, postponed = timing_lines(made)
    assert when.startswith(
        "when: a running notebook is changed once it has stopped by itself, and stays stopped;"
    )
    assert when.endswith("not stopped 3d after its wave began is stopped and changed all the same")
    assert notice.startswith("notice: mail tells each owner 1d before the first stop of a wave; ")
    assert postponed == "postponed: owners in later.csv are left alone until the time that it gives"
    (remark,) = timing_remarks(made)
    assert remark.startswith("the deadline of 2d ends the run before its patience of 3d is over: ")
    (line,) = timing_lines(parsed("when: idle, patience: 12h, otherwise: skip"))
    assert line == (
        "when: a running notebook is stopped once it was idle for 30m; one that stops by itself stays "
        "stopped; what was neither 12h after its wave began is left as it is"
    )
    (remark,) = timing_remarks(parsed("deadline: 1d, notice: {command: [mail], lead: 1d}"))
    assert remark.endswith("ends the run before the notice of 1d is over: nobody is stopped")
