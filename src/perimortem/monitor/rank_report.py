"""Where the ranks of a job stand, once all of them hang: one that is elsewhere keeps the others."""

from __future__ import annotations

from collections.abc import Iterable

from perimortem.documents.tree_stacks import StackedProcess
from perimortem.model.labels import find_rank
from perimortem.monitor.target import Target
from perimortem.report.tree_stacks import describe_ranks, find_place

_LEAST = 2


def report_ranks(targets: Iterable[Target]) -> tuple[str, list[Target]] | None:
    """(where each rank stands, the ranks); None while one of them goes on, or has not been examined."""
    ranks = _choose(target for target in targets if target.is_alive and find_rank(target.labels))
    if len(ranks) < _LEAST:
        return None
    found = []
    for target in ranks:
        record = target.open_hang
        if record is None or record.examination is None:
            return None
        main = [t for t in record.examination.threads if t.tid == record.examined.ref.pid]
        place = find_place(main[0]) if main else ""
        name = target.process.name
        found.append(StackedProcess(target.pid, 0, name, "", target.labels, place, ""))
    return describe_ranks(found), ranks


def _choose(targets: Iterable[Target]) -> list[Target]:
    """Of the processes of one rank, whose children inherit its variables, the first one."""
    first: dict[str, Target] = {}
    for target in sorted(targets, key=lambda target: target.process.started_at_ns):
        first.setdefault(find_rank(target.labels), target)
    return list(first.values())
