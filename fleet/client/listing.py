"""One pass over a paged listing, without I/O: where the next page begins, and when the pass is complete.

Pages go by record offset and rows can move between them while we read, so nothing is trusted: the end must be
where the total says, every page must bring something new, and there is a last page for every pass. Whether
two passes agree is for the planner to judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fleet.client.rows import Page
from fleet.core.errors import CallError, Meaning

_SPARE_PAGES = 20
_MOST_PAGES = 20_000  # a million notebooks


class BrokenPass(CallError):
    """A pass with a hole in it: nothing of it counts, but the next one may be whole."""

    def __init__(self, text: str) -> None:
        super().__init__(Meaning.ODD, text)


OnPage = Callable[[int, int | None], None]  # which page was read, and of how many, if the cloud says so


def unwatched(_page: int, _pages: int | None) -> None:
    """For listings whose progress nobody watches."""


@dataclass(slots=True)
class Pass:
    """The state of one pass. `what` names the listing for a person, `on_page` is told of every page."""

    what: str
    page_size: int
    on_page: OnPage = unwatched
    offset: int = 0
    pages: int = 0
    done: bool = False
    seen: set[str] = field(default_factory=set)

    def take(self, page: Page) -> None:
        """Takes in one page.

        Raises BrokenPass for a page that leaves a hole, CallError (ODD) for a listing that never ends.
        """
        self._check_new(page)
        self.pages += 1
        self.offset += len(page.rows)
        if page.total is None:
            self.done = len(page.rows) < self.page_size
        else:
            self.done = self.offset >= page.total
        if not self.done:
            self._check_end(page)
        self.on_page(self.pages, None if page.total is None else max(1, -(-page.total // self.page_size)))

    def _check_new(self, page: Page) -> None:
        known = len(self.seen)
        self.seen.update(page.ids())
        if page.rows and len(self.seen) == known:
            raise BrokenPass(f"{self._name} repeats itself after {self.offset} rows; list again")

    def _check_end(self, page: Page) -> None:
        if not page.rows:
            raise BrokenPass(f"{self._name} ended after {self.offset} of {page.total} rows; list again")
        if self.pages >= self._most_pages(page):
            raise CallError(
                Meaning.ODD,
                f"{self._name} did not end within {self.pages} pages; list again, or narrow the selection",
            )

    def _most_pages(self, page: Page) -> int:
        if page.total is None:
            return _MOST_PAGES
        return min(_MOST_PAGES, 2 * (page.total // self.page_size) + _SPARE_PAGES)

    @property
    def _name(self) -> str:
        return f"the list of {self.what}"
