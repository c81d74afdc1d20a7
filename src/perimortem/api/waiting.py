"""What processes wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perimortem.api.descendants import list_descendants

if TYPE_CHECKING:
    from perimortem.documents.waits import Waits


def waits(*pids: int, tree: bool = False) -> Waits:
    """What each thread of the processes ``pids`` waits for, who can end that, and their deadlocks.

    ``tree``: also all that descend from them. Looks twice, 0.1 s apart, if anything seems stuck: a
    deadlock is in both. Raises PerimortemError.

    >>> perimortem.waits(4711).deadlocks
    []
    """
    from perimortem.examine.waits import examine_waits
    from perimortem.proc import find_process
    from perimortem.report.waits import render_waits

    for pid in pids:
        find_process(pid)
    found = examine_waits(list_descendants(pids) if tree else pids)
    return render_waits(found.graph, found.deadlocks, found.suspicions)
