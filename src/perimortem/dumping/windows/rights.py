"""Which rights a dump needs, by its flags: no more than these are requested."""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.model.dump import MinidumpType
from perimortem.winapi import kernel32

NAMES = {
    kernel32.PROCESS_QUERY_INFORMATION: "PROCESS_QUERY_INFORMATION",
    kernel32.PROCESS_VM_READ: "PROCESS_VM_READ",
    kernel32.PROCESS_DUP_HANDLE: "PROCESS_DUP_HANDLE",
    kernel32.PROCESS_CREATE_PROCESS: "PROCESS_CREATE_PROCESS",
}


def choose_rights(types: MinidumpType) -> int:
    """From MiniDumpWriteDump's documentation: query and read always, handles to list handles."""
    rights = kernel32.PROCESS_QUERY_INFORMATION | kernel32.PROCESS_VM_READ
    if types & MinidumpType.WITH_HANDLE_DATA:
        rights |= kernel32.PROCESS_DUP_HANDLE
    return rights
