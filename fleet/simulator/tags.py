"""Tags of notebooks: they have calls of their own, in any status of the notebook."""

from __future__ import annotations

from fleet.simulator import validation
from fleet.simulator.messages import Answer, Call, answer
from fleet.simulator.refusals import bad_parameter
from fleet.simulator.world import World, ms

MOST_TAGS = 20


def create(world: World, call: Call) -> Answer:
    """Add tags; the value of a key that is there already is overwritten."""
    notebook = world.find_changeable(call.project, call.target)
    tags = {**notebook.tags, **validation.tags(call.body)}
    if len(tags) > MOST_TAGS:
        raise bad_parameter(f"A notebook can have at most {MOST_TAGS} tags.")
    notebook.tags = tags
    notebook.touch(ms(call.now))
    return Answer(status=204)


def delete(world: World, call: Call) -> Answer:
    """Remove tags by key; one that is not there is ignored."""
    notebook = world.find_changeable(call.project, call.target)
    unwanted = validation.tags(call.body)
    notebook.tags = {key: value for key, value in notebook.tags.items() if key not in unwanted}
    notebook.touch(ms(call.now))
    return Answer(status=204)


def show_all(world: World, call: Call) -> Answer:
    """Every tag of the project's notebooks, with its values."""
    found: dict[str, set[str]] = {}
    for notebook in world.rows(call.project, "", "", ""):
        for key, value in notebook.tags.items():
            found.setdefault(key, set()).add(value)
    return answer({"tags": [{"key": key, "values": sorted(found[key])} for key in sorted(found)]})
