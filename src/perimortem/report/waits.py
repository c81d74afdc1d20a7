"""The graph of waits, as a JSON document and as text. Pure."""

from __future__ import annotations

from perimortem.documents import waits as documents
from perimortem.model.wait_graph import Deadlock, GraphProcess, GraphThread, WaitGraph, WaitsFor

_SHOWN = 20
"""Threads of one process; more are counted."""
_WAKERS_MAX = 64
_SAID_MAX = 8
"""Threads of a circle that are described in a sentence."""
_UNLESS = " (unless one of them has set an alarm)"
_ASSUMED = "assuming that none of them has set an alarm, which is visible nowhere"


def render_waits(graph: WaitGraph, deadlocks: list[Deadlock]) -> documents.Waits:
    """``deadlocks``: those that a second look has confirmed."""
    stuck = {tid for deadlock in deadlocks for tid in (*deadlock.circle, *deadlock.waiting)}
    return documents.Waits(
        schema_version=1,
        deadlocks=[
            documents.Deadlock(
                text=describe_deadlock(graph, deadlock),
                circle=list(deadlock.circle),
                waiting=list(deadlock.waiting),
            )
            for deadlock in deadlocks
        ],
        processes=[_render_process(graph, p, stuck) for p in graph.processes.values()],
        notes=[*graph.notes, *([_ASSUMED] if deadlocks else [])],
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
    has_several = len({thread.pid for thread in threads}) > 1
    said = "; ".join(
        _describe_wait(graph, thread, with_process=has_several) for thread in threads[:_SAID_MAX]
    )
    more = len(threads) - _SAID_MAX
    said += f"; and {more} more" if more > 0 else ""
    by_death = any(thread.wait is not None and thread.wait.ends_by_death for thread in threads)
    return f"{describe_deadlock(graph, deadlock)}: {said}" + (_UNLESS if by_death else "")


def _describe_wait(graph: WaitGraph, thread: GraphThread, *, with_process: bool) -> str:
    of = f" of {graph.processes[thread.pid].info.name}[{thread.pid}]" if with_process else ""
    text = thread.wait.text if thread.wait else "nothing"
    return f"thread {thread.tid} ({thread.name}){of} waits for {text}"


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
    )


def _render_thread(thread: GraphThread, stuck: bool) -> documents.WaitingThread:
    wait = thread.wait
    return documents.WaitingThread(
        tid=thread.tid,
        name=thread.name,
        waits_for=wait.what if wait else None,
        text=wait.text if wait else "",
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
    for deadlock in document.deadlocks:
        lines.append(f"DEADLOCK  {deadlock.text}")
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
        lines += [f"  {_describe(thread)}" for thread in process.threads[:_SHOWN]]
        more = len(process.threads) - _SHOWN
        if more > 0:
            lines.append(f"  and {more} more threads: --json lists all")
    lines += [f"  note    {note}" for note in document.notes]
    return "\n".join(lines) + "\n"


def _describe(thread: documents.WaitingThread) -> str:
    head = f"thread {thread.tid} ({thread.name})"
    if thread.waits_for is None:
        return f"{head} runs"
    outside = thread.outside
    has_said = not outside or outside in thread.text or thread.stuck
    return f"{head} waits for {thread.text}" + ("" if has_said else f" (or {outside})")
