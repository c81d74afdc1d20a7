"""Streams of Breakpad and Crashpad. Pure."""

from __future__ import annotations

import struct
from typing import Any

from msgspec import UNSET

from perimortem.documents import dump_listing as documents
from perimortem.errors import MalformedInput
from perimortem.minidump import extensions
from perimortem.minidump import format as layout
from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import STRING_BYTES_MAX, MinidumpFile, StreamEntry
from perimortem.report.minidump.describing import Describe, decode_utf16, list_head
from perimortem.text import printable

_DUMP_THREAD_VALID, _REQUESTING_THREAD_VALID = 1, 2
_ASSERTION_CHARACTERS = 128
_ANNOTATIONS_MAX = 4096
_ANNOTATION_STRING = 1
_AUXV_NAMES = {
    3: "AT_PHDR", 4: "AT_PHENT", 5: "AT_PHNUM", 6: "AT_PAGESZ", 7: "AT_BASE", 8: "AT_FLAGS",
    9: "AT_ENTRY", 11: "AT_UID", 12: "AT_EUID", 13: "AT_GID", 14: "AT_EGID", 15: "AT_PLATFORM",
    16: "AT_HWCAP", 17: "AT_CLKTCK", 23: "AT_SECURE", 25: "AT_RANDOM", 26: "AT_HWCAP2",
    27: "AT_RSEQ_FEATURE_SIZE", 28: "AT_RSEQ_ALIGN", 31: "AT_EXECFN", 33: "AT_SYSINFO_EHDR",
    51: "AT_MINSIGSTKSZ",
}  # fmt: skip


def _describe_breakpad(
    dump: MinidumpFile, entry: StreamEntry, _limit: int | None
) -> documents.Stream:
    info = extensions.BreakpadInfo.read(dump.read_stream(entry))
    return documents.Breakpad(
        *list_head(entry),
        validity=info.validity,
        dump_thread_id=info.dump_thread_id if info.validity & _DUMP_THREAD_VALID else UNSET,
        requesting_thread_id=info.requesting_thread_id
        if info.validity & _REQUESTING_THREAD_VALID
        else UNSET,
    )


def _describe_assertion(
    dump: MinidumpFile, entry: StreamEntry, _limit: int | None
) -> documents.Stream:
    raw = dump.read_stream(entry)
    size = 2 * _ASSERTION_CHARACTERS
    if len(raw) < 3 * size + 8:
        raise MalformedInput(f"{entry.name} is truncated")
    line, kind = struct.unpack_from("<II", raw, 3 * size)
    return documents.Assertion(
        *list_head(entry),
        assertion=documents.AssertionInfo(
            expression=decode_utf16(raw[:size]),
            function=decode_utf16(raw[size : 2 * size]),
            file=decode_utf16(raw[2 * size : 3 * size]),
            line=line,
            type=kind,
        ),
    )


def _describe_auxv(dump: MinidumpFile, entry: StreamEntry, _limit: int | None) -> documents.Stream:
    raw = dump.read_stream(entry)
    is_64 = _is_64(dump)
    code = "<QQ" if is_64 else "<II"
    whole = len(raw) // struct.calcsize(code) * struct.calcsize(code)
    values = {}
    for key, value in struct.iter_unpack(code, raw[:whole]):
        if key:
            values[_AUXV_NAMES.get(key, str(key))] = f"{value:#x}"
    return documents.AuxiliaryVector(*list_head(entry), auxv=values)


def _describe_dso_debug(
    dump: MinidumpFile, entry: StreamEntry, limit: int | None
) -> documents.Stream:
    if not _is_64(dump):
        return documents.Stream(*list_head(entry))
    head = extensions.RawDsoDebug.read(dump.read_stream(entry))
    size = extensions.RawLinkMap.size()
    dump.check_bytes(head.map_rva, head.dso_count * size)
    shown = head.dso_count if limit is None else min(limit, head.dso_count)
    raw = dump.read_bytes(head.map_rva, shown * size) if shown else b""
    maps = [extensions.RawLinkMap.read(raw, at) for at in range(0, len(raw), size)]
    return documents.LinkMapList(
        *list_head(entry),
        count=head.dso_count,
        linker_version=head.version,
        loader_base=f"{head.loader_base:#x}",
        dynamic=f"{head.dynamic:#x}",
        link_maps=[
            documents.LinkMap(f"{m.base:#x}", printable(dump.read_string(m.name_rva))) for m in maps
        ],
    )


def _is_64(dump: MinidumpFile) -> bool:
    entry = dump.find(StreamType.SystemInfoStream)
    architecture = dump.read_system_info(entry).processor_architecture if entry else 9
    return architecture not in (
        layout.ProcessorArchitecture.INTEL,
        layout.ProcessorArchitecture.ARM,
        layout.ProcessorArchitecture.MIPS,
        layout.ProcessorArchitecture.PPC,
    )


def _describe_crashpad(
    dump: MinidumpFile, entry: StreamEntry, limit: int | None
) -> documents.Stream:
    info = extensions.CrashpadInfo.read(dump.read_stream(entry))
    modules = []
    for link in _read_counted(
        dump, info.modules_rva, info.modules_size, extensions.CrashpadModuleLink
    )[:limit]:
        module = extensions.CrashpadModule.read(dump.read_bytes(link.rva, link.data_size))
        modules.append(
            documents.CrashpadModule(
                module_index=link.module_index,
                list_annotations=_read_texts(
                    dump, module.list_annotations_rva, module.list_annotations_size
                ),
                simple_annotations=_read_pairs(
                    dump, module.simple_annotations_rva, module.simple_annotations_size
                ),
                annotations=_read_annotations(
                    dump, module.annotation_objects_rva, module.annotation_objects_size
                ),
            )
        )
    return documents.Crashpad(
        *list_head(entry),
        crashpad_version=info.version,
        report_id=_format_guid(info.report_id),
        client_id=_format_guid(info.client_id),
        simple_annotations=_read_pairs(dump, info.annotations_rva, info.annotations_size),
        crashpad_modules=modules,
    )


def _read_counted(dump: MinidumpFile, rva: int, size: int, kind: type[Any]) -> list[Any]:
    """A 32-bit count and that many records; none for an empty location."""
    if size < 4:
        return []
    raw = dump.read_bytes(rva, min(size, 1 << 24))
    (count,) = struct.unpack_from("<I", raw)
    if 4 + count * kind.size() > len(raw):
        raise MalformedInput("an annotation list is damaged", why=f"it claims {count} entries")
    return [kind.read(raw, 4 + i * kind.size()) for i in range(min(count, _ANNOTATIONS_MAX))]


def _read_pairs(dump: MinidumpFile, rva: int, size: int) -> dict[str, str]:
    """MinidumpSimpleStringDictionary."""
    return {
        _read_utf8(dump, entry.data_size): _read_utf8(dump, entry.rva)
        for entry in _read_counted(dump, rva, size, layout.Location)
    }


def _read_texts(dump: MinidumpFile, rva: int, size: int) -> list[str]:
    """MinidumpRVAList."""
    if size < 4:
        return []
    raw = dump.read_bytes(rva, min(size, 1 << 20))
    count = min(struct.unpack_from("<I", raw)[0], len(raw) // 4 - 1, _ANNOTATIONS_MAX)
    return [_read_utf8(dump, at) for at in struct.unpack_from(f"<{count}I", raw, 4)]


def _read_annotations(dump: MinidumpFile, rva: int, size: int) -> dict[str, str]:
    found = {}
    for annotation in _read_counted(dump, rva, size, extensions.CrashpadAnnotation):
        value = f"type {annotation.type:#x}"
        if annotation.type == _ANNOTATION_STRING:
            value = _read_utf8(dump, annotation.value_rva)
        found[_read_utf8(dump, annotation.name_rva)] = value
    return found


def _read_utf8(dump: MinidumpFile, rva: int) -> str:
    """MinidumpUTF8String."""
    if not rva:
        return ""
    (size,) = struct.unpack("<I", dump.read_bytes(rva, 4))
    raw = dump.read_bytes(rva + 4, min(size, STRING_BYTES_MAX))
    return printable(raw.decode("utf-8", "backslashreplace"))


def _format_guid(raw: bytes) -> str:
    first, second, third = struct.unpack_from("<IHH", raw)
    tail = raw[8:].hex()
    return f"{first:08x}-{second:04x}-{third:04x}-{tail[:4]}-{tail[4:]}"


FOREIGN_STREAMS: dict[int, Describe] = {
    StreamType.BreakpadInfoStream: _describe_breakpad,
    StreamType.AssertionInfoStream: _describe_assertion,
    StreamType.LinuxAuxv: _describe_auxv,
    StreamType.LinuxDsoDebug: _describe_dso_debug,
    StreamType.CrashpadInfoStream: _describe_crashpad,
}
