"""The memory access of the faulting instruction: which operand, at which address. Pure."""

from __future__ import annotations

from perimortem.analysis.crash_context import CrashContext
from perimortem.model.reason import Access, AccessKind, Instruction, MemoryOperand
from perimortem.model.snapshot import OperatingSystem

_CODE_MAX = 16
_WINDOWS_KINDS = {0: AccessKind.READ, 1: AccessKind.WRITE, 8: AccessKind.EXECUTE}
_PUSHES = ("push", "call", "enter")
_POPS = ("pop", "ret", "leave")


def decode_instruction(context: CrashContext, pc: int) -> Instruction | None:
    """The instruction at ``pc``, if its bytes are known and a disassembler is available."""
    code = context.read(pc, _CODE_MAX)
    return context.decode(code, pc) if code else None


def derive_access(
    context: CrashContext, instruction: Instruction | None, fault_address: int | None
) -> Access | None:
    """The operand that matches the fault; ``fault_address`` None: the processor gave none.

    Without an instruction, only what the exception itself says.
    """
    stated = read_stated_kind(context)
    if instruction is None:
        return None if fault_address is None else Access(stated, fault_address)
    found = [
        (operand, address)
        for operand in instruction.operands
        if (address := _locate(context, instruction, operand)) is not None
    ]
    for operand, address in found:
        inside = fault_address - address if fault_address is not None else None
        is_hit = not is_canonical(address) if inside is None else 0 <= inside < max(1, operand.size)
        if is_hit:
            # The operand says more than the exception: a read that then writes is both.
            kind = AccessKind.WRITE if operand.writes else AccessKind.READ
            kind = kind if stated is AccessKind.UNKNOWN else stated
            return Access(kind, address, operand.size, _express(operand), _values(context, operand))
    return _derive_implied(context, instruction, fault_address, stated)


def locate_operands(context: CrashContext, instruction: Instruction | None) -> list[int]:
    """Every address that the instruction names."""
    if instruction is None:
        return []
    found = (_locate(context, instruction, operand) for operand in instruction.operands)
    return [address for address in found if address is not None]


def _derive_implied(
    context: CrashContext, instruction: Instruction, fault_address: int | None, stated: AccessKind
) -> Access | None:
    """The stack, which instructions use implicitly."""
    name = instruction.text.split(" ", 1)[0]
    size = context.word_bytes
    register = ("rbp" if name == "leave" else "rsp") if size == 8 else "esp"
    pointer = context.registers.general.get(register)
    if fault_address is None:
        if pointer is None or is_canonical(pointer) or not name.startswith((*_PUSHES, *_POPS)):
            return None
        fault_address = pointer - size if name.startswith(_PUSHES) else pointer
    if pointer is not None and name.startswith(_PUSHES) and 0 < pointer - fault_address <= size:
        return Access(AccessKind.WRITE, fault_address, size, "the stack", ((register, pointer),))
    if pointer is not None and name.startswith(_POPS) and 0 <= fault_address - pointer < size:
        return Access(AccessKind.READ, fault_address, size, "the stack", ((register, pointer),))
    return Access(stated, fault_address)


def is_canonical(address: int) -> bool:
    """48 bits with sign, as processors with four-level paging require."""
    return address < 1 << 47 or address >= (1 << 64) - (1 << 47)


def read_stated_kind(context: CrashContext) -> AccessKind:
    """What the exception itself says of the access, as those of Windows do."""
    exception = context.snapshot.exception
    is_windows = context.snapshot.system.os is OperatingSystem.WINDOWS
    if exception is None or not exception.parameters or not is_windows:
        return AccessKind.UNKNOWN
    return _WINDOWS_KINDS.get(exception.parameters[0], AccessKind.UNKNOWN)


def _locate(context: CrashContext, instruction: Instruction, operand: MemoryOperand) -> int | None:
    general = context.registers.general
    address = operand.displacement
    if operand.segment in ("fs", "gs"):
        base = general.get(f"{operand.segment}_base", 0)
        if not base:
            return None
        address += base
    for register, scale in ((operand.base, 1), (operand.index, operand.scale)):
        if register is None:
            continue
        if register in ("rip", "eip"):
            address += instruction.address + instruction.size
            continue
        value = read_register(general, register)
        if value is None:
            return None
        address += value * scale
    return address & (1 << 8 * context.word_bytes) - 1


def read_register(general: dict[str, int], register: str) -> int | None:
    """By any of its 32-bit or 64-bit names: eax, rax, r8d."""
    if register in general:
        return general[register]
    wide = "r" + register[1:] if register.startswith("e") else register.removesuffix("d")
    value = general.get(wide)
    return None if value is None else value & 0xFFFFFFFF


def _express(operand: MemoryOperand) -> str:
    parts = [operand.base] if operand.base else []
    if operand.index:
        parts.append(operand.index + (f"*{operand.scale}" if operand.scale != 1 else ""))
    text = " + ".join(parts)
    if operand.displacement or not parts:
        sign = "-" if operand.displacement < 0 else "+"
        number = f"{abs(operand.displacement):#x}"
        text = f"{text} {sign} {number}" if parts else number
    return f"{operand.segment}:[{text}]" if operand.segment else f"[{text}]"


def _values(context: CrashContext, operand: MemoryOperand) -> tuple[tuple[str, int], ...]:
    return tuple(
        (register, value)
        for register in (operand.base, operand.index)
        if register is not None
        and (value := read_register(context.registers.general, register)) is not None
    )
