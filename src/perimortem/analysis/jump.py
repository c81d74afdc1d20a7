"""How a thread got to an address without code: by a call, a jump or a return. Pure."""

from __future__ import annotations

from perimortem.analysis.access import read_stated_kind
from perimortem.analysis.crash_context import NULL_MAX, CrashContext
from perimortem.analysis.poison import read_as_text
from perimortem.model.evidence import Evidence
from perimortem.model.reason import AccessKind, ReasonKind
from perimortem.model.snapshot import Architecture, OperatingSystem, Region
from perimortem.model.stack import FrameTrust

_WITH_LINK = (Architecture.AARCH64, Architecture.ARM)
"""A call puts its return address into a register."""


def classify_jump(context: CrashContext, pc: int) -> tuple[ReasonKind, str, list[Evidence]]:
    """(kind, one sentence, its evidence) for a fault at the current instruction."""
    caller = context.stack.frames[1] if len(context.stack.frames) > 1 else None
    is_called = caller is not None and caller.trust is FrameTrust.BAD_CALL
    by = f", called by {caller.function}" if caller and is_called and caller.function else ""
    region = context.find_region(pc)
    way = _name_way(context, pc, is_called=is_called)
    is_refused = read_stated_kind(context) is AccessKind.EXECUTE
    if region is None and is_refused and context.find_memory(pc) is not None:
        how = f"{way} {pc:#x}, which is not code but {context.describe_place(pc)}{by}"
        return ReasonKind.NOT_EXECUTABLE, how, [context.describe_mapping(pc)]
    if _came_by_return(context, pc):
        return _classify_return(context, pc, region)
    if pc < NULL_MAX and not is_called:
        how = f"jump or return to {pc:#x}: a null pointer" + (" plus offset" if pc else "")
        return ReasonKind.JUMP_TO_NOWHERE, how, []
    if pc < NULL_MAX:
        how = (
            "call of a null pointer" if pc == 0 else f"call of {pc:#x}: a null pointer plus offset"
        )
        return ReasonKind.JUMP_TO_NOWHERE, how + by, []
    if region is None:
        text = read_as_text(pc)
        words = f", which reads '{text}'" if text else ""
        how = f"{way} {pc:#x}{words}, {_name_nowhere(context, pc)}{by}"
        return ReasonKind.JUMP_TO_NOWHERE, how, [context.describe_mapping(pc)]
    if not region.executable:
        how = f"{way} {pc:#x}, which is not code but {context.describe_place(pc)}{by}"
        return ReasonKind.NOT_EXECUTABLE, how, [context.describe_mapping(pc)]
    return ReasonKind.OTHER, f"fault on the way to the instruction at {pc:#x}{by}", []


def _name_way(context: CrashContext, pc: int, *, is_called: bool) -> str:
    """A return that does not show below the stack was none: if nothing has written there since.

    Signal handlers leave 128 bytes there alone (the red zone of the System V ABI)."""
    if is_called:
        return "call of"
    system, pointer = context.snapshot.system, context.stack_pointer
    has_red_zone = (
        system.architecture is Architecture.X86_64 and system.os is not OperatingSystem.WINDOWS
    )
    is_known = pointer is not None and context.read_word(pointer - context.word_bytes) is not None
    return "jump to" if pc and has_red_zone and is_known else "jump or return to"


def _name_nowhere(context: CrashContext, pc: int) -> str:
    gone = context.name_unloaded(pc)
    if gone is not None:
        return f"in {gone}, which had been unloaded"
    return "where nothing is mapped" if context.knows_maps else "which is not known to be code"


def _classify_return(
    context: CrashContext, pc: int, region: Region | None
) -> tuple[ReasonKind, str, list[Evidence]]:
    text = read_as_text(pc)
    words = f", which reads '{text}'" if text else ""
    place = (
        _name_nowhere(context, pc)
        if region is None
        else f"not code but {context.describe_place(pc)}"
    )
    how = f"return to {pc:#x}{words}, {place}: the return address on the stack was overwritten"
    kind = ReasonKind.JUMP_TO_NOWHERE if region is None else ReasonKind.NOT_EXECUTABLE
    if region is not None and region.executable:
        return ReasonKind.OTHER, f"fault on the way to the instruction at {pc:#x}", []
    return kind, how, [context.describe_mapping(pc)]


def _came_by_return(context: CrashContext, pc: int) -> bool:
    """A return address that was popped from the stack is still there, just below its end.

    A zero proves nothing: memory that was never written is zero, too.
    """
    pointer = context.stack_pointer
    width = context.word_bytes
    if not pc or pointer is None or context.snapshot.system.architecture in _WITH_LINK:
        return False
    return context.read(pointer - width, width) == pc.to_bytes(width, "little")
