"""What a job author implements.

A job type is a `JobSpec`: a pydantic model of its own parameters with a pure `propose`. It says what should
change about one notebook, or why nothing should. It knows nothing of stopping, starting, rates or waves.
Job types are found by entry point (group `fleet.jobs`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from fleet.core.catalog import Catalog
from fleet.core.events import Outcome
from fleet.core.notebook import Flavor, Notebook
from fleet.core.patch import NotebookPatch
from fleet.core.usage import Usage, UsageWanted


@dataclass(frozen=True, slots=True)
class Skip:
    """Why a job leaves a selected notebook alone, and what its report shall call that."""

    reason: str
    outcome: Outcome = Outcome.SKIPPED


@dataclass(frozen=True, slots=True)
class Staged:
    """Patches that follow one another: the first is made to every notebook before any gets the second."""

    patches: tuple[NotebookPatch, ...]


Proposal = NotebookPatch | Staged | Skip


@dataclass(frozen=True, slots=True)
class Wants:
    """What a job must know beyond the notebook and the catalogue; it is fetched once, before any proposal.

    `files` are paths as the job file names them, relative to it; `switchable` asks for the flavors that each
    selected notebook can be switched to, `usage` for what it used of its machine, and `resized` for the
    changes of its flavor that runs made in the last so many seconds.
    """

    files: tuple[str, ...] = ()
    switchable: bool = False
    usage: UsageWanted | None = None
    resized: float = 0.0


@dataclass(frozen=True, slots=True)
class Resize:
    """A run gave a notebook another flavor, or may have; `at` is in wall seconds."""

    at: float
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What was fetched about one notebook.

    `switchable` is None where nobody asked or the cloud did not say, `usage` where nobody asked. `resized` is
    in the order of time; usage from before the last of them is left out. `untold` is a run that may have
    given the notebook another flavor, and whose journal cannot be read; empty for none.
    """

    switchable: tuple[Flavor, ...] | None = None
    usage: Usage | None = None
    resized: tuple[Resize, ...] = ()
    untold: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What a job may know besides the notebook: its scope's catalogue, wall time in ms, what it wanted.

    `files` holds the text of every file that it wanted, by its path; `facts` what was fetched about each
    selected notebook, by its id, and is empty while `check` runs.
    """

    scope: str
    catalog: Catalog
    now: int
    files: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Facts] = field(default_factory=dict)


class JobSpec(BaseModel, ABC):
    """A job type's parameters (the `with:` part of a job file) and its proposal."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def narrows(self) -> str | None:
        """A selector that the parameters imply, joined to the job file's own by "and"; None for none."""
        return None

    def wants(self) -> Wants:
        """What has to be fetched before `check` and `propose` can answer."""
        return Wants()

    def check(self, context: Context) -> None:
        """Looks at the parameters once per scope, before any notebook.

        Raises UsageError when they cannot be right, such as an image that does not exist.
        """

    def bars(self, notebook: Notebook, context: Context) -> str:
        """Why this notebook must be left alone whatever its status; empty when nothing speaks against it."""
        return ""

    def needs_switchable(self, notebook: Notebook, context: Context) -> bool:
        """Whether the answer depends on the switchable flavors of this notebook, which cost a call.

        Asked when all other facts are there, and only of jobs that want the switchable flavors.
        """
        return True

    @abstractmethod
    def propose(self, notebook: Notebook, context: Context) -> Proposal:
        """The fields to change, as they should be in the end; fields that hold already may be included."""

    def pause(self) -> float:
        """Seconds between two stages of a staged proposal, counted from the end of the earlier one."""
        return 0.0

    def stages(self, context: Context) -> tuple[str, ...]:
        """What each stage of a staged proposal does, in words for the plan such as "adds 203.0.113.9"."""
        return ()

    def reason(self, notebook: Notebook, context: Context) -> str:
        """Why this notebook should change, in a few words; empty when the selector says it all."""
        return ""

    def saves(self, notebook: Notebook, context: Context) -> str:
        """The image (organization/name) to save the environment as before the first stop; empty: it is not.

        Asked only where the planned way stops a notebook that runs. `saved_image.image_path` makes a name.
        """
        return ""

    def saves_by(self, context: Context) -> str:
        """What made the job choose where it saves, in words for the plan such as "named by save_to"."""
        return ""

    def remarks(self, notebook: Notebook, context: Context) -> tuple[str, ...]:
        """What a person should know of this notebook's change before saying yes."""
        return ()
