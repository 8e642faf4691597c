"""The checked syntax tree of a CEL expression, read from the form in which the runtime serializes it.

That form is protobuf (cel.expr.CheckedExpr in an Any), of which a few fields are enough; so nothing here
parses CEL, and no protobuf library is needed. Neighbour: `expression`, which compiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the checked syntax tree: a variable, a text literal, a call, or only its parts."""

    offset: int
    variable: str = ""
    literal: str | None = None
    function: str = ""
    parts: tuple[Node, ...] = ()

    def walk(self) -> Iterator[Node]:
        """This node and everything below it."""
        yield self
        for part in self.parts:
            yield from part.walk()


# Field numbers of the messages CheckedExpr, SourceInfo, Expr and Constant.
_CHECKED_EXPR, _TREE, _SOURCE, _POSITIONS = 2, 4, 5, 4
_ID, _CONST, _IDENT, _CALL, _STRUCT, _LOOP = 2, 3, 4, 6, 8, 9
_CONST_STRING = 6
# Kinds of expressions, and where each holds further ones: select, call, list, struct, loop (comprehension).
_PARTS = {5: (1,), _CALL: (1, 3), 7: (1,), _STRUCT: (2,), _LOOP: (2, 4, 5, 6, 7)}
_ENTRY_PARTS = (3, 4)
_LOOP_NAMES, _LOOP_RANGE = (1, 3, 8), 2


def read_tree(serialized: bytes) -> Node:
    """The tree in what the runtime serialized. Raises RecursionError for one that is nested too deeply."""
    checked = list(_wire(_first(_wire(serialized), _CHECKED_EXPR)))
    spots = (dict(_wire(pair)) for pair in _all(_wire(_first(checked, _SOURCE)), _POSITIONS))
    offsets = {_number(spot.get(1, 0)): _number(spot.get(2, 0)) for spot in spots}
    return _node(_first(checked, _TREE), offsets, frozenset())


def _node(data: bytes, offsets: Mapping[int, int], local: frozenset[str]) -> Node:
    """The node in `data`; `local` are the names that a loop around it gives to its items."""
    content = dict(_wire(data))
    offset = offsets.get(_number(content.get(_ID, 0)), 0)
    for kind, value in content.items():
        if not isinstance(value, bytes):
            continue
        if kind == _IDENT:
            name = _first(_wire(value), 1).decode()
            return Node(offset, variable="" if name in local else name)
        if kind == _CONST:
            texts = _all(_wire(value), _CONST_STRING)
            return Node(offset, literal=texts[0].decode() if texts else None)
        if kind in _PARTS:
            inner = list(_wire(value))
            function = _first(inner, 2).decode() if kind == _CALL else ""
            return Node(offset, function=function, parts=tuple(_parts(kind, inner, offsets, local)))
    return Node(offset)


def _parts(
    kind: int, content: list[tuple[int, int | bytes]], offsets: Mapping[int, int], local: frozenset[str]
) -> Iterator[Node]:
    names = (
        {name.decode() for number in _LOOP_NAMES for name in _all(content, number)}
        if kind == _LOOP
        else set()
    )
    for number, value in content:
        if number not in _PARTS[kind] or not isinstance(value, bytes):
            continue
        if kind == _STRUCT:
            for entry_number, part in _wire(value):
                if entry_number in _ENTRY_PARTS and isinstance(part, bytes):
                    yield _node(part, offsets, local)
        else:
            yield _node(value, offsets, local if number == _LOOP_RANGE else local | names)


def _wire(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of one protobuf message: number, and a varint or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            number, at = _varint(data, at)
            yield key >> 3, number
        else:
            length, at = _varint(data, at) if key & 7 == 2 else (8 if key & 7 == 1 else 4, at)
            yield key >> 3, data[at : at + length]
            at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _all(content: Iterable[tuple[int, int | bytes]], wanted: int) -> list[bytes]:
    return [value for number, value in content if number == wanted and isinstance(value, bytes)]


def _first(content: Iterable[tuple[int, int | bytes]], wanted: int) -> bytes:
    found = _all(content, wanted)
    return found[0] if found else b""


def _number(value: int | bytes) -> int:
    return value if isinstance(value, int) else 0
