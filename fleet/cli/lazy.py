"""Commands that are imported when they are called: who looks at a run need not wait for what changes it."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command before it is imported: `place` is a module here and a function in it."""

    place: str
    summary: str
    example: str

    def load(self, name: str, wrapper: Wrapper) -> Any:
        """The command itself, its function in the `wrapper`."""
        module, _, function = self.place.partition(":")
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
        called = wrapper(getattr(import_module(f"fleet.cli.{module}"), function))
        alone.command(name, epilog=f"\b\nExample: {self.example}")(called)
        return get_command(alone)


class Loading(UserDict[str, Any]):
    """The commands of a group by name; who asks for one gets it loaded."""

    def __init__(self, commands: Mapping[str, Any], wrapper: Wrapper) -> None:
        super().__init__(commands)
        self._wrapper = wrapper

    def __getitem__(self, name: str) -> Any:
        found = self.data[name]
        if isinstance(found, Lazy):
            found = self.data[name] = found.load(name, self._wrapper)
        return found

    def summaries(self) -> list[tuple[str, str]]:
        """What the group's help lists; it loads nothing."""
        return [
            (name, one.summary if isinstance(one, Lazy) else one.get_short_help_str(80))
            for name, one in self.data.items()
        ]


class LazyGroup(TyperGroup):
    """A group whose `commands` are `Loading`; its help loads none of them."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(cast(Loading, self.commands).summaries())
