"""The tables and keys of `fleet.toml`, each value checked on its own.

What needs two tables at once (unique names, a credentials table that exists) is checked in `load`.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SecretStr,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fleet.core.errors import UsageError
from fleet.core.metrics import LABEL, NAMES, QUERY, STEP, template_problem
from fleet.core.pacing.limits import Rate
from fleet.core.pacing.pace import parse_rate
from fleet.core.selecting.selector import Selector
from fleet.core.usage import Resource

_ORIGIN = re.compile(
    r"(https?)://([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?/?"
)
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_URL = re.compile(r"(https?://[^/?#@\s]+)(/[A-Za-z0-9._~/-]*)?")
_PAUSE = re.compile(r"(\d{1,5})([smh])")


def _refuse(text: str) -> PydanticCustomError:
    """An error whose text never holds the value: it may be a secret in the wrong place."""
    return PydanticCustomError("refused", text)


def origin(text: str) -> str:
    """`text` as scheme://host[:port]. Plain http is for loopback hosts only."""
    match = _ORIGIN.fullmatch(text)
    if match is None or int(match[3] or 443) not in range(1, 65536):
        raise _refuse("must be https://HOST or https://HOST:PORT, without user, path or query")
    if match[1] == "http" and not _loopback(match[2]):
        raise _refuse("plain http is for loopback hosts only; use https")
    return text.rstrip("/")


def _loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _region(text: str) -> str:
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d{1,3}", text):
        raise _refuse("not a region; write its id such as cn-north-4")
    return text


def _project_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise _refuse("must be the project's id, 32 characters of 0-9 and a-f (not its name)")
    return text


def _scope_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
        raise _refuse("may hold only letters, digits, '.', '_' and '-'")
    return text


def _rate(value: object) -> Rate:
    try:
        return parse_rate(value if isinstance(value, str) else "")
    except UsageError:
        raise _refuse('not a rate; write a count and a window such as "60/min", "10/s", "300/10s"') from None


def _pause(value: object) -> float:
    match = _PAUSE.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise _refuse('not a pause; write a number and a unit such as "10s", "2m"')
    return float(int(match[1]) * _SECONDS[match[2]])


def _url(text: str) -> str:
    match = _URL.fullmatch(text)
    if match is None:
        raise _refuse("must be https://HOST[:PORT][/PATH], without user or query")
    return origin(match[1]) + (match[2] or "").rstrip("/")


def _template(text: str) -> str:
    problem = template_problem(text)
    if problem:
        raise _refuse(problem)
    return text


def _metric(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_:][A-Za-z0-9_:]{0,199}", text):
        raise _refuse("not a metric name such as ma_container_cpu_util")
    return text


def _label(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", text):
        raise _refuse("not a label name such as service_id")
    return text


def _instance(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise _refuse("not the id of a Prometheus instance")
    return text


def _resource(text: object) -> Resource:
    if text not in list(Resource):
        raise _refuse(f"not a resource; there are {', '.join(Resource)}")
    return Resource(str(text))


def _selector(text: str) -> str:
    try:
        return Selector.parse(text).text
    except UsageError as error:
        raise _refuse(f"not a selector: {str(error).partition(chr(10))[0]}") from None


def _listed(value: object) -> object:
    """TOML arrays are lists; the tables hold tuples."""
    return tuple(value) if isinstance(value, list) else value


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


Text = Annotated[str, StringConstraints(min_length=1)]
Origin = Annotated[str, AfterValidator(origin)]
Region = Annotated[str, AfterValidator(_region)]
ProjectId = Annotated[str, AfterValidator(_project_id)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_listed), AfterValidator(_distinct)]
Feature = Literal["NOTEBOOK", "DEFAULT"]
ProxyWord = Literal["none", "environment"]


class Table(BaseModel):
    """A table of the file: unknown keys are refused, values are never converted or shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class ScopeTable(Table):
    """[[scope]]"""

    name: Annotated[str, AfterValidator(_scope_name)]
    region: Region
    project_id: ProjectId
    endpoint: Origin | None = None
    iam_endpoint: Origin | None = None
    listing: Literal["all", "own"] = Field(default="all", alias="list")
    workspaces: Texts = ()
    features: Annotated[
        tuple[Feature, ...], BeforeValidator(_listed), AfterValidator(_distinct), Field(min_length=1)
    ] = ("NOTEBOOK",)
    credentials: Text | None = None
    rate: Annotated[Rate | None, PlainValidator(_rate)] = None
    poll: Annotated[float, PlainValidator(_pause)] = 10.0
    ca_file: Text | None = None
    proxy: ProxyWord | None = None
    metrics: Text | None = None


class AkSkTable(Table):
    """[credentials.NAME] with an access key; each value given here or by the variable that `*_env` names."""

    kind: Literal["aksk"]
    access_key: SecretStr | None = None
    access_key_env: Text | None = None
    secret_key: SecretStr | None = None
    secret_key_env: Text | None = None
    security_token: SecretStr | None = None
    security_token_env: Text | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        _one_source(self, "access_key", "secret_key")
        _one_source(self, "security_token", optional=True)
        return self


class PasswordTable(Table):
    """[credentials.NAME] with an IAM user who logs in."""

    kind: Literal["password"]
    user: Text | None = None
    user_env: Text | None = None
    domain: Text | None = None
    domain_env: Text | None = None
    password: SecretStr | None = None
    password_env: Text | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        _one_source(self, "user", "domain", "password")
        return self


class TokenTable(Table):
    """[credentials.NAME] with a project-scoped token that somebody else fetched."""

    kind: Literal["token"]
    token: SecretStr | None = None
    token_env: Text | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        _one_source(self, "token")
        return self


class ProfileTable(Table):
    """[credentials.NAME] that points at a section of the vendor's credentials file."""

    kind: Literal["profile"]
    profile: Text = "basic"


CredentialTable = Annotated[
    AkSkTable | PasswordTable | TokenTable | ProfileTable, Field(discriminator="kind")
]
CREDENTIAL_TABLES: dict[str, type[Table]] = {
    "aksk": AkSkTable,
    "password": PasswordTable,
    "token": TokenTable,
    "profile": ProfileTable,
}


class _QueriesTable(Table):
    """What is the same for every source that speaks PromQL."""

    query: Annotated[str, AfterValidator(_template)] = QUERY
    label: Annotated[str, AfterValidator(_label)] = LABEL
    names: dict[Annotated[Resource, BeforeValidator(_resource)], Annotated[str, AfterValidator(_metric)]] = (
        Field(default_factory=lambda: dict(NAMES))
    )
    step: Annotated[float, PlainValidator(_pause)] = STEP
    rate: Annotated[Rate | None, PlainValidator(_rate)] = None


class AomTable(_QueriesTable):
    """[metrics.NAME] that AOM keeps for the scope's project."""

    kind: Literal["aom"]
    endpoint: Origin | None = None
    instance: Annotated[str, AfterValidator(_instance)] | None = None


class PrometheusTable(_QueriesTable):
    """[metrics.NAME] that a Prometheus server keeps."""

    kind: Literal["prometheus"]
    url: Annotated[str, AfterValidator(_url)]
    token: SecretStr | None = None
    token_env: Text | None = None
    ca_file: Text | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        _one_source(self, "token", optional=True)
        return self


class FileTable(Table):
    """[metrics.NAME] in a file."""

    kind: Literal["file"]
    path: Text
    step: Annotated[float, PlainValidator(_pause)] = STEP


MetricsTable = Annotated[AomTable | PrometheusTable | FileTable, Field(discriminator="kind")]
METRICS_TABLES: dict[str, type[Table]] = {
    "aom": AomTable,
    "prometheus": PrometheusTable,
    "file": FileTable,
}


class RunTable(Table):
    """[run]"""

    dir: Text | None = None


class GuardsTable(Table):
    """[guards]: what holds for every job."""

    protect: Annotated[str, AfterValidator(_selector)] | None = None


class FileTables(Table):
    """The whole file. `proxy` is for every scope that does not say otherwise."""

    proxy: ProxyWord = "none"
    transport: Literal["wire", "session"] = "wire"
    scope: Annotated[tuple[ScopeTable, ...], BeforeValidator(_listed), Field(min_length=1)]
    credentials: dict[str, CredentialTable] = Field(default_factory=dict)
    metrics: dict[str, MetricsTable] = Field(default_factory=dict)
    run: RunTable = RunTable()
    guards: GuardsTable = GuardsTable()


def _one_source(table: Table, *keys: str, optional: bool = False) -> None:
    for key in keys:
        given = [name for name in (key, f"{key}_env") if getattr(table, name)]
        if len(given) == 2:
            raise _refuse(f"{key} and {key}_env are both given; keep one")
        if not given and not optional:
            raise _refuse(f"{key}_env is missing (the variable that holds it)")
