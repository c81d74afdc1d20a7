"""Streams that every writer has: those of minidumpapiset.h."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from perimortem.testing.cpu_context import build_context
from perimortem.testing.dumped_process import (
    DumpedHandle,
    DumpedMemory,
    DumpedModule,
    DumpedProcess,
    DumpedRegion,
    Pdb,
)
from perimortem.testing.minidump_builder import DumpBody

THREAD_LIST, MODULE_LIST, MEMORY_LIST, EXCEPTION, SYSTEM_INFO = 3, 4, 5, 6, 7
MEMORY64_LIST, HANDLE_DATA, UNLOADED_MODULE_LIST, MISC_INFO = 9, 12, 14, 15
MEMORY_INFO_LIST, THREAD_NAMES = 16, 24
AMD64, INTEL = 9, 0
_PARAMETERS = 15
_MISC_PROCESS_ID, _MISC_PROCESS_TIMES, _MISC_BUILD_STRING = 1, 2, 0x100


def build_thread_list(
    process: DumpedProcess, body: DumpBody, *, memory_last: bool = False, padding: bytes = b""
) -> bytes:
    """``memory_last``: memory at the end of the file. ``padding``: of the count, once 8 bytes long."""
    place = body.append_once if memory_last else body.place_once
    data = struct.pack("<I", len(process.threads)) + padding
    for thread in process.threads:
        context = build_context(thread.registers, is_64_bit=process.is_64_bit)
        stack = thread.stack
        data += struct.pack(
            "<4I QQII II", thread.tid, 0, 0x20, 0, thread.teb,
            stack.address, len(stack.data), place(stack.data), len(context), body.place(context),
        )  # fmt: skip
    return data


def build_thread_names(process: DumpedProcess, body: DumpBody) -> bytes:
    named = [thread for thread in process.threads if thread.name]
    rows = (struct.pack("<IQ", t.tid, body.place_string(t.name)) for t in named)
    return struct.pack("<I", len(named)) + b"".join(rows)


def build_module_list(
    modules: Iterable[DumpedModule], body: DumpBody, *, padding: bytes = b""
) -> bytes:
    rows = [_build_module(module, body) for module in modules]
    return struct.pack("<I", len(rows)) + padding + b"".join(rows)


def _build_module(module: DumpedModule, body: DumpBody) -> bytes:
    major, minor, build, patch = module.file_version
    version = (0xFEEF04BD, 0x10000, major << 16 | minor, build << 16 | patch)
    identity = _build_identity(module.identity)
    at = body.place(identity) if identity else 0
    return struct.pack(
        "<QIIII 13I 4I 2Q", module.base, module.size, 0, module.timestamp,
        body.place_string(module.name), *(version if any(module.file_version) else bytes(4)),
        *bytes(9), len(identity), at, 0, 0, 0, 0,
    )  # fmt: skip


def _build_identity(identity: bytes | Pdb | None) -> bytes:
    """The CodeView record."""
    if isinstance(identity, Pdb):
        return (
            b"RSDS"
            + identity.guid
            + struct.pack("<I", identity.age)
            + identity.path.encode()
            + b"\0"
        )
    return b"LEpB" + identity if identity else b""


def build_unloaded_module_list(modules: Iterable[DumpedModule], body: DumpBody) -> bytes:
    rows = [
        struct.pack("<QIIII", m.base, m.size, 0, m.timestamp, body.place_string(m.name))
        for m in modules
    ]
    return struct.pack("<III", 12, 24, len(rows)) + b"".join(rows)


def build_memory_list(
    memory: Iterable[DumpedMemory],
    body: DumpBody,
    *,
    memory_last: bool = False,
    padding: bytes = b"",
) -> bytes:
    place = body.append_once if memory_last else body.place_once
    rows = [struct.pack("<QII", part.address, len(part.data), place(part.data)) for part in memory]
    return struct.pack("<I", len(rows)) + padding + b"".join(rows)


def build_memory64_list(memory: Iterable[DumpedMemory], body: DumpBody) -> bytes:
    """Full memory: the parts follow each other in the file, and only the first one's place is said."""
    parts = list(memory)
    places = [body.append(part.data) for part in parts]
    rows = (struct.pack("<QQ", part.address, len(part.data)) for part in parts)
    return struct.pack("<QQ", len(parts), places[0] if places else 0) + b"".join(rows)


def build_memory_info_list(regions: Iterable[DumpedRegion]) -> bytes:
    rows = [
        struct.pack(
            "<QQIIQIIII", r.base, r.base, r.protection, 0, r.size, r.state, r.protection, r.kind, 0,
        )
        for r in regions
    ]  # fmt: skip
    return struct.pack("<IIQ", 16, 48, len(rows)) + b"".join(rows)


def build_exception(process: DumpedProcess, body: DumpBody) -> bytes:
    """Its context is the thread's own, or that at the exception."""
    exception = process.exception
    assert exception is not None
    own = (thread.registers for thread in process.threads if thread.tid == exception.tid)
    registers = exception.registers or next(own, {})
    context = build_context(registers, is_64_bit=process.is_64_bit)
    parameters = (*exception.parameters, *bytes(_PARAMETERS - len(exception.parameters)))
    return struct.pack(
        "<IIIIQQII 15Q II", exception.tid, 0, exception.code, exception.flags, 0,
        exception.address, len(exception.parameters), 0, *parameters,
        len(context), body.place(context),
    )  # fmt: skip


def build_system_info(process: DumpedProcess, body: DumpBody, *, platform: int) -> bytes:
    architecture = AMD64 if process.is_64_bit else INTEL
    if process.processor is not None:
        architecture = process.processor
    return struct.pack(
        "<HHHBB 5I HH 24s", architecture, 6, 0x5E03, process.processor_count, 1,
        *process.os_version, platform, body.place_string(process.os_text), 0, 0, b"GenuineIntel",
    )  # fmt: skip


def build_misc_info(process: DumpedProcess, *, build_string: str = "") -> bytes:
    """MINIDUMP_MISC_INFO of 24 bytes; with a build string MINIDUMP_MISC_INFO_4 of 832."""
    flags = _MISC_PROCESS_ID | _MISC_PROCESS_TIMES | (_MISC_BUILD_STRING if build_string else 0)
    size = 832 if build_string else 24
    head = struct.pack("<6I", size, flags, process.pid, process.created_at_s, 7, 3)
    text = build_string.encode("utf-16-le")
    return head + (bytes(208) + text.ljust(600, b"\0") if build_string else b"")


def build_handle_data(
    handles: Iterable[DumpedHandle], body: DumpBody, *, revision: int = 2
) -> bytes:
    """Descriptors of 32 bytes in ``revision`` 1, of 40 in 2. A nameless object has no string at all."""
    rows = []
    for handle in handles:
        name = body.place_string(handle.object_name) if handle.object_name else 0
        row = struct.pack(
            "<QIIIIII", handle.number, body.place_string(handle.type_name), name, 0,
            handle.granted_access, 1, 2,
        )  # fmt: skip
        rows.append(row + bytes(8 if revision == 2 else 0))
    return struct.pack("<4I", 16, 40 if revision == 2 else 32, len(rows), 0) + b"".join(rows)
