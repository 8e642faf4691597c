"""Gives notebooks new names by a pattern: tmp-7 of ana becomes ana-7."""

from __future__ import annotations

import re
from string import Template
from typing import Annotated

from pydantic import AfterValidator, Field

from fleet.core.errors import UsageError
from fleet.core.events import Outcome
from fleet.core.job import Context, JobSpec, Skip
from fleet.core.notebook import Notebook
from fleet.core.patch import NotebookPatch


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


class Rename(JobSpec):
    """Give notebooks new names by a pattern."""

    match: Annotated[str, AfterValidator(_pattern)] = Field(description="What the whole name must match.")
    to: str = Field(description="The new name; $owner and the named groups of the pattern are filled in.")

    def check(self, context: Context) -> None:
        """Raises UsageError when something in the new name is given by nobody."""
        template, given = Template(self.to), {"owner", *re.compile(self.match).groupindex}
        if not template.is_valid() or not given.issuperset(template.get_identifiers()):
            known = ", ".join(f"${name}" for name in sorted(given))
            raise UsageError(f"with.to: only {known} can be filled in")

    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch | Skip:
        """The name by the pattern; the rules for names are the patch's own."""
        found = re.fullmatch(self.match, notebook.name)
        if found is None:
            return Skip("its name does not match", Outcome.UNCHANGED)
        if not notebook.owner:
            return Skip("nobody knows whose it is")
        return NotebookPatch(name=Template(self.to).substitute(found.groupdict(""), owner=notebook.owner))
