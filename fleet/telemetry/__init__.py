"""What a person sees of a run while it goes on: log lines and progress. Events are the truth."""

from fleet.telemetry.log import Redactor, configure_logging
from fleet.telemetry.observer import LogObserver
from fleet.telemetry.progress import Progress, Snapshot
from fleet.telemetry.view import ProgressView, progress_view

__all__ = [
    "LogObserver",
    "Progress",
    "ProgressView",
    "Redactor",
    "Snapshot",
    "configure_logging",
    "progress_view",
]
