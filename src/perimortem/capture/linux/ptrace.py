"""The ptrace(2) requests that a snapshot needs, by ctypes, with errors as OSError."""

from __future__ import annotations

import ctypes
import os
import sys

assert sys.platform == "linux"

PTRACE_CONT = 7
PTRACE_DETACH = 17
PTRACE_GETEVENTMSG = 0x4201
PTRACE_GETREGSET = 0x4204
PTRACE_SETREGSET = 0x4205
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
PTRACE_LISTEN = 0x4208

PTRACE_O_TRACECLONE = 1 << 3
PTRACE_O_TRACEEXIT = 1 << 6
PTRACE_EVENT_EXIT = 6
PTRACE_EVENT_STOP = 128
WALL = 0x40000000
"""__WALL: wait for threads too."""

NT_PRSTATUS = 1
NT_PRFPREG = 2
NT_X86_XSTATE = 0x202

_libc = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_ptrace.restype = ctypes.c_long

_REGSET_BYTES = 16384
"""More than any XSAVE area of today (AMX: 11 KiB)."""


class IoVec(ctypes.Structure):
    """struct iovec: a buffer, here or in another process."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_buffer = ctypes.create_string_buffer(_REGSET_BYTES)


def _call(request: int, tid: int, address: int, data: int) -> int:
    ctypes.set_errno(0)
    result: int = _ptrace(request, tid, address, data)
    if result == -1:
        error = ctypes.get_errno()
        if error:
            raise OSError(error, os.strerror(error))
    return result


def seize(tid: int, options: int = 0) -> None:
    """Become the tracer of a thread without stopping it; ``options`` are PTRACE_O_*."""
    _call(PTRACE_SEIZE, tid, 0, options)


def interrupt(tid: int) -> None:
    """Ask a seized thread to stop."""
    _call(PTRACE_INTERRUPT, tid, 0, 0)


def resume(tid: int, signal: int = 0) -> None:
    """Let a stopped thread run on, still traced; ``signal`` is delivered to it on the way."""
    _call(PTRACE_CONT, tid, 0, signal)


def read_event_message(tid: int) -> int:
    """The message of the event that a thread is stopped at; at its exit, its exit status."""
    message = ctypes.c_ulong()
    _call(PTRACE_GETEVENTMSG, tid, 0, ctypes.addressof(message))
    return int(message.value)


def listen(tid: int) -> None:
    """Leave a thread in its group stop (SIGSTOP and such)."""
    _call(PTRACE_LISTEN, tid, 0, 0)


def detach(tid: int, signal: int = 0) -> None:
    """Let a stopped thread run on, untraced; ``signal`` is delivered to it on the way."""
    _call(PTRACE_DETACH, tid, 0, signal)


def read_regset(tid: int, note_type: int) -> bytes | None:
    """A register set of a stopped thread, in the kernel's layout; None if it has none."""
    vector = IoVec(ctypes.addressof(_buffer), _REGSET_BYTES)
    try:
        _call(PTRACE_GETREGSET, tid, note_type, ctypes.addressof(vector))
    except OSError:
        return None
    return _buffer.raw[: vector.length]


def write_regset(tid: int, note_type: int, content: bytes) -> bool:
    """Set the registers of a stopped thread; False if it is gone."""
    ctypes.memmove(_buffer, content, len(content))
    vector = IoVec(ctypes.addressof(_buffer), len(content))
    try:
        _call(PTRACE_SETREGSET, tid, note_type, ctypes.addressof(vector))
    except OSError:
        return False
    return True
