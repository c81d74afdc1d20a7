"""The graph of waits of some processes, as /proc shows it at this moment."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import PurePath

assert sys.platform == "linux"

from perimortem.model.process import ProcessRef
from perimortem.model.wait_graph import GraphProcess, GraphThread, Wait, WaitGraph, WaitsFor
from perimortem.proc import collect_process_info
from perimortem.proc.linux.cgroup import is_frozen
from perimortem.procfs.stat import read_stat
from perimortem.waiting.linux.children import find_child_wait, find_vfork_wait
from perimortem.waiting.linux.descriptors import (
    POLLS,
    READS,
    WRITES,
    find_descriptor_wait,
    find_poll_wait,
)
from perimortem.waiting.linux.file_locks import find_file_lock_wait
from perimortem.waiting.linux.futexes import find_futex_wait
from perimortem.waiting.linux.look import Look
from perimortem.waiting.linux.peers import Peers
from perimortem.waiting.linux.signals import find_timer, read_caught
from perimortem.waiting.linux.threads import ThreadFacts

_SLEEPS = frozenset({"nanosleep", "clock_nanosleep"})
_SIGNALS = frozenset({"pause", "rt_sigsuspend", "rt_sigtimedwait"})
_CLONE_VFORK = 0x4000
_HELD = {"T": "SIGCONT: it is stopped", "t": "its debugger, which holds it"}
_UNSEEN = "something that this user may not see"


def collect_graph(pids: Iterable[int]) -> WaitGraph:
    """Of those that exist. Who is not among ``pids`` counts as something outside."""
    look = Look(pids)
    peers = Peers()
    processes, threads = {}, {}
    for pid, found in look.threads.items():
        process = _describe_process(pid)
        if process is None:
            continue
        processes[pid] = process
        for thread in found:
            wait = _find_wait(thread, look, peers)
            threads[thread.tid] = GraphThread(
                thread.tid, pid, thread.name, wait, thread.slices or 0
            )
    return WaitGraph(processes, threads, tuple(look.notes))


def _describe_process(pid: int) -> GraphProcess | None:
    facts = read_stat(pid)
    if facts is None:
        return None
    info = collect_process_info(ProcessRef(pid, facts.start_time_ticks))
    is_python = PurePath(info.executable or "").name.startswith("python")
    return GraphProcess(
        info,
        facts.parent_pid,
        caught=read_caught(pid),
        timer=find_timer(pid),
        is_interrupted_by_runtime=is_python,
    )


def _find_wait(thread: ThreadFacts, look: Look, peers: Peers) -> Wait | None:
    """None: it runs."""
    if thread.state == "R":
        return None
    if thread.state in _HELD:
        return _outside(WaitsFor.HELD, _HELD[thread.state], thread)
    if is_frozen(f"/proc/{thread.pid}/task/{thread.tid}", thread.state):
        return _outside(WaitsFor.HELD, "the thaw of its control group", thread)
    if look.is_traced(thread.pid):
        return _outside(WaitsFor.HELD, "its debugger, which traces it", thread)
    if thread.state == "D":
        if _is_vfork(thread, look):
            return find_vfork_wait(thread, look)
        return _outside(
            WaitsFor.DEVICE, f"the kernel ({thread.call})" if thread.call else "the kernel", thread
        )
    if not thread.is_readable or thread.slices is None:
        return _outside(WaitsFor.OTHER, _UNSEEN, thread)
    return _find_wait_in_call(thread, look, peers)


def _is_vfork(thread: ThreadFacts, look: Look) -> bool:
    """Another fork may wait in the kernel as well, for memory."""
    flags = thread.argument(0) if thread.call == "clone" else 0
    if thread.call == "clone3":
        flags = int.from_bytes(look.read_memory(thread.pid, thread.argument(0), 8), "little")
    return thread.call == "vfork" or bool(flags & _CLONE_VFORK)


def _find_wait_in_call(thread: ThreadFacts, look: Look, peers: Peers) -> Wait:
    call = thread.call
    if call == "futex":
        return find_futex_wait(thread, look)
    if call in ("wait4", "waitid"):
        return find_child_wait(thread, look)
    if call in READS or call in WRITES:
        return find_descriptor_wait(thread, look, peers)
    if call in POLLS:
        return find_poll_wait(thread, look, peers)
    if call == "flock":
        return find_file_lock_wait(thread, look)
    if call in _SLEEPS:
        return _outside(WaitsFor.TIME, f"a time ({call})", thread)
    if call in _SIGNALS:
        return _outside(WaitsFor.SIGNAL, f"a signal ({call})", thread)
    if call in ("accept", "accept4"):
        return _outside(WaitsFor.SOCKET, f"a new connection ({call})", thread)
    return _outside(WaitsFor.OTHER, call or "something that shows no system call", thread)


def _outside(what: WaitsFor, text: str, thread: ThreadFacts) -> Wait:
    return Wait(what, text, (thread.call, *thread.arguments[:2]), outside=text)
