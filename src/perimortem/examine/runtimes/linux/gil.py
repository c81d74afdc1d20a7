"""Waits for Python's GIL: read without stopping anything.

A thread waits for it 5 ms at a time, again and again (take_gil in ceval_gil.c of CPython 3.11 to 3.14),
on a condition that lies within the runtime's own structure. Who holds it, pystack says.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace

assert sys.platform == "linux"

from perimortem.examine.runtimes.linux.live_memory import LiveMemory
from perimortem.examine.runtimes.linux.tids import local_tids
from perimortem.model.wait_graph import Wait, WaitGraph, WaitsFor
from perimortem.procfs.threads import list_threads

_RUNTIME = "_PyRuntime"


def add_gil(graph: WaitGraph) -> WaitGraph:
    """The waits of Python threads for the GIL, if its holder waits for something, too.

    Else it is passed on in a moment."""
    by_pid: dict[int, list[int]] = defaultdict(list)
    for thread in graph.threads.values():
        if thread.wait is not None and thread.wait.key[:1] == ("futex",) and thread.wait.outside:
            by_pid[thread.pid].append(thread.tid)
    threads = dict(graph.threads)
    for pid, tids in by_pid.items():
        waiting = _list_waiting(graph, pid, tids)
        holder = threads.get(_find_holder(pid) or 0) if waiting else None
        if holder is None or holder.wait is None or holder.tid in waiting:
            continue
        text = f"Python's GIL, held by {holder.tid} ({holder.name})"
        wakers = frozenset({holder.tid})
        key = ("gil", pid, holder.tid, holder.slices)  # another one if the holder has run
        wait = Wait(WaitsFor.LOCK, text, key, wakers, retries=True)
        threads.update((tid, replace(threads[tid], wait=wait)) for tid in waiting)
    return replace(graph, threads=threads)


def _list_waiting(graph: WaitGraph, pid: int, tids: list[int]) -> set[int]:
    """Those whose futex lies within the runtime's structure."""
    try:
        with LiveMemory(pid) as memory:
            place = memory.find_symbol("libpython", _RUNTIME) or memory.find_symbol(
                "python", _RUNTIME
            )
    except OSError:
        return set()
    if place is None:
        return set()
    addresses = {tid: wait.key[1] for tid in tids if (wait := graph.threads[tid].wait) is not None}
    return {tid for tid, address in addresses.items() if address in place}


def _find_holder(pid: int) -> int | None:
    # The monitor loads this module, and leaves the work to a child.
    from perimortem.examine.python_frames import NoPythonFrames, read_live

    try:
        found = read_live(pid)
    except NoPythonFrames:
        return None
    holder = next((thread.tid for thread in found if thread.holds_gil), None)
    return local_tids(pid, list_threads(pid)).get(holder) if holder is not None else None
