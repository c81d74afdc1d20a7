"""Waits for Python's GIL: read without stopping anything.

A thread waits for it 5 ms at a time, again and again (take_gil in ceval_gil.c of CPython 3.11 to 3.14),
on a condition that lies within the runtime's own structure. Who holds it, pystack says.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import replace

assert sys.platform == "linux"

from perimortem.examine.runtimes.linux.live_memory import LiveMemory
from perimortem.examine.runtimes.linux.tids import local_tids
from perimortem.model.wait_graph import GraphThread, Wait, WaitsFor

_RUNTIME = "_PyRuntime"


def find_gil(
    memory: LiveMemory, threads: dict[int, GraphThread], until_s: float
) -> dict[int, GraphThread]:
    """The threads that wait for the GIL, with its holder.

    ``until_s``: by the monotonic clock; later nothing is asked of pystack, which may take long."""
    waiting = _list_waiting(memory, threads)
    holder = threads.get(_find_holder(memory.pid, threads, until_s) or 0) if waiting else None
    if holder is None or holder.tid in waiting:
        return {}
    text = f"Python's GIL, held by {holder.tid} ({holder.name})"
    # That of a holder that waits is another one if it has run meanwhile.
    key = ("gil", memory.pid, holder.tid, holder.slices if holder.wait is not None else -1)
    wait = Wait(WaitsFor.LOCK, text, key, frozenset({holder.tid}), retries=True)
    return {tid: replace(threads[tid], wait=wait) for tid in waiting}


def _list_waiting(memory: LiveMemory, threads: dict[int, GraphThread]) -> set[int]:
    """Those whose futex, with a time limit, lies within the runtime's structure."""
    addresses = {
        tid: thread.wait.key[1]
        for tid, thread in threads.items()
        if thread.wait is not None and thread.wait.key[:1] == ("futex",) and thread.wait.outside
    }
    if not addresses:
        return set()
    place = memory.find_symbol("libpython", _RUNTIME) or memory.find_symbol("python", _RUNTIME)
    return {tid for tid, address in addresses.items() if place is not None and address in place}


def _find_holder(pid: int, tids: Iterable[int], until_s: float) -> int | None:
    # The monitor loads this module, and leaves the work to a child.
    from perimortem.examine.python_frames import NoPythonFrames, read_live

    try:
        found = read_live(pid) if time.monotonic() < until_s else []
    except NoPythonFrames:
        return None
    # An interpreter may have a GIL to itself: with several holders it is not known whose is whose.
    holders = [thread.tid for thread in found if thread.holds_gil]
    return local_tids(pid, tids).get(holders[0]) if len(holders) == 1 else None
