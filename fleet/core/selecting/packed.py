"""Notebooks laid aside in about a tenth of the memory, to be looked at once more and one after the other.

Neighbour: `selection`, which compares a pass over a fleet with the one before it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from fleet.core.notebook import Notebook

_PART = 256  # notebooks that are packed together: more hardly lie closer
_FAST = 1  # level of compression; a higher one costs more than it gains

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Notebook])


class Packed(Iterable[Notebook]):
    """The same notebooks in the same order, unpacked anew for whoever asks."""

    def __init__(self, rows: Iterable[Notebook]) -> None:
        left = iter(rows)
        parts = iter(lambda: list(islice(left, _PART)), [])
        self._parts = [zlib.compress(_ENCODER.encode(part), _FAST) for part in parts]

    def __iter__(self) -> Iterator[Notebook]:
        for part in self._parts:
            yield from _DECODER.decode(zlib.decompress(part))
