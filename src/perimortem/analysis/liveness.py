"""Which threads can ever continue? A least fixed point over the graph of waits. Pure.

A thread is live if it runs, if something outside may end its wait, or if its wakers are live: one of
them, or all where all are needed. What is left is deadlocked. Everything that is not known counts as
something outside: a gap in knowledge never makes a deadlock.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable

from perimortem.model.wait_graph import IDLE, Deadlock, GraphThread, Wait, WaitGraph, WaitsFor

_SIGINT = 2
_ENDS = frozenset({1, 3, 15})
"""SIGHUP, SIGQUIT, SIGTERM."""
_NEVER_SENT = frozenset({2, 4, 5, 6, 7, 8, 11, 13, 24, 25, 26, 27, 28, 31, 32, 33, 34})
"""SIGINT is judged apart; SIGWINCH comes from a terminal; SIGILL, TRAP, ABRT, BUS, FPE, SEGV, SYS, PIPE,
XCPU, XFSZ, VTALRM and PROF from what the process itself does; 32 to 34 are the C library's."""
_ALL = frozenset(range(65))
_HELD_BY = frozenset({WaitsFor.LOCK, WaitsFor.THREAD})
"""The holder is known."""


def _find_harmless(wait: Wait) -> frozenset[int]:
    """Signals whose handlers do not end such a wait.

    No handler releases a lock that another thread holds. Those of signals that ask a program to end
    would make every server live; but they do end a rest (``stop.wait()``)."""
    if wait.what in _HELD_BY and not wait.is_interruptible:
        return _ALL
    return _NEVER_SENT if wait.what in IDLE else _NEVER_SENT | _ENDS


def find_deadlocks(graph: WaitGraph) -> list[Deadlock]:
    """Each with the threads that wait for it; the largest circle first."""
    edges = _draw(graph, find_stuck(graph))
    waited_by: dict[int, set[int]] = defaultdict(set)
    for node, following in edges.items():
        for other in following:
            waited_by[other].add(node)
    found = []
    for component in _find_components(edges):
        circle = [node for node in component if node > 0]
        if not circle or not _is_closed(component, edges):
            continue
        waiting = {node for node in _reach(component, waited_by) if node > 0} - set(circle)
        found.append(Deadlock(tuple(sorted(circle)), tuple(sorted(waiting))))
    return sorted(found, key=lambda deadlock: (-len(deadlock.circle), deadlock.circle))


def find_stuck(graph: WaitGraph) -> frozenset[int]:
    """The threads (tids) that nothing will ever wake."""
    missing: dict[frozenset[int], set[int]] = {}
    """Of each set of wakers those that have yet to turn out live. Thousands of threads may share it."""
    sets_of: dict[int, list[frozenset[int]]] = defaultdict(list)
    one: dict[frozenset[int], list[int]] = defaultdict(list)
    all_needed: dict[frozenset[int], list[int]] = defaultdict(list)
    live: deque[int] = deque()
    stuck = set(graph.threads)
    for thread in graph.threads.values():
        wakers = _wakers(thread)
        if _is_live(graph, thread):
            live.append(thread.tid)
            continue
        assert thread.wait is not None
        (all_needed if thread.wait.needs_all else one)[wakers].append(thread.tid)
        if wakers not in missing:
            missing[wakers] = set(wakers)
            for waker in wakers:
                sets_of[waker].append(wakers)
    while live:
        tid = live.popleft()
        if tid not in stuck:
            continue
        stuck.remove(tid)
        for wakers in sets_of.pop(tid, ()):
            missing[wakers].discard(tid)
            live.extend(one.pop(wakers, ()))
            if not missing[wakers]:
                live.extend(all_needed.pop(wakers, ()))
    return frozenset(stuck)


def _is_live(graph: WaitGraph, thread: GraphThread) -> bool:
    wakers = _wakers(thread)
    needs_none = thread.wait is not None and thread.wait.needs_all and not wakers
    return needs_none or can_continue(graph, thread) or not wakers <= graph.threads.keys()


def _draw(graph: WaitGraph, stuck: frozenset[int]) -> dict[int, list[int]]:
    """What each stuck thread waits for: a thread, or a set of them, which has a negative number."""
    numbers: dict[frozenset[int], int] = {}
    edges: dict[int, list[int]] = {}
    for tid in sorted(stuck):
        wakers = _wakers(graph.threads[tid])
        if len(wakers) <= 1:
            edges[tid] = sorted(wakers & stuck)
            continue
        if wakers not in numbers:
            numbers[wakers] = -len(numbers) - 1
            edges[numbers[wakers]] = sorted(wakers & stuck)
        edges[tid] = [numbers[wakers]]
    return edges


def can_continue(graph: WaitGraph, thread: GraphThread) -> bool:
    """By itself, or by something outside."""
    wait = thread.wait
    if wait is None or wait.outside:
        return True
    process = graph.processes[thread.pid]
    if process.timer or (process.caught - _find_harmless(wait)):
        return True
    if _SIGINT in process.caught and _may_be_interrupted(graph, thread, wait):
        return True
    if wait.ends_by_death:
        pids = {graph.threads[tid].pid for tid in wait.wakers if tid in graph.threads}
        return any(graph.processes[pid].timer for pid in pids)
    return False


def _may_be_interrupted(graph: WaitGraph, thread: GraphThread, wait: Wait) -> bool:
    """It rests until Ctrl-C: by a handler that it has itself, or alone with its runtime's."""
    if wait.what not in IDLE:
        return False
    if not graph.processes[thread.pid].is_interrupted_by_runtime:
        return True
    if any(graph.threads[tid].pid != thread.pid for tid in wait.wakers if tid in graph.threads):
        return False
    return wait.what is WaitsFor.DESCRIPTOR or wait.wakers <= {thread.tid}


def is_same(first: WaitGraph, second: WaitGraph, tids: Iterable[int]) -> bool:
    """These threads wait in both for the same, and did not run in between, but to wait again."""
    return all(
        tid in first.threads
        and tid in second.threads
        and _state(first.threads[tid]) == _state(second.threads[tid])
        for tid in tids
    )


def _state(thread: GraphThread) -> tuple[object, ...]:
    retries = thread.wait is not None and thread.wait.retries
    return (thread.pid, thread.wait, None if retries else thread.slices)


def _wakers(thread: GraphThread) -> frozenset[int]:
    return thread.wait.wakers if thread.wait is not None else frozenset()


def _is_closed(component: list[int], edges: dict[int, list[int]]) -> bool:
    """Its threads wait for each other alone, or for no thread that lives."""
    members = set(component)
    return all(members.issuperset(edges[tid]) for tid in component)


def _reach(start: Iterable[int], edges: dict[int, set[int]]) -> set[int]:
    seen = set(start)
    waiting = list(seen)
    while waiting:
        for tid in edges.get(waiting.pop(), ()):
            if tid not in seen:
                seen.add(tid)
                waiting.append(tid)
    return seen


def _find_components(edges: dict[int, list[int]]) -> list[list[int]]:
    """Strongly connected components (Tarjan), without recursion."""
    number: dict[int, int] = {}
    lowest: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found = []
    for root, first in edges.items():
        if root in number:
            continue
        path = [(root, iter(first))]
        number[root] = lowest[root] = len(number)
        stack.append(root)
        on_stack.add(root)
        while path:
            tid, following = path[-1]
            for waker in following:
                if waker not in number:
                    number[waker] = lowest[waker] = len(number)
                    stack.append(waker)
                    on_stack.add(waker)
                    path.append((waker, iter(edges[waker])))
                    break
                if waker in on_stack:
                    lowest[tid] = min(lowest[tid], number[waker])
            else:
                path.pop()
                if path:
                    lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[tid])
                if lowest[tid] == number[tid]:
                    at = stack.index(tid)
                    found.append(stack[at:])
                    on_stack.difference_update(stack[at:])
                    del stack[at:]
    return found
