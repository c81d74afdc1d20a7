"""The notes of a core: each thread with its registers, the one that crashed first, and why.

The kernel writes a core from its beginning: ELF header, program headers, then the notes. A
collector of cores need read no further. Layouts: struct elf_prstatus (linux/elfcore.h) and siginfo_t.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from perimortem.binary.elf import (
    EM_AARCH64,
    EM_X86_64,
    PT_NOTE,
    ProgramHeader,
    iterate_notes,
    read_header,
)
from perimortem.binary.user_regs import (
    AARCH64_SIZE,
    SIZE,
    parse_aarch64_registers,
    parse_registers,
)
from perimortem.elfcore.layout import (
    NT_AUXV,
    NT_FPREGSET,
    NT_PRPSINFO,
    NT_PRSTATUS,
    NT_SIGINFO,
    NT_X86_XSTATE,
    SYSTEM_OWNERS,
)
from perimortem.errors import MalformedInput
from perimortem.model.snapshot import Registers
from perimortem.text import decode_text

_CURRENT_SIGNAL_AT, _PID_AT, _REGISTERS_AT = 12, 32, 112
_FXSAVE_BYTES = 512
_PSINFO_BYTES = 136
_THREADS_MAX = 100_000
_REGISTERS = {
    EM_X86_64: (SIZE, parse_registers),
    EM_AARCH64: (AARCH64_SIZE, parse_aarch64_registers),
}
MACHINES = tuple(_REGISTERS)
"""The machine whose cores can be read."""
HEAD_MAX = 64 << 20
"""Header and notes of a process with very many threads."""


@dataclass(frozen=True)
class CoreSignal:
    """siginfo_t of the signal that the process dies of."""

    number: int
    si_code: int
    address: int
    sender_pid: int | None
    sender_uid: int | None
    has_code: bool = True
    """False: only the number was recorded."""


@dataclass(frozen=True)
class CoreThread:
    """``tid`` as the process itself counts."""

    tid: int
    registers: Registers


@dataclass(frozen=True)
class CoreNotes:
    """``threads``: the one that crashed is the first."""

    threads: tuple[CoreThread, ...]
    signal: CoreSignal | None
    auxv: bytes
    pid: int = 0
    """0: unknown (NT_PRPSINFO)."""
    name: str = ""
    command_line: bytes = b""
    """Its first 80 bytes."""


def read_notes(data: bytes) -> CoreNotes:
    """``data``: the core up to the end of its notes. Raises :class:`MalformedInput`."""
    begin, size = _find_notes(data)
    if begin + size > len(data):
        raise MalformedInput("a core is truncated", why="its notes are incomplete")
    return parse_notes(data[begin : begin + size])


def parse_notes(data: bytes, machine: int = EM_X86_64) -> CoreNotes:
    """``data``: the notes alone. Raises :class:`MalformedInput`."""
    size, parse = _REGISTERS[machine]
    tids: list[int] = []
    general: list[dict[str, int]] = []
    floating: dict[int, bytes] = {}
    extended: dict[int, bytes] = {}
    signal, auxv, info, current = None, b"", b"", 0
    for owner, kind, content in iterate_notes(data):
        if owner not in SYSTEM_OWNERS:
            continue
        if (
            kind == NT_PRSTATUS
            and len(content) >= _REGISTERS_AT + size
            and len(tids) < _THREADS_MAX
        ):
            if not tids:
                (current,) = struct.unpack_from("<H", content, _CURRENT_SIGNAL_AT)
            tids.append(struct.unpack_from("<I", content, _PID_AT)[0])
            general.append(parse(content[_REGISTERS_AT : _REGISTERS_AT + size]))
        elif kind == NT_FPREGSET and tids and len(content) >= _FXSAVE_BYTES and size == SIZE:
            floating[len(tids) - 1] = content[:_FXSAVE_BYTES]
        elif kind == NT_X86_XSTATE and tids:
            extended[len(tids) - 1] = content
        elif kind == NT_SIGINFO and signal is None and len(content) >= 32:
            signal = _parse_signal(content)
        elif kind == NT_AUXV:
            auxv = content
        elif kind == NT_PRPSINFO and len(content) >= _PSINFO_BYTES:
            info = content
    if not tids:
        raise MalformedInput("not a core that can be read", why="no thread is in it")
    if signal is None and current:  # qemu and others write no siginfo
        signal = CoreSignal(current, 0, 0, None, None, has_code=False)
    threads = (
        CoreThread(tid, Registers(registers, floating.get(index), extended.get(index)))
        for index, (tid, registers) in enumerate(zip(tids, general, strict=True))
    )
    return CoreNotes(
        tuple(threads),
        signal,
        auxv,
        pid=struct.unpack_from("<I", info, 24)[0] if info else 0,
        name=decode_text(info[40:56]),
        command_line=info[56:136].rstrip(b"\0"),
    )


def _find_notes(data: bytes) -> tuple[int, int]:
    """(offset, size). A core has a program header for each mapping: thousands."""
    header = read_header(lambda offset, size: data[offset : offset + size])
    if header is None:
        raise MalformedInput("not a core that can be read", why="it is not a 64-bit ELF file")
    entry_size = ProgramHeader.size()
    if header.machine != EM_X86_64 or header.program_header_size != entry_size:
        raise MalformedInput("not a core that can be read", why="it is not one of 64-bit x86")
    begin = header.program_headers_offset
    table = data[begin : begin + header.program_header_count * entry_size]
    for segment in ProgramHeader.read_each(table):
        if segment.type == PT_NOTE:
            return segment.offset, segment.file_size
    raise MalformedInput("not a core that can be read", why="it has no notes")


def _parse_signal(content: bytes) -> CoreSignal:
    number, _, code = struct.unpack_from("<iii", content)
    if code <= 0:
        pid, uid = struct.unpack_from("<iI", content, 16)
        return CoreSignal(number, code, 0, pid, uid)
    (address,) = struct.unpack_from("<Q", content, 16)
    return CoreSignal(number, code, address, None, None)
