"""Command line and environment, from the process's own memory: untrusted, read with limits.

PEB and RTL_USER_PROCESS_PARAMETERS of 64-bit Windows (winternl.h; the offsets are those in the debug
symbols of ntdll, the same since Windows Vista).
"""

from __future__ import annotations

import ctypes
import struct
import sys
from ctypes import wintypes

assert sys.platform == "win32"

from perimortem.winapi import kernel32
from perimortem.winapi.library import Library
from perimortem.winapi.process import read_basic_information

_RIGHTS = kernel32.PROCESS_QUERY_INFORMATION | kernel32.PROCESS_VM_READ
_PROCESS_COMMAND_LINE = 60
_PEB_PARAMETERS = 0x20
_COMMAND_LINE = 0x70
_ENVIRONMENT = 0x80
_ENVIRONMENT_SIZE = 0x3F0
_TEXT_MAX = 64 << 10
_ENVIRONMENT_MAX = 1 << 20

_shell32 = Library("shell32")
_CommandLineToArgvW = _shell32.declare(
    "CommandLineToArgvW",
    ctypes.POINTER(wintypes.LPWSTR),
    wintypes.LPCWSTR,
    ctypes.POINTER(ctypes.c_int),
)
_LocalFree = Library("kernel32").declare("LocalFree", ctypes.c_void_p, ctypes.c_void_p)


def read_command_line(pid: int) -> str:
    """Empty if it cannot be read. Since Windows 8.1 the system itself provides it."""
    with kernel32.open_process(kernel32.PROCESS_QUERY_LIMITED_INFORMATION, pid) as handle:
        answer = _ask_command_line(handle) if handle else None
    return _read_command_line(pid) if answer is None else answer


def _ask_command_line(handle: int) -> str | None:
    """ProcessCommandLineInformation: a UNICODE_STRING whose text follows it."""
    buffer = ctypes.create_string_buffer(_TEXT_MAX + 16)
    status = kernel32.NtQueryInformationProcess(
        handle, _PROCESS_COMMAND_LINE, buffer, len(buffer), None
    )
    if status < 0:
        return None
    (length,) = struct.unpack_from("<H", buffer)
    return buffer.raw[16 : 16 + length].decode("utf-16-le", "replace")


def _read_command_line(pid: int) -> str:
    with kernel32.open_process(_RIGHTS, pid) as handle:
        parameters = _find_parameters(handle) if handle else 0
        if not handle or not parameters:
            return ""
        raw = _read(handle, parameters + _COMMAND_LINE, 16)
        if len(raw) < 16:
            return ""
        length, _, address = struct.unpack("<HH4xQ", raw)
        return _read(handle, address, min(length, _TEXT_MAX)).decode("utf-16-le", "replace")


def read_environment(pid: int) -> list[str]:
    """NAME=VALUE lines; empty if they cannot be read."""
    with kernel32.open_process(_RIGHTS, pid) as handle:
        parameters = _find_parameters(handle) if handle else 0
        if not handle or not parameters:
            return []
        address = _read_pointer(handle, parameters + _ENVIRONMENT)
        size = _read_pointer(handle, parameters + _ENVIRONMENT_SIZE)
        raw = _read(handle, address, min(size or _TEXT_MAX, _ENVIRONMENT_MAX))
    return raw.decode("utf-16-le", "replace").split("\0\0", 1)[0].split("\0")


def split_command_line(text: str) -> list[str]:
    """Parsed like the C runtime of the program does."""
    if not text.strip():
        return []
    count = ctypes.c_int()
    words = _CommandLineToArgvW(text, ctypes.byref(count))
    if not words:
        return [text]
    try:
        return [words[i] or "" for i in range(count.value)]
    finally:
        _LocalFree(words)


def _find_parameters(handle: int) -> int:
    information = read_basic_information(handle)
    if information is None or not information.PebBaseAddress:
        return 0
    return _read_pointer(handle, information.PebBaseAddress + _PEB_PARAMETERS)


def _read_pointer(handle: int, address: int) -> int:
    raw = _read(handle, address, 8)
    return int.from_bytes(raw, "little") if len(raw) == 8 else 0


def _read(handle: int, address: int, size: int) -> bytes:
    buffer = ctypes.create_string_buffer(size)
    done = ctypes.c_size_t()
    ok = kernel32.ReadProcessMemory(handle, address, buffer, size, ctypes.byref(done))
    return buffer.raw[: done.value] if ok else b""
