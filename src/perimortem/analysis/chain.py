"""From a list of processes to the first fault: follow each reporter to what it reports. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from perimortem.analysis.reporters import Reporter, find_reporter
from perimortem.model.chain import Chains, FirstFault, Link, ListedProcess, Relation
from perimortem.model.evidence import Confidence

_NOTES_MAX = 20


def derive_chains(listed: Iterable[ListedProcess], notes: Iterable[str] = ()) -> Chains:
    """``notes``: defects of the list itself."""
    processes = {process.pid: process for process in listed}
    all_notes = list(notes)
    links = []
    kinds: dict[int, Reporter] = {}
    for process in processes.values():
        reporter = find_reporter(process)
        if reporter is None:
            continue
        kinds[process.pid] = reporter
        link = _find_link(process, reporter, processes, all_notes)
        if link is not None:
            links.append(link)
    causes, broken = _break_cycles(links)
    all_notes += [f"the cycle at {pid} is cut: pids were reused" for pid in broken]
    links = [link for link in links if link.pid in causes]
    faults = _find_faults(causes, processes)
    all_notes += _describe_missing(faults)
    return Chains(
        processes=processes,
        links=tuple(links),
        first_faults=tuple(faults),
        notes=tuple(all_notes[:_NOTES_MAX]),
        advice=tuple(_advise(faults, causes, kinds)),
    )


def _find_link(
    process: ListedProcess,
    reporter: Reporter,
    processes: dict[int, ListedProcess],
    notes: list[str],
) -> Link | None:
    pid = reporter.find_pid(process.command_line) if process.command_line else None
    if pid is not None and pid != process.pid:
        if _is_younger(processes.get(pid), process):
            notes.append(f"{process.pid} reports {pid}, which is younger: that pid was reused")
            return None
        words = f"its command line says so: {process.command_line}"
        return Link(process.pid, pid, Relation.COMMAND_LINE, Confidence.OBSERVED, words)
    if not reporter.is_child or not process.parent_pid or process.parent_pid == process.pid:
        return None
    parent = processes.get(process.parent_pid)
    if _is_younger(parent, process):
        notes.append(f"the parent of {process.pid} is younger than it: that pid was reused")
        return None
    words = f"{process.name} is started by the process that it reports; its command line is unknown"
    return Link(process.pid, process.parent_pid, Relation.PARENT, Confidence.ASSUMED, words)


def _is_younger(cause: ListedProcess | None, effect: ListedProcess) -> bool:
    if cause is None or cause.created is None or effect.created is None:
        return False
    return cause.created > effect.created


def _break_cycles(links: list[Link]) -> tuple[dict[int, int], list[int]]:
    """{pid: cause}, without cycles; and where those were cut.

    An assumed link is cut before an observed one.
    """
    causes: dict[int, int] = {}
    confidence: dict[int, Confidence] = {}
    for link in links:
        causes[link.pid], confidence[link.pid] = link.cause_pid, link.confidence
    cut: list[int] = []
    done: set[int] = set()
    for start in list(causes):
        path: dict[int, None] = {}
        pid = start
        while pid in causes and pid not in done and pid not in path:
            path[pid] = None
            pid = causes[pid]
        if pid in path:
            order = list(path)
            circle = order[order.index(pid) :]
            weakest = min(circle, key=lambda p: confidence[p] is not Confidence.ASSUMED)
            del causes[weakest]
            cut.append(weakest)
        done.update(path)
    return causes, cut


def _find_faults(causes: dict[int, int], processes: dict[int, ListedProcess]) -> list[FirstFault]:
    effects: dict[int, list[int]] = defaultdict(list)
    for pid, cause in causes.items():
        effects[cause].append(pid)
    roots = [pid for pid in effects if pid not in causes]
    faults = []
    for root in roots:
        depths = {root: 0}
        came_from: dict[int, int] = {}
        order = [root]
        for pid in order:
            for effect in effects.get(pid, ()):
                depths[effect] = depths[pid] + 1
                came_from[effect] = pid
                order.append(effect)
        last = max(order, key=lambda pid: depths[pid])
        chain = [last]
        while chain[-1] in came_from:
            chain.append(came_from[chain[-1]])
        faults.append(
            FirstFault(
                pid=root,
                process=processes.get(root),
                chain=tuple(reversed(chain)),
                count=len(order) - 1,
                depth=depths[last],
            )
        )
    return sorted(faults, key=lambda fault: (-fault.count, fault.pid))


def _describe_missing(faults: list[FirstFault]) -> list[str]:
    return [
        f"the chain of {fault.count} goes back to process {fault.pid} ({fault.pid:#x}), which is not in "
        "the list: it has ended, or the list is incomplete"
        for fault in faults
        if fault.process is None
    ]


def _advise(
    faults: list[FirstFault], causes: dict[int, int], kinds: dict[int, Reporter]
) -> list[str]:
    if not faults:
        return []
    first = faults[0]
    advice = []
    if first.process is None:
        next_pid = first.chain[1] if len(first.chain) > 1 else first.pid
        advice.append(
            f"examine {next_pid} ({next_pid:#x}): it is the first reporter that still exists, and its "
            f"command line and stack describe {first.pid}"
        )
    elif first.pid in kinds:
        advice.append(
            f"examine {first.process.name} {first.pid} ({first.pid:#x}): a reporter itself; its command "
            "line names the process that it reports"
        )
    else:
        advice.append(
            f"examine {first.process.name} {first.pid} ({first.pid:#x}): the others follow from its "
            "fault"
        )
    stops = dict.fromkeys(kinds[pid].stop for pid in causes if pid in kinds)
    advice += [f"to stop the chain: {stop}" for stop in stops]
    return advice
