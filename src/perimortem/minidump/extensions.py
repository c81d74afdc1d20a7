"""Records of the streams that other writers have added: Breakpad, Crashpad, and ours.

Source: Breakpad's minidump_format.h, Crashpad's minidump_extensions.h; ours: docs/dumps.md.
"""

from __future__ import annotations

from perimortem.binary.record import U16, U32, U64, Bytes16, Record


class RawDsoDebug(Record):
    """MDRawDebug64 (Breakpad); the bytes of the dynamic section follow."""

    version: U32
    map_rva: U32
    dso_count: U32
    brk: U64
    loader_base: U64
    dynamic: U64


class RawLinkMap(Record):
    """MDRawLinkMap64 (Breakpad)."""

    base: U64
    name_rva: U32
    dynamic: U64


class BreakpadInfo(Record):
    """MDRawBreakpadInfo."""

    validity: U32
    dump_thread_id: U32
    requesting_thread_id: U32


class CrashpadInfo(Record):
    """MinidumpCrashpadInfo."""

    version: U32
    report_id: Bytes16
    client_id: Bytes16
    annotations_size: U32
    annotations_rva: U32
    modules_size: U32
    modules_rva: U32


class CrashpadModuleLink(Record):
    """MinidumpModuleCrashpadInfoLink; a 32-bit count of them."""

    module_index: U32
    data_size: U32
    rva: U32


class CrashpadModule(Record):
    """MinidumpModuleCrashpadInfo."""

    version: U32
    list_annotations_size: U32
    list_annotations_rva: U32
    simple_annotations_size: U32
    simple_annotations_rva: U32
    annotation_objects_size: U32
    annotation_objects_rva: U32


class CrashpadAnnotation(Record):
    """MinidumpAnnotation; a 32-bit count of them."""

    name_rva: U32
    type: U16
    reserved: U16
    value_rva: U32


class XstateEntry(Record):
    """Of PerimortemXstate: a 32-bit count of them."""

    thread_id: U32
    data_size: U32
    rva: U32
