"""Explain a memory fault: what was accessed, through what, and why that failed. Pure."""

from __future__ import annotations

from perimortem.analysis.access import is_canonical
from perimortem.analysis.crash_context import NULL_MAX, CrashContext
from perimortem.analysis.jump import classify_jump
from perimortem.analysis.poison import find_pattern, read_as_text
from perimortem.analysis.stack_overflow import describe_depth, is_stack_overflow
from perimortem.model.evidence import Evidence
from perimortem.model.reason import Access, AccessKind, ReasonKind
from perimortem.model.snapshot import Region

_NEAR = 1 << 20
_KERNEL = 1 << 63
_NO_ADDRESS = 1 << 32
"""Smaller values are indices; 64-bit programs have their memory above."""


def classify_fault(
    context: CrashContext, access: Access, pc: int
) -> tuple[ReasonKind, str, list[Evidence]]:
    """(kind, one sentence, its evidence)."""
    address = access.address
    what = describe_access(access)
    if is_stack_overflow(context, access):
        text = f"stack overflow: {what}, below the end of the stack{describe_depth(context)}"
        return ReasonKind.STACK_OVERFLOW, text, [context.describe_mapping(address)]
    if pc == address or access.kind is AccessKind.EXECUTE:
        return classify_jump(context, pc)
    for register, value in access.registers:
        meaning = find_pattern(value)
        if meaning is not None:
            text = f"{what}: {register} holds {value:#x}, {meaning}"
            return ReasonKind.POISONED_POINTER, text, []
    if address < NULL_MAX:
        return ReasonKind.NULL_POINTER, f"{what}: {_describe_null(access)}", []
    region = context.find_region(address)
    if region is not None:
        return _classify_protected(context, access, what, region)
    return _classify_unmapped(context, access, what)


def describe_access(access: Access) -> str:
    """ "write of 8 bytes to 0x10 through rbx + 0x10"."""
    size = "" if access.size is None else f" of {access.size} byte{'s' if access.size != 1 else ''}"
    towards = {AccessKind.WRITE: "to", AccessKind.READ: "from"}.get(access.kind, "to")
    text = f"{access.kind}{size} {towards} {access.address:#x}"
    if access.expression is None or not access.registers:
        return text
    values = ", ".join(f"{name} = {value:#x}" for name, value in access.registers)
    through = access.expression.strip("[]")
    return f"{text} through {through}" + (f" ({values})" if values else "")


def _has_null_base(context: CrashContext, access: Access) -> bool:
    """Only an offset, or an index that is not an address, was added to zero."""
    is_small = context.word_bytes == 4
    limit = NULL_MAX if is_small else _NO_ADDRESS
    values = [value for _, value in access.registers]
    return 0 in values and all(value < limit for value in values)


def _classify_unmapped(
    context: CrashContext, access: Access, what: str
) -> tuple[ReasonKind, str, list[Evidence]]:
    address = access.address
    below_zero = (1 << 8 * context.word_bytes) - address
    if below_zero <= NULL_MAX and _has_null_base(context, access):
        text = f"null pointer minus offset {below_zero:#x}"
        return ReasonKind.NULL_POINTER, f"{what}: {text}", []
    damage = _find_text(context, access)
    if damage is None and not is_canonical(address):
        damage = "not a valid address, a damaged pointer"
    if damage is None and address >= _KERNEL:
        damage = "a kernel address, which no program may access: a damaged pointer"
    if damage is not None:
        return ReasonKind.NON_CANONICAL, f"{what}: {damage}", []
    if _has_null_base(context, access):
        return ReasonKind.NULL_POINTER, f"{what}: {_describe_null(access)}", []
    gone = context.name_unloaded(address)
    if gone is not None:
        text = f"{what}, in {gone}, which had been unloaded"
        return ReasonKind.UNMAPPED, text, [context.describe_mapping(address)]
    if not context.knows_maps:
        return ReasonKind.OTHER, f"{what}; the dump does not say what is mapped there", []
    text = f"{what}, where nothing is mapped: freed, or never allocated{_near(context, address)}"
    return ReasonKind.UNMAPPED, text, [context.describe_mapping(address)]


def _describe_null(access: Access) -> str:
    zeros = [name for name, value in access.registers if value == 0]
    if access.address == 0 or not access.registers:
        return "null pointer" if access.address == 0 else "null pointer plus offset"
    if zeros and len(access.registers) == 1:
        what = "field offset" if access.address < NULL_MAX else "offset"
        return f"null pointer plus {what} {access.address:#x}"
    if zeros:
        return "null pointer plus index"
    return "a small number taken for a pointer, or a null pointer plus offset"


def _find_text(context: CrashContext, access: Access) -> str | None:
    """On 64 bits only if it is not an address; 32 bits of letters may be one by chance."""
    is_small = context.word_bytes == 4
    if not is_small and is_canonical(access.address):
        return None
    for register, value in access.registers:
        text = read_as_text(value, 4 if is_small else 8)
        if text is not None and context.find_region(access.address) is None:
            return f"{register} holds the text '{text}': a pointer was overwritten by it"
    return None


def _classify_protected(
    context: CrashContext, access: Access, what: str, region: Region
) -> tuple[ReasonKind, str, list[Evidence]]:
    place = context.describe_place(access.address)
    evidence = [context.describe_mapping(access.address)]
    if region.readable and not region.writable and access.kind is not AccessKind.READ:
        return ReasonKind.READ_ONLY, f"{what}, which is read-only: {place}", evidence
    if not region.readable:
        return ReasonKind.PROTECTED, f"{what}, which may not be accessed: {place}", evidence
    text = f"{what}, in {place}, mapped now: it was not at the fault, or a protection key guards it"
    return ReasonKind.OTHER, text, evidence


def _near(context: CrashContext, address: int) -> str:
    below = [r for r in context.snapshot.regions if r.end <= address and r.readable]
    if not below or address - below[-1].end > _NEAR:
        return ""
    last = below[-1]
    return f"; {address - last.end} bytes behind {context.describe_place(last.start)}"
