"""Disassemble one machine instruction, with its operands, by capstone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from perimortem.binary.elf import EM_386, EM_AARCH64, EM_ARM, EM_X86_64
from perimortem.model.reason import Instruction, MemoryOperand
from perimortem.model.snapshot import Architecture


def decode_instruction(
    architecture: Architecture, code: bytes, address: int, *, is_thumb: bool = False
) -> Instruction | None:
    """The first instruction of ``code``; None without capstone, or if it is invalid."""
    engine = _open_engine(architecture, is_thumb=is_thumb)
    found = next(engine.disasm(code, address, 1), None) if engine is not None else None
    if found is None:
        return None
    text = f"{found.mnemonic} {found.op_str}".strip()
    return Instruction(
        address, text, found.size, tuple(_list_operands(found, architecture)), _find_feature(found)
    )


_FEATURES = {
    "avx512": "AVX-512", "avx2": "AVX2", "avx": "AVX", "fma4": "FMA4", "fma": "FMA", "xop": "XOP",
    "tbm": "TBM", "bmi": "BMI1", "bmi2": "BMI2", "sse4a": "SSE4a", "sse42": "SSE4.2",
    "sse41": "SSE4.1", "ssse3": "SSSE3", "sha": "SHA", "aes": "AES", "pclmul": "PCLMULQDQ",
    "adx": "ADX", "rtm": "RTM", "sve": "SVE", "crypto": "cryptographic extension", "crc": "CRC32",
}  # fmt: skip
"""By group of capstone; the first that applies."""


def _find_feature(found: Any) -> str | None:
    groups = {found.group_name(group) for group in found.groups}
    wide = next((name for name in groups if name.startswith("avx512")), None)
    return next((text for name, text in _FEATURES.items() if name in groups or name == wide), None)


@lru_cache(maxsize=4)
def _open_engine(architecture: Architecture, *, is_thumb: bool) -> Any:
    try:
        import capstone
    except ImportError:
        return None
    known = {
        Architecture.X86_64: (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
        Architecture.X86: (capstone.CS_ARCH_X86, capstone.CS_MODE_32),
        Architecture.AARCH64: (capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM),
        Architecture.ARM: (
            capstone.CS_ARCH_ARM,
            capstone.CS_MODE_THUMB if is_thumb else capstone.CS_MODE_ARM,
        ),
    }.get(architecture)
    if known is None:
        return None
    engine = capstone.Cs(*known)
    engine.detail = True
    return engine


def list_instructions(machine: int, code: bytes, address: int) -> Iterator[int]:
    """The address after each instruction of ``code``, by e_machine; what is none is passed over."""
    architecture = {
        EM_X86_64: Architecture.X86_64,
        EM_386: Architecture.X86,
        EM_AARCH64: Architecture.AARCH64,
        EM_ARM: Architecture.ARM,
    }.get(machine)
    engine = _open_engine(architecture, is_thumb=False) if architecture is not None else None
    if engine is None:
        return
    at, end = address, address + len(code)
    while at < end:
        for _, size, _, _ in engine.disasm_lite(code[at - address :], at):
            at += size
            yield at
        if at < end:
            at += 1
            yield at


def _size_of_arm(found: Any, architecture: Architecture) -> int:
    """From the suffix of ldr and str, else from the register."""
    name = found.mnemonic.removesuffix(".w")
    for ending, size in (("b", 1), ("h", 2), ("sw", 4)):
        if name.endswith(ending):
            return size
    if architecture is Architecture.ARM:
        return 8 if name.endswith("d") else 4
    return 4 if found.op_str.startswith(("w", "s")) else 8


def _list_operands(found: Any, architecture: Architecture) -> list[MemoryOperand]:
    import capstone

    operands = []
    for operand in found.operands:
        if operand.type != capstone.CS_OP_MEM or found.mnemonic in ("lea", "nop"):
            continue
        memory = operand.mem
        segment = getattr(memory, "segment", 0)
        access = getattr(operand, "access", 0)
        operands.append(
            MemoryOperand(
                base=found.reg_name(memory.base) or None if memory.base else None,
                index=found.reg_name(memory.index) or None if memory.index else None,
                scale=getattr(memory, "scale", 1),
                displacement=memory.disp,
                size=getattr(operand, "size", 0) or _size_of_arm(found, architecture),
                reads=bool(access & capstone.CS_AC_READ),
                writes=bool(access & capstone.CS_AC_WRITE),
                segment=found.reg_name(segment) if segment else None,
            )
        )
    return operands
