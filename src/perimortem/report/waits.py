"""The graph of waits, as a JSON document and as text. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from perimortem.analysis.suspicions import Suspicion
from perimortem.documents import waits as documents
from perimortem.model.stuck import Grade
from perimortem.model.wait_graph import (
    Deadlock,
    GraphProcess,
    GraphTask,
    GraphThread,
    Wait,
    WaitGraph,
    WaitsFor,
)

_SHOWN = 20
"""Threads of one process; more are counted."""
_WAKERS_MAX = 64
_SAID_MAX = 8
"""Threads of a circle that are described in a sentence."""
_UNLESS = " (unless one of them has set an alarm)"
_UNLESS_RELEASED = " (unless one has released its lock again)"
_ASSUMED = "assuming that none of them has set an alarm, which is visible nowhere"


def render_waits(
    graph: WaitGraph, deadlocks: Iterable[Deadlock], suspicions: Iterable[Suspicion]
) -> documents.Waits:
    """``deadlocks``, ``suspicions``: those that a second look has confirmed."""
    deadlocks = list(deadlocks)
    stuck = {tid for deadlock in deadlocks for tid in (*deadlock.circle, *deadlock.waiting)}
    return documents.Waits(
        schema_version=1,
        deadlocks=[_render_deadlock(graph, deadlock) for deadlock in deadlocks],
        suspected=[
            _render_deadlock(graph, deadlock, _UNLESS_RELEASED)
            for grade, deadlock in suspicions
            if grade is Grade.ASSUMED
        ],
        processes=[_render_process(graph, p, stuck) for p in graph.processes.values()],
        notes=[*graph.notes, *([_ASSUMED] if deadlocks else [])],
    )


def _render_deadlock(graph: WaitGraph, deadlock: Deadlock, unless: str = "") -> documents.Deadlock:
    return documents.Deadlock(
        text=describe_deadlock(graph, deadlock) + unless,
        circle=list(deadlock.circle),
        waiting=list(deadlock.waiting),
    )


def describe_deadlock(graph: WaitGraph, deadlock: Deadlock) -> str:
    """ "deadlock of 2 threads of server[4711]"."""
    pids = list(dict.fromkeys(graph.threads[tid].pid for tid in deadlock.circle))
    count = len(deadlock.circle)
    wait = graph.threads[deadlock.circle[0]].wait
    names = " and ".join(f"{graph.processes[pid].info.name}[{pid}]" for pid in pids)
    if count > 1:
        return f"deadlock of {count} threads of {names}"
    if wait is not None and wait.what is WaitsFor.LOCK and deadlock.circle[0] in wait.wakers:
        return f"deadlock of a thread of {names} with itself"
    return f"a thread of {names} waits for what nothing can end"


def describe_circle(graph: WaitGraph, deadlock: Deadlock) -> str:
    """ "deadlock of 2 threads of server[4700]: thread 4711 (loader) waits for ...; ..."."""
    threads = [graph.threads[tid] for tid in deadlock.circle]
    by_death = any(thread.wait is not None and thread.wait.ends_by_death for thread in threads)
    said = _describe_waits(graph, threads)
    return f"{describe_deadlock(graph, deadlock)}: {said}" + (_UNLESS if by_death else "")


def describe_suspicion(graph: WaitGraph, grade: Grade, deadlock: Deadlock) -> str:
    """ "thread 4711 (loader) waits for ..., held by 4712 (main), which waits for a time"."""
    threads = [graph.threads[tid] for tid in deadlock.circle]
    said = _describe_waits(graph, threads)
    if grade is Grade.ASSUMED:
        return f"{describe_deadlock(graph, deadlock)}{_UNLESS_RELEASED}: {said}"
    if grade is Grade.RESTS:
        return f"{said}; nothing but Ctrl-C ends that"
    wait = threads[0].wait
    assert wait is not None
    holder = _find_holder(graph, wait)
    if holder is not None:
        said += ", which " + (f"waits for {holder.wait.text}" if holder.wait else "runs")
    more = len(deadlock.waiting)
    return said + (f"; {more} more wait{'s' * (more == 1)} for it" if more else "")


def group_tasks(tasks: Iterable[GraphTask]) -> list[list[GraphTask]]:
    """Those of one process that wait alike, the largest group first."""
    groups: dict[tuple[int, str, str], list[GraphTask]] = defaultdict(list)
    for task in tasks:
        groups[task.pid, task.place, task.text].append(task)
    return sorted(groups.values(), key=len, reverse=True)


def describe_tasks(names: Sequence[str], place: str, what: str) -> str:
    """ "goroutines 7, 9 wait in main.cross for sync.Mutex.Lock"; ``names``: "goroutine 7"."""
    kind, _, _ = names[0].rpartition(" ")
    numbers = [name.rpartition(" ")[2] for name in names]
    more = len(numbers) - _SAID_MAX
    said = ", ".join(numbers[:_SAID_MAX]) + (f" and {more} more" if more > 0 else "")
    head = f"{kind}s {said} wait" if len(names) > 1 else f"{names[0]} waits"
    return f"{head}{f' in {place}' if place else ''} for {what}"


def _find_holder(graph: WaitGraph, wait: Wait) -> GraphThread | None:
    """Of a lock; None if it is not known."""
    known = wait.assumed_holder
    if known is None and len(wait.wakers) == 1:
        known = next(iter(wait.wakers))
    return graph.threads.get(known or 0)


def _describe_waits(graph: WaitGraph, threads: list[GraphThread]) -> str:
    has_several = len({thread.pid for thread in threads}) > 1
    said = "; ".join(
        _describe_wait(graph, thread, with_process=has_several) for thread in threads[:_SAID_MAX]
    )
    more = len(threads) - _SAID_MAX
    return said + (f"; and {more} more" if more > 0 else "")


def _describe_wait(graph: WaitGraph, thread: GraphThread, *, with_process: bool) -> str:
    of = f" of {graph.processes[thread.pid].info.name}[{thread.pid}]" if with_process else ""
    at = f" in {thread.place}" if thread.place else ""
    text = thread.wait.text if thread.wait else "nothing"
    return f"thread {thread.tid} ({thread.name}){of} waits{at} for {text}"


def _render_process(
    graph: WaitGraph, process: GraphProcess, stuck: set[int]
) -> documents.WaitingProcess:
    pid = process.info.ref.pid
    threads = [thread for thread in graph.threads.values() if thread.pid == pid]
    return documents.WaitingProcess(
        pid=pid,
        parent_pid=process.parent_pid,
        name=process.info.name,
        command_line=list(process.info.command_line),
        threads=[_render_thread(thread, thread.tid in stuck) for thread in threads],
        tasks=[
            documents.WaitingTasks(
                text=describe_tasks([t.name for t in group], group[0].place, group[0].text),
                names=[task.name for task in group[:_WAKERS_MAX]],
                count=len(group),
                waits_for=group[0].text,
                place=group[0].place,
            )
            for group in group_tasks(task for task in graph.tasks if task.pid == pid)
        ],
    )


def _render_thread(thread: GraphThread, stuck: bool) -> documents.WaitingThread:
    wait = thread.wait
    return documents.WaitingThread(
        tid=thread.tid,
        name=thread.name,
        waits_for=wait.what if wait else None,
        text=wait.text if wait else "",
        place=thread.place,
        wakers=sorted(wait.wakers)[:_WAKERS_MAX] if wait else [],
        waker_count=len(wait.wakers) if wait else 0,
        needs_all=wait.needs_all if wait else False,
        outside=wait.outside if wait else "",
        stuck=stuck,
    )


def render_waits_text(document: documents.Waits) -> str:
    """The deadlocks first, then each process with its threads."""
    lines = []
    threads = {t.tid: (p, t) for p in document.processes for t in p.threads}
    found = [("DEADLOCK", deadlock) for deadlock in document.deadlocks]
    found += [("SUSPECTED", deadlock) for deadlock in document.suspected]
    for head, deadlock in found:
        lines.append(f"{head}  {deadlock.text}")
        for tid in deadlock.circle:
            process, thread = threads[tid]
            lines.append(f"  {process.name}[{process.pid}] {_describe(thread)}")
        if deadlock.waiting:
            names = ", ".join(
                f"{tid} ({threads[tid][1].name})" for tid in deadlock.waiting[:_SHOWN]
            )
            lines.append(f"  they keep waiting: {names}")
        lines.append("")
    for process in document.processes:
        lines.append(f"{process.name}[{process.pid}]")
        stuck_first = sorted(process.threads, key=lambda thread: not thread.stuck)
        lines += [f"  {_describe(thread)}" for thread in stuck_first[:_SHOWN]]
        more = len(process.threads) - _SHOWN
        if more > 0:
            lines.append(f"  and {more} more threads: --json lists all")
        lines += [f"  {tasks.text}" for tasks in process.tasks[:_SHOWN]]
        more = len(process.tasks) - _SHOWN
        if more > 0:
            lines.append(f"  and {more} more groups of them: --json lists all")
    lines += [f"  note    {note}" for note in document.notes]
    return "\n".join(lines) + "\n"


def list_waits(document: documents.Waits) -> list[str]:
    """The deadlocks, then a line for each thread; a few of them."""
    lines = [deadlock.text for deadlock in (*document.deadlocks, *document.suspected)]
    threads = [thread for process in document.processes for thread in process.threads]
    lines += [f"running: {_describe(thread)}" for thread in threads[:_SAID_MAX]]
    more = len(threads) - _SAID_MAX
    return lines + ([f"and {more} more threads (perimortem waits)"] if more > 0 else [])


def _describe(thread: documents.WaitingThread) -> str:
    head = f"thread {thread.tid} ({thread.name})"
    if thread.waits_for is None:
        return f"{head} runs"
    outside = thread.outside
    has_said = not outside or outside in thread.text or thread.stuck
    at = f" in {thread.place}" if thread.place else ""
    return f"{head} waits{at} for {thread.text}" + ("" if has_said else f" (or {outside})")
