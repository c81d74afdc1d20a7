"""Which Java monitor (``synchronized``) each thread waits for, and which thread owns it. Pure.

Source: OpenJDK 17: objectMonitor.hpp (_owner). Folklore: a thread that only inflates a monitor writes an
address on the stack of its owner into _owner.
"""

from __future__ import annotations

from dataclasses import dataclass

from perimortem.analysis.hotspot import HotSpot, JavaThread


@dataclass(frozen=True)
class JavaMonitor:
    """What a thread waits for. ``owner_tid``: the thread that owns it, None if that is not known."""

    address: int
    owner_tid: int | None


def find_java_monitors(hotspot: HotSpot) -> dict[int, JavaMonitor]:
    """By the waiting thread's number (OSThread::_thread_id)."""
    try:
        pending_at = hotspot.of_thread("_current_pending_monitor")
        owner_at = hotspot.fields["ObjectMonitor", "_owner"]
        threads = hotspot.list_threads()
    except KeyError:
        return {}
    found = {}
    for thread in threads:
        monitor = hotspot.read_word(thread.address + pending_at)
        if monitor:
            owner = hotspot.read_word(monitor + owner_at)
            found[thread.tid] = JavaMonitor(monitor, _find_owner(threads, owner) if owner else None)
    return found


def _find_owner(threads: list[JavaThread], owner: int) -> int | None:
    return next((t.tid for t in threads if owner == t.address or owner in t.stack), None)
