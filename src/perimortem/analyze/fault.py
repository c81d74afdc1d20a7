"""A fault of memory in words: what was touched, through what, and why that failed. Pure."""

from __future__ import annotations

from perimortem.analyze.access import is_canonical
from perimortem.analyze.poison import find_pattern, read_as_text
from perimortem.analyze.scene import Scene
from perimortem.model.evidence import Confidence, Evidence
from perimortem.model.reason import Access, AccessKind, ReasonKind
from perimortem.model.snapshot import Architecture, Region

NULL_MAX = 0x10000
"""So far from zero nothing is ever mapped; what is accessed there is a field of a null pointer."""
_OVERFLOW_MAX = 1 << 20
_STACK_USED_UP = 64 << 10
_NEAR = 1 << 30


def classify_fault(scene: Scene, access: Access, pc: int) -> tuple[ReasonKind, str, list[Evidence]]:
    """(kind, one sentence, what it rests on)."""
    address = access.address
    what = describe_access(access)
    if is_stack_overflow(scene, address):
        depth = len(scene.stack.frames)
        text = f"stack overflow: {what}, below the end of the stack, {depth} frames deep"
        return ReasonKind.STACK_OVERFLOW, text, [_map_evidence(scene, address)]
    if pc == address or access.kind is AccessKind.EXECUTE:
        return _classify_jump(scene, pc)
    for register, value in access.registers:
        meaning = find_pattern(value)
        if meaning is not None:
            text = f"{what}: {register} holds {value:#x}, {meaning}"
            return ReasonKind.POISONED_POINTER, text, []
    if address < NULL_MAX:
        return ReasonKind.NULL_POINTER, f"{what}: {_describe_null(access)}", []
    overwritten = _find_text(scene, access)
    if overwritten is not None:
        return ReasonKind.NON_CANONICAL, f"{what}: {overwritten}", []
    if not is_canonical(address):
        return ReasonKind.NON_CANONICAL, f"{what}: no address at all, a damaged pointer", []
    region = scene.find_region(address)
    if region is None:
        if not scene.snapshot.regions:
            return ReasonKind.OTHER, f"{what}; the dump does not say what is mapped there", []
        evidence = [_map_evidence(scene, address)]
        text = f"{what}, where nothing is mapped: freed, or never allocated{_near(scene, address)}"
        return ReasonKind.UNMAPPED, text, evidence
    return _classify_protected(scene, access, what, region)


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


def is_stack_overflow(scene: Scene, address: int) -> bool:
    """It lies in the guard below the stack that the stack pointer has used up."""
    general = scene.registers.general
    pointer = general.get("rsp", general.get("sp", general.get("esp")))
    if pointer is None or abs(pointer - address) > _OVERFLOW_MAX:
        return False
    inside = scene.find_region(address)
    if inside is not None and inside.readable:
        return False
    above = next(
        (r for r in scene.snapshot.regions if r.start > address and r.readable and r.writable),
        None,
    )
    if above is None or above.start - address > _OVERFLOW_MAX:
        return False
    return pointer < above.start + _STACK_USED_UP


def _classify_jump(scene: Scene, pc: int) -> tuple[ReasonKind, str, list[Evidence]]:
    caller = scene.stack.frames[1] if len(scene.stack.frames) > 1 else None
    by = f", called by {caller.function}" if caller is not None and caller.function else ""
    region = scene.find_region(pc)
    if pc < NULL_MAX:
        how = (
            "call of a null pointer" if pc == 0 else f"call of {pc:#x}: a null pointer plus offset"
        )
        return ReasonKind.JUMP_TO_NOWHERE, how + by, []
    if region is None:
        text = read_as_text(pc)
        words = f", which reads '{text}'" if text else ""
        how = f"jump to {pc:#x}{words}, where no memory is{by}"
        return ReasonKind.JUMP_TO_NOWHERE, how, [_map_evidence(scene, pc)]
    if not region.executable:
        how = f"jump to {pc:#x}, which is no code but {scene.describe_place(pc)}{by}"
        return ReasonKind.NOT_EXECUTABLE, how, [_map_evidence(scene, pc)]
    return ReasonKind.OTHER, f"fault on the way to the instruction at {pc:#x}{by}", []


def _describe_null(access: Access) -> str:
    zeros = [name for name, value in access.registers if value == 0]
    if access.address == 0 or not access.registers:
        return "null pointer" if access.address == 0 else "null pointer plus offset"
    if zeros and len(access.registers) == 1:
        return f"null pointer plus field offset {access.address:#x}"
    if zeros:
        return "null pointer plus index"
    return "a small number taken for a pointer, or a null pointer plus offset"


def _find_text(scene: Scene, access: Access) -> str | None:
    """Of 64 bits only where it is no address; 32 bits of letters may be one by chance."""
    is_small = scene.snapshot.system.architecture is Architecture.X86
    if not is_small and is_canonical(access.address):
        return None
    for register, value in access.registers:
        text = read_as_text(value, 4 if is_small else 8)
        if text is not None and scene.find_region(access.address) is None:
            return f"{register} holds the text '{text}': a pointer was overwritten by it"
    return None


def _classify_protected(
    scene: Scene, access: Access, what: str, region: Region
) -> tuple[ReasonKind, str, list[Evidence]]:
    place = scene.describe_place(access.address)
    evidence = [_map_evidence(scene, access.address)]
    if region.readable and not region.writable and access.kind is not AccessKind.READ:
        return ReasonKind.READ_ONLY, f"{what}, which is read-only: {place}", evidence
    if not region.readable:
        return ReasonKind.PROTECTED, f"{what}, which may not be accessed: {place}", evidence
    text = (
        f"{what}, in {place}, which is mapped now: it was not at the fault, or is guarded by a key"
    )
    return ReasonKind.OTHER, text, evidence


def _map_evidence(scene: Scene, address: int) -> Evidence:
    region = scene.find_region(address)
    if region is None:
        return Evidence(f"no mapping holds {address:#x}", "maps", Confidence.OBSERVED)
    rights = "".join(
        letter if has else "-"
        for letter, has in zip(
            "rwx", (region.readable, region.writable, region.executable), strict=True
        )
    )
    name = region.path or "anonymous"
    text = f"{address:#x} lies in {region.start:#x}-{region.end:#x} {rights} {name}"
    return Evidence(text, "maps", Confidence.OBSERVED)


def _near(scene: Scene, address: int) -> str:
    below = [r for r in scene.snapshot.regions if r.end <= address and r.readable]
    if not below or address - below[-1].end > _NEAR:
        return ""
    last = below[-1]
    distance = address - last.end
    if distance > 1 << 20:
        return ""
    return f"; {distance} bytes behind {scene.describe_place(last.start)}"
