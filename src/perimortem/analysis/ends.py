"""From incidents that ended close to each other to the first one. Pure.

"B died because A died 20 ms before" rests on time alone, or on time and kinship, which is more certain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from perimortem.model.chain import Chains, FirstFault, Link, ListedProcess, Relation
from perimortem.model.evidence import Confidence

_UNREMARKABLE = frozenset({"clean-exit", "stopped", "unknown", "launch-failed"})


@dataclass(frozen=True)
class End:
    """One incident. ``ended_s``: wall clock."""

    number: int
    pid: int
    parent_pid: int | None
    name: str
    verdict: str
    ended_s: float


def derive_end_chains(ends: Iterable[End], within_s: float) -> Chains:
    """Chains use incident numbers as pids, since real pids are reused."""
    ordered = sorted(
        (end for end in ends if end.verdict not in _UNREMARKABLE), key=lambda end: end.ended_s
    )
    processes = {
        end.number: ListedProcess(end.number, None, end.name, end.verdict, end.ended_s)
        for end in ordered
    }
    links: list[Link] = []
    faults: list[FirstFault] = []
    cluster: list[End] = []
    for end in [*ordered, None]:
        if end is not None and (not cluster or end.ended_s - cluster[-1].ended_s <= within_s):
            cluster.append(end)
            continue
        if len(cluster) > 1:
            links += [_link(cluster, index) for index in range(1, len(cluster))]
            first = cluster[0]
            faults.append(
                FirstFault(
                    pid=first.number,
                    process=processes[first.number],
                    chain=tuple(other.number for other in cluster),
                    count=len(cluster) - 1,
                    depth=len(cluster) - 1,
                )
            )
        cluster = [end] if end is not None else []
    faults.sort(key=lambda fault: -fault.count)
    advice = (
        [f"examine incident {faults[0].pid}: perimortem show {faults[0].pid}"] if faults else []
    )
    return Chains(processes, tuple(links), tuple(faults), (), tuple(advice))


def _link(cluster: list[End], index: int) -> Link:
    end = cluster[index]
    before = cluster[index - 1]
    kin = next(
        (o for o in cluster[:index] if o.pid in (end.parent_pid,) or _is_child(o, end)), None
    )
    cause = kin or before
    late_ms = (end.ended_s - cause.ended_s) * 1e3
    words = f"it ended {late_ms:.0f} ms after {cause.name}[{cause.pid}]"
    if kin is not None:
        words += ", its child" if _is_child(kin, end) else ", its parent"
    return Link(
        end.number,
        cause.number,
        Relation.TIME,
        Confidence.DERIVED if kin is not None else Confidence.ASSUMED,
        words,
    )


def _is_child(child: End, parent: End) -> bool:
    return child.parent_pid == parent.pid
