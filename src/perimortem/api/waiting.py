"""What processes wait for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perimortem.documents.waits import Waits

_BETWEEN_LOOKS_S = 0.1


def waits(*pids: int, tree: bool = False) -> Waits:
    """What each thread of the processes ``pids`` waits for, who can end that, and their deadlocks.

    ``tree``: also all that descend from them. Looks twice, 0.1 s apart, if anything seems stuck: a
    deadlock is in both. Raises PerimortemError.

    >>> perimortem.waits(4711).deadlocks
    []
    """
    from perimortem.analysis.liveness import find_deadlocks, is_same
    from perimortem.proc import find_process
    from perimortem.report.waits import render_waits
    from perimortem.waiting import collect_graph

    for pid in pids:
        find_process(pid)
    graph = collect_graph(_with_descendants(pids) if tree else pids)
    deadlocks = find_deadlocks(graph)
    if deadlocks:
        time.sleep(_BETWEEN_LOOKS_S)
        second = collect_graph(graph.processes)
        confirmed = find_deadlocks(second)
        deadlocks = [
            deadlock
            for deadlock in confirmed
            if deadlock in deadlocks
            and is_same(graph, second, (*deadlock.circle, *deadlock.waiting))
        ]
        graph = second
    return render_waits(graph, deadlocks)


def _with_descendants(pids: tuple[int, ...]) -> list[int]:
    from perimortem.proc import list_children

    found = list(pids)
    for pid in found:
        found += [child for _, child in list_children([pid]) if child not in found]
    return found
