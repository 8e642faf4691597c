"""Claims: no two runs of one user on one machine work on the same notebook.

One small file for all runs, wherever their folders are. The run behind a claim holds the lock of its folder
(see `lock`), and whoever finds that lock free knows without any clock or timeout that nobody works on it. Of
such a run only the claims on notebooks that it owes still count, until it is resumed or somebody has brought
them back; the others are void.

Several processes write here, therefore no WAL (see `sqlite`) but a rollback journal.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from fleet.journal.errors import JournalError
from fleet.journal.filesystem import network_mount
from fleet.journal.lock import is_locked

PATIENCE = 10.0  # s to wait for another run that is just claiming

Key = tuple[str, str]  # scope key (endpoint and project id) and notebook id

# Which of these notebooks the run in that folder owes, as nobody works on it.
Owed = Callable[[Path, Collection[Key]], Collection[Key]]

_TABLE = """
CREATE TABLE IF NOT EXISTS claim (
    scope TEXT NOT NULL, notebook TEXT NOT NULL, run TEXT NOT NULL, folder TEXT NOT NULL, since REAL NOT NULL,
    PRIMARY KEY (scope, notebook)
) WITHOUT ROWID
"""

_CLAIM = "SELECT scope, notebook, run, folder FROM claim"


class Claims:
    """The claims file at `path`, made when it is missing. One thread at a time.

    Every method raises JournalError when the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            kind = network_mount(path.parent)
            if kind is None:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
        except OSError as error:
            raise JournalError(
                f"{path}: {error.strerror}; runs keep their claims there, or below XDG_STATE_HOME"
            ) from None
        if kind is not None:
            raise JournalError(
                f"{path}: is on {kind}; claims need a local disk, set XDG_STATE_HOME to a folder on one"
            )
        try:
            self._connection = sqlite3.connect(
                path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._unusable(error) from None
        try:
            for statement in ("PRAGMA journal_mode=DELETE", "PRAGMA synchronous=FULL", _TABLE):
                self._connection.execute(statement)
        except sqlite3.Error as error:
            self._connection.close()
            raise self._unusable(error) from None

    def take(self, keys: Iterable[Key], run: str, folder: Path, since: float, owed: Owed) -> dict[Key, str]:
        """Claims each of `keys` that no other run holds; returns the others with the run that does.

        A run holds what it claims as long as it lives, and then what it owes, which `owed` tells. `folder` is
        the run's own, whose lock the caller holds. `since` is wall time in seconds.
        """
        place, wanted = _place(folder), sorted(set(keys))
        kept: dict[str, Collection[Key]] = {}  # by folder, of the dead
        try:
            while True:
                with self._transaction():
                    others = self._others(place)
                    owners = {others[key][1] for key in wanted if key in others}
                    dead = {owner for owner in owners if not is_locked(Path(owner))}
                    if dead <= kept.keys():
                        void = {
                            key
                            for key, (_, owner) in others.items()
                            if owner in dead and key not in kept[owner]
                        }
                        self._give(wanted, void, (run, place, since))
                        return {key: others[key][0] for key in wanted if key in others.keys() - void}
                for owner in dead - kept.keys():  # outside, for a long journal takes a while to read
                    claimed = [key for key, (_, holder) in others.items() if holder == owner]
                    kept[owner] = frozenset(owed(Path(owner), claimed))
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def release(self, folder: Path, owed: Collection[Key] = ()) -> None:
        """Gives up everything that the run in `folder` holds, but what it owes."""
        place = _place(folder)
        try:
            with self._transaction():
                held = self._connection.execute(
                    "SELECT scope, notebook FROM claim WHERE folder = ?", (place,)
                ).fetchall()
                self._connection.executemany(
                    "DELETE FROM claim WHERE scope = ? AND notebook = ?",
                    [key for key in held if key not in owed],
                )
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def close(self) -> None:
        self._connection.close()

    def _others(self, ours: str) -> dict[Key, tuple[str, str]]:
        """What other runs claim, with the run and its folder."""
        rows = self._connection.execute(f"{_CLAIM} WHERE folder != ?", (ours,))
        return {(scope, notebook): (run, folder) for scope, notebook, run, folder in rows}

    def _give(self, wanted: Iterable[Key], void: Iterable[Key], to: tuple[str, str, float]) -> None:
        self._connection.executemany("DELETE FROM claim WHERE scope = ? AND notebook = ?", void)
        self._connection.executemany(
            "INSERT INTO claim VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            ((*key, *to) for key in wanted),
        )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _unusable(self, error: sqlite3.Error) -> JournalError:
        return JournalError(
            f"{self._path}: cannot be used: {error}; nothing was changed. "
            "Free some space, or delete the file while no run is going on"
        )


def holder(path: Path, key: Key) -> Path | None:
    """The folder of the living run that claims the notebook in the claims file at `path`.

    Makes no file, claims nothing. Raises JournalError when the file cannot be read.
    """
    found = _read(path, f"{_CLAIM} WHERE scope = ? AND notebook = ?", *key)
    folders = (Path(folder) for _, _, _, folder in found)
    return next(filter(is_locked, folders), None)


def left_behind(path: Path, keys: Collection[Key]) -> dict[Path, list[Key]]:
    """What runs that nobody works on still claim of `keys`, by their folder. As `holder` otherwise."""
    found: dict[Path, list[Key]] = {}
    for scope, notebook, _, folder in _read(path, _CLAIM):
        if (scope, notebook) in keys:
            found.setdefault(Path(folder), []).append((scope, notebook))
    return {folder: claimed for folder, claimed in found.items() if not is_locked(folder)}


def _read(path: Path, query: str, *values: str) -> list[tuple[str, str, str, str]]:
    if not path.exists():
        return []
    address = f"{path.absolute().as_uri()}?mode=rw"  # what a killed process left half-written is rolled back
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=PATIENCE)) as connection:
            made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'claim'").fetchone()
            return connection.execute(query, values).fetchall() if made else []
    except sqlite3.Error as error:
        raise JournalError(
            f"{path}: cannot be read: {error}; mend it, or delete it while no run goes on"
        ) from None


def _place(folder: Path) -> str:
    return os.path.realpath(folder)
