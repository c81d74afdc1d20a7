"""A fault of memory in words: what was touched, through what, and why that failed. Pure."""

from __future__ import annotations

from perimortem.analyze.access import is_canonical
from perimortem.analyze.poison import find_pattern, read_as_text
from perimortem.analyze.scene import Scene
from perimortem.model.evidence import Confidence, Evidence
from perimortem.model.reason import Access, AccessKind, ReasonKind
from perimortem.model.snapshot import Architecture, Region
from perimortem.model.stack import FrameTrust

NULL_MAX = 0x10000
"""So far from zero nothing is ever mapped; what is accessed there is a field of a null pointer."""
_GUARD_MAX = 1 << 20
_PROBED_BYTES = 4352
"""So far below the stack pointer a function may touch its stack: the red zone, a probe of a page."""
_FRAME_MAX = 256 << 20
"""A function that needs so much leaves its stack at one step. Arbitrary."""
_NEAR = 1 << 30
_KERNEL = 1 << 63
_NO_ADDRESS = 1 << 32
"""Below that are indices; programs of 64 bits have their memory above."""
_LARGE_FRAME = 64 << 10


def classify_fault(scene: Scene, access: Access, pc: int) -> tuple[ReasonKind, str, list[Evidence]]:
    """(kind, one sentence, what it rests on)."""
    address = access.address
    what = describe_access(access)
    if is_stack_overflow(scene, address):
        text = f"stack overflow: {what}, below the end of the stack{_describe_depth(scene)}"
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
    region = scene.find_region(address)
    if region is not None:
        return _classify_protected(scene, access, what, region)
    return _classify_unmapped(scene, access, what)


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
    """The stack pointer has come to the end of its stack, and what was touched lies behind that.

    Or it has left it at one step, for a frame larger than what was left: the caller's is still inside.
    """
    pointer = read_stack_pointer(scene)
    if pointer is None or pointer - address > _PROBED_BYTES:
        return False
    inside = scene.find_region(address)
    if inside is not None and inside.readable:
        return False
    stack = _find_stack(scene)
    if stack is not None:
        is_behind = address < stack.start and pointer < stack.start + _PROBED_BYTES
        return is_behind and stack.start - pointer <= _FRAME_MAX
    above = next(
        (r for r in scene.snapshot.regions if r.start > address and r.readable and r.writable),
        None,
    )
    if above is None or above.start - address > _GUARD_MAX:
        return False
    return pointer < above.start + _PROBED_BYTES


def _find_stack(scene: Scene) -> Region | None:
    """The memory that the caller's part of the stack is in, if a caller is known."""
    caller = scene.stack.frames[1] if len(scene.stack.frames) > 1 else None
    if caller is None or caller.trust is FrameTrust.SCAN:
        return None
    region = scene.find_region(caller.stack_pointer - 1)
    return region if region is not None and region.writable else None


def read_stack_pointer(scene: Scene) -> int | None:
    general = scene.registers.general
    return general.get("rsp", general.get("sp", general.get("esp")))


def came_by_return(scene: Scene, pc: int) -> bool:
    """What was taken from the stack as return address still stands there, just below its end.

    Of zero that proves nothing: memory that was never written is zero, too.
    """
    pointer = read_stack_pointer(scene)
    width = 4 if scene.snapshot.system.architecture is Architecture.X86 else 8
    is_arm = scene.snapshot.system.architecture is Architecture.AARCH64
    if not pc or pointer is None or is_arm:
        return False
    return scene.read(pointer - width, width) == pc.to_bytes(width, "little")


def _describe_depth(scene: Scene) -> str:
    frames = scene.stack.frames
    if len(frames) > 1 and frames[1].trust is FrameTrust.CFI:
        size = frames[1].stack_pointer - frames[0].stack_pointer
        if size >= _LARGE_FRAME:
            return f", in a frame of {size:,} bytes"
    return f", {len(frames):,} frames deep"


def _has_null_base(access: Access) -> bool:
    """Nothing but an offset, or an index that is no address, was added to zero."""
    values = [value for _, value in access.registers]
    others = [value for value in values if value]
    return bool(values) and 0 in values and all(value < _NO_ADDRESS for value in others)


def _classify_jump(scene: Scene, pc: int) -> tuple[ReasonKind, str, list[Evidence]]:
    caller = scene.stack.frames[1] if len(scene.stack.frames) > 1 else None
    is_called = caller is not None and caller.trust is FrameTrust.BAD_CALL
    by = f", called by {caller.function}" if caller and is_called and caller.function else ""
    region = scene.find_region(pc)
    if came_by_return(scene, pc):
        return _classify_return(scene, pc, region)
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
        how = f"jump to {pc:#x}{words}, where no memory is{by}"
        return ReasonKind.JUMP_TO_NOWHERE, how, [_map_evidence(scene, pc)]
    if not region.executable:
        how = f"jump to {pc:#x}, which is no code but {scene.describe_place(pc)}{by}"
        return ReasonKind.NOT_EXECUTABLE, how, [_map_evidence(scene, pc)]
    return ReasonKind.OTHER, f"fault on the way to the instruction at {pc:#x}{by}", []


def _classify_return(
    scene: Scene, pc: int, region: Region | None
) -> tuple[ReasonKind, str, list[Evidence]]:
    text = read_as_text(pc)
    words = f", which reads '{text}'" if text else ""
    place = "where no memory is" if region is None else f"no code but {scene.describe_place(pc)}"
    how = f"return to {pc:#x}{words}, {place}: the return address on the stack was overwritten"
    kind = ReasonKind.JUMP_TO_NOWHERE if region is None else ReasonKind.NOT_EXECUTABLE
    if region is not None and region.executable:
        return ReasonKind.OTHER, f"fault on the way to the instruction at {pc:#x}", []
    return kind, how, [_map_evidence(scene, pc)]


def _classify_unmapped(
    scene: Scene, access: Access, what: str
) -> tuple[ReasonKind, str, list[Evidence]]:
    address = access.address
    damage = _find_text(scene, access)
    if damage is None and not is_canonical(address):
        damage = "no address at all, a damaged pointer"
    if damage is None and address >= _KERNEL:
        damage = "an address of the kernel, which no program may use: a damaged pointer"
    if damage is not None:
        return ReasonKind.NON_CANONICAL, f"{what}: {damage}", []
    if _has_null_base(access):
        return ReasonKind.NULL_POINTER, f"{what}: {_describe_null(access)}", []
    if not scene.snapshot.regions:
        return ReasonKind.OTHER, f"{what}; the dump does not say what is mapped there", []
    text = f"{what}, where nothing is mapped: freed, or never allocated{_near(scene, address)}"
    return ReasonKind.UNMAPPED, text, [_map_evidence(scene, address)]


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
