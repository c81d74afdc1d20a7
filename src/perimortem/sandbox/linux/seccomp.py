"""Refuse system calls (seccomp(2), a BPF program): they fail with EPERM.

A list of what is refused, not of what is allowed: Python, the C library and the readers of debug
information use other calls with each version.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

assert sys.platform == "linux"

from perimortem.sandbox.linux.syscalls import AUDIT_ARCH, REFUSED

_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_AT_NUMBER, _AT_ARCH = 0, 4
"""In struct seccomp_data."""
_X32_BIT = 0x40000000
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def refuse_calls() -> str | None:
    """From now on, in this process; it must not gain rights (PR_SET_NO_NEW_PRIVS). Why not, if not."""
    machine = os.uname().machine
    if machine not in REFUSED:
        return f"no filter for system calls on {machine}"
    code = build_filter(AUDIT_ARCH[machine], sorted(REFUSED[machine].values()))
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0):
        return f"no filter for system calls: {os.strerror(ctypes.get_errno())}"
    return None


def build_filter(architecture: int, numbers: list[int]) -> bytes:
    """struct sock_filter[]: code, jump if true, jump if false, operand."""
    refuse = _ERRNO | errno.EPERM
    tests = [(_JUMP_IF_AT_LEAST, _X32_BIT), *((_JUMP_IF_EQUAL, number) for number in numbers)]
    code = [
        (_LOAD, 0, 0, _AT_ARCH),
        (_JUMP_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, refuse),  # another architecture has other numbers
        (_LOAD, 0, 0, _AT_NUMBER),
    ]
    for index, (test, operand) in enumerate(tests):
        code.append((test, len(tests) - index, 0, operand))
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, refuse)]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
