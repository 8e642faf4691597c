"""What every source of usage offers, and what is asked of one: usage over weeks, idleness just now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import replace
from itertools import islice
from typing import Protocol

from fleet.core.errors import CallError, Meaning, UsageError
from fleet.core.scheduling.readiness import moment
from fleet.core.text import clean
from fleet.core.usage import IDLE_BELOW, Book, Resource, Usage, UsageWanted, Use, use_of

LATE = 900.0  # s; AOM's data appears up to ten minutes late


class Source(Protocol):
    """Usage of notebooks that is kept somewhere, at `name` for people.

    `step` is the interval between two samples in seconds, `at_once` how many notebooks to ask for in one
    reading; None is for a source that is read from end to end each time.
    """

    @property
    def name(self) -> str: ...

    @property
    def step(self) -> float: ...

    @property
    def at_once(self) -> int | None: ...

    async def read(self, resources: Collection[Resource], book: Book) -> None:
        """Puts the samples of the book's notebooks into the book.

        Raises CallError when the source does not answer, UsageError when it is no such source.
        """
        ...


async def usages(
    source: Source, wanted: UsageWanted, since: Mapping[str, float], now: float
) -> dict[str, Usage]:
    """The usage of notebooks, of each from the wall second on that `since` says; `now` is wall seconds."""
    return {
        id: usage
        async for book in _books(source, wanted.resources, since, wanted.window, now)
        for id, usage in book.usages(wanted.percentile)
    }


async def _books(
    source: Source, resources: Collection[Resource], since: Mapping[str, float], window: float, now: float
) -> AsyncIterator[Book]:
    """The samples of as many notebooks at once as the source answers for."""
    left = iter(since.items())
    while group := dict(islice(left, source.at_once)):
        book = Book(group, window=window, until=now, step=source.step)
        await source.read(resources, book)
        yield book


class Idleness:
    """Whether notebooks have been idle for the last `minutes`, by thresholds on what was measured.

    `needs` says what must have data of all that time before a notebook counts as idle (see `proves_idle`);
    `wall` tells wall seconds.
    """

    def __init__(
        self,
        source: Source,
        needs: Mapping[str, Collection[Resource]],
        wall: Callable[[], float],
        *,
        minutes: float,
        below: Mapping[Resource, float] = IDLE_BELOW,
    ) -> None:
        self._source = source
        self._needs = needs
        self._wall = wall
        self._seconds = minutes * 60.0
        self._below = below
        self._dark_since: dict[str, float] = {}

    async def use(self, ids: Collection[str]) -> dict[str, Use]:
        """Who is idle, who is busy and by what, and of whom the data cannot tell.

        Raises CallError when the source does not answer, or is a file that cannot be read any more.
        """
        now = self._wall()
        late = LATE + self._source.step
        since, window = dict.fromkeys(ids, 0.0), self._seconds + late
        try:
            found = {
                id: usage
                async for book in _books(self._source, tuple(self._below), since, window, now)
                for id, usage in book.latest(self._seconds)
            }
        except UsageError as error:  # it was right when the run began
            raise CallError(Meaning.ODD, clean(str(error))) from None
        return {
            id: self._told(id, use_of(usage, self._needs.get(id, ()), self._seconds, now - late, self._below))
            for id, usage in found.items()
        }

    def _told(self, notebook: str, use: Use) -> Use:
        """The same, with the source and since when of what the data cannot tell."""
        if use.idle is not None:
            self._dark_since.pop(notebook, None)
            return use
        known = use.since is not None
        since = self._dark_since.setdefault(notebook, use.since or self._wall() - self._seconds)
        when = f"since {moment(since)}{'' if known else ' or longer'}"
        return replace(use, why=f"{use.why} from {self._source.name} {when}", since=since)
