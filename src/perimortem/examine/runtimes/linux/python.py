"""Waits for locks of Python, and the lines in which threads wait: read without stopping anything.

Only threads that wait in the kernel have a stack that can be read so. A lock whose holder runs stays
without one.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING

assert sys.platform == "linux"

from perimortem.examine.runtimes.linux.live_memory import LiveMemory
from perimortem.examine.runtimes.linux.tids import local_tids
from perimortem.model.snapshot import ReadMemory, Registers, Thread
from perimortem.model.wait_graph import GraphThread, Wait, WaitGraph, WaitsFor
from perimortem.procfs.file import read_record

if TYPE_CHECKING:
    from perimortem.analysis.python_locks import PythonLock

_TID_AT = 0x2D0
"""Of glibc's struct pthread on x86-64: tid; its first word is its own address (tcbhead_t)."""
_IS_SUPPORTED = os.uname().machine == "x86_64"
_SYSCALL_WORDS = 9
_THREADS_MAX = 512
"""Of one process; with more its locks are not read."""


def find_python_waits(
    memory: LiveMemory, threads: dict[int, GraphThread]
) -> dict[int, GraphThread]:
    """The threads that wait for a lock of Python, with its holder where that is known."""
    waiting = {tid for tid, t in threads.items() if t.wait is not None and _may_be_lock(t.wait)}
    if not _IS_SUPPORTED or not waiting or len(threads) > _THREADS_MAX or not is_python(memory):
        return {}
    found = _read_locks(memory, threads, waiting)
    return {
        tid: _add_lock(threads[tid], lock, threads) for tid, lock in found.items() if tid in waiting
    }


def add_python_places(graph: WaitGraph, tids: Iterable[int], until_s: float) -> WaitGraph:
    """Of these threads; no process is begun with after ``until_s`` (by the monotonic clock)."""
    from perimortem.examine.python_frames import NoPythonFrames, read_live

    wanted = set(tids)
    threads = dict(graph.threads)
    for pid in {threads[tid].pid for tid in wanted}:
        if time.monotonic() >= until_s:
            break
        try:
            with LiveMemory(pid) as memory:
                found = read_live(pid) if is_python(memory) else []
        except (OSError, NoPythonFrames):
            continue
        for python in found:
            if python.tid in wanted and python.frames:
                frame = python.frames[0]
                place = f"{frame.function} ({PurePath(frame.file).name}:{frame.line})"
                threads[python.tid] = replace(threads[python.tid], place=place)
    return replace(graph, threads=threads)


def _may_be_lock(wait: Wait) -> bool:
    return wait.what is WaitsFor.CONDITION and wait.key[:1] == ("futex",) and not wait.outside


def _add_lock(
    thread: GraphThread, lock: PythonLock, threads: dict[int, GraphThread]
) -> GraphThread:
    assert thread.wait is not None
    owner = threads.get(lock.owner_tid or 0)
    text = f"Python lock {lock.address:#x}"
    if owner is None:
        return replace(thread, wait=replace(thread.wait, text=text))
    by = ", by its `with`" if lock.is_by_with else ""
    name = f"{owner.tid} ({owner.name})" if owner.tid != thread.tid else "itself"
    wait = replace(
        thread.wait,
        text=f"{text}, held by {name}{by}",
        key=(*thread.wait.key, lock.address, owner.tid),
        is_interruptible=thread.tid == thread.pid,  # handlers of Python run in the main thread
    )
    if lock.is_assumed:
        return replace(thread, wait=replace(wait, assumed_holder=owner.tid))
    # Only its owner can release an RLock.
    certain = replace(wait, what=WaitsFor.LOCK, wakers=frozenset({owner.tid}))
    return replace(thread, wait=certain)


def _read_locks(
    memory: LiveMemory, tids: Iterable[int], waiting: set[int]
) -> dict[int, PythonLock]:
    """By waiting thread (tid)."""
    # The monitor loads this module, and leaves the work to a child.
    from perimortem.analysis.python_locks import find_python_locks

    numbers = local_tids(memory.pid, tids)
    stopped = [
        thread
        for number, tid in numbers.items()
        if (thread := _read_thread(memory.pid, tid, number, waits=tid in waiting)) is not None
    ]
    identify = partial(_identify, memory.read, numbers.keys())
    found = find_python_locks(stopped, memory.regions, memory.read, identify)
    return {
        numbers[number]: replace(lock, owner_tid=numbers.get(lock.owner_tid or 0))
        for number, lock in found.items()
    }


def is_python(memory: LiveMemory) -> bool:
    return any("python" in region.path for region in memory.regions)


def _read_thread(pid: int, tid: int, number: int, *, waits: bool) -> Thread | None:
    """As far as the kernel shows a thread that waits: its stack pointer, and the futex."""
    words = read_record(f"/proc/{pid}/task/{tid}/syscall").split()
    if len(words) < _SYSCALL_WORDS:
        return None
    try:
        futex, stack = int(words[1], 16), int(words[7], 16)
    except ValueError:
        return None
    return Thread(number, "", Registers({"rsp": stack, "rdi": futex if waits else 0}))


def _identify(read: ReadMemory, numbers: Iterable[int], identity: int) -> int | None:
    head = read(identity, 8)
    tid = int.from_bytes(read(identity + _TID_AT, 4), "little")
    is_thread = head == identity.to_bytes(8, "little")
    return tid if is_thread and tid in numbers else None
