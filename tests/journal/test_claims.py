"""Claims: each notebook has one run at most, and the dead hold what they owe, nothing else."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from fleet.journal import claims as module
from fleet.journal.claims import Claims, Key, Owed
from fleet.journal.errors import JournalBusy, JournalError
from fleet.journal.lock import RunLock, is_locked

SCOPE = "https://modelarts.example.com 00000000000000000000000000000000"


def keys(*numbers: int, scope: str = SCOPE) -> list[Key]:
    return [(scope, f"nb-{number:04}") for number in numbers]


def nothing(folder: Path, keys: Collection[Key]) -> Collection[Key]:
    """What a dead run owes that owes nothing."""
    return ()


class Owner:
    """A run that lives: its folder, its lock and its own connection to the claims."""

    def __init__(self, base: Path, run: str, file: Path) -> None:
        self.run = run
        self.folder = base / run
        self.folder.mkdir(parents=True)
        self.lock = RunLock(self.folder)
        self.claims = Claims(file)

    def take(self, wanted: list[Key], owed: Owed = nothing) -> dict[Key, str]:
        return self.claims.take(wanted, self.run, self.folder, 1000.0, owed)

    def end(self) -> None:
        self.claims.release(self.folder)
        self.die()

    def die(self) -> None:
        """Ends without a word, as a killed process does."""
        self.lock.release()


MakeOwner = Callable[..., Owner]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "claims.db"


@pytest.fixture
def owner(tmp_path: Path, file: Path) -> Iterator[MakeOwner]:
    with ExitStack() as stack:

        def make(run: str, runs: str = "runs") -> Owner:
            made = Owner(tmp_path / runs, run, file)
            stack.callback(made.claims.close)
            return made

        yield make


@pytest.mark.row(53)
def test_what_is_free_is_taken_and_what_is_held_is_named_with_its_run(owner: MakeOwner) -> None:
    first, second = owner("first"), owner("second")
    assert first.take(keys(1, 2)) == {}
    assert second.take(keys(2, 3)) == dict.fromkeys(keys(2), "first")
    assert first.take(keys(3)) == dict.fromkeys(keys(3), "second")


def test_runs_in_different_places_see_each_other(owner: MakeOwner) -> None:
    first, second = owner("same-name", "here"), owner("same-name", "there")
    assert first.take(keys(1)) == {}
    assert second.take(keys(1)) == dict.fromkeys(keys(1), "same-name")


def test_the_same_id_in_another_scope_is_another_notebook(owner: MakeOwner) -> None:
    first, second = owner("first"), owner("second")
    assert first.take(keys(1)) == {}
    assert second.take(keys(1, scope="https://elsewhere.example.com 0")) == {}


def test_a_run_may_claim_again_what_it_holds(owner: MakeOwner) -> None:
    only = owner("only")
    assert only.take(keys(1)) == {}
    assert only.take(keys(1, 2)) == {}


def test_what_is_released_is_free_and_what_others_hold_stays(owner: MakeOwner) -> None:
    first, second, third = owner("first"), owner("second"), owner("third")
    first.take(keys(1))
    second.take(keys(2))
    first.end()
    assert third.take(keys(1, 2)) == dict.fromkeys(keys(2), "second")


def test_the_claims_of_a_run_that_died_are_void_at_once(owner: MakeOwner) -> None:
    first, second = owner("first"), owner("second")
    first.take(keys(1, 2))
    first.die()
    assert second.take(keys(1)) == {}
    assert second.take(keys(2)) == {}


def test_a_run_that_comes_back_finds_held_what_was_taken_over(owner: MakeOwner) -> None:
    first, second = owner("first"), owner("second")
    first.take(keys(1, 2))
    first.die()
    second.take(keys(1))
    first.lock = RunLock(first.folder)
    assert first.take(keys(1, 2)) == dict.fromkeys(keys(1), "second")


def owing(*owed: Key) -> Owed:
    """What a dead run owes that owes these."""
    return lambda folder, keys: [key for key in keys if key in owed]


def test_what_a_dead_run_owes_stays_its_own_and_the_rest_is_void(owner: MakeOwner) -> None:
    first, second, third = owner("first"), owner("second"), owner("third")
    first.take(keys(1, 2, 3))
    first.die()
    owed = owing(*keys(2, 3))
    assert second.take(keys(1, 2), owed) == dict.fromkeys(keys(2), "first")
    assert third.take(keys(1, 3), owed) == {
        **dict.fromkeys(keys(1), "second"),
        **dict.fromkeys(keys(3), "first"),
    }


def test_what_is_no_longer_owed_is_free_at_the_next_claim(owner: MakeOwner) -> None:
    first, second = owner("first"), owner("second")
    first.take(keys(1))
    first.die()
    assert second.take(keys(1), owing(*keys(1))) == dict.fromkeys(keys(1), "first")
    assert second.take(keys(1)) == {}


def test_only_the_dead_that_stand_in_the_way_are_asked_what_they_owe(owner: MakeOwner) -> None:
    living, dead, far, asking = (owner(name) for name in ("living", "dead", "far", "asking"))
    living.take(keys(1))
    dead.take(keys(2, 3))
    far.take(keys(4))
    dead.die()
    far.die()
    asked: list[tuple[str, list[Key]]] = []

    def owed(folder: Path, claimed: Collection[Key]) -> Collection[Key]:
        asked.append((folder.name, sorted(claimed)))
        return claimed

    assert asking.take(keys(1, 2, 5), owed) == {keys(1)[0]: "living", keys(2)[0]: "dead"}
    assert asked == [("dead", keys(2, 3))]


def test_others_may_claim_while_a_dead_run_is_asked(owner: MakeOwner) -> None:
    dead, slow, quick = owner("dead"), owner("slow"), owner("quick")
    dead.take(keys(1, 2))
    dead.die()

    def owed(folder: Path, claimed: Collection[Key]) -> Collection[Key]:
        assert quick.take(keys(2)) == {}
        return ()

    assert slow.take(keys(1, 2), owed) == dict.fromkeys(keys(2), "quick")


def test_a_dead_run_that_is_taken_up_while_it_is_asked_keeps_all_its_claims(owner: MakeOwner) -> None:
    first, second = owner("first"), owner("second")
    first.take(keys(1, 2))
    first.die()

    def owed(folder: Path, claimed: Collection[Key]) -> Collection[Key]:
        first.lock = RunLock(folder)
        return ()

    assert second.take(keys(1, 2, 3), owed) == dict.fromkeys(keys(1, 2), "first")
    assert first.take(keys(1, 2, 3)) == dict.fromkeys(keys(3), "second")


def test_a_run_that_ends_owing_keeps_what_it_owes_until_it_has_paid(owner: MakeOwner) -> None:
    first, second = owner("first"), owner("second")
    first.take(keys(1, 2))
    first.claims.release(first.folder, keys(2))
    first.die()
    everything = owing(*keys(1, 2))
    assert second.take(keys(1, 2), everything) == dict.fromkeys(keys(2), "first")
    first.lock = RunLock(first.folder)
    assert first.take(keys(2)) == {}
    first.end()
    assert second.take(keys(2), everything) == {}


def test_a_run_whose_folder_was_deleted_holds_nothing(owner: MakeOwner) -> None:
    first, second = owner("first"), owner("second")
    first.take(keys(1))
    first.die()
    (first.folder / "lock").unlink()
    first.folder.rmdir()
    assert second.take(keys(1)) == {}


# A claim is synced; how fast a disk does that a thousand times is not what is tested.
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a private folder in it


@pytest.fixture
def quick_file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        yield Path(folder) / "claims.db"


@pytest.mark.row(53)
def test_of_a_thousand_races_each_has_one_winner_who_keeps_the_other_out(
    owner: MakeOwner, quick_file: Path
) -> None:
    runners = [owner("first"), owner("second")]
    lost: dict[str, list[Key]] = {runner.run: [] for runner in runners}
    barrier = threading.Barrier(2)

    def race(runner: Owner) -> None:
        with closing(Claims(quick_file)) as runner_claims:
            barrier.wait()
            for number in range(1000):
                wanted = keys(number)
                if runner_claims.take(wanted, runner.run, runner.folder, 1.0, nothing):
                    lost[runner.run] += wanted

    threads = [threading.Thread(target=race, args=(runner,)) for runner in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(lost["first"] + lost["second"]) == keys(*range(1000))
    with closing(sqlite3.connect(quick_file)) as connection:
        holders = dict(connection.execute("SELECT notebook, run FROM claim"))
    other = {"first": "second", "second": "first"}
    assert all(holders[notebook] == other[run] for run in lost for _, notebook in lost[run])


HOLDER = """
import sys, time
from pathlib import Path
from fleet.journal.claims import Claims
from fleet.journal.lock import RunLock

file, folder = Path(sys.argv[1]), Path(sys.argv[2])
folder.mkdir()
lock = RunLock(folder)
claims = Claims(file)
claims.take([("s", f"nb-{number:04}") for number in range(500)], folder.name, folder, 1.0, None)
if sys.argv[3] == "within":  # killed in the middle of a transaction
    claims._connection.execute("BEGIN IMMEDIATE")
    claims._connection.execute("DELETE FROM claim")
    claims._connection.execute("PRAGMA cache_size=1")
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("moment", ["after", "within"])
def test_a_kill_frees_at_once_and_leaves_a_sound_file(
    owner: MakeOwner, tmp_path: Path, file: Path, moment: str
) -> None:
    file.parent.mkdir()
    words = [sys.executable, "-c", HOLDER, str(file), str(tmp_path / "killed"), moment]
    second = owner("second")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        if moment == "after":
            assert second.take([("s", "nb-0007")]) == {("s", "nb-0007"): "killed"}
        process.kill()
    assert second.take([("s", f"nb-{number:04}") for number in range(500)]) == {}
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


@pytest.mark.security("modes")
def test_nobody_else_may_read_the_claims(owner: MakeOwner, file: Path) -> None:
    before = os.umask(0)
    try:
        owner("first").take(keys(1))
    finally:
        os.umask(before)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.row(46)
def test_a_network_file_system_is_refused_with_advice(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "network_mount", lambda _: "nfs4")
    with pytest.raises(JournalError, match=r"claims\.db: is on nfs4; .* set XDG_STATE_HOME"):
        Claims(file)
    assert not file.exists()


@pytest.mark.security("modes")
def test_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    file.parent.mkdir()
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match=r"claims\.db: "):
        Claims(file)
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_that_is_no_database_is_one_clear_line(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("not a database at all, but long enough to be looked at as one " * 20)
    with pytest.raises(JournalError, match="cannot be used: file is not a database; nothing was changed"):
        Claims(file)


def test_who_asks_whether_a_run_lives_keeps_nobody_from_taking_it_up(tmp_path: Path) -> None:
    RunLock(tmp_path).release()
    asking = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)  # as `is_locked` does for a moment
    assert is_locked(tmp_path) is False
    timer = threading.Timer(0.05, os.close, [asking])
    timer.start()
    lock = RunLock(tmp_path)
    timer.join()
    assert is_locked(tmp_path) is True
    with pytest.raises(JournalBusy):
        RunLock(tmp_path)
    lock.release()
