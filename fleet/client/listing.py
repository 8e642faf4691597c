"""One pass over a paged listing, without I/O: where the next page begins, and when the pass is complete.

Pages go by record offset and rows can move between them while we read, so nothing is trusted: the end must be
where the total says, every page must bring something new, and there is a last page for every pass. Whether
two passes agree is for the planner to judge.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet.client.rows import Page
from fleet.core.errors import CallError, Meaning

_SPARE_PAGES = 20
_MOST_PAGES = 20_000  # a million notebooks


@dataclass(slots=True)
class Pass:
    """The state of one pass. `what` names the listing for a person."""

    what: str
    page_size: int
    offset: int = 0
    pages: int = 0
    done: bool = False
    seen: set[str] = field(default_factory=set)

    def take(self, page: Page) -> None:
        """Takes in one page. Raises CallError (ODD) for a listing that cannot be complete or never ends."""
        self._check_new(page)
        self.pages += 1
        self.offset += len(page.rows)
        if page.total is None:
            self.done = len(page.rows) < self.page_size
        else:
            self.done = self.offset >= page.total
        if not self.done:
            self._check_end(page)

    def _check_new(self, page: Page) -> None:
        known = len(self.seen)
        self.seen.update(
            row["id"] for row in page.rows if isinstance(row, dict) and isinstance(row.get("id"), str)
        )
        if page.rows and len(self.seen) == known:
            raise self._odd(f"repeats itself after {self.offset} rows; list again")

    def _check_end(self, page: Page) -> None:
        if not page.rows:
            raise self._odd(f"ended after {self.offset} of {page.total} rows; list again")
        if self.pages >= self._most_pages(page):
            raise self._odd(f"did not end within {self.pages} pages; list again, or narrow the selection")

    def _most_pages(self, page: Page) -> int:
        if page.total is None:
            return _MOST_PAGES
        return min(_MOST_PAGES, 2 * (page.total // self.page_size) + _SPARE_PAGES)

    def _odd(self, what: str) -> CallError:
        return CallError(Meaning.ODD, f"the list of {self.what} {what}")
