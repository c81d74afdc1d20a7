"""ModuleListStream: the program first, each module identified by its build-id."""

from __future__ import annotations

import struct

from perimortem.minidump.format import (
    CV_SIGNATURE_ELF,
    FIXED_FILE_INFO_SIGNATURE,
    FixedFileInfo,
    Location,
    RawModule,
    StreamType,
)
from perimortem.minidump.streams.writing import DumpPlan
from perimortem.model.snapshot import Module


def write_modules(plan: DumpPlan) -> tuple[StreamType, bytes]:
    modules = plan.snapshot.modules
    raw = b"".join(_write_module(plan, module).to_bytes() for module in modules)
    return StreamType.ModuleListStream, struct.pack("<I", len(modules)) + raw


def _write_module(plan: DumpPlan, module: Module) -> RawModule:
    codeview = Location(0, 0)
    if module.build_id is not None:
        codeview = plan.body.put(struct.pack("<I", CV_SIGNATURE_ELF) + module.build_id)
    return RawModule(
        base=module.base,
        image_size=min(module.size, 0xFFFFFFFF),
        checksum=0,
        time_date_stamp=0,
        name_rva=plan.body.put_string(module.path),
        version=_write_version(module),
        cv_size=codeview.data_size if module.build_id else 0,
        cv_rva=codeview.rva,
        misc_size=0,
        misc_rva=0,
        reserved0=0,
        reserved1=0,
    )


def _write_version(module: Module) -> FixedFileInfo:
    major, minor, patch, build = module.version
    has_version = any(module.version)
    return FixedFileInfo(
        signature=FIXED_FILE_INFO_SIGNATURE if has_version else 0,
        struct_version=0x10000 if has_version else 0,
        file_version_high=(major & 0xFFFF) << 16 | minor & 0xFFFF,
        file_version_low=(patch & 0xFFFF) << 16 | build & 0xFFFF,
        product_version_high=0,
        product_version_low=0,
        file_flags_mask=0,
        file_flags=0,
        file_os=0,
        file_type=0,
        file_subtype=0,
        file_date_high=0,
        file_date_low=0,
    )
