"""Heap functions that a signal handler calls while it has interrupted one of them. Pure.

Source: signal-safety(7): the heap may be locked, or half changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from perimortem.model.stack import Frame

_HEAP = re.compile(
    r"(?:_*(?:libc_|GI_)*_*)?(malloc|free|calloc|realloc|memalign|posix_memalign|aligned_alloc|cfree)"
    r"|_int_(?:malloc|free|realloc|memalign).*|malloc_(?:consolidate|printerr)|sysmalloc"
    r"|unlink_chunk.*|tcache_.*|arena_get2.*|operator (?:new|delete).*"
)
_INTERRUPTED = 4
"""How many frames around a signal may be helpers of an interrupted function (a lock, a copy)."""


def describe_reentry(frames: Sequence[Frame]) -> str | None:
    """ "malloc was called in the signal handler on_alarm, which had interrupted free"; None: not so."""
    for index, frame in enumerate(frames):
        if not frame.is_signal or index == 0:
            continue
        called = _find_heap(frames[:index])
        interrupted = _find_heap(frames[index + 1 : index + 1 + _INTERRUPTED])
        if called is not None and interrupted is not None:
            handler = frames[index - 1].function or f"{frames[index - 1].pc:#x}"
            return (
                f"{called} was called in the signal handler {handler}, which had interrupted "
                f"{interrupted}: the heap must not be used there (signal-safety(7))"
            )
    return None


def _find_heap(frames: Sequence[Frame]) -> str | None:
    """The outermost function of the heap, as the program called it."""
    found = None
    for frame in frames:
        match = _HEAP.fullmatch(frame.function or "")
        if match is not None:
            found = match[1] or frame.function
    return found
