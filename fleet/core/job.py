"""What a job author implements.

A job type is a `JobSpec`: a pydantic model of its own parameters with a pure `propose`. It says what should
change about one notebook, or why nothing should. It knows nothing of stopping, starting, rates or waves.
Job types are found by entry point (group `fleet.jobs`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from fleet.core.catalog import Catalog
from fleet.core.events import Outcome
from fleet.core.notebook import Notebook
from fleet.core.patch import NotebookPatch


@dataclass(frozen=True, slots=True)
class Skip:
    """Why a job leaves a selected notebook alone, and what its report shall call that."""

    reason: str
    outcome: Outcome = Outcome.SKIPPED


@dataclass(frozen=True, slots=True)
class Context:
    """What a job may know besides the notebook: its scope's catalogue, and wall time in ms."""

    scope: str
    catalog: Catalog
    now: int


class JobSpec(BaseModel, ABC):
    """A job type's parameters (the `with:` part of a job file) and its proposal."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def narrows(self) -> str | None:
        """A selector that the parameters imply, joined to the job file's own by "and"; None for none."""
        return None

    def check(self, context: Context) -> None:
        """Looks at the parameters once per scope, before any notebook.

        Raises UsageError when they cannot be right, such as an image that does not exist.
        """

    def bars(self, notebook: Notebook, context: Context) -> str:
        """Why this notebook must be left alone whatever its status; empty when nothing speaks against it."""
        return ""

    @abstractmethod
    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch | Skip:
        """The fields to change, as they should be in the end; fields that hold already may be included."""

    def remarks(self, notebook: Notebook, context: Context) -> tuple[str, ...]:
        """What a person should know of this notebook's change before saying yes."""
        return ()
