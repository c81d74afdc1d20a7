"""What processes wait for, and the deadlocks and suspicions that two looks agree on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from perimortem.analysis.liveness import find_deadlocks, is_same
from perimortem.analysis.suspicions import Suspicion, find_suspicions
from perimortem.examine.runtimes import add_runtime_locks, add_runtime_places
from perimortem.model.wait_graph import Deadlock, WaitGraph
from perimortem.waiting import collect_graph

_BETWEEN_LOOKS_S = 0.1


@dataclass(frozen=True)
class ExaminedWaits:
    """What was found in ``graph``."""

    graph: WaitGraph
    deadlocks: tuple[Deadlock, ...]
    suspicions: tuple[Suspicion, ...]


def examine_waits(pids: Iterable[int]) -> ExaminedWaits:
    """Looks twice, 0.1 s apart, if anything seems stuck. Raises PerimortemError where it cannot look."""
    first, deadlocks, suspicions = _look(pids)
    if not deadlocks and not suspicions:
        return ExaminedWaits(first, (), ())
    time.sleep(_BETWEEN_LOOKS_S)
    second, found, suspected = _look(first.processes)

    def is_confirmed(deadlock: Deadlock) -> bool:
        return is_same(first, second, (*deadlock.circle, *deadlock.waiting))

    sure = [deadlock for deadlock in found if deadlock in deadlocks and is_confirmed(deadlock)]
    unsure = [one for one in suspected if one in suspicions and is_confirmed(one[1])]
    stuck = {tid for deadlock in (*sure, *(one for _, one in unsure)) for tid in deadlock.circle}
    return ExaminedWaits(add_runtime_places(second, stuck), tuple(sure), tuple(unsure))


def _look(pids: Iterable[int]) -> tuple[WaitGraph, list[Deadlock], list[Suspicion]]:
    graph = add_runtime_locks(collect_graph(pids))
    deadlocks = find_deadlocks(graph)
    return graph, deadlocks, find_suspicions(graph, deadlocks)
