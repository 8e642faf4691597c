"""Who we are in a scope: its own credentials table, else the chain of places where the vendor's tools look.

A place that is filled only half is an error, never a reason to go on as somebody else. Messages name
variables, files and keys, not values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from configparser import Error as IniError
from configparser import RawConfigParser
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from fleet.core.errors import UsageError
from fleet.core.metrics import Metrics, PrometheusMetrics
from fleet.core.scope import AkSkKeys, Credential, PasswordLogin, TokenGiven
from fleet.core.text import clean
from fleet.settings.files import read_text
from fleet.settings.tables import (
    AkSkTable,
    CredentialTable,
    PasswordTable,
    ProfileTable,
    PrometheusTable,
    Table,
    TokenTable,
)

_SDK = (
    "HUAWEICLOUD_SDK_AK",
    "HUAWEICLOUD_SDK_SK",
    "HUAWEICLOUD_SDK_SECURITY_TOKEN",
    "HUAWEICLOUD_SDK_PROJECT_ID",
)
_HW = ("HW_ACCESS_KEY", "HW_SECRET_KEY", "HW_SECURITY_TOKEN", "HW_PROJECT_ID")
_PROFILE_FILE = "HUAWEICLOUD_SDK_CREDENTIALS_FILE"
_INI = ("ak", "sk", "security_token", "project_id")
_VALUES = frozenset({"access_key", "secret_key", "security_token", "user", "domain", "password", "token"})
_HEADER_SAFE = re.compile(r"[!-~]+")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the machine offers: the environment and the home folder."""

    environ: Mapping[str, str] = field(repr=False)
    home: Path

    @property
    def profile_file(self) -> Path:
        """The file of the vendor's SDK."""
        named = self.environ.get(_PROFILE_FILE)
        return Path(named) if named else self.home / ".huaweicloud" / "credentials"

    @property
    def has_profile_file(self) -> bool:
        """Whether to read it; one that was named must be there."""
        return bool(self.environ.get(_PROFILE_FILE)) or os.path.lexists(self.profile_file)


@dataclass(frozen=True, slots=True)
class Found:
    """Keys from the chain, in words where they were found, and the project id of the same place (empty when
    it has none)."""

    keys: AkSkKeys
    source: str
    project_id: str = ""


def credential_of(table: CredentialTable, where: str, around: Surroundings) -> Credential:
    """The credential that a table describes; `where` is the table's place in messages."""
    match table:
        case AkSkTable():
            keys = ("access_key", "secret_key", "security_token")
            access_key, secret_key, security_token = _values(table, keys, where, around)
            return _keys(access_key, secret_key, security_token, where)
        case PasswordTable():
            user, domain, password = _values(table, ("user", "domain", "password"), where, around)
            return PasswordLogin(user=user, domain=domain, password=password)
        case TokenTable():
            (token,) = _values(table, ("token",), where, around)
            return TokenGiven(_header_safe(token, f"{where}.token"))
        case ProfileTable():
            return _profile(table.profile, where, around)


def source_of(table: CredentialTable | PrometheusTable, around: Surroundings) -> str:
    """Where the values of a table that could be read come from, never the values."""
    if isinstance(table, ProfileTable):
        return f"[{clean(table.profile)}] in {clean(str(around.profile_file))}"
    given = {name for name, value in table if value and name.removesuffix("_env") in _VALUES}
    return ", ".join(
        f"{name.removesuffix('_env')} from the variable {clean(getattr(table, name))}"
        if name.endswith("_env")
        else f"{name} as written there"
        for name in type(table).model_fields
        if name in given
    )


def bearer_token(table: PrometheusTable, where: str, around: Surroundings) -> str:
    """The token for a Prometheus server; empty for one that asks for none."""
    (token,) = _values(table, ("token",), where, around)
    return _header_safe(token, f"{where}.token") if token else ""


def from_chain(around: Surroundings) -> Found | None:
    """The first filled place: the SDK's variables, its profile file, the HW_* variables."""
    return (
        _from_environment(_SDK, around)
        or _from_profile_file("basic", around)
        or _from_environment(_HW, around)
    )


def keys_from_chain(around: Surroundings, scope: str) -> Found:
    """The keys for a scope without credentials of its own.

    Raises UsageError with every place looked at when all are empty.
    """
    found = from_chain(around)
    if found is None:
        raise UsageError(
            f"scope {scope}: no credentials; looked at {_SDK[0]} and {_SDK[1]}, at [basic] in "
            f"{around.profile_file}, at {_HW[0]} and {_HW[1]}; set them, or give the scope a "
            f"[credentials.NAME] table"
        )
    return found


def holds_secrets(table: Table) -> bool:
    """Whether the table itself holds a secret rather than the name of a variable."""
    return any(isinstance(value, SecretStr) and value for _, value in table)


def secret_values(credential: Credential, metrics: Metrics | None = None) -> tuple[str, ...]:
    """The strings that must never be shown: those of a scope's credential and of its source of usage."""
    values: tuple[str, ...]
    match credential:
        case AkSkKeys():
            values = (credential.secret_key, credential.security_token)
        case PasswordLogin():
            values = (credential.password,)
        case TokenGiven():
            values = (credential.token,)
    if isinstance(metrics, PrometheusMetrics):
        values += (metrics.token,)
    return tuple(value for value in values if value)


def _profile(section: str, where: str, around: Surroundings) -> AkSkKeys:
    found = _from_profile_file(section, around)
    if found is None:
        raise UsageError(f"{where}: no ak and sk in section [{section}] of {around.profile_file}")
    return found.keys


def _from_environment(names: tuple[str, str, str, str], around: Surroundings) -> Found | None:
    values = [around.environ.get(name, "") for name in names]
    *others, last = names[:3] if values[2] else names[:2]
    return _from_place(values, names, "environment", f"the variables {', '.join(others)} and {last}")


def _from_profile_file(section: str, around: Surroundings) -> Found | None:
    if not around.has_profile_file:
        return None
    path = around.profile_file
    file = read_text(path, str(path))
    file.require_private()
    values = _section(file.text, section, str(path))
    place = f"[{clean(section)}] in {clean(str(path))}"
    return _from_place([values.get(name, "") for name in _INI], _INI, f"{path} [{section}]", place)


def _from_place(values: list[str], names: tuple[str, str, str, str], where: str, source: str) -> Found | None:
    access_key, secret_key, security_token, project_id = values
    if not access_key and not secret_key:
        return None
    if not access_key or not secret_key:
        present, absent = names[:2] if access_key else (names[1], names[0])
        raise UsageError(f"{where}: {present} is set but {absent} is not; set both or neither")
    return Found(_keys(access_key, secret_key, security_token, where), source, project_id)


def _section(text: str, section: str, where: str) -> Mapping[str, str]:
    parser = RawConfigParser(strict=True)
    broken = False
    try:
        parser.read_string(text)
    except IniError:  # its text and fields hold lines of the file
        broken = True
    if broken:
        raise UsageError(f"{where}: not a credentials file; write [basic], then ak = ... and sk = ...")
    return parser[section] if parser.has_section(section) else {}


def _keys(access_key: str, secret_key: str, security_token: str, where: str) -> AkSkKeys:
    return AkSkKeys(
        access_key=_header_safe(access_key, f"{where}: access key"),
        secret_key=_header_safe(secret_key, f"{where}: secret key"),
        security_token=_header_safe(security_token, f"{where}: security token") if security_token else "",
    )


def _header_safe(value: str, what: str) -> str:
    if not _HEADER_SAFE.fullmatch(value):
        raise UsageError(f"{what} holds a space, a line break or a foreign character; copy it again")
    return value


def _values(table: Table, keys: Sequence[str], where: str, around: Surroundings) -> list[str]:
    """The values under `keys`, or from the variables that `*_env` name; empty when neither is given.

    Raises UsageError with every variable that is not set.
    """
    values = [_value(table, key, around) for key in keys]
    lacking = [
        f"{where}.{key}_env: the environment variable {_shown(getattr(table, f'{key}_env'))}is not set"
        for key, value in zip(keys, values, strict=True)
        if value is None
    ]
    if lacking:
        raise UsageError("\n".join(lacking))
    return [value or "" for value in values]


def _value(table: Table, key: str, around: Surroundings) -> str | None:
    """The value, empty when none is given; None for a variable that is not set."""
    inline = getattr(table, key)
    if inline:
        return inline.get_secret_value() if isinstance(inline, SecretStr) else str(inline)
    variable = getattr(table, f"{key}_env")
    return "" if variable is None else around.environ.get(variable) or None


def _shown(variable: str) -> str:
    """A secret put in the place of a name must not be echoed."""
    return f"{variable} " if _VARIABLE.fullmatch(variable) else ""
