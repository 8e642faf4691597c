"""Each central guard is taken out of a private copy of the package: the test that proves it must then fail.

A test that passes with its guard removed proves nothing. The same tests pass on a copy as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.timeout(240), pytest.mark.processes]

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Guard:
    """What a guard says, once in the package; what stands there without it; the test that must notice."""

    text: str
    without: str
    test: str


GUARDS: Mapping[str, Guard] = {
    "a whitelist is never empty": Guard(
        "    if not listed:\n",
        "    if False:\n",
        "client/test_operations.py::test_a_put_never_opens_a_notebook_to_the_world",
    ),
    "a look before a write is sent again": Guard(
        "doubt=True, stage=_SETTLE[event.step])",
        "doubt=True, stage=Stage.READY)",
        "core/changing/test_change.py::test_a_write_whose_fate_is_open_is_looked_at_before_anything_else",
    ),
    "a stop makes a debt": Guard(
        "owed=life.debt, debt=True, frozen=frozen)",
        "owed=life.debt, debt=False, frozen=frozen)",
        "core/test_fold.py::test_a_stop_that_nobody_answered_is_a_debt",
    ),
    "a look before a write is sent again by a later process": Guard(
        "return life._replace(stage=settling, tries=tries,",
        "return life._replace(stage=Stage.READY, tries=tries,",
        "engine/test_taken_up.py::test_what_another_run_finished_meanwhile_is_as_planned_and_left_alone",
    ),
    "a debt is paid by a look that shows it running and by nothing else": Guard(
        "if status is Status.RUNNING and life.stage not in _MAY_STILL_STOP:",
        "if life.stage not in _MAY_STILL_STOP:",
        "core/changing/test_looks.py::test_what_we_stopped_is_owed_whoever_passes_by_until_it_runs",
    ),
    "a start that did not last is a debt again": Guard(
        "if status in _FALLEN and life.restarted and life.change.run_state is Status.RUNNING:",
        "if False:",
        "core/changing/test_looks.py::test_a_start_that_did_not_last_is_a_debt_again",
    ),
    "debts are paid first by a later process": Guard(
        "for part in (debts, others):",
        "for part in (others, debts):",
        "engine/test_debts_first.py::test_a_new_process_pays_every_debt_before_it_stops_a_notebook_again",
    ),
    "the claims of a run that lives hold": Guard(
        "dead = {owner for owner in owners if not is_locked(Path(owner))}",
        "dead = owners",
        "journal/test_claims.py::test_what_is_free_is_taken_and_what_is_held_is_named_with_its_run",
    ),
    "the claims of a dead run on what it owes hold": Guard(
        "if owner in dead and key not in kept[owner]",
        "if owner in dead",
        "journal/test_claims.py::test_what_a_dead_run_owes_stays_its_own_and_the_rest_is_void",
    ),
    "what another run claims is left alone": Guard(
        "if change.item not in self._claimed and not _has_begun(",
        "if not _has_begun(",
        "steering/test_control.py::test_what_another_run_holds_is_left_alone_and_the_run_says_so",
    ),
    "a pause holds before the first write": Guard(
        "if control.end is None and not control.paused:",
        "if control.end is None:",
        "steering/test_control.py::test_a_pause_keeps_back_those_that_wait_and_those_whose_turn_is_about_to_come",
    ),
    "nothing is written over what somebody changed since the plan": Guard(
        "if not already and differs(change.before, sight):",
        "if False:",
        "engine/test_perform.py::test_what_a_person_did_before_the_fence_is_never_overwritten",
    ),
    "the budget of failures counts what is under way": Guard(
        "self.failures + self.in_flight <",
        "self.failures <",
        "core/test_rollout.py::test_three_failures_allowed_means_never_four_even_if_all_under_way_fail",
    ),
    "the budget of notebooks away is kept": Guard(
        "            if self._taken[key] >= self._limits[key]:\n",
        "            if False:\n",
        "scenarios/test_budgets.py::test_two_notebooks_of_one_owner_are_never_away_at_once",
    ),
    "a write is sent once": Guard(
        "        if self._ticket.sent:\n",
        "        if False:\n",
        "client/test_transport.py::test_a_kept_connection_that_dies_after_the_request_gets_no_second_one",
    ),
    "a write leaves while its look is fresh": Guard(
        "LATEST = 5.0  # seconds",
        "LATEST = 5e9  # seconds",
        "engine/test_late_sends.py::test_a_write_whose_intent_took_too_long_to_reach_the_disk_is_not_sent"
        "_but_looked_at_again",
    ),
    "an intent is on disk before its write": Guard(
        "await self._here.tape.commit(intent)",
        "self._here.tape.note(intent)",
        "engine/test_perform.py::test_a_write_waits_for_its_turn_its_fence_look_and_its_intent_on_disk",
    ),
}


def copied(folder: Path, guard: Guard | None = None) -> Path:
    """A copy of the package in the folder, without the guard."""
    package = folder / "fleet"
    shutil.copytree(ROOT / "fleet", package, ignore=shutil.ignore_patterns("__pycache__"))
    if guard is not None:
        texts = {file: file.read_text() for file in package.rglob("*.py")}
        times = sum(text.count(guard.text) for text in texts.values())
        assert times == 1, f"stands {times} times in the package: {guard.text}"
        file = next(file for file, text in texts.items() if guard.text in text)
        file.write_text(texts[file].replace(guard.text, guard.without))
    return package


def run(package: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Runs tests of this suite on the package in another folder."""
    words = ("-n0", "-q", "-x", "-p", "no:cacheprovider", "-o", f"pythonpath={package.parent} {ROOT}")
    places = (str(ROOT / "tests" / test) for test in tests)
    return subprocess.run(
        [sys.executable, "-P", "-m", "pytest", *words, *places],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(package.parent),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(package.parent),
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_with_every_guard_in_place_their_tests_pass(tmp_path: Path) -> None:
    done = run(copied(tmp_path), *(guard.test for guard in GUARDS.values()))
    assert done.returncode == pytest.ExitCode.OK, done.stdout


@pytest.mark.parametrize("name", GUARDS)
def test_without_a_guard_its_test_fails(tmp_path: Path, name: str) -> None:
    done = run(copied(tmp_path, GUARDS[name]), GUARDS[name].test)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert f"FAILED {Path('tests') / GUARDS[name].test}" in done.stdout
