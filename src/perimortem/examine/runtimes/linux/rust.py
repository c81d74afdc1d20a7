"""Waits for locks of Rust: read without stopping anything.

A thread that waits in the kernel has a stack that stands still; its system call shows where it begins,
and the first word there is where syscall(2) of the C library returns to.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import replace

assert sys.platform == "linux"

from perimortem.examine.runtimes.linux.live_memory import LiveMemory
from perimortem.model.wait_graph import GraphThread, WaitsFor
from perimortem.procfs.file import read_record

_SYSCALL_WORDS = 9
_THREADS_MAX = 512
_AGENT = "libperimortem_preload"
_WORDS = 64
"""Of a stack: what our agent has there at most."""


def find_rust_waits(memory: LiveMemory, threads: dict[int, GraphThread]) -> dict[int, GraphThread]:
    """The threads that wait for a lock of Rust; none of its locks notes its holder."""
    waiting = [
        thread
        for thread in threads.values()
        if thread.wait is not None
        and thread.wait.what is WaitsFor.CONDITION
        and thread.wait.key[:1] == ("futex",)
    ]
    called = memory.find_symbol("libc.so", "syscall") if waiting else None
    return {thread.tid: _name_lock(memory, thread, called) for thread in waiting[:_THREADS_MAX]}


def _name_lock(memory: LiveMemory, thread: GraphThread, called: range | None) -> GraphThread:
    """``called``: where syscall(2) of the C library is."""
    kind = _find_kind(memory, thread, called)
    if kind is None or thread.wait is None:
        return thread
    text = f"{kind} at {thread.wait.key[1]:#x}, which does not note its holder"
    wait = replace(thread.wait, what=WaitsFor.LOCK, text=text, key=(*thread.wait.key, kind))
    return replace(thread, wait=wait)


def _find_kind(memory: LiveMemory, thread: GraphThread, called: range | None) -> str | None:
    # The monitor loads this module, and leaves the work to a child.
    from perimortem.analysis.rust_locks import LOCK_FUNCTION, name_lock

    words = read_record(f"/proc/{thread.pid}/task/{thread.tid}/syscall").split()
    if len(words) < _SYSCALL_WORDS or called is None:
        return None
    try:
        stack, place = int(words[7], 16), int(words[8], 16)
    except ValueError:
        return None
    if place not in called:
        return None
    for caller in _list_callers(memory, stack):
        function = memory.find_function(caller, LOCK_FUNCTION)
        if function is not None:
            return name_lock(function)
    return None


def _list_callers(memory: LiveMemory, stack: int) -> list[int]:
    """Where syscall(2) returns to; if that is our agent, which looks at every call, what lies above."""
    words = [word for (word,) in struct.iter_unpack("<Q", memory.read(stack, _WORDS * 8))]
    is_agent = bool(words) and memory.is_in_file(words[0], _AGENT)
    return words if is_agent else words[:1]
