"""The main thread of Node in `Atomics.wait`: read without stopping anything.

A worker rests like this; a main thread that waits so runs no event loop until another thread ends that.
"""

from __future__ import annotations

import re
import struct
import sys
from dataclasses import replace

assert sys.platform == "linux"

from perimortem.examine.runtimes.linux.live_memory import LiveMemory
from perimortem.model.wait_graph import GraphThread, WaitsFor
from perimortem.procfs.file import read_record

_PROGRAM = "node"
_WAIT = re.compile(rb"14FutexEmulation8Wait(?:Sync|Js)")
"""Part of the mangled name of v8::internal::FutexEmulation::WaitSync."""
_SYSCALL_WORDS = 9
_WORDS = 128
"""Of the stack: from futex(2) to V8. Arbitrary."""


def find_node_waits(memory: LiveMemory, threads: dict[int, GraphThread]) -> dict[int, GraphThread]:
    """The main thread, if it waits so without a time limit."""
    thread = threads.get(memory.pid)
    wait = thread.wait if thread is not None else None
    if thread is None or wait is None or wait.what is not WaitsFor.CONDITION or wait.outside:
        return {}
    if wait.key[:1] != ("futex",) or not memory.has_file(_PROGRAM) or not _is_in_wait(memory):
        return {}
    text = "Atomics.wait, which other threads of the process can end"
    found = replace(wait, what=WaitsFor.LOCK, text=text, never_rests=True)
    return {thread.tid: replace(thread, wait=found)}


def _is_in_wait(memory: LiveMemory) -> bool:
    words = read_record(f"/proc/{memory.pid}/syscall").split()
    if len(words) < _SYSCALL_WORDS:
        return False
    stack = memory.read(int(words[7], 16), 8 * _WORDS)
    return any(
        memory.find_function(word, _WAIT) is not None
        for (word,) in struct.iter_unpack("<Q", stack[: len(stack) // 8 * 8])
    )
