"""What glibc's heap check found: which block, and what is in the place of its size. Pure.

The block is found in the registers of the functions of the heap on the stack. A register counts only if
glibc's own check would fail for it with this very message; without one the message stands alone.
Source: malloc.c of glibc (struct malloc_chunk, _int_free, munmap_chunk).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from perimortem.analysis.crash_context import CrashContext
from perimortem.analysis.poison import read_as_text
from perimortem.model.evidence import Confidence, Evidence
from perimortem.model.snapshot import Architecture, Region

_HEAP_FUNCTION = re.compile(
    r"malloc_printerr|_int_free.*|munmap_chunk|_*(libc_)?(free|cfree|realloc)|_int_realloc"
)
_HEAD = 16
"""From a chunk to the memory that it holds, in bytes."""
_FLAGS, _PREVIOUS_IN_USE = 7, 1
_SIZE_LEAST = 32
_MASK = (1 << 64) - 1
_TEXT_MAX = 64 << 10
_OLDER = "the damage is older than this call"
_NO_BLOCK = "what was freed is no block of malloc's, or the heap was damaged before"
"""A wrong pointer looks like a damaged block: malloc() alone is given none."""


@dataclass(frozen=True)
class HeapFinding:
    """More than the message says."""

    text: str
    evidence: Evidence | None


@dataclass(frozen=True)
class _Chunk:
    """A block with its head."""

    at: int
    size: int
    """As it is there, without flags."""
    flags: int
    region: Region | None

    @property
    def memory(self) -> int:
        return self.at + _HEAD & _MASK

    @property
    def end(self) -> int:
        return self.at + self.size & _MASK


def describe_heap_abort(context: CrashContext, message: str) -> HeapFinding:
    """``message``: as glibc printed it."""
    said = f"a check of the heap failed: {message}"
    is_known = context.snapshot.system.architecture in (Architecture.X86_64, Architecture.AARCH64)
    if "invalid pointer" in message:
        chunk = _find(context, _is_no_chunk) if is_known else None
        if chunk is None or not _is_never_given(context, chunk):
            return HeapFinding(f"{said}; {_NO_BLOCK}", None)
        text = f"{message}: {chunk.memory:#x} was freed, which malloc never gave: it is "
        return HeapFinding(text + _place(context, chunk), _prove(context, chunk))
    if "double free" in message:
        return (
            _describe_double_free(context, message, said) if is_known else HeapFinding(said, None)
        )
    chunk = _find(context, _has_bad_end) if is_known else None
    damage = _describe_damage(context, chunk) if chunk is not None else None
    if chunk is None or damage is None:
        why = _OLDER if message.startswith("malloc") else _NO_BLOCK
        return HeapFinding(f"{said}; {why}", None)
    return HeapFinding(f"{said}; {damage}", _prove(context, chunk))


def _describe_double_free(context: CrashContext, message: str, said: str) -> HeapFinding:
    is_sure = "detected in tcache" in message
    check: Callable[[CrashContext, _Chunk], bool] = _is_in_heap if is_sure else _has_bad_end
    chunk = _find(context, check)
    if chunk is None:
        return HeapFinding(said, None)
    damage = _describe_damage(context, chunk) if not is_sure else None
    if damage is not None:
        return HeapFinding(f"{said}; {damage}", _prove(context, chunk))
    again = (
        "it had been freed before" if is_sure else "it had been freed before, or was overwritten"
    )
    text = f"{message}: the block of {chunk.size - 8} bytes at {chunk.memory:#x} was freed; {again}"
    return HeapFinding(text, _prove(context, chunk))


def _find(context: CrashContext, check: Callable[[CrashContext, _Chunk], bool]) -> _Chunk | None:
    """The one chunk in the registers for which the check of glibc fails; None if it is not certain."""
    found: dict[int, _Chunk] = {}
    for value in _list_values(context):
        chunk = _read_chunk(context, value)
        if chunk is not None and check(context, chunk):
            found.setdefault(chunk.at, chunk)
    chunks = [chunk for chunk in found.values() if chunk.at - _HEAD not in found]  # not its memory
    return chunks[0] if len(chunks) == 1 else None


def _list_values(context: CrashContext) -> Iterator[int]:
    """What the functions of the heap put into registers: what is not their caller's any more."""
    heap_code = []
    caller: Mapping[str, int] = {}
    for frame in context.stack.frames:
        registers = context.frame_registers.get(frame.stack_pointer, {})
        is_heap = (
            frame.function is not None and _HEAP_FUNCTION.fullmatch(frame.function) is not None
        )
        if is_heap:
            heap_code.append(registers)
        elif heap_code:
            caller = registers
            break
    own_stack = range(context.stack_pointer or 0, caller.get("rsp", caller.get("sp", 0)) + 1)
    for registers in heap_code:
        for name, value in registers.items():
            if caller.get(name) != value and value not in own_stack:
                yield value


def _read_chunk(context: CrashContext, at: int) -> _Chunk | None:
    """None if nothing is there that could be written to."""
    region = context.find_region(at)
    word = context.read_word(at + 8)
    if word is None or region is None or not region.writable:
        return None
    return _Chunk(at, word & ~_FLAGS, word & _FLAGS, region)


def _is_no_chunk(_: CrashContext, chunk: _Chunk) -> bool:
    """_int_free: misaligned, or it would wrap around the end of memory."""
    return bool(chunk.at % 16) or chunk.at > -chunk.size & _MASK


def _is_never_given(context: CrashContext, chunk: _Chunk) -> bool:
    """A block of malloc's is aligned, and no variable; but its head may have been overwritten."""
    return bool(chunk.at % 16) or context.name_data(chunk.memory) is not None


def _is_in_heap(_: CrashContext, chunk: _Chunk) -> bool:
    is_anonymous = chunk.region is not None and not chunk.region.path.startswith("/")
    return is_anonymous and chunk.at % 16 == 0 and _SIZE_LEAST <= chunk.size <= 1 << 20


def _has_bad_end(context: CrashContext, chunk: _Chunk) -> bool:
    """Its size leads to no other chunk, or to one that says that this is free."""
    if chunk.region is None or chunk.region.path.startswith("/") or chunk.at % 16:
        return False
    if chunk.size < _SIZE_LEAST or chunk.size % 16 or chunk.end >= chunk.region.end:
        return True
    following = context.read_word(chunk.end + 8)
    if following is None:
        return False
    size = following & ~_FLAGS
    is_free = not following & _PREVIOUS_IN_USE
    return is_free or size < _SIZE_LEAST or size % 16 != 0 or size > chunk.region.size


def _describe_damage(context: CrashContext, chunk: _Chunk) -> str | None:
    """Text in the place of its size, or of that of the next one."""
    for at in (chunk.at, chunk.end):
        word = context.read_word(at + 8)
        text = read_as_text(word or 0)
        if word is None or text is None:
            continue
        start = _find_text_start(context, at + 8)
        where = f", which begins at {start:#x}" if start is not None else ""
        block = f"the size of the block at {at + _HEAD:#x}"
        return f"{block} is the text '{text}'{where}: one before it was overrun; {_OLDER}"
    return None


def _find_text_start(context: CrashContext, at: int) -> int | None:
    """Where the text began that runs into ``at``; None if the dump does not have it."""
    start = max(0, at - _TEXT_MAX)
    region = context.find_region(at)
    if region is not None:
        start = max(start, region.start)
    before = context.read(start, at - start)
    if len(before) < at - start:
        return None
    size = len(before) - len(re.sub(rb"[\x20-\x7e\t\r\n]+\Z", b"", before))
    return at - size if size else None


def _place(context: CrashContext, chunk: _Chunk) -> str:
    name = context.name_data(chunk.memory)
    place = context.describe_place(chunk.memory)
    if name is not None:
        return f"in the variable {name} ({place})"
    if place == "the heap":
        return "in the heap, but not the start of a block"
    return f"in {place}"


def _prove(context: CrashContext, chunk: _Chunk) -> Evidence:
    raw = context.read(chunk.at, 32).hex(" ")
    return Evidence(
        f"a register of the heap's code has the block at {chunk.at:#x}, which begins with {raw}",
        "registers",
        Confidence.DERIVED,
    )
