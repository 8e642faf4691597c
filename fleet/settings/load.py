"""Finds and reads `fleet.toml` and turns it into the scopes that the client connects.

A scope's credentials are looked up when it is asked for: reports need none, and a job for one scope does not
need everybody's keys.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
from pydantic import TypeAdapter, ValidationError

from fleet.core.errors import UsageError
from fleet.core.metrics import NAMES, AomMetrics, FileMetrics, Metrics, PrometheusMetrics, Queries
from fleet.core.scope import Credential, ListMode, Proxy, ScopeSpec, Way
from fleet.core.selecting.selector import Selector
from fleet.core.text import at_most, clean
from fleet.settings.complaint import complaints, unknown_key
from fleet.settings.credentials import (
    Surroundings,
    bearer_token,
    credential_of,
    from_chain,
    holds_secrets,
    keys_from_chain,
    source_of,
)
from fleet.settings.files import TextFile, read_text
from fleet.settings.tables import (
    AomTable,
    FileTable,
    FileTables,
    ProjectId,
    PrometheusTable,
    Region,
    ScopeTable,
)

A = TypeVar("A")
B = TypeVar("B")

APP = "notebook-fleet"
CONFIG = "fleet.toml"
_URL_PARTS = re.compile(r"([a-z]+://[^/]+)(.*)")

_EXAMPLE = """
[[scope]]
name = "lab-a"
region = "cn-north-4"
project_id = "00000000000000000000000000000000\""""


class UnknownScope(UsageError):
    """Scopes were named that the configuration does not have."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says. `source` is the file, None for the environment's "default" scope.

    `run_dir` is the folder that [run] dir names, `shield` what [guards] protects from every job.
    """

    source: Path | None
    run_dir: Path | None
    names: tuple[str, ...]
    _where: str = field(repr=False)
    _tables: FileTables = field(repr=False)
    _around: Surroundings = field(repr=False)

    def scopes(self, names: Iterable[str] | None = None) -> tuple[ScopeSpec, ...]:
        """The scopes called `names`, every one by default, with their credentials.

        Raises UnknownScope for unknown names, and UsageError for all credentials and ca_files that cannot be
        found.
        """
        wanted = self.names if names is None else tuple(dict.fromkeys(names))
        known = list(self.names)
        unknown = [
            f"scope {clean(one)}: {unknown_key(one, known, 'scope')}" for one in wanted if one not in known
        ]
        if unknown:
            raise UnknownScope(at_most(unknown))
        tables = {table.name: table for table in self._tables.scope}
        specs: list[ScopeSpec] = []
        problems: dict[str, str] = {}  # what scopes share is told for the first of them
        for name in wanted:
            try:
                specs.append(self._spec(tables[name]))
            except UsageError as error:
                for line in str(error).splitlines():
                    problems.setdefault(line.partition(": ")[2], line)
        if problems:
            raise UsageError(at_most(problems.values()))
        return tuple(specs)

    @property
    def shield(self) -> Selector | None:
        text = self._tables.guards.protect
        return None if text is None else Selector.parse(text)

    def _spec(self, table: ScopeTable) -> ScopeSpec:
        (credential, source), (ca_file, metrics) = _both(
            lambda: self._credential(table),
            lambda: _both(
                lambda: self._ca_file(table.ca_file, f"scope {table.name}"), lambda: self._metrics(table)
            ),
        )
        return ScopeSpec(
            name=table.name,
            region=table.region,
            project_id=table.project_id,
            endpoint=table.endpoint or _vendor_origin("modelarts", table.region),
            iam_endpoint=table.iam_endpoint or _vendor_origin("iam", table.region),
            credential=credential,
            credential_source=source,
            listing=ListMode(table.listing),
            workspaces=table.workspaces,
            features=table.features,
            rate=table.rate,
            poll=table.poll,
            ca_file=ca_file,
            proxy=Proxy(table.proxy or self._tables.proxy),
            transport=Way(self._tables.transport),
            metrics=metrics,
        )

    def _credential(self, scope: ScopeTable) -> tuple[Credential, str]:
        """Who we are in the scope, and in words where that comes from."""
        if scope.credentials is None:
            found = keys_from_chain(self._around, scope.name)
            return found.keys, found.source
        name, table = clean(scope.credentials), self._tables.credentials[scope.credentials]
        credential = credential_of(table, f"{self._where}: credentials.{name}", self._around)
        return credential, f"[credentials.{name}] in {self._where} ({source_of(table, self._around)})"

    def _metrics(self, scope: ScopeTable) -> Metrics | None:
        """The source that the scope names, else the only one that there is."""
        tables = self._tables.metrics
        name = scope.metrics or (next(iter(tables)) if len(tables) == 1 else None)
        match None if name is None else tables[name]:
            case AomTable() as aom:
                endpoint = aom.endpoint or _vendor_origin("aom", scope.region)
                return AomMetrics(endpoint, aom.instance or "", _queries(aom), aom.rate)
            case PrometheusTable() as server:
                where = f"{self._where}: metrics.{clean(name or '')}"
                url = _URL_PARTS.match(server.url)
                token, ca_file = _both(
                    lambda: bearer_token(server, where, self._around),
                    lambda: self._ca_file(server.ca_file, where),
                )
                return PrometheusMetrics(
                    origin=url[1] if url else server.url,
                    path=url[2] if url else "",
                    token=token,
                    queries=_queries(server),
                    rate=server.rate,
                    ca_file=ca_file,
                    token_source=f"[metrics.{clean(name or '')}] in {self._where}"
                    f" ({source_of(server, self._around) or 'no token'})",
                )
            case FileTable() as file:
                return FileMetrics(str(_resolve(file.path, self.source, self._around.home)), file.step)
            case None:
                return None

    def _ca_file(self, named: str | None, where: str) -> str | None:
        if named is None:
            return None
        path = _resolve(named, self.source, self._around.home)
        if not path.is_file():
            raise UsageError(f"{where}: ca_file {path} does not exist")
        return str(path)


def _both(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """What the two make. Raises UsageError with what is wrong in either."""
    try:
        one = first()
    except UsageError as error:
        try:
            second()
        except UsageError as other:
            raise UsageError(f"{error}\n{other}") from None
        raise
    return one, second()


def _queries(table: AomTable | PrometheusTable) -> Queries:
    return Queries(table.query, table.label, {**NAMES, **table.names}, table.step)


def find_config(config: Path | None, *, environ: Mapping[str, str], home: Path, cwd: Path) -> Path | None:
    """The file to read: the one given, else `fleet.toml` here, else the user's own; None if there is none."""
    if config is not None:
        return cwd / config
    here = cwd / CONFIG
    own = _user_folder("config", environ, home) / CONFIG
    return next((path for path in (here, own) if os.path.lexists(path)), None)


def load_settings(config: Path | None, *, environ: Mapping[str, str], home: Path, cwd: Path) -> Settings:
    """The settings from `config`, else from where `find_config` looks, else from the environment alone.

    Raises UsageError with a line for each thing that is wrong, up to a few.
    """
    around = Surroundings(environ, home)
    path = find_config(config, environ=environ, home=home, cwd=cwd)
    if path is None:
        return _without_file(around, cwd)
    where = str(config) if config is not None else CONFIG if path == cwd / CONFIG else str(path)
    file = read_text(path, where)
    tables = _parse(file)
    return Settings(
        source=path,
        run_dir=_resolve(tables.run.dir, path, home) if tables.run.dir else None,
        names=tuple(table.name for table in tables.scope),
        _where=where,
        _tables=tables,
        _around=around,
    )


def state_dir(settings: Settings | None, environ: Mapping[str, str]) -> Path:
    """Where runs live: [run] dir, else the user's state folder. `settings` is None without a file."""
    if settings is not None and settings.run_dir is not None:
        return settings.run_dir
    return _user_folder("state", environ, Path(environ.get("HOME") or Path.home())) / "runs"


def claims_file(environ: Mapping[str, str]) -> Path:
    """Where all runs of this user meet, wherever their folders are."""
    return _user_folder("state", environ, Path(environ.get("HOME") or Path.home())) / "claims.db"


def limits_file(environ: Mapping[str, str]) -> Path:
    """Where limits that gateways taught are remembered for the next run."""
    return claims_file(environ).with_name("limits.json")


def times_file(environ: Mapping[str, str]) -> Path:
    """Where the times of stops and starts are remembered for the next plan."""
    return claims_file(environ).with_name("times.json")


def _parse(file: TextFile) -> FileTables:
    problems, tables, raw = [], None, {}
    try:
        raw = tomllib.loads(file.text)
    except tomllib.TOMLDecodeError as error:
        problems = [f"not TOML: {error.args[0]}"]
    except RecursionError:
        problems = ["not TOML: nested too deeply"]
    if not problems:
        try:
            tables = FileTables.model_validate(raw)
        except ValidationError as error:
            problems = complaints(error, raw)
        problems += _inconsistencies(raw)
    if problems or tables is None:  # raised out here, where no error that knows the file's text is attached
        raise UsageError(at_most([f"{file.where}: {problem}" for problem in problems], f"{file.where}: "))
    if any(holds_secrets(table) for table in (*tables.credentials.values(), *tables.metrics.values())):
        file.require_private()
    return tables


def _inconsistencies(raw: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong between tables, whatever is wrong within them."""
    listed = raw.get("scope")
    seen: set[str] = set()
    for number, scope in enumerate(listed if isinstance(listed, list) else ()):
        name = scope.get("name") if isinstance(scope, dict) else None
        if not isinstance(name, str):
            continue
        if name in seen:
            yield f"scope[{number}].name: {clean(name)} is taken by an earlier scope; names must differ"
        seen.add(name)
        for key in ("credentials", "metrics"):
            tables, wanted = raw.get(key, {}), scope.get(key)
            if isinstance(tables, dict) and isinstance(wanted, str) and wanted not in tables:
                hint = unknown_key(wanted, [*tables], "table") if tables else f"no [{key}.NAME] table"
                yield f"scope[{number}].{key}: {hint} (scope {clean(name)})"


def _without_file(around: Surroundings, cwd: Path) -> Settings:
    """The one scope "default" that the environment describes."""
    region = around.environ.get("HW_REGION_NAME", "")
    project_id = _project_of(around)
    if not (region and project_id):
        raise UsageError(_no_scope(around, cwd, region))
    for value, kind, variable in ((region, Region, "HW_REGION_NAME"), (project_id, ProjectId, "project id")):
        problem = _problem(value, kind)
        if problem:
            raise UsageError(f"scope default, from the environment: {variable}: {problem}")
    table = ScopeTable(name="default", region=region, project_id=project_id)
    return Settings(
        source=None,
        run_dir=None,
        names=(table.name,),
        _where="environment",
        _tables=FileTables(scope=(table,)),
        _around=around,
    )


def _project_of(around: Surroundings) -> str:
    """The project id beside the keys, else from the variables alone."""
    found = from_chain(around)
    named = (around.environ.get(name, "") for name in ("HUAWEICLOUD_SDK_PROJECT_ID", "HW_PROJECT_ID"))
    return next(filter(None, (found.project_id if found else "", *named)), "")


def _no_scope(around: Surroundings, cwd: Path, region: str) -> str:
    own = _user_folder("config", around.environ, around.home) / CONFIG
    lacking = (
        "the project's id (HUAWEICLOUD_SDK_PROJECT_ID or HW_PROJECT_ID; a name is not enough)"
        if region
        else "HW_REGION_NAME"
    )
    return (
        f"no configuration: neither {cwd / CONFIG} nor {own} exists, and the environment lacks {lacking}; "
        f"write one of them:{_EXAMPLE}"
    )


def _problem(value: str, kind: Any) -> str:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        return error.errors(include_input=False, include_url=False, include_context=False)[0]["msg"]
    return ""


def _vendor_origin(service: str, region: str) -> str:
    domain = "myhuaweicloud.eu" if region == "eu-west-101" else "myhuaweicloud.com"
    return f"https://{service}.{region}.{domain}"


def _resolve(text: str, source: Path | None, home: Path) -> Path:
    """A path from the file: ~ is home, anything relative starts beside the file."""
    if text == "~" or text.startswith("~/"):
        return home / text[2:]
    return (source.parent if source is not None else home) / text


def _user_folder(kind: str, environ: Mapping[str, str], home: Path) -> Path:
    """platformdirs' folder, with the given environment and home instead of the process's own."""
    named = environ.get(f"XDG_{kind.upper()}_HOME", "")
    if Path(named).is_absolute():
        return Path(named) / APP
    folder = platformdirs.user_config_path(APP) if kind == "config" else platformdirs.user_state_path(APP)
    return home / folder.relative_to(Path.home()) if folder.is_relative_to(Path.home()) else folder
