"""Each central guard is taken out of a private copy of the package: the test that proves it must then fail.

A test that passes with its guard removed proves nothing. The same tests pass on a copy as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Guard:
    """Where a guard stands, the text without it, and the test that must notice."""

    file: str
    text: str
    without: str
    test: str


GUARDS: Mapping[str, Guard] = {
    "a whitelist is never empty": Guard(
        "core/patch.py",
        "    if not listed:\n",
        "    if False:\n",
        "client/test_operations.py::test_a_put_never_opens_a_notebook_to_the_world",
    ),
    "a look before a write is sent again": Guard(
        "core/change.py",
        "doubt=True, stage=_SETTLE[event.step])",
        "doubt=True, stage=Stage.READY)",
        "core/test_change.py::test_a_write_whose_fate_is_open_is_looked_at_before_anything_else",
    ),
    "a stop makes a debt": Guard(
        "core/change.py",
        "owed=life.debt, debt=True, frozen=frozen)",
        "owed=life.debt, debt=False, frozen=frozen)",
        "core/test_fold.py::test_a_stop_that_nobody_answered_is_a_debt",
    ),
    "nothing is written over what somebody changed since the plan": Guard(
        "core/looks.py",
        "    if _off(change.before, sight):\n        return over(",
        "    if False:\n        return over(",
        "engine/test_perform.py::test_what_a_person_did_before_the_fence_is_never_overwritten",
    ),
    "the budget of failures counts what is under way": Guard(
        "core/rollout.py",
        "self.failures + self.in_flight <",
        "self.failures <",
        "core/test_rollout.py::test_three_failures_allowed_means_never_four_even_if_all_under_way_fail",
    ),
    "a write is sent once": Guard(
        "client/transport.py",
        "        if self.sent:\n",
        "        if False:\n",
        "client/test_transport.py::test_a_kept_connection_that_dies_after_the_request_gets_no_second_one",
    ),
    "an intent is on disk before its write": Guard(
        "engine/perform.py",
        "await self._site.tape.commit(intent)",
        "self._site.tape.note(intent)",
        "engine/test_perform.py::test_a_write_waits_for_its_turn_its_fence_look_and_its_intent_on_disk",
    ),
}


def run(package: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Runs tests of this suite on the package in another folder."""
    options = ("-n0", "-q", "-x", "-p", "no:cacheprovider", "-o", f"pythonpath={package.parent}")
    return subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "pytest",
            "-n0",
            *options,
            *(str(ROOT / "tests" / test) for test in tests),
        ],
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


Runs = Mapping[str, Future[subprocess.CompletedProcess[str]]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs of every guard's test on a copy without it, and of all of them on a copy as it is ("")."""

    def start(guard: Guard | None) -> Future[subprocess.CompletedProcess[str]]:
        package = tmp_path_factory.mktemp("copy") / "fleet"
        shutil.copytree(ROOT / "fleet", package)
        if guard is None:
            return pool.submit(run, package, *(one.test for one in GUARDS.values()))
        file = package / guard.file
        text = file.read_text()
        assert text.count(guard.text) == 1, f"{guard.file} no longer has once: {guard.text}"
        file.write_text(text.replace(guard.text, guard.without))
        return pool.submit(run, package, guard.test)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {"": start(None), **{name: start(guard) for name, guard in GUARDS.items()}}


def test_with_every_guard_in_place_their_tests_pass(runs: Runs) -> None:
    done = runs[""].result()
    assert done.returncode == pytest.ExitCode.OK, done.stdout


@pytest.mark.parametrize("name", GUARDS)
def test_without_a_guard_its_test_fails(runs: Runs, name: str) -> None:
    done = runs[name].result()
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert f"FAILED {Path('tests') / GUARDS[name].test}" in done.stdout
