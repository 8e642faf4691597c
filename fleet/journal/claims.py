"""Claims: no two runs of one user on one machine work on the same notebook.

One small file for all runs, wherever their folders are. A claim is worth as much as the process behind it:
its run holds the lock of its folder (see `lock`), and whoever finds that lock free knows without any clock or
timeout that the owner is dead. Claims of dead runs are void at once, also those for notebooks that they
left stopped: a run that is resumed claims anew what it still has to do.

Several processes write here, therefore no WAL (see `sqlite`) but a rollback journal.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from fleet.journal.errors import JournalError
from fleet.journal.filesystem import network_mount
from fleet.journal.lock import is_locked

PATIENCE = 10.0  # s to wait for another run that is just claiming

Key = tuple[str, str]  # scope key (endpoint and project id) and notebook id

_TABLE = """
CREATE TABLE IF NOT EXISTS claim (
    scope TEXT NOT NULL, notebook TEXT NOT NULL, run TEXT NOT NULL, folder TEXT NOT NULL, since REAL NOT NULL,
    PRIMARY KEY (scope, notebook)
) WITHOUT ROWID
"""


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

    def take(self, keys: Iterable[Key], run: str, folder: Path, since: float) -> dict[Key, str]:
        """Claims each of `keys` that no other living run holds; returns the others with the run that does.

        `folder` is the run's own, whose lock the caller holds. `since` is wall time in seconds.
        """
        place, wanted = _place(folder), sorted(set(keys))
        try:
            with self._transaction():
                self._forget_the_dead(place)
                self._connection.executemany(
                    "INSERT INTO claim VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    ((scope, notebook, run, place, since) for scope, notebook in wanted),
                )
                others = self._connection.execute(
                    "SELECT scope, notebook, run FROM claim WHERE folder != ?", (place,)
                )
                held = {(scope, notebook): str(owner) for scope, notebook, owner in others}
        except sqlite3.Error as error:
            raise self._unusable(error) from None
        return {key: held[key] for key in wanted if key in held}

    def release(self, folder: Path) -> None:
        """Gives up everything that the run in `folder` holds."""
        try:
            with self._transaction():
                self._connection.execute("DELETE FROM claim WHERE folder = ?", (_place(folder),))
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def close(self) -> None:
        self._connection.close()

    def _forget_the_dead(self, ours: str) -> None:
        owners = self._connection.execute("SELECT DISTINCT folder FROM claim WHERE folder != ?", (ours,))
        dead = [(folder,) for (folder,) in owners.fetchall() if not is_locked(Path(folder))]
        self._connection.executemany("DELETE FROM claim WHERE folder = ?", dead)

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


def _place(folder: Path) -> str:
    return os.path.realpath(folder)
