"""YAML as job files use it: plain data with the line of every key, and nothing that surprises.

No tags, anchors, aliases, duplicate or empty keys. Plain words mean what they look like: `no`, `on` and
12:30:45 are text, only true and false are yes and no. Neighbour: `jobfile`, which gives the data its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from fleet.core.errors import UsageError
from fleet.core.text import clean

LARGEST = 1 << 20  # characters
DEEPEST = 20

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says: plain data, and the line (from 1) of every key and list item by its path."""

    where: str
    data: dict[str, Any]
    lines: dict[Path, int]

    def complaint(self, path: Path, problem: str) -> UsageError:
        """The error for the value at `path`: file, line, dotted name, problem."""
        known = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), 0)
        line = f":{known}" if known else ""
        name = "".join(f"[{part}]" if isinstance(part, int) else f".{clean(part)}" for part in path)
        return UsageError(f"{self.where}{line}: {name.removeprefix('.') + ': ' if name else ''}{problem}")


class _Loader(yaml.SafeLoader):
    """Builds the node tree only; refuses what a job file has no use for while it reads."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # untyped in the stubs
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refused("anchors and aliases are not allowed; write the value out", event.start_mark)
        if getattr(event, "tag", None):
            raise _refused("tags (!name) are not allowed", event.start_mark)
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {}  # none of YAML 1.1's
for _kind, _pattern, _starts in (
    ("bool", r"(?:true|false)\Z", "tf"),
    ("int", r"-?(?:0|[1-9][0-9]{0,17})\Z", "-0123456789"),
    ("float", r"-?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,18}\Z", "-0123456789"),
    ("null", r"(?:~|null)\Z", "~n"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(_pattern), list(_starts))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"\Z"), [""])


def read_yaml(text: str, where: str) -> Document:
    """The one mapping in `text`. Raises UsageError with `where` and the line for anything else."""
    if len(text) > LARGEST:
        raise UsageError(f"{where}: is larger than 1 MiB; a job file has a few dozen lines")
    try:
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        problem = str(error.problem).replace("but found another document", "a second document starts")
        raise UsageError(f"{where}{line}: {clean(problem)}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise UsageError(f"{where}: is not YAML text: {clean(str(error).partition(chr(10))[0])}") from None
    except RecursionError:
        raise UsageError(f"{where}: is nested too deeply") from None
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{where}: must be a mapping with job, name and select")
    document = Document(where, {}, {})
    for key, value in _entries(node, (), document):
        document.data[key] = value
    return document


def _refused(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _entries(node: yaml.MappingNode, path: Path, document: Document) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise document.complaint(path, "a key must be a plain word")
        place = (*path, key.value)
        document.lines.setdefault(place, key.start_mark.line + 1)
        if key.value in seen:
            first = document.lines[place]
            document.lines[place] = key.start_mark.line + 1
            raise document.complaint(place, f"is given twice, first in line {first}")
        _check_text(key.value, place, document)
        seen.add(key.value)
        yield key.value, _value(value, place, document)


def _value(node: yaml.Node, path: Path, document: Document) -> Any:
    if len(path) > DEEPEST:
        raise document.complaint(path[:3], "is nested too deeply")
    if isinstance(node, yaml.MappingNode):
        return dict(_entries(node, path, document))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            document.lines[*path, index] = item.start_mark.line + 1
        return [_value(item, (*path, index), document) for index, item in enumerate(node.value)]
    return _scalar(node, path, document)


def _scalar(node: yaml.Node, path: Path, document: Document) -> Any:
    match node.tag.rpartition(":")[2]:
        case "null":
            raise document.complaint(path, "is empty; give a value or leave the key out")
        case "bool":
            return node.value == "true"
        case "int":
            return int(node.value)
        case "float":
            return float(node.value)
    _check_text(node.value, path, document)
    return node.value


def _check_text(text: str, path: Path, document: Document) -> None:
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise document.complaint(path, "holds half a character (a lone surrogate)")
