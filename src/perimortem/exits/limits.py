"""The text of /proc/PID/limits: "Max cpu time  1  2  seconds" (proc_pid_limits(5)). Pure."""

from __future__ import annotations


def parse_limit(limits: str, name: str, *, is_hard: bool) -> int | None:
    """By its name there ("Max cpu time"), in its unit; None: there is none."""
    for line in limits.splitlines():
        if line.startswith(name):
            words = line[len(name) :].split()
            value = words[is_hard] if len(words) > 1 else ""
            return int(value) if value.isdecimal() else None
    return None
