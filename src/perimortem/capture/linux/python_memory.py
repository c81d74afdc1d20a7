"""The memory that Python's frames lie in, so that a small dump has them: chosen by reading them."""

from __future__ import annotations

import time

from perimortem.cpython.frames import PythonReader
from perimortem.cpython.layout import UnknownLayout
from perimortem.cpython.runtime import find_runtime
from perimortem.model.snapshot import MemoryRange, Module, ReadMemory, Thread

_BUDGET_NS = 2_000_000
"""Processor time of ours, while the process is stopped: on a busy machine, waiting for a processor is
no reason to leave frames out, since that pause is there anyway."""
_BYTES_MAX = 1 << 20
_FRAMES_MAX = 500
"""Of one thread."""


def choose_python(
    modules: tuple[Module, ...],
    threads: tuple[Thread, ...],
    read: ReadMemory,
    crashing_tid: int | None,
) -> list[MemoryRange]:
    """Everything that was read for the frames, within the budget; the crashed thread first."""
    if not any("python" in module.path for module in modules):
        return []
    until_ns = time.thread_time_ns() + _BUDGET_NS
    ranges: list[MemoryRange] = []
    total = 0

    def record(address: int, size: int) -> bytes:
        nonlocal total
        data = read(address, size)
        if data:
            ranges.append(MemoryRange(address, len(data)))
            total += len(data)
        return data

    found = find_runtime(modules, record)
    if found is None:
        return []
    try:
        reader = PythonReader(
            record,
            *found,
            is_over=lambda: total > _BYTES_MAX or time.thread_time_ns() > until_ns,
            frames_max=_FRAMES_MAX,
        )
        reader.read_threads(threads, crashing_tid)
    except UnknownLayout:
        return []
    return ranges
