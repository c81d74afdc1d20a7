"""Refuse to write and to execute files (landlock(7), Linux 5.13 and later).

Reading is left: debug information may be anywhere. A confined process cannot look at other processes
either (/proc/PID/mem, ptrace), nor, with newer kernels, connect by TCP or signal.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

assert sys.platform == "linux"

from perimortem.sandbox.linux.syscalls import LANDLOCK_ADD, LANDLOCK_CREATE, LANDLOCK_RESTRICT

_VERSION_FLAG = 1
_PATH_BENEATH = 1
_EXECUTE = 1
_WRITES = 1 << 1 | sum(1 << bit for bit in range(4, 13))
"""Write a file; remove or make a directory, file, device, socket, pipe, link."""
_REFER, _TRUNCATE, _IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
"""From ABI 2, 3 and 5 on."""
_NETWORK = 1 | 2
"""Bind and connect by TCP, from ABI 4 on."""
_SCOPES = 1 | 2
"""Abstract sockets and signals, from ABI 6 on."""


def refuse_writes(writable: Iterable[Path]) -> str | None:
    """From now on, in this process, except below these directories. Why not, if not."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), _VERSION_FLAG)
    if version < 1:
        return f"no Landlock: {os.strerror(ctypes.get_errno())}"
    allowed = _WRITES
    if version >= 2:
        allowed |= _REFER
    if version >= 3:
        allowed |= _TRUNCATE
    handled = allowed | _EXECUTE | (_IOCTL_DEVICE if version >= 5 else 0)
    attributes = struct.pack(
        "<QQQ", handled, _NETWORK if version >= 4 else 0, _SCOPES if version >= 6 else 0
    )[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = libc.syscall(LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return f"no Landlock: {os.strerror(ctypes.get_errno())}"
    try:
        for path in writable:
            _allow(libc, ruleset, path, allowed)
        if libc.syscall(LANDLOCK_RESTRICT, ruleset, 0):
            return f"no Landlock: {os.strerror(ctypes.get_errno())}"
    finally:
        os.close(ruleset)
    return None


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    """A directory that does not exist stays unwritable."""
    try:
        directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rule = struct.pack("<Qi", rights, directory)  # packed in the kernel, too
        libc.syscall(LANDLOCK_ADD, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(directory)
