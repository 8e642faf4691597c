"""Where we work and as whom: `fleet.toml`, the environment and the vendor's profile file, as plain values."""

from fleet.settings.credentials import secret_values
from fleet.settings.load import (
    Settings,
    UnknownScope,
    claims_file,
    find_config,
    limits_file,
    load_settings,
    state_dir,
    times_file,
)

__all__ = [
    "Settings",
    "UnknownScope",
    "claims_file",
    "find_config",
    "limits_file",
    "load_settings",
    "secret_values",
    "state_dir",
    "times_file",
]
