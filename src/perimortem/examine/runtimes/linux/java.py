"""Waits for locks of Java, ``synchronized`` and others: read without stopping anything."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

assert sys.platform == "linux"

from perimortem.examine.runtimes.linux.live_memory import LiveMemory
from perimortem.examine.runtimes.linux.tids import local_tids
from perimortem.model.wait_graph import GraphThread, Wait, WaitsFor
from perimortem.procfs.slices import read_slices

_LIBRARY = "libjvm.so"


def find_java_waits(memory: LiveMemory, threads: dict[int, GraphThread]) -> dict[int, GraphThread]:
    """The threads that wait for a monitor or a lock whose owner is known."""
    if not memory.has_file(_LIBRARY):
        return {}
    # The monitor loads this module, and leaves the work to a child.
    from perimortem.analysis.hotspot import read_hotspot
    from perimortem.analysis.java_locks import find_java_locks
    from perimortem.analysis.java_monitors import find_java_monitors

    hotspot = read_hotspot(memory.read, partial(_find_variable, memory))
    if hotspot is None:
        return {}
    tids = local_tids(memory.pid, threads)
    found = {}
    for number, monitor in find_java_monitors(hotspot).items():
        owner = tids.get(monitor.owner_tid or 0)
        if number in tids and owner is not None and owner != tids[number]:
            thread = threads[tids[number]]
            found[thread.tid] = _add_monitor(thread, monitor.address, threads[owner])
    for number, lock in find_java_locks(hotspot).items():
        owner = tids.get(lock.owner_tid)
        if number in tids and owner is not None and owner != tids[number]:
            thread = threads[tids[number]]
            found[thread.tid] = _add_lock(thread, lock.name, threads[owner])
    return found


def _add_monitor(thread: GraphThread, monitor: int, owner: GraphThread) -> GraphThread:
    if _has_moved_on(thread):
        return thread
    wait = Wait(
        WaitsFor.LOCK,
        f"Java monitor {monitor:#x}, held by {owner.tid} ({owner.name})",
        ("java-monitor", monitor, owner.tid),
        frozenset({owner.tid}),
        retries=True,
    )
    return replace(thread, wait=wait)


def _add_lock(thread: GraphThread, lock: str, owner: GraphThread) -> GraphThread:
    """Assumed, as another thread may interrupt the wait for some of these locks. It is not named by its
    address, which a collector may change at any time."""
    if thread.wait is None or _has_moved_on(thread):
        return thread
    wait = replace(
        thread.wait,
        text=f"a {lock}, held by {owner.tid} ({owner.name})",
        key=(*thread.wait.key, "java-lock", owner.tid),
        assumed_holder=owner.tid,
    )
    return replace(thread, wait=wait)


def _has_moved_on(thread: GraphThread) -> bool:
    """A thread that has run since the graph was drawn may wait for something else by now."""
    is_futex = thread.wait is not None and thread.wait.key[:1] == ("futex",)
    return not is_futex or read_slices(thread.pid, thread.tid) != thread.slices


def _find_variable(memory: LiveMemory, name: str) -> int | None:
    place = memory.find_symbol(_LIBRARY, name)
    return place.start if place is not None else None
