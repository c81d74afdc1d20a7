"""SystemInfoStream: machine and operating system."""

from __future__ import annotations

from perimortem.minidump.format import Platform, ProcessorArchitecture, RawSystemInfo, StreamType
from perimortem.minidump.streams.writing import DumpPlan
from perimortem.model.snapshot import Architecture

_ARCHITECTURES = {
    Architecture.X86_64: ProcessorArchitecture.AMD64,
    Architecture.AARCH64: ProcessorArchitecture.ARM64,
    Architecture.X86: ProcessorArchitecture.INTEL,
    Architecture.UNKNOWN: 0xFFFF,
}


def write_system_info(plan: DumpPlan) -> tuple[StreamType, bytes]:
    system = plan.snapshot.system
    major, minor, build = system.os_version
    # X86CpuInfo.VendorId; for x86-64 readers take it as x86 does.
    cpu = system.cpu_vendor.encode("ascii", "replace")[:12].ljust(24, b"\0")
    record = RawSystemInfo(
        processor_architecture=_ARCHITECTURES[system.architecture],
        processor_level=system.cpu_family & 0xFFFF,
        processor_revision=(system.cpu_model & 0xFF) << 8 | system.cpu_stepping & 0xFF,
        processor_count=min(system.processor_count, 255),
        product_type=0,
        major_version=major,
        minor_version=minor,
        build_number=build,
        platform_id=Platform.LINUX,
        csd_version_rva=plan.body.put_string(system.os_release),
        suite_mask=0,
        reserved2=0,
        cpu=cpu,
    )
    return StreamType.SystemInfoStream, record.to_bytes()
