"""How long something takes, for people, in the spelling of job files: 7.7s, 5m, 1h30m, 3d."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """`seconds` (at least 0) to a tenth below ten seconds, to a second below an hour, then to a minute; in
    days where they are whole."""
    if seconds < 9.95:
        return f"{round(seconds, 1):g}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return _joined(whole // 60, "m", whole % 60, "s")
    if whole % 86_400 == 0:
        return f"{whole // 86_400}d"
    return _joined(whole // 3600, "h", whole % 3600 // 60, "m")


def exact(seconds: float) -> str:
    """The whole seconds of `seconds`, none left out: 1h59m20s."""
    left, parts = int(seconds), []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def _joined(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large}{unit}{small}{smaller}" if small else f"{large}{unit}"
