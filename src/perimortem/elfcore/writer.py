"""Write a snapshot as an ELF core that gdb, lldb, drgn and pystack read. Pure.

The order in the file: header, program headers, notes, memory. What readers need beside a NT_PRSTATUS for
each thread: gdb NT_AUXV, lldb and drgn NT_FILE as well, pystack NT_PRPSINFO.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from perimortem.binary.bulk import BulkCopier, Output
from perimortem.binary.elf import (
    EM_X86_64,
    ET_CORE,
    IDENTITY,
    PF_R,
    PF_W,
    PF_X,
    PN_XNUM,
    PT_LOAD,
    PT_NOTE,
    ElfHeader,
    ProgramHeader,
    SectionHeader,
)
from perimortem.binary.user_regs import X86_64_REGISTERS, pack_registers
from perimortem.elfcore import layout
from perimortem.model.snapshot import MemoryRange, Region, Registers, Snapshot, Thread

_PAGE = 4096
_UNKNOWN_STATES = "RSDTZW"
_SIGINFO_BYTES = 128
_FPREGS_BYTES = 512
_SOFT_ERRORS_ROOM = 16384


def write_core(snapshot: Snapshot, out: Output) -> int:
    """Write ``snapshot`` to ``out``, positioned at 0; returns the size in bytes."""
    pieces = list(_cut_regions(snapshot.regions, snapshot.memory))
    count = len(pieces) + 1
    has_many = count >= PN_XNUM
    notes_at = (
        ElfHeader.size() + count * ProgramHeader.size() + (SectionHeader.size() if has_many else 0)
    )
    notes_size = len(_write_notes(snapshot)) + _SOFT_ERRORS_ROOM
    memory_at = -(-(notes_at + notes_size) // _PAGE) * _PAGE

    out.seek(memory_at)
    copier = BulkCopier(snapshot.content, out, snapshot.is_alive)
    segments, at = [], memory_at
    for region, part, is_taken in pieces:
        taken = part.size if is_taken else 0
        if is_taken:
            missing = copier.copy(part)
            if missing:
                snapshot.soft_errors.append(
                    f"{missing} bytes at {part.address:#x} could not be read and are zero"
                )
        segments.append(_write_segment(region, part, at, taken))
        at += taken
    size = out.tell()

    notes = _write_notes(snapshot)[: memory_at - notes_at]
    note_segment = ProgramHeader(PT_NOTE, 0, notes_at, 0, 0, len(notes), 0, 4)
    out.seek(0)
    out.write(_write_header(count, has_many))
    out.write(b"".join(segment.to_bytes() for segment in (note_segment, *segments)))
    if has_many:
        out.write(SectionHeader(0, 0, 0, 0, 0, 0, 0, count, 0, 0).to_bytes())
    out.write(notes)
    return size


def _write_header(count: int, has_many: bool) -> bytes:
    headers_end = ElfHeader.size() + count * ProgramHeader.size()
    return ElfHeader(
        identity=IDENTITY,
        type=ET_CORE,
        machine=EM_X86_64,
        version=1,
        entry=0,
        program_headers_offset=ElfHeader.size(),
        section_headers_offset=headers_end if has_many else 0,
        flags=0,
        header_size=ElfHeader.size(),
        program_header_size=ProgramHeader.size(),
        program_header_count=PN_XNUM if has_many else count,
        section_header_size=SectionHeader.size() if has_many else 0,
        section_header_count=1 if has_many else 0,
        section_names_index=0,
    ).to_bytes()


def _cut_regions(
    regions: tuple[Region, ...], memory: tuple[MemoryRange, ...]
) -> Iterator[tuple[Region, MemoryRange, bool]]:
    """Each mapping in pieces: those that are taken, and what lies between them, in address order."""
    ranges = iter((*memory, MemoryRange(1 << 64, 0)))
    wanted = next(ranges)
    for region in regions:
        at = region.start
        while at < region.end:
            while wanted.address + wanted.size <= at:
                wanted = next(ranges)
            start = min(max(wanted.address, at), region.end)
            if at < start:
                yield region, MemoryRange(at, start - at), False
            stop = min(wanted.address + wanted.size, region.end)
            if start < stop:
                yield region, MemoryRange(start, stop - start), True
            at = max(start, stop)


def _write_segment(region: Region, part: MemoryRange, offset: int, taken: int) -> ProgramHeader:
    flags = PF_R * region.readable | PF_W * region.writable | PF_X * region.executable
    return ProgramHeader(PT_LOAD, flags, offset, part.address, 0, taken, part.size, 1)


def _write_notes(snapshot: Snapshot) -> bytes:
    exception = snapshot.exception
    crashed = exception.tid if exception else None
    ordered = sorted(snapshot.threads, key=lambda thread: thread.tid != crashed)
    # A debugger wants a thread: one whose registers are unknown stands there with zeros.
    written = [thread for thread in ordered if thread.registers is not None] or ordered[:1]
    notes = []
    for index, thread in enumerate(written):
        registers = thread.registers or Registers(dict.fromkeys(X86_64_REGISTERS, 0))
        notes.append(_note(layout.NT_PRSTATUS, _write_status(snapshot, thread, registers)))
        if index == 0:
            notes.append(_note(layout.NT_PRPSINFO, _write_process_info(snapshot)))
            notes.append(_note(layout.NT_SIGINFO, _write_siginfo(snapshot)))
            notes.append(_note(layout.NT_AUXV, snapshot.files.get("auxv", b"")))
            notes.append(_note(layout.NT_FILE, _write_files(snapshot.regions)))
        if registers.floating_point is not None:
            notes.append(_note(layout.NT_FPREGSET, registers.floating_point[:_FPREGS_BYTES]))
        if registers.extended:
            notes.append(_note(layout.NT_X86_XSTATE, registers.extended, owner=b"LINUX\0"))
    record = json.dumps(_collect_record(snapshot)).encode("ascii")
    notes.append(_note(layout.NOTE_RECORD, record, owner=layout.OWNER))
    return b"".join(notes)


def _note(kind: int, content: bytes, *, owner: bytes = b"CORE\0") -> bytes:
    head = struct.pack("<III", len(owner), len(content), kind) + owner
    head += bytes(-len(head) % 4)
    return head + content + bytes(-len(content) % 4)


def _write_status(snapshot: Snapshot, thread: Thread, registers: Registers) -> bytes:
    exception = snapshot.exception
    code = exception.code & 0x7F if exception and exception.tid == thread.tid else 0
    user, kernel = thread.user_time_100ns, thread.kernel_time_100ns
    head = layout.ThreadStatus(
        signal=code, signal_code=0, signal_errno=0, current_signal=code, padding=0,
        pending=0, held=0,
        pid=thread.tid, parent_pid=0, group=0, session=0,
        user_s=user // 10_000_000, user_us=user // 10 % 1_000_000,
        kernel_s=kernel // 10_000_000, kernel_us=kernel // 10 % 1_000_000,
        children_user_s=0, children_user_us=0, children_kernel_s=0, children_kernel_us=0,
    )  # fmt: skip
    has_floating = registers.floating_point is not None
    return head.to_bytes() + pack_registers(registers.general) + struct.pack("<ii", has_floating, 0)


def _write_process_info(snapshot: Snapshot) -> bytes:
    leader = next((t for t in snapshot.threads if t.tid == snapshot.pid), None)
    state = (leader.state if leader else None) or "R"
    info = layout.ProcessInfo(
        state=max(0, _UNKNOWN_STATES.find(state)), state_name=ord(state[0]) & 0x7F, is_zombie=0,
        nice=0, padding=0, flags=0, uid=0, gid=0, pid=snapshot.pid, parent_pid=0, group=0, session=0,
    )  # fmt: skip
    name = (leader.name if leader else "").encode("utf-8", "replace")[:15].ljust(16, b"\0")
    words = snapshot.files.get("cmdline", b"").rstrip(b"\0").replace(b"\0", b" ")
    return info.to_bytes() + name + words[:79].ljust(80, b"\0")


def _write_siginfo(snapshot: Snapshot) -> bytes:
    exception = snapshot.exception
    if exception is None:
        return bytes(_SIGINFO_BYTES)
    (code,) = struct.unpack("<i", struct.pack("<I", exception.flags & 0xFFFFFFFF))
    head = struct.pack("<iiiiQ", exception.code & 0x7F, 0, code, 0, exception.address)
    return head.ljust(_SIGINFO_BYTES, b"\0")


def _write_files(regions: tuple[Region, ...]) -> bytes:
    """NT_FILE: count, page size, (start, end, offset in pages) each, then the paths."""
    mapped = [region for region in regions if region.path.startswith("/")]
    head = struct.pack("<QQ", len(mapped), _PAGE)
    places = b"".join(struct.pack("<QQQ", r.start, r.end, r.file_offset // _PAGE) for r in mapped)
    paths = b"".join(r.path.encode("utf-8", "replace") + b"\0" for r in mapped)
    return head + places + paths


def _collect_record(snapshot: Snapshot) -> dict[str, Any]:
    """What a core has no place for: thread names and times, handles, the machine, soft errors."""
    return {
        "taken_at_s": snapshot.taken_at_s,
        "process_create_time_s": snapshot.process_create_time_s,
        "system": {**asdict(snapshot.system), "architecture": str(snapshot.system.architecture)},
        "thread_names": {str(t.tid): t.name for t in snapshot.threads if t.name},
        "region_names": {str(r.start): r.path for r in snapshot.regions if r.path.startswith("[")},
        "handles": snapshot.handles and [asdict(handle) for handle in snapshot.handles],
        "token": snapshot.token,
        "record": snapshot.record,
        "soft_errors": snapshot.soft_errors[:64],
    }
