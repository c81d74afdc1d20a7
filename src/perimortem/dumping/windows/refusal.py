"""Why a process cannot be dumped: which right is missing, and whose integrity level is higher."""

from __future__ import annotations

import ctypes
import sys

assert sys.platform == "win32"

from perimortem.dumping.windows.rights import NAMES
from perimortem.errors import AccessDenied, CaptureFailed, ProcessGone
from perimortem.winapi import kernel32
from perimortem.winapi.library import describe_error
from perimortem.winapi.token import read_integrity_level


def refuse_32_bit(pid: int, handle: int) -> None:
    """For a 32-bit program a 64-bit DbgHelp writes the emulation's threads, not the program's."""
    is_32_bit = kernel32.BOOL()
    kernel32.IsWow64Process(handle, ctypes.byref(is_32_bit))
    if is_32_bit.value:
        raise CaptureFailed(
            f"process {pid} is a 32-bit program", why="only 64-bit programs can be dumped"
        )


def denied_error(pid: int, rights: int, error: int) -> AccessDenied | ProcessGone | CaptureFailed:
    """Why OpenProcess failed: the first right that is missing, and whose integrity level is higher."""
    if error == kernel32.ERROR_INVALID_PARAMETER:
        return ProcessGone(f"there is no process {pid}", why="it has ended")
    if error != kernel32.ERROR_ACCESS_DENIED:
        return CaptureFailed(f"cannot read process {pid}", why=describe_error(error))
    missing = [name for bit, name in NAMES.items() if rights & bit and not _may(pid, bit)]
    what = " and ".join(missing) or "all of its rights together"
    theirs, ours = read_integrity_level(pid), read_integrity_level(None)
    if theirs is not None and ours is not None and theirs > ours:
        return AccessDenied(
            f"cannot read process {pid}",
            why=f"{what} is refused: its integrity level is {theirs.word}, yours is {ours.word}",
            remedy="run perimortem as administrator",
        )
    if not _may(pid, kernel32.PROCESS_VM_READ) and _may(
        pid, kernel32.PROCESS_QUERY_LIMITED_INFORMATION
    ):
        return AccessDenied(
            f"cannot read process {pid}",
            why=f"{what} is refused: it belongs to another user, or is a protected process",
            remedy="run perimortem as administrator; a protected process cannot be dumped",
        )
    return AccessDenied(
        f"cannot read process {pid}",
        why=f"{what} is refused",
        remedy="run perimortem as administrator",
    )


def _may(pid: int, right: int) -> bool:
    with kernel32.open_process(right, pid) as handle:
        return bool(handle)
