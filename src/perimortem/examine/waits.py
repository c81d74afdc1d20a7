"""What processes wait for, and the deadlocks and suspicions that two looks agree on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from perimortem.analysis.liveness import find_deadlocks, is_same
from perimortem.analysis.suspicions import Suspicion, find_suspicions
from perimortem.examine.runtimes import add_runtime_locks, add_runtime_places
from perimortem.model.wait_graph import Deadlock, GraphTask, WaitGraph
from perimortem.waiting import collect_graph

_BETWEEN_LOOKS_S = 0.1
_PATIENCE_S = 6
"""For what other tools read of the processes: one of them may take ten seconds. Arbitrary."""


@dataclass(frozen=True)
class ExaminedWaits:
    """What was found in ``graph``."""

    graph: WaitGraph
    deadlocks: tuple[Deadlock, ...]
    suspicions: tuple[Suspicion, ...]
    tasks: tuple[GraphTask, ...]
    """Those that wait for a lock."""


def examine_waits(pids: Iterable[int]) -> ExaminedWaits:
    """Looks twice, 0.1 s apart, if anything seems stuck. Raises PerimortemError where it cannot look."""
    until_s = time.monotonic() + _PATIENCE_S
    first, deadlocks, suspicions = _look(pids, until_s)
    tasks = {(task.pid, task.key) for task in first.tasks if task.waits_for_lock}
    if not deadlocks and not suspicions and not tasks:
        return ExaminedWaits(first, (), (), ())
    time.sleep(_BETWEEN_LOOKS_S)
    second, found, suspected = _look(first.processes, until_s)

    before = {deadlock.circle: deadlock.waiting for deadlock in deadlocks}
    suspected_before = {(grade, one.circle): one.waiting for grade, one in suspicions}

    def confirm(deadlock: Deadlock, waiting: tuple[int, ...] | None) -> Deadlock | None:
        """Without those that have come to wait for it since then; None if it is not the same."""
        if waiting is None or not is_same(first, second, deadlock.circle):
            return None
        return replace(deadlock, waiting=tuple(t for t in deadlock.waiting if t in waiting))

    sure = [c for one in found if (c := confirm(one, before.get(one.circle))) is not None]
    unsure = [
        (grade, c)
        for grade, one in suspected
        if (c := confirm(one, suspected_before.get((grade, one.circle)))) is not None
    ]
    stuck = {tid for deadlock in (*sure, *(one for _, one in unsure)) for tid in deadlock.circle}
    return ExaminedWaits(
        add_runtime_places(second, stuck, until_s),
        tuple(sure),
        tuple(unsure),
        tuple(task for task in second.tasks if (task.pid, task.key) in tasks),
    )


def _look(pids: Iterable[int], until_s: float) -> tuple[WaitGraph, list[Deadlock], list[Suspicion]]:
    graph = add_runtime_locks(collect_graph(pids), until_s)
    deadlocks = find_deadlocks(graph)
    return graph, deadlocks, find_suspicions(graph, deadlocks)
