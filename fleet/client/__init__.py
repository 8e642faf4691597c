"""The only place that knows HTTP. `connect` gives a `ModelArts` for each scope; the rest serves these two."""

from fleet.client.api import ModelArts
from fleet.client.connect import connect

__all__ = ["ModelArts", "connect"]
