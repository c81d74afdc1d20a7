"""The service that looks at what processes wait for: it may take long, or never be answered.

One request, a line with pids, is answered with a line: the threads that do not continue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec

from perimortem.errors import PerimortemError
from perimortem.examine.waits import examine_waits
from perimortem.model.stuck import Grade, LookAnswer, StuckTasks, StuckThread, StuckThreads
from perimortem.model.wait_graph import Deadlock, WaitGraph, WaitsFor
from perimortem.report.waits import (
    describe_circle,
    describe_suspicion,
    group_tasks,
)

_DESCRIBED_MAX = 64
_SUSPICIONS_MAX = 64
"""Of one look; the monitor compares each with what its threads did."""
_TASKS_MAX = 1000
"""Of one place."""


def serve(_settings: object, lines: Iterator[bytes], send: Callable[[bytes], None]) -> None:
    for line in lines:
        pids = msgspec.json.decode(line, type=list[int])
        began_ns = time.process_time_ns()
        found, tasks = _find(pids)
        answer = LookAnswer(tuple(found), tuple(tasks), time.process_time_ns() - began_ns)
        send(msgspec.json.encode(answer) + b"\n")


def _find(pids: list[int]) -> tuple[list[StuckThreads], list[StuckTasks]]:
    try:
        found = examine_waits(pids)
    except PerimortemError:
        return [], []
    graph = found.graph
    threads = [
        *(
            _make(graph, Grade.PROVEN, deadlock, describe_circle(graph, deadlock))
            for deadlock in found.deadlocks
        ),
        *(
            _make(graph, grade, deadlock, describe_suspicion(graph, grade, deadlock))
            for grade, deadlock in found.suspicions[:_SUSPICIONS_MAX]
        ),
    ]
    tasks = [
        StuckTasks(
            group[0].pid,
            group[0].place,
            group[0].text,
            tuple((task.name, task.key) for task in group[:_TASKS_MAX]),
        )
        for group in group_tasks(found.tasks)[:_SUSPICIONS_MAX]
    ]
    return threads, tasks


def _make(graph: WaitGraph, grade: Grade, deadlock: Deadlock, text: str) -> StuckThreads:
    waits_for_child = {
        thread.pid: thread.wait is not None and thread.wait.what is WaitsFor.CHILD
        for thread in (graph.threads[tid] for tid in deadlock.circle)
    }
    pids = sorted(waits_for_child, key=lambda pid: (waits_for_child[pid], pid))
    threads = tuple(
        _describe(graph, tid, deadlock.circle) for tid in _order(graph, deadlock.circle)
    )
    return StuckThreads(grade, text, frozenset(deadlock.circle), tuple(pids), threads)


def _order(graph: WaitGraph, circle: tuple[int, ...]) -> list[int]:
    """Each before the one that it waits for, as far as that is possible; some of very many."""
    ordered = [circle[0]]
    left = dict.fromkeys(circle[1:_DESCRIBED_MAX])
    while left:
        wait = graph.threads[ordered[-1]].wait
        following = sorted(left.keys() & (wait.wakers if wait is not None else frozenset()))
        ordered.append(following[0] if following else next(iter(left)))
        del left[ordered[-1]]
    return ordered


def _describe(graph: WaitGraph, tid: int, circle: tuple[int, ...]) -> StuckThread:
    thread = graph.threads[tid]
    wait = thread.wait
    wakers: frozenset[int] = frozenset()
    if wait is not None:
        assumed = wait.assumed_holder
        wakers = wait.wakers if assumed is None else frozenset({assumed})
    return StuckThread(
        pid=thread.pid,
        tid=tid,
        process=graph.processes[thread.pid].info.name,
        name=thread.name,
        text=wait.text if wait is not None else "",
        place=thread.place,
        waits_for=tuple(sorted(wakers & set(circle)))[:_DESCRIBED_MAX],
    )
