"""A job file: which job type, its parameters, whom it concerns and how it is rolled out.

Everything in it is checked before a request is sent; all that is wrong is told at once, with file, line and
the nearest right word. Neighbours: `strict_yaml` reads the text, `job_models` knows the keys, `job` owns the
parameters.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fleet.core.errors import UsageError
from fleet.core.job import JobSpec
from fleet.core.jobfiles.job_models import JobFileModel, Part
from fleet.core.jobfiles.strict_yaml import Document, Path, read_yaml
from fleet.core.planning.guards import Guards
from fleet.core.rollout import GateCommand, Rollout
from fleet.core.scheduling.calendar import Calendar
from fleet.core.scheduling.schedule import Schedule
from fleet.core.scheduling.timing import Idleness, Notice
from fleet.core.selecting.sampling import Sample
from fleet.core.selecting.selector import Selector
from fleet.core.spelling import nearest, similar

Spec = TypeVar("Spec", bound=JobSpec)
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class JobFile:
    """A valid job file. `scopes` is None for all of them.

    `ids` is the path of a list that narrows the selection, `prices` that of what flavors cost, both relative
    to the file.
    """

    job: str
    name: str
    select: Selector
    scopes: tuple[str, ...] | None
    ids: str | None
    exclude: Selector | None
    sample: Sample | None
    rollout: Rollout
    schedule: Schedule | None
    guards: Guards
    prices: str | None
    document: Document = field(repr=False, compare=False)


def read_job(text: str, where: str, job_type: Callable[[str], type[Spec]]) -> tuple[JobFile, Spec]:
    """The job file in `text`, and its own parameters as the job type of that name has them.

    Raises UsageError with a line for everything that is wrong: `where`, the line, what to do. No value of a
    parameter is repeated.
    """
    document = read_yaml(text, where)
    file = _validate(JobFileModel, document.data, document, ())
    spec = _parameters(document, job_type)
    if file is None or spec is None or document.problems:
        raise document.refusal()
    return _job_file(file, document), spec


def _parameters(document: Document, job_type: Callable[[str], type[Spec]]) -> Spec | None:
    """The job's own parameters; None where they are wrong or nobody knows whose they are."""
    name, given = document.data.get("job"), document.data.get("with", {})
    if not (isinstance(name, str) and isinstance(given, dict)):
        return None
    try:
        found = job_type(name)
    except UsageError as error:
        document.complain(("job",), str(error))
        return None
    return _validate(found, given, document, ("with",))


def _job_file(file: JobFileModel, document: Document) -> JobFile:
    rollout = _given(file.rollout)
    if "gate" in rollout:
        rollout["gate"] = GateCommand(**rollout["gate"])
    if "notice" in rollout:
        rollout["notice"] = Notice(**rollout["notice"])
    if "idle" in rollout:
        rollout["idle"] = Idleness(**rollout["idle"])
    windows, blackouts = rollout.pop("windows", ()), rollout.pop("blackouts", ())
    calendar = Calendar(
        tuple(window.window() for window in windows), tuple(blackout.blackout() for blackout in blackouts)
    )
    return JobFile(
        job=file.job,
        name=file.name,
        select=file.select,
        scopes=file.scopes,
        ids=file.ids,
        exclude=file.exclude,
        sample=None if file.limit is None else Sample(file.limit, file.seed or 0),
        rollout=Rollout(**rollout, calendar=calendar),
        schedule=None if file.schedule is None else file.schedule.schedule(),
        guards=Guards(**_given(file.guards)),
        prices=file.prices,
        document=document,
    )


def _given(part: Part) -> dict[str, Any]:
    """The values that the file gives; all others keep the defaults of the dataclass they go to."""
    named = [name for name in type(part).model_fields if name in part.model_fields_set]
    values = {name: getattr(part, name) for name in named}
    return {name: _given(value) if isinstance(value, Part) else value for name, value in values.items()}


def _validate(model: type[Model], data: Mapping[str, Any], document: Document, base: Path) -> Model | None:
    """`data` as `model`: strictly, but with lists for tuples and text for enums, as JSON has it.

    None where something is wrong with it, about which `document` then complains.
    """
    try:
        return model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
    except UsageError as error:  # a rule of the API, told by the job's own values
        document.complain(base, str(error))
        return None
    schema = model.model_json_schema()
    meant: set[Path] = set()
    for problem in sorted(problems, key=lambda one: one["type"] != _UNKNOWN):
        path = _path(problem, data)
        known = _keys(schema, schema, path[:-1]) if problem["type"] == _UNKNOWN else ()
        meant |= (
            {(*path[:-1], right) for right in similar(str(problem["loc"][-1]), known, 1)} if known else set()
        )
        if path not in meant or problem["type"] != "missing":  # a misspelt key is under its right name
            document.complain((*base, *path), _sentence(problem, known))
    return None


def _path(problem: ErrorDetails, data: Any) -> Path:
    """Where the problem is in the file: its location without the names that only the model knows."""
    path: list[str | int] = []
    for part in problem["loc"]:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if inside:
            path.append(part)
            data = data[part]
    return (*path, problem["loc"][-1]) if problem["type"] == "missing" else tuple(path)


_UNKNOWN = "extra_forbidden"
_SENTENCES = {
    "missing": "is missing",
    "string_type": "must be text; put it in quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list such as [a, b]",
    "list_type": "must be a list such as [a, b]",
    "dict_type": "must be a mapping such as {key: value}",
    "model_type": "must be a mapping such as {key: value}",
    "model_attributes_type": "must be a mapping such as {key: value}",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def _sentence(problem: ErrorDetails, known: Sequence[str]) -> str:
    if problem["type"] == _UNKNOWN:
        return f"unknown key{nearest(str(problem['loc'][-1]), known) or '; known are ' + ', '.join(known)}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    message = problem["msg"].replace("Input should be", "must be")
    return _SENTENCES.get(problem["type"], message[:1].lower() + message[1:])


def _keys(root: Mapping[str, Any], node: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """The keys that the JSON Schema `node`, a part of `root`, knows at `path`."""
    plain = _alternatives(root, node)
    if not path:
        return tuple(key for one in plain for key in one.get("properties", ()))
    first, *rest = path
    inner = [
        one.get("items") if isinstance(first, int) else one.get("properties", {}).get(first) for one in plain
    ]
    return tuple(key for one in inner if isinstance(one, Mapping) for key in _keys(root, one, tuple(rest)))


def _alternatives(root: Mapping[str, Any], node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schema itself, or all that it may be instead."""
    if "$ref" in node:
        return _alternatives(root, root["$defs"][node["$ref"].rpartition("/")[2]])
    if "anyOf" in node:
        return [plain for one in node["anyOf"] for plain in _alternatives(root, one)]
    return [node]


def schema(job_types: Mapping[str, type[JobSpec]]) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a job file with the parameters of each job type, for editors."""
    whole = JobFileModel.model_json_schema()
    types = {
        name: spec.model_json_schema(ref_template=f"#/$defs/{name}/$defs/{{model}}")
        for name, spec in sorted(job_types.items())
    }
    whole["properties"]["job"] = {"enum": list(types), "description": "The job type."}
    whole["$defs"] |= types
    whole["allOf"] = [
        {
            "if": {"properties": {"job": {"const": name}}, "required": ["job"]},
            "then": {"properties": {"with": {"$ref": f"#/$defs/{name}"}}}
            | ({"required": ["with"]} if "required" in spec else {}),
        }
        for name, spec in types.items()
    ]
    whole["title"] = "notebook-fleet job file"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_without_null(whole)}


def _without_null(node: Any) -> Any:
    """The schema without null, which no job file may contain."""
    if isinstance(node, list):
        return [_without_null(item) for item in node if item != {"type": "null"}]
    if not isinstance(node, dict):
        return node
    plain = {key: _without_null(item) for key, item in node.items() if (key, item) != ("default", None)}
    single = plain.get("anyOf")
    return {**plain.pop("anyOf")[0], **plain} if isinstance(single, list) and len(single) == 1 else plain
