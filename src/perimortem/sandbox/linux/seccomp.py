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
from dataclasses import dataclass

assert sys.platform == "linux"

from perimortem.sandbox.linux.syscalls import (
    AUDIT_ARCH,
    CHANGES,
    OPENS,
    OWN_ONLY,
    READ_OTHER,
    REFUSED,
)

_LOAD, _AND, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_AT_NUMBER, _AT_ARCH, _AT_ARGUMENTS = 0, 4, 16
"""In struct seccomp_data; both machines are little-endian, and 32 bits of an argument are compared."""
_X32_BIT = 0x40000000
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALL_BITS = 0xFFFFFFFF
_WRITES = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


@dataclass(frozen=True)
class ArgumentTest:
    """The call ``number`` is allowed if ``mask`` of one argument, counted from 0, has this ``value``."""

    number: int
    argument: int
    mask: int
    value: int


def refuse_calls(reads_process: int | None = None) -> str | None:
    """From now on, in this process; it must not gain rights (PR_SET_NO_NEW_PRIVS). Why not, if not.

    ``reads_process``: it may read the memory of this process, and opens files only for reading."""
    machine = os.uname().machine
    if machine not in REFUSED:
        return f"no filter for system calls on {machine}"
    refused = set(REFUSED[machine].values())
    tests = [ArgumentTest(number, 0, _ALL_BITS, 0) for number in OWN_ONLY[machine].values()]
    if reads_process is not None:
        read_other = READ_OTHER[machine]
        refused = (refused | set(CHANGES[machine].values())) - {read_other}
        tests.append(ArgumentTest(read_other, 0, _ALL_BITS, reads_process))
        opens = OPENS[machine].values()
        tests += [ArgumentTest(number, flags, _WRITES, 0) for number, flags in opens]
    code = build_filter(AUDIT_ARCH[machine], sorted(refused), tests)
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0):
        return f"no filter for system calls: {os.strerror(ctypes.get_errno())}"
    return None


def build_filter(architecture: int, refused: list[int], tests: list[ArgumentTest]) -> bytes:
    """struct sock_filter[]: code, jump if true, jump if false, operand."""
    code = [
        (_LOAD, 0, 0, _AT_ARCH),
        (_JUMP_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _REFUSE),  # another architecture has other numbers
        (_LOAD, 0, 0, _AT_NUMBER),
    ]
    for test in tests:
        code += [
            (_JUMP_IF_EQUAL, 0, 5, test.number),
            (_LOAD, 0, 0, _AT_ARGUMENTS + 8 * test.argument),
            (_AND, 0, 0, test.mask),
            (_JUMP_IF_EQUAL, 0, 1, test.value),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _REFUSE),
        ]
    compares = [(_JUMP_IF_AT_LEAST, _X32_BIT), *((_JUMP_IF_EQUAL, number) for number in refused)]
    for left, (compare, operand) in zip(range(len(compares), 0, -1), compares, strict=True):
        code.append((compare, left, 0, operand))
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
