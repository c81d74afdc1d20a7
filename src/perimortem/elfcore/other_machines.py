"""32-bit and big-endian cores of Linux: threads, the signal, files. Pure.

Of i386 and little-endian ARM the registers are read too, since their stacks are walked here.

Source: elf(5), core(5); linux/elfcore.h (struct elf_prstatus, elf_prpsinfo), asm/siginfo.h and
asm/signal.h of each machine.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from perimortem.binary.elf import ET_CORE, PT_LOAD, PT_NOTE, ProgramHeader
from perimortem.binary.pieces import Piece, PieceMemory, ReadAt, bound_pieces
from perimortem.elfcore.layout import NT_AUXV, NT_FILE, NT_PRPSINFO, NT_PRSTATUS, NT_SIGINFO
from perimortem.elfcore.link_map import AT_SYSINFO_EHDR, parse_auxv
from perimortem.elfcore.modules import derive_modules, guess_program
from perimortem.elfcore.regions import derive_regions, parse_files
from perimortem.errors import MalformedInput
from perimortem.model.snapshot import (
    Architecture,
    ExceptionRecord,
    Region,
    Registers,
    Snapshot,
    SystemFacts,
    Thread,
)
from perimortem.text import printable

_MAGIC = b"\x7fELF"
_SEGMENTS_MAX = 1 << 16
_NOTES_MAX = 256 << 20
_THREADS_MAX = 1 << 16
_I386, _MIPS, _MIPS_RS3, _SPARC, _SPARC64 = 3, 8, 10, 2, 43
_ARCHITECTURES = {
    _I386: (Architecture.X86, Architecture.X86),
    _MIPS: (Architecture.MIPS, Architecture.MIPS64),
    _MIPS_RS3: (Architecture.MIPS, Architecture.MIPS64),
    20: (Architecture.PPC, Architecture.PPC),
    21: (Architecture.PPC64, Architecture.PPC64),
    22: (Architecture.S390X, Architecture.S390X),
    40: (Architecture.ARM, Architecture.ARM),
    243: (Architecture.RISCV, Architecture.RISCV64),
    _SPARC: (Architecture.SPARC, Architecture.SPARC),
    _SPARC64: (Architecture.SPARC, Architecture.SPARC),
}
"""By e_machine: of 32 and of 64 bits."""
_OTHER_SIGNALS = {7: 0, 10: 7, 12: 31}
"""On MIPS and SPARC: SIGEMT, which others lack; SIGBUS; SIGSYS."""
_CURRENT_SIGNAL_AT = 12
_REGISTERS = {
    Architecture.X86: (
        "ebx", "ecx", "edx", "esi", "edi", "ebp", "eax", "ds", "es", "fs", "gs", "orig_eax", "eip",
        "cs", "eflags", "esp", "ss",
    ),
    Architecture.ARM: (*(f"r{number}" for number in range(13)), "sp", "lr", "pc", "cpsr"),
}  # fmt: skip
_REGISTERS_AT = 72


@dataclass(frozen=True)
class _Form:
    """Of a core: its byte order as struct has it, and the size of an address."""

    order: str
    word: int
    machine: int

    @property
    def architecture(self) -> Architecture:
        small, large = _ARCHITECTURES.get(self.machine, (Architecture.UNKNOWN,) * 2)
        return small if self.word == 4 else large

    def unpack(self, kinds: str, data: bytes, at: int = 0) -> tuple[int, ...]:
        """``kinds``: of struct, with W for an address. Raises struct.error."""
        word = "I" if self.word == 4 else "Q"
        return struct.unpack_from(self.order + kinds.replace("W", word), data, at)


def read_other_core(read: ReadAt, size: int) -> Snapshot:
    """What it knows of the process. Raises :class:`MalformedInput`."""
    try:
        return _read(read, size)
    except struct.error as error:
        raise MalformedInput(
            "a core is truncated", why="it ends within its headers or notes"
        ) from error


def _read(read: ReadAt, size: int) -> Snapshot:
    head = read(0, 64)
    form = _read_form(head)
    segments = list(_list_segments(form, head, read))
    notes: list[tuple[int, bytes]] = []
    for segment in segments:
        if segment.type == PT_NOTE and segment.file_size <= _NOTES_MAX:
            notes += _list_notes(form, read(segment.offset, segment.file_size))
    pieces = [Piece(s.address, s.file_size, s.offset) for s in segments
              if s.type == PT_LOAD and s.file_size and s.offset + s.file_size <= size]  # fmt: skip
    memory = PieceMemory(read, bound_pieces(pieces, size))
    auxv = parse_auxv(_find_note(notes, NT_AUXV), form.order + ("II" if form.word == 4 else "QQ"))
    regions = _read_regions(form, segments, notes, auxv.get(AT_SYSINFO_EHDR))
    pid, name, command_line = _read_process(form, notes)
    program = next((region.path for region in regions if region.path.startswith("/")), None)
    threads, signal = _read_threads(form, notes, name)
    return Snapshot(
        pid=pid or threads[0].tid,
        taken_at_s=0,
        process_create_time_s=0,
        user_time_s=0,
        kernel_time_s=0,
        system=SystemFacts(form.architecture, "Linux", (0, 0, 0), 0),
        threads=threads,
        modules=derive_modules(regions, memory.read, program)
        or guess_program(command_line, auxv, regions),
        regions=regions,
        memory=memory.ranges,
        handles=None,
        files={},
        content=memory,
        exception=_read_exception(form, notes, threads[0].tid, signal),
    )


def _read_form(head: bytes) -> _Form:
    orders, words = {1: "<", 2: ">"}, {1: 4, 2: 8}
    if head[:4] != _MAGIC or head[5] not in orders or head[4] not in words:
        raise MalformedInput("not a core that can be read", why="it is no ELF file")
    order = orders[head[5]]
    kind, machine = struct.unpack_from(f"{order}HH", head, 16)
    if kind != ET_CORE:
        raise MalformedInput("not a core that can be read", why="it is an ELF file of another type")
    return _Form(order, words[head[4]], machine)


def _list_segments(form: _Form, head: bytes, read: ReadAt) -> Iterator[ProgramHeader]:
    _, begin = form.unpack("WW", head, 24)
    entry, count = form.unpack("HH", head, 24 + 3 * form.word + 6)
    table = read(begin, entry * min(count, _SEGMENTS_MAX))
    for at in range(0, len(table) - entry + 1, entry or 1):
        if form.word == 4:
            kind, offset, address, _, taken, wanted, flags = form.unpack("7I", table, at)
        else:
            kind, flags, offset, address, _, taken, wanted = form.unpack("II5Q", table, at)
        if address + wanted <= 1 << 8 * form.word:
            yield ProgramHeader(kind, flags, offset, address, 0, taken, wanted, 0)


def _list_notes(form: _Form, data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, content) of those of the kernel."""
    at = 0
    while at + 12 <= len(data):
        name_size, size, kind = form.unpack("III", data, at)
        start = at + 12 + (name_size + 3 & ~3)
        if start + size > len(data):
            return
        if data[at + 12 : at + 12 + name_size].rstrip(b"\0") == b"CORE":
            yield kind, data[start : start + size]
        at = start + (size + 3 & ~3)


def _read_threads(
    form: _Form, notes: list[tuple[int, bytes]], name: str
) -> tuple[tuple[Thread, ...], int]:
    """The one that crashed first; and its signal, as the machine numbers it."""
    threads: list[Thread] = []
    signal = 0
    for content in (content for kind, content in notes if kind == NT_PRSTATUS):
        if not threads:
            (signal,) = form.unpack("H", content, _CURRENT_SIGNAL_AT)
        (tid,) = form.unpack("I", content, 16 + 2 * form.word)
        threads.append(Thread(tid, name if not threads else "", _read_registers(form, content)))
        if len(threads) >= _THREADS_MAX:
            break
    if not threads:
        raise MalformedInput("not a core that can be read", why="no thread is in it")
    return tuple(threads), signal


def _read_registers(form: _Form, content: bytes) -> Registers | None:
    names = _REGISTERS.get(form.architecture)
    if names is None or form.order != "<":
        return None
    values = form.unpack(f"{len(names)}I", content, _REGISTERS_AT)
    return Registers(dict(zip(names, values, strict=True)))


def _read_exception(
    form: _Form, notes: list[tuple[int, bytes]], tid: int, signal: int
) -> ExceptionRecord | None:
    info = _find_note(notes, NT_SIGINFO)
    number, code, address = signal, 0, 0
    if len(info) >= 16 + form.word:
        number, second, third = form.unpack("Iii", info)
        code = second if form.machine in (_MIPS, _MIPS_RS3) else third
        (address,) = form.unpack("W", info, 12 if form.word == 4 else 16) if code > 0 else (0,)
    if form.machine in (_MIPS, _MIPS_RS3, _SPARC, _SPARC64):
        number = _OTHER_SIGNALS.get(number, number)
    if not number:
        return None
    return ExceptionRecord(
        tid, number, code & 0xFFFFFFFF, address, has_flags=len(info) >= 16 + form.word
    )


def _read_process(form: _Form, notes: list[tuple[int, bytes]]) -> tuple[int, str, bytes]:
    """(pid, name, command line); 0 and empty if they are not there.

    Some 32-bit machines have user ids of 16 bits.
    """
    content = _find_note(notes, NT_PRPSINFO)
    places = {(8, 136): (24, 40), (4, 124): (12, 28), (4, 128): (16, 32)}
    pid_at, name_at = places.get((form.word, len(content)), (0, 0))
    if not pid_at:
        return 0, "", b""
    raw = content[name_at : name_at + 16].split(b"\0", 1)[0]
    name = printable(raw.decode("utf-8", "backslashreplace"))
    return form.unpack("I", content, pid_at)[0], name, content[name_at + 16 :].split(b"\0", 1)[0]


def _read_regions(
    form: _Form,
    segments: list[ProgramHeader],
    notes: list[tuple[int, bytes]],
    vdso_at: int | None,
) -> tuple[Region, ...]:
    files = parse_files(_find_note(notes, NT_FILE), form.order + ("I" if form.word == 4 else "Q"))
    return tuple(
        replace(region, path="[vdso]") if region.start == vdso_at and not region.path else region
        for region in derive_regions(segments, files)
    )


def _find_note(notes: list[tuple[int, bytes]], wanted: int) -> bytes:
    return next((content for kind, content in notes if kind == wanted), b"")
