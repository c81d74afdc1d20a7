"""Waits for monitors of Java (``synchronized``): read without stopping anything."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace
from functools import partial

assert sys.platform == "linux"

from perimortem.examine.runtimes.linux.live_memory import LiveMemory
from perimortem.examine.runtimes.linux.tids import local_tids
from perimortem.model.wait_graph import GraphThread, Wait, WaitGraph, WaitsFor
from perimortem.procfs.slices import read_slices
from perimortem.procfs.threads import list_threads

_LIBRARY = "libjvm.so"


def add_java_monitors(graph: WaitGraph) -> WaitGraph:
    """The waits of Java threads for a monitor, with its owner where that is known."""
    by_pid: dict[int, list[int]] = defaultdict(list)
    for thread in graph.threads.values():
        if thread.wait is not None and thread.wait.key[:1] == ("futex",):
            by_pid[thread.pid].append(thread.tid)
    threads = dict(graph.threads)
    for pid, tids in by_pid.items():
        for tid, monitor in _read_waits(pid, tids).items():
            threads[tid] = _add_monitor(threads[tid], *monitor, threads)
    return replace(graph, threads=threads)


def _add_monitor(
    thread: GraphThread, monitor: int, owner: int, threads: dict[int, GraphThread]
) -> GraphThread:
    """A thread that has run since the graph was drawn may wait for something else by now."""
    if owner not in threads or read_slices(thread.pid, thread.tid) != thread.slices:
        return thread
    wait = Wait(
        WaitsFor.LOCK,
        f"Java monitor {monitor:#x}, held by {owner} ({threads[owner].name})",
        ("java-monitor", monitor, owner),
        frozenset({owner}),
        retries=True,
    )
    return replace(thread, wait=wait)


def _read_waits(pid: int, tids: list[int]) -> dict[int, tuple[int, int]]:
    """(monitor, thread that owns it), by waiting thread (tid)."""
    from perimortem.analysis.java_monitors import find_java_monitors

    try:
        with LiveMemory(pid) as memory:
            if not memory.has_file(_LIBRARY):
                return {}
            find = partial(_find_variable, memory)
            found = find_java_monitors(memory.read, find)
    except OSError:
        return {}
    waiting = local_tids(pid, tids)
    everyone = local_tids(pid, list_threads(pid))
    return {
        waiting[number]: (monitor.address, everyone[monitor.owner_tid])
        for number, monitor in found.items()
        if number in waiting and monitor.owner_tid in everyone and monitor.owner_tid != number
    }


def _find_variable(memory: LiveMemory, name: str) -> int | None:
    place = memory.find_symbol(_LIBRARY, name)
    return place.start if place is not None else None
