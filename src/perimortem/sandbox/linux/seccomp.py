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

from perimortem.sandbox.linux.syscalls import AUDIT_ARCH, OWN_ONLY, REFUSED

_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_AT_NUMBER, _AT_ARCH, _AT_FIRST_ARGUMENT = 0, 4, 16
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
    refused, own_only = REFUSED[machine].values(), OWN_ONLY[machine].values()
    code = build_filter(AUDIT_ARCH[machine], sorted(refused), sorted(own_only))
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0):
        return f"no filter for system calls: {os.strerror(ctypes.get_errno())}"
    return None


def build_filter(architecture: int, refused: list[int], own_only: list[int]) -> bytes:
    """struct sock_filter[]: code, jump if true, jump if false, operand.

    ``own_only``: calls whose first argument, a pid, must be 0; both machines are little-endian, and the
    kernel takes 32 bits of it."""
    refuse = _ERRNO | errno.EPERM
    tests = [(_JUMP_IF_AT_LEAST, _X32_BIT), *((_JUMP_IF_EQUAL, number) for number in refused)]
    code = [
        (_LOAD, 0, 0, _AT_ARCH),
        (_JUMP_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, refuse),  # another architecture has other numbers
        (_LOAD, 0, 0, _AT_NUMBER),
    ]
    left = len(tests) + len(own_only)
    for test, operand in tests:
        code.append((test, left, 0, operand))
        left -= 1
    for number in own_only:
        code.append((_JUMP_IF_EQUAL, left + 1, 0, number))
        left -= 1
    code += [
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, refuse),
        (_LOAD, 0, 0, _AT_FIRST_ARGUMENT),
        (_JUMP_IF_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
