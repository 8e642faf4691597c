"""Rows of text in columns, for people."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from rich.cells import cell_len

from fleet.core.text import clean

LONGEST = 1000  # characters of a cell
GAP = "  "


def aligned(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Collection[str] = (),
    paint: Mapping[str, Callable[[str], str]] | None = None,
) -> list[str]:
    """A line for the columns and one for each row, as wide as it takes: nothing is folded or cut.

    Cells are cleaned. The columns named by `right` end in a line, all others begin in one. `paint` gives the
    cells of a column their color, which takes no room.
    """
    cells = [list(columns), *([clean(cell, LONGEST) for cell in row] for row in rows)]
    sizes = [[cell_len(cell) for cell in row] for row in cells]
    for name, colored in (paint or {}).items():
        for row in cells[1:]:
            row[columns.index(name)] = colored(row[columns.index(name)])
    widths = [max(column) for column in zip(*sizes, strict=True)]
    ends = [column in right for column in columns]
    return [
        GAP.join(_padded(row, [most - size for most, size in zip(widths, taken, strict=True)], ends)).rstrip()
        for row, taken in zip(cells, sizes, strict=True)
    ]


def _padded(row: Sequence[str], blanks: Sequence[int], ends: Sequence[bool]) -> Iterator[str]:
    for cell, blank, right in zip(row, blanks, ends, strict=True):
        yield f"{' ' * blank}{cell}" if right else f"{cell}{' ' * blank}"
