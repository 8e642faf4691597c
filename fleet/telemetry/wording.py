"""How both views put a snapshot into words."""

from __future__ import annotations

from fleet.core.duration import duration
from fleet.telemetry.progress import Snapshot


def outcomes(snapshot: Snapshot) -> str:
    """The outcomes so far, such as "58 changed, 2 failed"."""
    return ", ".join(f"{count} {outcome}" for outcome, count in snapshot.outcomes.items()) or "none ended yet"


def activity(snapshot: Snapshot) -> str:
    """What goes on at the moment."""
    parts = [f"{snapshot.under_way} under way", f"{snapshot.away} away"]
    if snapshot.debts:
        parts.append(f"{snapshot.debts} not brought back")
    return ", ".join([*parts, f"{snapshot.calls_per_second:.1f} calls/s"])


def place(snapshot: Snapshot) -> str:
    """The wave that was started last."""
    wave = snapshot.wave
    return f"wave {wave.number}/{len(snapshot.waves)}" if wave else "starting"


def remaining(snapshot: Snapshot) -> str:
    """The estimate, or how the run ended."""
    return str(snapshot.end) if snapshot.left is None else f"about {duration(snapshot.left)} left"
