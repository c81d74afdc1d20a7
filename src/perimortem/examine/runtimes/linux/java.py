"""Waits for monitors of Java (``synchronized``): read without stopping anything."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

assert sys.platform == "linux"

from perimortem.examine.runtimes.linux.live_memory import LiveMemory
from perimortem.examine.runtimes.linux.tids import local_tids
from perimortem.model.wait_graph import GraphThread, Wait, WaitsFor
from perimortem.procfs.slices import read_slices

_LIBRARY = "libjvm.so"


def find_java_waits(memory: LiveMemory, threads: dict[int, GraphThread]) -> dict[int, GraphThread]:
    """The threads that wait for a monitor whose owner is known."""
    waits = _read_waits(memory, threads) if memory.has_file(_LIBRARY) else {}
    return {
        tid: _add_monitor(threads[tid], monitor, owner, threads)
        for tid, (monitor, owner) in waits.items()
        if (wait := threads[tid].wait) is not None and wait.key[:1] == ("futex",)
    }


def _add_monitor(
    thread: GraphThread, monitor: int, owner: int, threads: dict[int, GraphThread]
) -> GraphThread:
    """A thread that has run since the graph was drawn may wait for something else by now."""
    if read_slices(thread.pid, thread.tid) != thread.slices:
        return thread
    wait = Wait(
        WaitsFor.LOCK,
        f"Java monitor {monitor:#x}, held by {owner} ({threads[owner].name})",
        ("java-monitor", monitor, owner),
        frozenset({owner}),
        retries=True,
    )
    return replace(thread, wait=wait)


def _read_waits(memory: LiveMemory, tids: Iterable[int]) -> dict[int, tuple[int, int]]:
    """(monitor, thread that owns it), by waiting thread (tid)."""
    # The monitor loads this module, and leaves the work to a child.
    from perimortem.analysis.java_monitors import find_java_monitors

    found = find_java_monitors(memory.read, partial(_find_variable, memory))
    numbers = local_tids(memory.pid, tids) if found else {}
    return {
        numbers[number]: (monitor.address, numbers[monitor.owner_tid])
        for number, monitor in found.items()
        if number in numbers and monitor.owner_tid in numbers and monitor.owner_tid != number
    }


def _find_variable(memory: LiveMemory, name: str) -> int | None:
    place = memory.find_symbol(_LIBRARY, name)
    return place.start if place is not None else None
