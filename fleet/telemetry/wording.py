"""How both views put a snapshot into words."""

from __future__ import annotations

from fleet.core.duration import duration
from fleet.core.scheduling.readiness import second
from fleet.telemetry.snapshot import Snapshot


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
    """The estimate and what is waited for, or how the run ended."""
    return "; ".join(filter(None, (work(snapshot), waits(snapshot))))


def work(snapshot: Snapshot) -> str:
    """The estimate without what is waited for, or how the run ended."""
    if snapshot.work is None:
        return str(snapshot.end)
    return f"about {duration(snapshot.work)} {'of work ' if waits(snapshot) else ''}left"


def waits(snapshot: Snapshot) -> str:
    """Until when the run waits besides its work; empty if it does not."""
    parts = []
    if snapshot.waits_until is not None:
        parts.append(f"waits until {second(snapshot.waits_until)} at the latest")
    if snapshot.waits_later:
        parts.append(f"later waves wait up to {duration(snapshot.waits_later)}")
    return "; ".join(parts)
