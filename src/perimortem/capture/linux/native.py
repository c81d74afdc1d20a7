"""The capture library in C: parts that Python is too slow for, or that must not stop half-way."""

from __future__ import annotations

import ctypes
import sys
from enum import IntEnum
from functools import cache
from pathlib import Path

assert sys.platform == "linux"

from perimortem.errors import CaptureFailed

_LIBRARY = Path(__file__).resolve().parents[2] / "_native" / "libperimortem_capture.so"


class InjectionError(IntEnum):
    """enum pmr_injection_error of native/capture/inject.h."""

    DONE = 0
    GONE = 1
    NO_REGISTERS = 2
    RSEQ = 3
    SHADOW_STACK = 4
    USER_DISPATCH = 5
    MEMORY = 6
    SECCOMP = 7
    STOPS = 8
    CALL = 9


class Injection(ctypes.Structure):
    """struct pmr_injection of native/capture/inject.h."""

    _fields_ = (
        ("tid", ctypes.c_int32),
        ("memory_fd", ctypes.c_int32),
        ("stub", ctypes.c_uint64),
        ("call", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
        ("is_clone", ctypes.c_int32),
        ("has_seccomp", ctypes.c_int32),
        ("result", ctypes.c_int64),
        ("child", ctypes.c_int32),
        ("step", ctypes.c_int32),
        ("window_ns", ctypes.c_uint64),
    )


STUB_BYTES = 16
FRAME_BYTES_MAX = 24 * 1024


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(_LIBRARY))
    except OSError as error:
        raise CaptureFailed(
            "the capture library is missing", why=str(error), remedy="install perimortem again"
        ) from error
    library.pmr_inject.argtypes = (ctypes.POINTER(Injection),)
    size = ctypes.c_size_t
    library.pmr_find_nonzero.argtypes = (
        ctypes.c_void_p, size, size, size, ctypes.POINTER(size),
    )  # fmt: skip
    library.pmr_find_nonzero.restype = size
    return library


def inject(injection: Injection) -> InjectionError:
    """``pmr_inject``: DONE, or the obstacle."""
    return InjectionError(_library().pmr_inject(ctypes.byref(injection)))


class ZeroFinder:
    """Runs of a buffer that are not zero, in steps of ``page`` bytes."""

    def __init__(self, buffer_address: int, page: int) -> None:
        self._address, self._page = buffer_address, page
        self._end = ctypes.c_size_t()
        self._find = _library().pmr_find_nonzero

    def next_run(self, size: int, start: int) -> tuple[int, int]:
        """(start, end) of the next run in the first ``size`` bytes; (size, size) if there is none."""
        found = self._find(self._address, size, start, self._page, ctypes.byref(self._end))
        return int(found), self._end.value
