"""Whether a thread has exhausted its stack: by its stack pointer, not by the address alone. Pure."""

from __future__ import annotations

from perimortem.analysis.crash_context import CrashContext
from perimortem.model.reason import Access, AccessKind
from perimortem.model.snapshot import Region
from perimortem.model.stack import FrameTrust

_GUARD_MAX = 1 << 20
_PROBED_BYTES = 4352
"""How far below the stack pointer a function may access its stack: the red zone, a page probe."""
_FRAME_MAX = 1 << 30
"""A frame of this size can leave the stack in one step. Arbitrary."""
_FRAMES_SHOWN = 16
"""For a stack that could not be walked to its end, fewer frames are not mentioned."""
_LARGE_FRAME = 64 << 10


def is_stack_overflow(context: CrashContext, access: Access) -> bool:
    """The stack pointer has reached the end of its stack, and the access was behind that.

    Or it left the stack in one step, for a frame larger than the rest: the caller's is still inside.
    """
    address, pointer = access.address, context.stack_pointer
    if pointer is None or pointer - address > _PROBED_BYTES or not context.knows_maps:
        return False
    inside = context.find_region(address)
    may_read = inside is not None and inside.readable and access.kind is not AccessKind.WRITE
    if may_read or (inside is not None and inside.writable):
        return False
    stack = _find_stack(context)
    if stack is not None:
        is_behind = address < stack.start and pointer < stack.start + _PROBED_BYTES
        return is_behind and stack.start - pointer <= _FRAME_MAX
    above = next(
        (r for r in context.snapshot.regions if r.start > address and r.readable and r.writable),
        None,
    )
    if above is None or above.start - address > _GUARD_MAX:
        return False
    return pointer < above.start + _PROBED_BYTES


def _find_stack(context: CrashContext) -> Region | None:
    """The memory that holds the caller's part of the stack, if a caller is known."""
    caller = context.stack.frames[1] if len(context.stack.frames) > 1 else None
    if caller is None or caller.trust is FrameTrust.SCAN:
        return None
    region = context.find_region(caller.stack_pointer - 1)
    return region if region is not None and region.writable else None


def describe_depth(context: CrashContext) -> str:
    """ ", 4,711 frames deep", or the one frame that was too large."""
    frames, is_whole = context.stack.frames, context.stack.is_whole
    if len(frames) > 1 and frames[1].trust is FrameTrust.CFI:
        size = frames[1].stack_pointer - frames[0].stack_pointer
        if size >= _LARGE_FRAME:
            return f", in a frame of {size:,} bytes"
    if is_whole:
        return f", {len(frames):,} frames deep"
    return f", more than {len(frames):,} frames deep" if len(frames) >= _FRAMES_SHOWN else ""
