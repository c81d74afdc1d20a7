"""Times, sizes and counts for display. Pure."""

from __future__ import annotations

from datetime import datetime

from perimortem.errors import MalformedInput
from perimortem.model.dump import MinidumpType, Pause


def format_duration(seconds: float) -> str:
    """ "45 ms", "3.2 s", "2 min 14 s", "2 h 14 min", "3 d 4 h"."""
    if seconds < 1:
        return f"{max(0.0, seconds) * 1e3:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    hours = minutes // 60
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def parse_time(text: str) -> datetime:
    """RFC 3339 as this project writes it. Raises MalformedInput for a time that does not exist."""
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise MalformedInput(f"there is no time {text}", why=str(error)) from error


def describe_pause(pause: str, paused_ms: float) -> str:
    """How long the target was paused, and how."""
    if pause == Pause.NONE:
        return "target not stopped"
    how = " (snapshot)" if pause == Pause.SNAPSHOT else ""
    shown = f"{paused_ms:.1f} ms" if paused_ms < 1000 else format_duration(paused_ms / 1e3)
    return f"target paused {shown}{how}"


def warn_of_memory(types: int) -> str:
    """For a dump with all memory; empty for another. ``types``: its MINIDUMP_TYPE."""
    if not types & MinidumpType.WITH_FULL_MEMORY:
        return ""
    return "it holds all memory of the process: passwords, keys and personal data, too"


def format_count(count: int, what: str) -> str:
    """ "1 thread", "20 threads"."""
    return f"{count} {what}" + ("s" if count != 1 else "")


def format_size(size: int) -> str:
    """Bytes in binary units."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError
