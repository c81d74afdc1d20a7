"""A dump as MiniDumpWriteDump of DbgHelp writes it."""

from __future__ import annotations

from perimortem.testing import sdk_streams as sdk
from perimortem.testing.dumped_process import DumpedProcess
from perimortem.testing.minidump_builder import DumpStream, build_minidump

_WINDOWS_NT = 2
_UNUSED_ENTRIES = 4
"""DbgHelp makes its directory before it knows what it will write."""
_FULL_MEMORY = 2
_DBGHELP_VERSION = 0xA061


def build_windows_dump(
    process: DumpedProcess, *, flags: int = 0, handle_revision: int = 2, pads_counts: bool = False
) -> bytes:
    """``flags``: MINIDUMP_TYPE; with full memory Memory64List. ``pads_counts``: as old DbgHelp did."""
    padding = bytes(4) if pads_counts else b""
    memory = (*(thread.stack for thread in process.threads), *process.memory)
    is_full = bool(flags & _FULL_MEMORY)
    streams: list[DumpStream | None] = [
        DumpStream(
            sdk.THREAD_LIST,
            lambda body: sdk.build_thread_list(process, body, memory_last=True, padding=padding),
        ),
        DumpStream(
            sdk.MODULE_LIST,
            lambda body: sdk.build_module_list(process.modules, body, padding=padding),
        ),
        DumpStream(sdk.MEMORY64_LIST, lambda body: sdk.build_memory64_list(memory, body))
        if is_full
        else DumpStream(
            sdk.MEMORY_LIST,
            lambda body: sdk.build_memory_list(memory, body, memory_last=True, padding=padding),
        ),
    ]
    if process.exception is not None:
        streams.append(DumpStream(sdk.EXCEPTION, lambda body: sdk.build_exception(process, body)))
    streams += [
        DumpStream(
            sdk.SYSTEM_INFO, lambda body: sdk.build_system_info(process, body, platform=_WINDOWS_NT)
        ),
        DumpStream(
            sdk.MISC_INFO, lambda _: sdk.build_misc_info(process, build_string="19041.1.amd64fre")
        ),
    ]
    if any(thread.name for thread in process.threads):
        streams.append(
            DumpStream(sdk.THREAD_NAMES, lambda body: sdk.build_thread_names(process, body))
        )
    if process.handles:
        streams.append(
            DumpStream(
                sdk.HANDLE_DATA,
                lambda body: sdk.build_handle_data(process.handles, body, revision=handle_revision),
            )
        )
    if process.unloaded:
        streams.append(
            DumpStream(
                sdk.UNLOADED_MODULE_LIST,
                lambda body: sdk.build_unloaded_module_list(process.unloaded, body),
            )
        )
    if process.regions:
        streams.append(
            DumpStream(sdk.MEMORY_INFO_LIST, lambda _: sdk.build_memory_info_list(process.regions))
        )
    streams += [None] * _UNUSED_ENTRIES
    return build_minidump(
        streams,
        taken_at_s=process.taken_at_s,
        flags=flags,
        implementation_version=_DBGHELP_VERSION,
    )
