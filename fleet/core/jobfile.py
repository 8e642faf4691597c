"""A job file: which job type, its parameters, whom it concerns and how it is rolled out.

Everything in it is checked before a request is sent; what is wrong is told with file, line and the nearest
right word. Neighbours: `strict_yaml` reads the text, `selector` the expressions, `job` owns the parameters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails

from fleet.core.errors import UsageError
from fleet.core.job import JobSpec
from fleet.core.rollout import Disruption, GateCommand, Rollout, Share
from fleet.core.selector import Selector
from fleet.core.spelling import nearest
from fleet.core.strict_yaml import Document, Path, read_yaml
from fleet.core.text import clean

Spec = TypeVar("Spec", bound=JobSpec)
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Guards:
    """What a run must never do: change more than `max_targets`, or anything that `protect` matches."""

    max_targets: int = 500
    protect: Selector | None = None


@dataclass(frozen=True, slots=True)
class JobFile:
    """A valid job file. `scopes` is None for all of them; `parameters` is the `with:` part as written."""

    job: str
    name: str
    select: Selector
    scopes: tuple[str, ...] | None
    parameters: Mapping[str, Any] = field(repr=False)
    rollout: Rollout
    guards: Guards
    document: Document = field(repr=False, compare=False)


def parse_job(text: str, where: str) -> JobFile:
    """The job file in `text`. Raises UsageError with `where`, the line and what to do."""
    document = read_yaml(text, where)
    file = _validate(JobFileModel, document.data, document, ())
    guards = _given(file.guards)
    if "protect" in guards:
        guards["protect"] = _selector(guards["protect"], document, ("guards", "protect"))
    rollout = _given(file.rollout)
    if "gate" in rollout:
        rollout["gate"] = GateCommand(**rollout["gate"])
    return JobFile(
        job=file.job,
        name=file.name,
        select=_selector(file.select, document, ("select",)),
        scopes=file.scopes,
        parameters=file.parameters,
        rollout=Rollout(**rollout),
        guards=Guards(**guards),
        document=document,
    )


def bind(jobfile: JobFile, spec_type: type[Spec]) -> Spec:
    """The job's own parameters. Raises UsageError with the place in the file, never with the value."""
    return _validate(spec_type, jobfile.parameters, jobfile.document, ("with",))


def parse_duration(value: object) -> float:
    """Seconds of a text such as 90s, 10m or 1h30m. Raises ValueError for anything else."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{clean(repr(value), 40)} is not a duration such as 90s, 10m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def parse_share(value: object) -> Share:
    """A number of at least 1, or a percentage from 1% to 100%. Raises ValueError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        share = Share(value)
    elif isinstance(value, str) and (percent := _PERCENT.fullmatch(value)):
        share = Share(int(percent[1]), percent=True)
    else:
        raise ValueError(f"{clean(repr(value), 40)} is neither a number nor a percentage such as 5%")
    if share.amount < 1:
        raise ValueError(f"{share} would let nothing happen; give at least 1 or 1%")
    if share.percent and share.amount > 100:
        raise ValueError(f"{share} is more than everything; give at most 100%")
    return share


def parse_waves(value: object) -> tuple[Share, ...]:
    """Running totals such as [1, 5%, 100%], each larger than the one before. Raises ValueError."""
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of running totals such as [1, 5%, 100%]")
    waves = tuple(parse_share(item) for item in value)
    for kind in (False, True):
        for one, other in pairwise(share for share in waves if share.percent is kind):
            if other.amount <= one.amount:
                raise ValueError(f"{other} does not follow after {one}; each wave is a larger running total")
    if Share(100, percent=True) in waves[:-1]:
        raise ValueError("100% is everything; nothing can follow after it")
    return waves


_DURATION = re.compile(r"(?=.)(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s)?", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PERCENT = re.compile(r"(0|[1-9]\d{0,2})%", re.ASCII)


def _positive(value: object) -> float:
    seconds = parse_duration(value)
    if seconds == 0:
        raise ValueError("must be longer than nothing, such as 30m")
    return seconds


def _word(value: str) -> str:
    if not _WORD.fullmatch(value):
        raise ValueError("must be 1 to 100 letters, digits, '.', '-' or '_', the first a letter or digit")
    return value


def _unlike(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("a name is listed twice")
    return values


def _rising(values: tuple[int, ...]) -> tuple[int, ...]:
    if any(other <= one for one, other in pairwise(values)):
        raise ValueError("must be wave numbers in rising order, such as [1, 2]")
    return values


def _literal(value: object) -> object:
    """YAML's true and false are CEL's."""
    return str(value).lower() if isinstance(value, bool) else value


def _argument(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold a NUL; no program could be given it")
    return value


_DURATION_SCHEMA = {
    "type": "string",
    "pattern": r"^(?=.)([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?$",
    "examples": ["90s", "10m", "1h30m"],
}
_SHARE_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^([1-9][0-9]?|100)%$"}],
    "examples": [3, "5%"],
}
Duration = Annotated[float, PlainValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
PositiveDuration = Annotated[float, PlainValidator(_positive), WithJsonSchema(_DURATION_SCHEMA)]
ShareText = Annotated[Share, PlainValidator(parse_share), WithJsonSchema(_SHARE_SCHEMA)]
Waves = Annotated[
    tuple[Share, ...],
    PlainValidator(parse_waves),
    WithJsonSchema({"type": "array", "minItems": 1, "items": _SHARE_SCHEMA}),
]
Word = Annotated[
    str, AfterValidator(_word), WithJsonSchema({"type": "string", "pattern": f"^{_WORD.pattern}$"})
]
Names = Annotated[
    tuple[str, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True}), AfterValidator(_unlike)
]
Argument = Annotated[str, Field(min_length=1), AfterValidator(_argument)]
Arguments = Annotated[tuple[Argument, ...], Field(min_length=1)]
WaveNumbers = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...],
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_rising),
]
Expression = Annotated[
    str,
    BeforeValidator(_literal),
    WithJsonSchema({"type": ["string", "boolean"]}),
    Field(description="A CEL expression; fleet ls --fields lists its fields."),
]


class _Part(BaseModel):
    """A part of the file. None stands for "not given" only: an empty value is refused before this."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class MaxUnavailable(_Part):
    """How many notebooks may be away from their owners at once, of all and within each group."""

    fleet: ShareText | None = None
    scope: ShareText | None = None
    owner: ShareText | None = None
    pool: ShareText | None = None
    flavor: ShareText | None = None


class GateModel(_Part):
    """A program that says after each wave whether the next one may go: exit code 0 yes, 1 no."""

    command: Arguments = Field(description="The program and its arguments; no shell reads them.")
    timeout: PositiveDuration | None = Field(None, description="The longest that it may take.")


class RolloutModel(_Part):
    """How the changes are released."""

    waves: Waves | None = Field(None, description="Running totals released one after the other.")
    soak: Duration | None = Field(None, description="Wait between two waves.")
    concurrency: int | None = Field(None, ge=1, le=1000, description="Changes under way at once.")
    max_failures: ShareText | None = Field(None, description="Hard limit: never one more than this.")
    max_unavailable: MaxUnavailable | None = None
    disruption: Disruption | None = Field(None, description="What may happen to a running notebook.")
    deadline: PositiveDuration | None = Field(None, description="After this no change starts.")
    change_deadline: PositiveDuration | None = Field(
        None, description="The longest that one change may take."
    )
    gate: GateModel | None = None
    approve: WaveNumbers | None = Field(None, description="Waves after which a person must approve.")


class GuardsModel(_Part):
    """What must never happen."""

    max_targets: int | None = Field(None, ge=1, description="Refuse to change more notebooks than this.")
    protect: Expression | None = None


class JobFileModel(_Part):
    """A job: what to change on which notebooks, and how fast."""

    job: Word = Field(description="The job type.")
    name: Word = Field(description="The name of this job, for plans and reports.")
    scopes: Names | None = Field(None, description="Configured scopes; default all.")
    select: Expression
    parameters: dict[str, Any] = Field(
        default_factory=dict, alias="with", description="The job type's own parameters."
    )
    rollout: RolloutModel = Field(default_factory=RolloutModel)
    guards: GuardsModel = Field(default_factory=GuardsModel)


def _given(part: _Part) -> dict[str, Any]:
    """The values that the file gives; all others keep the defaults of the dataclass they go to."""
    named = [name for name in type(part).model_fields if name in part.model_fields_set]
    values = {name: getattr(part, name) for name in named}
    return {name: _given(value) if isinstance(value, _Part) else value for name, value in values.items()}


def _selector(text: str, document: Document, path: Path) -> Selector:
    try:
        return Selector.parse(text)
    except UsageError as error:
        raise document.complaint(path, str(error)) from None


def _validate(model: type[Model], data: Mapping[str, Any], document: Document, base: Path) -> Model:
    """`data` as `model`: strictly, but with lists for tuples and text for enums, as JSON has it."""
    try:
        return model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
    except UsageError as error:  # a rule of the API, told by the job's own values
        raise document.complaint(base, str(error)) from None
    unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
    first = (unknown or problems)[0]
    path = _path(first, data)
    whole = model.model_json_schema()
    known = _keys(whole, whole, path[:-1]) if unknown else ()
    raise document.complaint((*base, *path), _sentence(first, known))


def _path(problem: ErrorDetails, data: Any) -> Path:
    """Where the problem is in the file: its location without the names that only the model knows."""
    path: list[str | int] = []
    for part in problem["loc"]:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if inside:
            path.append(part)
            data = data[part]
    return (*path, problem["loc"][-1]) if problem["type"] == "missing" else tuple(path)


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
    if problem["type"] == "extra_forbidden":
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
