"""Cores of machines whose stacks are not walked here: threads, the signal, files. Pure.

32-bit and big-endian cores of Linux. Of i386 the registers are read too, since its dumps are walked.

Source: elf(5), core(5); linux/elfcore.h (struct elf_prstatus, elf_prpsinfo), asm/siginfo.h and
asm/signal.h of each machine.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from perimortem.binary.elf import ET_CORE, PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE
from perimortem.binary.pieces import Piece, PieceMemory, ReadAt, bound_pieces
from perimortem.elfcore.layout import NT_FILE, NT_PRPSINFO, NT_PRSTATUS, NT_SIGINFO
from perimortem.errors import MalformedInput
from perimortem.model.snapshot import (
    Architecture,
    ExceptionRecord,
    Module,
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
_FILES_MAX = 1 << 16
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
_I386_REGISTERS = (
    "ebx", "ecx", "edx", "esi", "edi", "ebp", "eax", "ds", "es", "fs", "gs", "orig_eax", "eip",
    "cs", "eflags", "esp", "ss",
)  # fmt: skip
_I386_REGISTERS_AT = 72


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
    for kind, _, offset, _, taken, _ in segments:
        if kind == PT_NOTE and taken <= _NOTES_MAX:
            notes += _list_notes(form, read(offset, taken))
    pieces = [Piece(at, taken, offset) for kind, _, offset, at, taken, _ in segments
              if kind == PT_LOAD and taken and offset + taken <= size]  # fmt: skip
    memory = PieceMemory(read, bound_pieces(pieces, size))
    files = list(_list_files(form, notes))
    pid, name = _read_process(form, notes)
    threads, signal = _read_threads(form, notes, name)
    return Snapshot(
        pid=pid or threads[0].tid,
        taken_at_s=0,
        process_create_time_s=0,
        user_time_s=0,
        kernel_time_s=0,
        system=SystemFacts(form.architecture, "Linux", (0, 0, 0), 0),
        threads=threads,
        modules=tuple(files),
        regions=tuple(_list_regions(segments)),
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


def _list_segments(
    form: _Form, head: bytes, read: ReadAt
) -> Iterator[tuple[int, int, int, int, int, int]]:
    """(type, flags, offset, address, size in the file, size in memory) of each program header."""
    _, begin = form.unpack("WW", head, 24)
    entry, count = form.unpack("HH", head, 24 + 3 * form.word + 6)
    table = read(begin, entry * min(count, _SEGMENTS_MAX))
    for at in range(0, len(table) - entry + 1, entry or 1):
        if form.word == 4:
            kind, offset, address, _, taken, wanted, flags = form.unpack("7I", table, at)
        else:
            kind, flags, offset, address, _, taken, wanted = form.unpack("II5Q", table, at)
        if address + wanted <= 1 << 8 * form.word:
            yield kind, flags, offset, address, taken, wanted


def _list_notes(form: _Form, data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, content) of those of the kernel."""
    at = 0
    while at + 12 <= len(data):
        name_size, size, kind = form.unpack("III", data, at)
        start = at + 12 + (name_size + 3 & ~3)
        if start + size > len(data):
            return
        if data[at + 12 : start].rstrip(b"\0") == b"CORE":
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
    if form.architecture is not Architecture.X86 or form.order != "<":
        return None
    values = form.unpack(f"{len(_I386_REGISTERS)}I", content, _I386_REGISTERS_AT)
    return Registers(dict(zip(_I386_REGISTERS, values, strict=True)))


def _read_exception(
    form: _Form, notes: list[tuple[int, bytes]], tid: int, signal: int
) -> ExceptionRecord | None:
    info = next((content for kind, content in notes if kind == NT_SIGINFO), b"")
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


def _read_process(form: _Form, notes: list[tuple[int, bytes]]) -> tuple[int, str]:
    """(pid, name); 0 and empty if they are not there. Some 32-bit machines have user ids of 16 bits."""
    content = next((content for kind, content in notes if kind == NT_PRPSINFO), b"")
    places = {(8, 136): (24, 40), (4, 124): (12, 28), (4, 128): (16, 32)}
    pid_at, name_at = places.get((form.word, len(content)), (0, 0))
    if not pid_at:
        return 0, ""
    raw = content[name_at : name_at + 16].split(b"\0", 1)[0]
    return form.unpack("I", content, pid_at)[0], printable(raw.decode("utf-8", "backslashreplace"))


def _list_files(form: _Form, notes: list[tuple[int, bytes]]) -> Iterator[Module]:
    """Each file of NT_FILE, from its first mapping to its last."""
    content = next((content for kind, content in notes if kind == NT_FILE), b"")
    if len(content) < 2 * form.word:
        return
    count, _ = form.unpack("WW", content)
    rows_at, row = 2 * form.word, 3 * form.word
    if count > _FILES_MAX or rows_at + count * row > len(content):
        return
    paths = content[rows_at + count * row :].split(b"\0")
    found: dict[str, tuple[int, int]] = {}
    for index, path in zip(range(count), paths, strict=False):
        start, end, _ = form.unpack("WWW", content, rows_at + index * row)
        name = printable(path.decode("utf-8", "backslashreplace"))
        first, last = found.get(name, (start, end))
        found[name] = min(first, start), max(last, end)
    for name, (first, last) in found.items():
        yield Module(first, last - first, name, None)


def _list_regions(segments: list[tuple[int, int, int, int, int, int]]) -> Iterator[Region]:
    end = 0
    loads = ((at, at + size, flags) for kind, flags, _, at, _, size in segments
             if kind == PT_LOAD and size)  # fmt: skip
    for start, stop, flags in sorted(loads):
        if start >= end:
            yield Region(
                start,
                stop,
                readable=bool(flags & PF_R),
                writable=bool(flags & PF_W),
                executable=bool(flags & PF_X),
                shared=False,
                file_offset=0,
                inode=0,
                path="",
            )
            end = stop
