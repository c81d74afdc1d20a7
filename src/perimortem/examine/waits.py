"""What processes wait for, and the deadlocks that two looks agree on."""

from __future__ import annotations

import time
from collections.abc import Iterable

from perimortem.analysis.liveness import find_deadlocks, is_same
from perimortem.model.wait_graph import Deadlock, WaitGraph
from perimortem.waiting import collect_graph

_BETWEEN_LOOKS_S = 0.1


def examine_waits(pids: Iterable[int]) -> tuple[WaitGraph, list[Deadlock]]:
    """Looks twice, 0.1 s apart, if anything seems stuck. Raises PerimortemError where it cannot look."""
    graph = collect_graph(pids)
    found = find_deadlocks(graph)
    if not found:
        return graph, []
    time.sleep(_BETWEEN_LOOKS_S)
    second = collect_graph(graph.processes)
    confirmed = [
        deadlock
        for deadlock in find_deadlocks(second)
        if deadlock in found and is_same(graph, second, (*deadlock.circle, *deadlock.waiting))
    ]
    return second, confirmed
