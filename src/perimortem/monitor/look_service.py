"""The service that looks at what processes wait for: it may take long, or never be answered.

One request, a line with pids, is answered with a line: the threads that do not continue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from perimortem.errors import PerimortemError
from perimortem.examine.waits import examine_waits
from perimortem.model.stuck import Grade, StuckThreads
from perimortem.model.wait_graph import Deadlock, WaitGraph, WaitsFor
from perimortem.report.waits import describe_circle, describe_suspicion


def serve(_settings: object, lines: Iterator[bytes], send: Callable[[bytes], None]) -> None:
    for line in lines:
        pids = msgspec.json.decode(line, type=list[int])
        send(msgspec.json.encode(_find(pids)) + b"\n")


def _find(pids: list[int]) -> list[StuckThreads]:
    try:
        found = examine_waits(pids)
    except PerimortemError:
        return []
    graph = found.graph
    return [
        *(
            _make(graph, Grade.PROVEN, deadlock, describe_circle(graph, deadlock))
            for deadlock in found.deadlocks
        ),
        *(
            _make(graph, grade, deadlock, describe_suspicion(graph, grade, deadlock))
            for grade, deadlock in found.suspicions
        ),
    ]


def _make(graph: WaitGraph, grade: Grade, deadlock: Deadlock, text: str) -> StuckThreads:
    waits_for_child = {
        thread.pid: thread.wait is not None and thread.wait.what is WaitsFor.CHILD
        for thread in (graph.threads[tid] for tid in deadlock.circle)
    }
    pids = sorted(waits_for_child, key=lambda pid: (waits_for_child[pid], pid))
    return StuckThreads(grade, text, frozenset(deadlock.circle), tuple(pids))
