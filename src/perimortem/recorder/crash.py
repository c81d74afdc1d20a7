"""The crash note, from a recorder or a message: every byte of it is from a broken process."""

from __future__ import annotations

import struct
import zlib

from perimortem.model.caller import ExitCaller
from perimortem.model.crash import Crash
from perimortem.model.snapshot import Registers
from perimortem.recorder.layout import ContextKind, CrashNote, CrashState
from perimortem.recorder.layout import ExitCaller as RawCaller
from perimortem.text import decode_text

_STATE = next(offset for name, _, offset, _ in CrashNote.offsets() if name == "state")
_CRC = next(offset for name, _, offset, _ in CrashNote.offsets() if name == "crc32")
_DAMAGED = "the crash note is damaged and was left out"

# mcontext_t.gregs of x86-64 (sys/ucontext.h): their order is the kernel's struct sigcontext_64.
_GREGS = (
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx", "rdx", "rax",
    "rcx", "rsp", "rip", "eflags", "csgsfs", "err", "trapno", "oldmask", "cr2",
)  # fmt: skip
_GENERAL = struct.Struct(f"<{len(_GREGS)}Q")
_FXSAVE_BYTES = 512
_ARM = struct.Struct("<34Q")

_CALLERS: dict[int, ExitCaller] = {
    RawCaller.PROGRAM: ExitCaller.PROGRAM,
    RawCaller.RUNTIME: ExitCaller.RUNTIME,
    RawCaller.LIBRARY: ExitCaller.LIBRARY,
    RawCaller.VIRTUAL_MACHINE: ExitCaller.VIRTUAL_MACHINE,
}


def decode_crash(data: bytes, offset: int = 0) -> tuple[Crash | None, str | None]:
    """The note at ``offset``, or None; and what was wrong with it. Raises TruncatedRecord."""
    raw = CrashNote.read(data, offset)
    if raw.state not in (CrashState.TAKEN, CrashState.FATAL):
        return None, None
    image = bytearray(data[offset : offset + _STATE])
    image[_CRC : _CRC + 4] = bytes(4)
    if zlib.crc32(image) != raw.crc32:
        return None, _DAMAGED
    is_sent = raw.si_code <= 0 and raw.context_kind != ContextKind.WINDOWS_X86_64
    context = raw.context[: min(raw.context_size, len(raw.context))]
    is_windows = raw.context_kind == ContextKind.WINDOWS_X86_64
    return (
        Crash(
            code=raw.code,
            si_code=raw.si_code,
            tid=raw.tid,
            thread_name=decode_text(raw.thread_name),
            address=raw.address,
            program_counter=raw.program_counter,
            stack_pointer=raw.stack_pointer,
            monotonic_ns=raw.monotonic_ns,
            sender_pid=raw.sender_pid if is_sent else None,
            sender_uid=raw.sender_uid if is_sent else None,
            nested_code=raw.nested_code or None,
            nested_address=raw.nested_address,
            caller=_CALLERS.get(raw.caller, ExitCaller.UNKNOWN),
            module=decode_text(raw.module) or None,
            module_offset=raw.module_offset,
            parameter=raw.parameter,
            is_fatal=raw.state == CrashState.FATAL,
            registers=_decode_registers(raw.context_kind, context),
            windows_context=context if is_windows else b"",
        ),
        None,
    )


def _decode_registers(kind: int, context: bytes) -> Registers | None:
    if kind == ContextKind.LINUX_X86_64 and len(context) >= _GENERAL.size:
        return _decode_x86_64(context)
    if kind == ContextKind.LINUX_AARCH64 and len(context) >= _ARM.size:
        names = (*(f"x{i}" for i in range(31)), "sp", "pc", "pstate")
        return Registers(dict(zip(names, _ARM.unpack_from(context), strict=True)))
    return None


def _decode_x86_64(context: bytes) -> Registers:
    general = dict(zip(_GREGS, _GENERAL.unpack_from(context), strict=True))
    segments = general.pop("csgsfs")
    for name in ("err", "trapno", "oldmask", "cr2"):
        del general[name]
    for shift, name in enumerate(("cs", "gs", "fs", "ss")):
        general[name] = segments >> 16 * shift & 0xFFFF
    floating = context[_GENERAL.size : _GENERAL.size + _FXSAVE_BYTES]
    return Registers(general, floating if len(floating) == _FXSAVE_BYTES else None)
