"""notebook-fleet: change many ModelArts notebooks safely."""

from importlib.metadata import version

__version__ = version("notebook-fleet")
