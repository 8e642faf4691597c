"""The border to the CEL runtime: compiles conditions and says in plain words what is wrong with a text.

Knows nothing of notebooks: `selector` brings the variables. The runtime's own words ("INVALID_ARGUMENT",
"overload") stay in here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from cel_expr_python import cel

from fleet.core.errors import UsageError
from fleet.core.selecting.syntax_tree import Node, read_tree
from fleet.core.spelling import nearest

LONGEST = 65_536
_SHOWN = 100  # characters of a line in a message


class SelectorError(UsageError):
    """A selector that cannot be used, or cannot be decided: a sentence, the expression, a caret."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where: line and column count from 1."""

    line: int
    column: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled expression whose result is true or false."""

    program: cel.Expression
    tree: Node

    def evaluate(self, values: Mapping[str, Any]) -> bool | str:
        """The result for these values of the variables, or the runtime's words for why there is none."""
        try:
            result = self.program.eval(data=values).value()
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            return str(error)
        return result if isinstance(result, bool) else str(result)


_TYPES: Mapping[str, cel.Type] = {
    "bool": cel.Type.BOOL,
    "int": cel.Type.INT,
    "string": cel.Type.STRING,
    "duration": cel.Type.DURATION,
    "timestamp": cel.Type.TIMESTAMP,
    "list(string)": cel.Type.List(cel.Type.STRING),
    "map(string, string)": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
}


Environment: TypeAlias = cel.Env


def environment(types: Mapping[str, str]) -> Environment:
    """An environment that knows these variables, each with the name of its CEL type."""
    return cel.NewEnv(variables={name: _TYPES[word] for name, word in types.items()})


def compile_condition(env: Environment, text: str, names: Collection[str]) -> Condition:
    """The condition in `text`. Raises SelectorError when it is none; `names` serve the spelling advice."""
    if not text.strip():
        raise SelectorError("the selector is empty; to select everything write: true")
    if "\0" in text:
        raise SelectorError("the selector holds a NUL character; remove it")
    if len(text) > LONGEST:
        raise SelectorError(f"the selector has {len(text)} characters, at most {LONGEST} are allowed")
    try:
        program = env.compile(text)
        tree = read_tree(program.serialize())
    except RecursionError:
        raise SelectorError("the selector is nested too deeply; use fewer parentheses") from None
    except (RuntimeError, ValueError) as error:
        raise refusal(text, _explain(text, str(error), names)) from None
    result = program.return_type()
    if result != cel.Type.BOOL:
        sentence = f"the result is a {result.name().lower()}, but a selector must be true or false"
        raise refusal(text, Problem(1, 1, sentence))
    for problem in _unreadable_constants(text, tree):
        raise refusal(text, problem)
    return Condition(program, tree)


def refusal(text: str, problem: Problem) -> SelectorError:
    """The error that shows `problem` under its place in `text`."""
    lines = text.split("\n")
    line = "".join(c if c.isprintable() else " " for c in lines[problem.line - 1])
    start = max(0, problem.column - _SHOWN // 2) if len(line) > _SHOWN else 0
    pad = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line[start : problem.column - 1])
    where = f"line {problem.line}: " if len(lines) > 1 else ""
    return SelectorError(f"{where}{problem.sentence}\n  {line[start : start + _SHOWN]}\n  {' ' * pad}^")


def problem_at(text: str, offset: int, sentence: str) -> Problem:
    """The problem with the character of `text` at `offset`."""
    before = text[:offset]
    return Problem(before.count("\n") + 1, offset - before.rfind("\n"), sentence)


# The runtime looks at these literals only when an evaluation meets them: too late to be noticed.
_CONSTANTS = {
    "duration": ("duration(text) == duration(text)", 'is no duration such as "90m" or "36h"'),
    "timestamp": ("timestamp(text) == timestamp(text)", 'is no time such as "2026-01-31T00:00:00Z"'),
    "matches": ("text.matches(text)", "is no regular expression (RE2 syntax)"),
}


@cache
def _constant_check(function: str) -> cel.Expression:
    return environment({"text": "string"}).compile(_CONSTANTS[function][0])


def _unreadable_constants(text: str, tree: Node) -> Iterator[Problem]:
    for node in tree.walk():
        literal = node.parts[-1].literal if node.function in _CONSTANTS and node.parts else None
        if literal is None:
            continue
        if not isinstance(_constant_check(node.function).eval(data={"text": literal}).value(), bool):
            yield problem_at(text, node.parts[-1].offset, f"{literal!r} {_CONSTANTS[node.function][1]}")


_REPORT = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_UNDECLARED = re.compile(r"undeclared reference to '(.+)' \(in container")
_NO_PARTS = re.compile(r"expression of type '(.+)' cannot be the operand of a select operation")
_OVERLOAD = re.compile(r"found no matching overload for '(.+)' applied to '\((.*)\)'")
_UNEXPECTED = re.compile(r"Syntax error: (?:mismatched|extraneous) input '(.*?)' expecting")
_UNKNOWN_TOKEN = re.compile(r"Syntax error: token recognition error at: '(.*)'", re.DOTALL)
_FUNCTIONS = (
    "all",
    "contains",
    "duration",
    "endsWith",
    "exists",
    "exists_one",
    "filter",
    "getDayOfWeek",
    "getFullYear",
    "getHours",
    "has",
    "int",
    "map",
    "matches",
    "size",
    "startsWith",
    "string",
    "timestamp",
)
_SQL = {"and": "&&", "or": "||", "not": "!", "like": ".matches(...)", "is": "=="}
_TOKENS = {"=~": ".matches(...) for a pattern", "=": "== to compare", "&": "&&", "|": "||"}


def _explain(text: str, report: str, names: Collection[str]) -> Problem:
    """One of the runtime's complaints in plain words: about syntax, else about a function, else the first."""
    lines = text.split("\n")
    found = [Problem(int(line), int(column), rest) for line, column, rest in _REPORT.findall(report)]
    if not found:
        deep = "recursion" in report
        return Problem(1, 1, "it is nested too deeply" if deep else "it is not a CEL expression")
    syntax = [problem for problem in found if problem.sentence.startswith("Syntax error")]
    calls = [problem for problem in found if _is_call(lines, problem)]
    first = (syntax or calls or found)[0]
    line = lines[first.line - 1]
    path = next((m for m in _PATH.finditer(line) if m.start() < first.column <= m.end()), None)
    if calls:
        return Problem(first.line, first.column, _no_function(first.sentence))
    if undeclared := _UNDECLARED.match(first.sentence):
        column = path.start() + 1 if path is not None else first.column
        return Problem(first.line, column, _no_field(undeclared[1], names))
    if path is not None and (part := _NO_PARTS.match(first.sentence)):
        return Problem(first.line, path.start() + 1, _no_part(path, first.column, part[1], names))
    return Problem(first.line, first.column, _plain(first.sentence, line[: first.column - 1]))


def _is_call(lines: list[str], problem: Problem) -> bool:
    line = lines[problem.line - 1]
    return bool(_UNDECLARED.match(problem.sentence)) and line[problem.column - 1 : problem.column] == "("


def _no_function(complaint: str) -> str:
    undeclared = _UNDECLARED.match(complaint)
    name = undeclared[1] if undeclared else ""
    if name in _FUNCTIONS:
        return f"{name}() is not called like this"
    return f"no function '{name}'{nearest(name, _FUNCTIONS)}"


def _no_field(path: str, names: Collection[str]) -> str:
    group = [name for name in names if name.startswith(path + ".")]
    if group:
        return f"'{path}' is a group of fields: {', '.join(sorted(group))}"
    quotes = f'; text goes in quotes: "{path}"' if path.isupper() else ""
    return f"no field '{path}'{quotes or nearest(path, names) or '; see: fleet ls --fields'}"


def _no_part(path: re.Match[str], column: int, kind: str, names: Collection[str]) -> str:
    """The sentence for a part of a field that it has not; `column` is that of the dot before it."""
    owner, rest = path.string[path.start() : column - 1], path.string[column : path.end()]
    if any(name.startswith(f"{owner}.") for name in names):
        return _no_field(f"{owner}.{rest}", names)
    return f"'{owner}' is a {kind} and has no part '{rest}'"


def _plain(complaint: str, before: str) -> str:
    """The sentence for a complaint about syntax or types; `before` is the line up to its place."""
    if overload := _OVERLOAD.match(complaint):
        return _no_overload(overload[1], overload[2])
    if "<EOF>'" in complaint:
        missing = re.match(r"Syntax error: missing '(.)' at", complaint)
        return f"a '{missing[1]}' is missing" if missing else "the expression ends too early"
    if token := _UNKNOWN_TOKEN.match(complaint):
        return _unknown_token(token[1])
    if unexpected := _UNEXPECTED.match(complaint):
        word = unexpected[1]
        last = before.split()[-1] if before.split() else ""
        known = next((w for w in (word, last) if w.lower() in _SQL), None)
        advice = f"; write {_SQL[known.lower()]} for {known}" if known else ""
        return f"'{word}' is not expected here{advice}"
    return complaint.removeprefix("Syntax error: ").removesuffix(" [INVALID_ARGUMENT]")


def _unknown_token(token: str) -> str:
    if token[0] in "\"'":
        return r'a text is not closed, or holds an unknown escape (a pattern is best written r"\d")'
    advice = next((f"; write {right}" for wrong, right in _TOKENS.items() if token.startswith(wrong)), "")
    return f"'{token.strip()}' is not understood{advice}"


def _no_overload(function: str, types: str) -> str:
    name = "?:" if function == "_?_:_" else function.strip("_@").replace("_", " ")
    plain = types.replace("google.protobuf.", "").replace("null_type", "null").lower()
    advice = ""
    if plain in ("duration, string", "string, duration"):
        advice = '; write a duration as duration("36h")'
    elif plain in ("timestamp, string", "string, timestamp"):
        advice = '; write a time as timestamp("2026-01-31T00:00:00Z")'
    elif "null" in plain:
        advice = '; no field is ever null: compare with ""'
    return f"'{name}' does not go with ({plain}){advice}"
