"""PIDFD_GET_INFO: the exit status of any process, from its pidfd (linux/pidfd.h, 6.13; exit 6.15).

struct pidfd_info { u64 mask, cgroupid; u32 pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid,
                    fsuid, fsgid; s32 exit_code; u32 coredump_mask, coredump_signal; }
"""

from __future__ import annotations

import fcntl
import struct
import sys

assert sys.platform == "linux"

_SIZE = 72
_PIDFD_GET_INFO = (3 << 30) | (_SIZE << 16) | (0xFF << 8) | 11
_PIDFD_INFO_EXIT = 1 << 3
_MASK = struct.Struct("<Q")
_EXIT_CODE = struct.Struct("<i")
_EXIT_CODE_OFFSET = 60
_ATTEMPTS = 3


def read_exit_status(pidfd: int) -> int | None:
    """The wait status, or None: not reaped yet, or not supported by the kernel.

    POLLIN precedes the status; a first query may come a moment too early.
    """
    for _ in range(_ATTEMPTS):
        buffer = bytearray(_SIZE)
        # The kernel writes the mask back: it must be set again for every query.
        _MASK.pack_into(buffer, 0, _PIDFD_INFO_EXIT)
        try:
            fcntl.ioctl(pidfd, _PIDFD_GET_INFO, buffer, True)
        except OSError:
            return None
        if _MASK.unpack_from(buffer)[0] & _PIDFD_INFO_EXIT:
            status: int = _EXIT_CODE.unpack_from(buffer, _EXIT_CODE_OFFSET)[0]
            return status
    return None


def is_supported(pidfd: int) -> bool:
    """Whether this kernel supports PIDFD_GET_INFO, tested on any pidfd."""
    buffer = bytearray(_SIZE)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, buffer, True)
    except OSError:
        return False
    return True
