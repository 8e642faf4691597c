"""fleet schedule: what it shows, and what it refuses. That it runs jobs: tests/steering/test_schedule.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fleet.service.diary import Diary, Entry

if TYPE_CHECKING:
    from tests.cli.conftest import Shell  # type: ignore[import-not-found,unused-ignore]
else:
    Shell = Any

JOB = """\
job: image-migration
name: torch
select: "true"
with: {to: {newest: true}}
schedule: {at: "0 20 * * FRI", timezone: Asia/Shanghai}
rollout: {windows: [{opens: "0 22 * * FRI", lasts: 6h, timezone: Asia/Shanghai}]}
"""


def test_next_shows_when_a_job_begins_and_when_its_windows_open(shell: Shell) -> None:
    shell.write("torch.yaml", JOB)
    shown = shell("schedule", "next", "torch.yaml", "-n", 2)
    begins = [line.split()[1:] for line in shown.out.splitlines() if "begins" in line]
    changes = [line.split()[1:] for line in shown.out.splitlines() if "changes" in line]
    assert [(words[1], *words[3:]) for words in begins] == [("Fri", "20:00", "CST")] * 2
    assert [(words[1], *words[3:]) for words in changes] == [("Fri", "22:00", "CST", "to", "04:00")] * 3
    assert not shell.files - {"torch.yaml"}


def test_history_shows_what_became_of_every_time(shell: Shell) -> None:
    shell.write("torch.yaml", JOB)
    diary = Diary(shell.folder / "runs", "torch")
    diary.add(Entry(1_790_000_000.0, 1_790_000_001.0, "begun"))
    diary.add(Entry(1_790_000_000.0, 1_790_000_100.0, "ended", "20260921-141320-abcd", 3))
    words = ("schedule", "history", "torch.yaml", "--run-dir", shell.folder / "runs")
    assert [line.split()[-2:] for line in shell(*words).out.splitlines()[2:]] == [
        ["20260921-141320-abcd", "3"]
    ]
    due, at = ["Mon", "2026-09-21", "22:13", "CST"], ["Mon", "2026-09-21", "22:15", "CST"]
    assert shell(*words).out.splitlines()[2].split()[1:9] == [*due, *at]
    last = shell(*words, "-o", "jsonl").out.splitlines()[-1]
    assert '"due": "2026-09-21T14:13:20' in last
    assert '"exit": 3' in last


def test_a_job_without_a_schedule_is_refused(shell: Shell) -> None:
    shell.write("torch.yaml", JOB.replace("schedule:", "#"))
    assert "has no schedule; add one" in shell.refused("schedule", "run", "torch.yaml")


def test_two_jobs_of_one_name_are_refused(shell: Shell) -> None:
    shell.write("a.yaml", JOB)
    shell.write("b.yaml", JOB)
    assert "a.yaml is named torch too" in shell.refused("schedule", "once", "a.yaml", "b.yaml")


def test_a_wrong_schedule_is_told_with_its_line(shell: Shell) -> None:
    shell.write("torch.yaml", JOB.replace("FRI", "FRY", 1))
    said = shell.refused("schedule", "next", "torch.yaml")
    assert said == "fleet: torch.yaml:5: schedule: '0 20 * * FRY' is no cron expression: bad day-of-week\n"


def test_an_unknown_time_zone_is_told_with_its_line(shell: Shell) -> None:
    shell.write("torch.yaml", JOB.replace("6h, timezone: Asia/Shanghai", "6h, timezone: Asia/Bonn"))
    assert "torch.yaml:6: rollout.windows[0]: there is no time zone" in shell.refused(
        "validate", "torch.yaml"
    )
