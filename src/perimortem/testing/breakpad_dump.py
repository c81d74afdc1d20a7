"""A dump as Breakpad's client writes it on Linux (minidump_writer.cc)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from perimortem.testing import sdk_streams as sdk
from perimortem.testing.dumped_process import DumpedProcess
from perimortem.testing.minidump_builder import DumpBody, DumpStream, build_minidump

_LINUX = 0x8201
_CPU_INFO, _PROC_STATUS, _LSB_RELEASE, _COMMAND_LINE = (
    0x47670003,
    0x47670004,
    0x47670005,
    0x47670006,
)
_ENVIRONMENT, _AUXV, _MAPS, _DSO_DEBUG = 0x47670007, 0x47670008, 0x47670009, 0x4767000A


@dataclass(frozen=True)
class LinkedObject:
    """An entry of the dynamic linker's list."""

    base: int
    name: str


@dataclass(frozen=True)
class ProcFiles:
    """Files of /proc and /etc as they were; of one that could not be read the entry is left unused."""

    cpuinfo: bytes | None = None
    status: bytes | None = None
    lsb_release: bytes | None = None
    cmdline: bytes | None = None
    environ: bytes | None = None
    auxv: Mapping[int, int] = field(default_factory=dict)
    maps: bytes | None = None
    linked: tuple[LinkedObject, ...] = ()


def build_breakpad_dump(process: DumpedProcess, files: ProcFiles) -> bytes:
    """There is no MiscInfo, and memory comes before the lists that name it."""
    memory = (*(thread.stack for thread in process.threads), *process.memory)
    texts = (
        (_CPU_INFO, files.cpuinfo), (_PROC_STATUS, files.status), (_LSB_RELEASE, files.lsb_release),
        (_COMMAND_LINE, files.cmdline), (_ENVIRONMENT, files.environ), (_AUXV, _build_auxv(files)),
        (_MAPS, files.maps),
    )  # fmt: skip
    streams: list[DumpStream | None] = [
        DumpStream(sdk.THREAD_LIST, lambda body: sdk.build_thread_list(process, body)),
        DumpStream(sdk.MODULE_LIST, lambda body: sdk.build_module_list(process.modules, body)),
        DumpStream(sdk.MEMORY_LIST, lambda body: sdk.build_memory_list(memory, body)),
        DumpStream(sdk.EXCEPTION, lambda body: sdk.build_exception(process, body))
        if process.exception
        else None,
        DumpStream(
            sdk.SYSTEM_INFO, lambda body: sdk.build_system_info(process, body, platform=_LINUX)
        ),
        *(_text_stream(kind, text) for kind, text in texts),
        DumpStream(_DSO_DEBUG, lambda body: _build_dso_debug(files, body))
        if files.linked
        else None,
    ]
    return build_minidump(streams, taken_at_s=process.taken_at_s)


def _text_stream(kind: int, text: bytes | None) -> DumpStream | None:
    return None if text is None else DumpStream(kind, lambda _: text)


def _build_auxv(files: ProcFiles) -> bytes | None:
    if not files.auxv:
        return None
    pairs = (struct.pack("<QQ", key, value) for key, value in files.auxv.items())
    return b"".join(pairs) + bytes(16)


def _build_dso_debug(files: ProcFiles, body: DumpBody) -> bytes:
    """MDRawDebug64, the list of MDRawLinkMap64 elsewhere."""
    maps = b"".join(
        struct.pack("<QIQ", linked.base, body.place_string(linked.name), linked.base + 0x3DE0)
        for linked in files.linked
    )
    at = body.place(maps)
    return struct.pack("<III QQQ", 1, at, len(files.linked), 0, 0x7F0000000000, 0x403DE0)
