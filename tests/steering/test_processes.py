"""Runs in processes of their own, steered from here, judged by what the cloud wrote down."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.core.errors import FleetError
from fleet.journal.lock import is_locked
from fleet.service.asking import Verb
from tests.steering.lab import PATIENCE, Lab, Process, until

MakeLab = Callable[..., Lab]

pytestmark = [pytest.mark.timeout(4 * PATIENCE), pytest.mark.processes]


def some_are_away(lab: Lab) -> bool:
    return len(lab.away()) >= 2


# --- pause, resume, cancel, set ---


def test_after_a_pause_no_notebook_is_touched_anew_and_those_away_come_home(make_lab: MakeLab) -> None:
    """The slow rate keeps some of the slots waiting for their first write when the pause comes."""
    lab = make_lab(rate="6/s", time_scale=200.0)
    lab.job(8, concurrency=6)
    run = lab.run()
    until(lambda: some_are_away(lab))
    answer = run.ask(Verb.PAUSE)
    assert (answer.done, answer.paused) == (True, True)
    until(lambda: not lab.away())
    held = lab.touched()
    assert is_locked(run.folder)
    told = lab("resume", run.folder.name, "--run-dir", run.base)
    assert (told.code, told.out, told.err) == (0, "", f"{run.folder.name}: resumed\n")
    result = run.end()
    begun = run.touched_before("paused")
    assert 2 <= len(begun) < 8
    assert run.touched_before("resumed") == begun >= held
    assert (result.code, result.counts) == (0, {"changed": 8})


@pytest.mark.row(66)
def test_a_cancelled_run_touches_nothing_anew_brings_home_and_is_exit_6(make_lab: MakeLab) -> None:
    lab = make_lab(rate="6/s", time_scale=200.0)
    lab.job(8, concurrency=6)
    run = lab.run()
    until(lambda: some_are_away(lab))
    run.ask(Verb.CANCEL)
    result = run.end()
    touched = lab.touched()
    assert touched <= run.touched_before("cancelled")
    assert (result.code, result.json["reason"]) == (6, "cancelled from another terminal")
    assert result.counts == {"changed": len(touched), "not-started": 8 - len(touched)}
    assert lab.away() == set()
    resumed = lab("resume", run.folder.name, "--run-dir", run.base, "-o", "json")
    assert (resumed.code, resumed.counts) == (0, {"changed": 8})
    assert len(lab.writes("StopNotebook")) == 8


def test_a_raised_concurrency_fills_the_new_slots_at_once(make_lab: MakeLab) -> None:
    """In a cloud so slow that all are away before the first can have come home."""
    lab = make_lab(time_scale=2.0)
    lab.job(8, concurrency=1)
    run = lab.run()
    until(lambda: len(lab.touched()) == 1)
    assert run.ask(Verb.SET, concurrency=8).concurrency == 8
    until(lambda: len(lab.away()) == 8)


def test_a_lower_rate_makes_the_time_left_longer_and_a_higher_one_is_refused(make_lab: MakeLab) -> None:
    """With 8 changes to go, of 4 looks each, and a rate of one in 90 s."""
    lab = make_lab(time_scale=2.0)
    lab.job(8, concurrency=1)
    run = lab.run()
    until(lambda: len(lab.touched()) == 1)
    name, where = run.folder.name, ("--run-dir", run.base)
    refused = lab("set", name, "--rate", "51/s", *where)
    assert (refused.code, refused.out) == (64, "")
    assert refused.err.startswith(
        f"fleet: {name}: rate 51/s is above the ceiling 50/s of scope lab-a in fleet.toml; set at most that"
    )
    assert lab("set", name, "--rate", "1/90s", *where).code == 0
    assert lab("status", name, *where, "-o", "json").json["left_s"] >= 7 * 4 * 90.0


def test_status_tells_where_a_run_stands_and_watch_follows_it_to_its_end(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.job(5, concurrency=2)
    run = lab.run()
    until(lambda: some_are_away(lab))
    run.ask(Verb.PAUSE)
    name, where = run.folder.name, ("--run-dir", run.base)
    status = lab("status", name, *where, "-o", "json").json
    assert (status["state"], status["paused"], status["concurrency"]) == ("running", True, 2)
    assert sum(status["counts"].values()) == 5
    assert set(map(tuple, status["limits"].values())) == {("50/s",)}
    screen = lab("status", name, *where)
    assert (screen.code, screen.err) == (0, "")
    assert f"run {name}, job torch: paused after" in screen.out
    watcher = lab.begin(run.base, "watch", name, "-o", "json")
    until(lambda: f"run {name}" in watcher.err.read_text())
    run.ask(Verb.RESUME)
    result, watched = run.end(), watcher.end()
    assert (watched.code, watched.json) == (result.code, result.json)
    assert "resumed" in watched.err
    assert watched.err.splitlines()[-1].endswith("finished")
    over = lab("status", name, *where, "-o", "json").json
    assert (over["state"], over["live"], over["counts"]["changed"]) == ("finished", False, 5)


def test_a_run_that_is_over_cannot_be_steered_and_leaves_no_socket(make_lab: MakeLab) -> None:
    lab = make_lab(time_scale=1000.0)
    lab.job(2, concurrency=2)
    run = lab.run()
    socket = Path(os.fsdecode((run.folder / "steering").read_bytes())) if until_steerable(run) else None
    assert run.end().code == 0
    assert socket is not None
    assert not socket.exists()
    assert not (run.folder / "steering").exists()
    with pytest.raises(FleetError, match="is not going on; see: fleet report"):
        run.ask(Verb.PAUSE)
    for command in ("pause", "cancel", "set --concurrency 3"):
        told = lab(*command.split(), run.folder.name, "--run-dir", run.base)
        assert (told.code, told.out, len(told.err.splitlines())) == (1, "", 1)


def until_steerable(run: Process) -> bool:
    until(lambda: (run.folder / "steering").exists())
    return True


# --- signals and pipes ---


@pytest.mark.row(50, 52)
def test_a_hangup_lets_them_come_home(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.job(4, concurrency=2)
    run = lab.run()
    until(lambda: some_are_away(lab))
    run.popen.send_signal(signal.SIGHUP)
    result = run.end()
    assert (result.code, result.json["reason"]) == (6, "SIGHUP received")
    assert lab.away() == set()


@pytest.mark.row(51)
def test_two_signals_stop_at_once_name_what_is_owed_and_resume_pays_it(make_lab: MakeLab) -> None:
    lab = make_lab(time_scale=20.0)
    lab.job(4, concurrency=2)
    run = lab.run()
    until(lambda: some_are_away(lab))
    run.popen.send_signal(signal.SIGTERM)
    until(lambda: run.ask(Verb.STATUS).ending == "SIGTERM received")
    run.popen.send_signal(signal.SIGTERM)
    result = run.end()
    owed = {debt["id"] for debt in result.json["debts"]}
    assert (result.code, len(owed)) == (7, 2)
    assert lab.away() <= owed
    resumed = lab("resume", run.folder.name, "--run-dir", run.base, "-o", "json")
    assert (resumed.code, resumed.counts) == (0, {"changed": 4})
    assert lab.away() == set()


@pytest.mark.row(52)
def test_a_run_whose_readers_are_gone_goes_on_to_its_end(make_lab: MakeLab) -> None:
    lab = make_lab()
    lab.job(4, concurrency=2)
    reader, writer = os.pipe()
    run = lab.run(stdout=writer, stderr=writer)
    os.close(writer)
    until(lambda: some_are_away(lab))
    os.close(reader)
    assert run.end().code == 0
    report = lab("report", run.folder.name, "--run-dir", run.base, "-o", "json")
    assert report.counts == {"changed": 4}


# --- claims ---


@pytest.mark.row(53)
def test_two_runs_share_no_notebook_until_one_of_them_is_dead(make_lab: MakeLab) -> None:
    """Each run has a run folder in a place of its own."""
    lab = make_lab()
    lab.job(4, concurrency=1)
    first = lab.run()
    until(lambda: bool(lab.away()))
    first.ask(Verb.PAUSE)
    until(lambda: not lab.away())
    home = len(lab.touched())
    assert home < 4

    second = lab.run().end()
    assert (second.code, second.counts) == (4, {"unchanged": home, "not-started": 4 - home})
    reasons = {row["reason"] for row in second.json["rows"] if row["outcome"] == "not-started"}
    assert reasons == {f"claimed by run {first.folder.name}"}

    first.popen.kill()
    first.end()
    third = lab.run()
    third.ask(Verb.PAUSE)
    resumed = lab("resume", first.folder.name, "--run-dir", first.base, "-o", "json")
    assert (resumed.code, resumed.counts) == (4, {"changed": home, "not-started": 4 - home})
    third.ask(Verb.RESUME)
    assert third.end().counts == {"unchanged": home, "changed": 4 - home}
    again = lab("resume", first.folder.name, "--run-dir", first.base, "-o", "json")
    assert (again.code, again.counts) == (0, {"changed": home, "unchanged": 4 - home})
    assert len(lab.writes("StopNotebook")) == 4
