"""Waits that are probably a fault, without being one for certain. Pure.

Four kinds (``model.stuck.Grade``): threads that wait for each other if locks are held by those whose
stacks say so; threads that wait for a lock whose holder goes on, or is not known; threads that nothing
but Ctrl-C wakes.
How long they have done so is for the caller to judge: only then is it suspicious.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

from perimortem.analysis.liveness import find_deadlocks, find_stuck
from perimortem.model.stuck import Grade
from perimortem.model.wait_graph import Deadlock, WaitGraph, WaitsFor

_SIGINT = 2

Suspicion = tuple[Grade, Deadlock]


def find_suspicions(graph: WaitGraph, deadlocks: Collection[Deadlock]) -> list[Suspicion]:
    """``deadlocks``: those that are certain. A thread is in one of them at most."""
    known = {tid for deadlock in deadlocks for tid in (*deadlock.circle, *deadlock.waiting)}
    found: list[Suspicion] = []

    def add(grade: Grade, candidates: Collection[Deadlock]) -> None:
        fresh = [deadlock for deadlock in candidates if known.isdisjoint(deadlock.circle)]
        found.extend((grade, deadlock) for deadlock in fresh)
        known.update(tid for deadlock in fresh for tid in (*deadlock.circle, *deadlock.waiting))

    assumed = _assume_holders(graph)
    add(Grade.ASSUMED, find_deadlocks(assumed))
    resting = _without_interrupts(assumed)
    add(Grade.RESTS, find_deadlocks(resting))
    stuck = find_stuck(resting)
    for grade, deadlock in _find_held(assumed, stuck):
        add(grade, [deadlock])
    return found


def _find_held(graph: WaitGraph, stuck: Collection[int]) -> list[Suspicion]:
    """One of those that wait for a lock, with the others that wait for the same one."""
    waiting: dict[tuple[int, str], list[int]] = defaultdict(list)
    for thread in graph.threads.values():
        wait = thread.wait
        if wait is None or wait.what is not WaitsFor.LOCK or wait.outside or thread.tid in stuck:
            continue
        waiting[thread.pid, wait.text].append(thread.tid)
    found = []
    for tids in waiting.values():
        wait = graph.threads[tids[0]].wait
        is_odd = wait is not None and (len(wait.wakers) == 1 or wait.never_rests)
        grade = Grade.LOCK if is_odd else Grade.UNOWNED
        found.append((grade, Deadlock((tids[0],), tuple(tids[1:]))))
    return found


def _assume_holders(graph: WaitGraph) -> WaitGraph:
    threads = {}
    for tid, thread in graph.threads.items():
        wait = thread.wait
        if wait is not None and wait.assumed_holder is not None:
            held = replace(wait, what=WaitsFor.LOCK, wakers=frozenset({wait.assumed_holder}))
            threads[tid] = replace(thread, wait=held)
        else:
            threads[tid] = thread
    return replace(graph, threads=threads)


def _without_interrupts(graph: WaitGraph) -> WaitGraph:
    """As if no Ctrl-C ever came to a runtime that waits for it, as Python's does."""
    processes = {
        pid: replace(process, caught=process.caught - {_SIGINT})
        if process.is_interrupted_by_runtime
        else process
        for pid, process in graph.processes.items()
    }
    return replace(graph, processes=processes)
