"""YAML as job files use it: plain data with the line of every key, and nothing that surprises.

No tags, anchors, aliases, duplicate or empty keys. Plain words mean what they look like: `no`, `on` and
12:30:45 are text, only true and false are yes and no. Neighbour: `jobfile`, which gives the data its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import yaml

from fleet.core.errors import UsageError
from fleet.core.text import clean

LARGEST = 1 << 20  # characters
DEEPEST = 20

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says: plain data, and the line (from 1) of every key and list item by its path.

    `problems` are the complaints so far, each with its line, and `wrong` the values that they are about. A
    value that is wrong by itself is "" in `data`.
    """

    where: str
    data: dict[str, Any]
    lines: dict[Path, int]
    problems: list[tuple[int, str]] = field(default_factory=list)
    wrong: set[Path] = field(default_factory=set)

    def complain(self, path: Path, problem: str) -> None:
        """Keeps what is wrong with the value at `path`, unless it may only follow from an earlier complaint
        about a part of it, or about what it is a part of."""
        if not path or not any(path[: len(other)] == other[: len(path)] for other in self.wrong):
            self.complain_of_key(path, problem, self._line(path))
            if path:  # what is wrong with the whole hides no part of it
                self.wrong.add(path)

    def complain_of_key(self, path: Path, problem: str, line: int) -> None:
        """Keeps what is wrong with a key at or in `path`, which says nothing about any value."""
        place = f"{self.where}:{line}" if line else self.where
        name = f"{_dotted(path)}: " if path else ""
        self.problems.append((line, f"{place}: {name}{problem}"))

    def refusal(self) -> UsageError:
        """All complaints by line: file, line, dotted name, problem."""
        return UsageError("\n".join(text for _, text in sorted(self.problems, key=itemgetter(0))))

    def placed(self, text: str) -> str:
        """The text, with file and line before each line that begins with the dotted name of a value.

        Lines that go on after such a line are indented under it.
        """
        lines = {_dotted(path): line for path, line in self.lines.items()}
        told: list[str] = []
        indent = ""
        for one in text.splitlines():
            line = lines.get(one.partition(": ")[0])
            told.append(f"{self.where}:{line}: {one}" if line else indent + one)
            indent = "  " if line else indent
        return "\n".join(told)

    def _line(self, path: Path) -> int:
        """That of the value, else of what it is missing in."""
        known = (self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines)
        return next(known, 1 if path else 0)


def _dotted(path: Path) -> str:
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{clean(part)}" for part in path)
    return name.removeprefix(".")


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
    """The one mapping in `text`, with complaints about what in it is no plain data.

    Raises UsageError with `where` and the line for anything else.
    """
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
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            document.complain_of_key(path, "a key must be a plain word", line)
            continue
        place = (*path, key.value)
        if key.value in seen:
            document.complain_of_key(place, f"is given twice, first in line {document.lines[place]}", line)
            continue
        document.lines[place] = line
        seen.add(key.value)
        if _is_text(key.value, place, document):
            yield key.value, _value(value, place, document)


def _value(node: yaml.Node, path: Path, document: Document) -> Any:
    if len(path) > DEEPEST:
        document.complain(path[:3], "is nested too deeply")
        return ""
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
            document.complain(path, "is empty; give a value or leave the key out")
            return ""
        case "bool":
            return node.value == "true"
        case "int":
            return int(node.value)
        case "float":
            return float(node.value)
    return node.value if _is_text(node.value, path, document) else ""


def _is_text(text: str, path: Path, document: Document) -> bool:
    if any("\ud800" <= char <= "\udfff" for char in text):
        document.complain(path, "holds half a character (a lone surrogate)")
        return False
    return True
