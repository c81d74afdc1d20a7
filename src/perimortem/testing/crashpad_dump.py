"""A dump as Crashpad's handler writes it (minidump_file_writer.cc)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from perimortem.testing import sdk_streams as sdk
from perimortem.testing.dumped_process import DumpedProcess
from perimortem.testing.minidump_builder import DumpBody, DumpStream, build_minidump

LINUX, MAC_OS, WINDOWS = 0x8201, 0x8101, 2
_CRASHPAD_INFO = 0x43500001
_VERSION = 1
_STRING = 1


@dataclass(frozen=True)
class ModuleAnnotations:
    """Of the three kinds that a module may carry; of ``objects`` only strings are readable."""

    module_index: int
    simple: Mapping[str, str] = field(default_factory=dict)
    listed: Sequence[str] = ()
    objects: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CrashpadInfo:
    """MinidumpCrashpadInfo; the ids are GUIDs in the order of the file."""

    report_id: bytes
    client_id: bytes
    simple: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[ModuleAnnotations, ...] = ()


def build_crashpad_dump(
    process: DumpedProcess, info: CrashpadInfo, *, platform: int = LINUX
) -> bytes:
    """SystemInfo and MiscInfo first, memory last; what there is nothing of has no stream."""
    memory = (*(thread.stack for thread in process.threads), *process.memory)
    streams = [
        DumpStream(
            sdk.SYSTEM_INFO, lambda body: sdk.build_system_info(process, body, platform=platform)
        ),
        DumpStream(sdk.MISC_INFO, lambda _: sdk.build_misc_info(process, build_string="crashpad")),
        DumpStream(
            sdk.THREAD_LIST, lambda body: sdk.build_thread_list(process, body, memory_last=True)
        ),
    ]
    if any(thread.name for thread in process.threads):
        streams.append(
            DumpStream(sdk.THREAD_NAMES, lambda body: sdk.build_thread_names(process, body))
        )
    if process.exception is not None:
        streams.append(DumpStream(sdk.EXCEPTION, lambda body: sdk.build_exception(process, body)))
    streams += [
        DumpStream(sdk.MODULE_LIST, lambda body: sdk.build_module_list(process.modules, body)),
        DumpStream(_CRASHPAD_INFO, lambda body: _build_info(info, body)),
        DumpStream(
            sdk.MEMORY_LIST, lambda body: sdk.build_memory_list(memory, body, memory_last=True)
        ),
    ]
    return build_minidump(streams, taken_at_s=process.taken_at_s)


def _build_info(info: CrashpadInfo, body: DumpBody) -> bytes:
    links = b""
    for module in info.modules:
        data = struct.pack("<I", _VERSION) + b"".join(
            _locate(part, body)
            for part in (
                _build_listed(module.listed, body),
                _build_dictionary(module.simple, body),
                _build_objects(module.objects, body),
            )
        )
        links += struct.pack("<III", module.module_index, len(data), body.place(data))
    modules = struct.pack("<I", len(info.modules)) + links if info.modules else b""
    return (
        struct.pack("<I16s16s", _VERSION, info.report_id, info.client_id)
        + _locate(_build_dictionary(info.simple, body), body)
        + _locate(modules, body)
    )


def _locate(data: bytes, body: DumpBody) -> bytes:
    """MINIDUMP_LOCATION_DESCRIPTOR: zeros for nothing."""
    return struct.pack("<II", len(data), body.place(data)) if data else bytes(8)


def _build_dictionary(pairs: Mapping[str, str], body: DumpBody) -> bytes:
    """MinidumpSimpleStringDictionary."""
    if not pairs:
        return b""
    rows = (
        struct.pack("<II", body.place_utf8(key), body.place_utf8(value))
        for key, value in pairs.items()
    )
    return struct.pack("<I", len(pairs)) + b"".join(rows)


def _build_listed(texts: Sequence[str], body: DumpBody) -> bytes:
    """MinidumpRVAList of strings."""
    if not texts:
        return b""
    return struct.pack(f"<{1 + len(texts)}I", len(texts), *map(body.place_utf8, texts))


def _build_objects(values: Mapping[str, str], body: DumpBody) -> bytes:
    """MinidumpAnnotationList; a value is a byte array, laid out as a string is."""
    if not values:
        return b""
    rows = (
        struct.pack("<IHHI", body.place_utf8(name), _STRING, 0, body.place_utf8(value))
        for name, value in values.items()
    )
    return struct.pack("<I", len(values)) + b"".join(rows)
