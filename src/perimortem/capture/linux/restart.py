"""Restart system calls that a ptrace stop has interrupted.

A stop ends some sleeping calls with EINTR, even with SA_RESTART (signal(7), "Interruption of system
calls by stop signals"); a program without signal handlers may never have seen that. At the stop the
result is already in the register; -ERESTARTNOHAND in its place makes the kernel restart the call,
or, if a signal with a handler comes first, return EINTR as it should. A relative timeout starts again.
"""

from __future__ import annotations

import os
import struct
import sys

assert sys.platform == "linux"

from perimortem.capture.linux import ptrace

RESTARTED_CALLS = frozenset(
    {
        44, 45, 46, 47,  # sendto, recvfrom, sendmsg, recvmsg (with SO_SNDTIMEO, SO_RCVTIMEO)
        43, 288,  # accept, accept4
        65, 220,  # semop, semtimedop
        69, 70,  # msgsnd, msgrcv
        128,  # rt_sigtimedwait
        208,  # io_getevents
        232, 281, 441,  # epoll_wait, epoll_pwait, epoll_pwait2
    }
)  # fmt: skip
"""By x86-64 number. Without connect: restarted, it fails."""
_EINTR, _ERESTARTNOHAND = 4, 514
_RAX_OFFSET, _ORIG_RAX_OFFSET = 80, 120  # struct user_regs_struct, sys/user.h
_REGISTER = struct.Struct("<q")


def restart_call(tid: int) -> bool:
    """For a stopped thread; True if its call was interrupted and will be restarted."""
    if os.uname().machine != "x86_64":
        return False
    general = ptrace.read_regset(tid, ptrace.NT_PRSTATUS)
    if general is None or len(general) < _ORIG_RAX_OFFSET + _REGISTER.size:
        return False
    (result,) = _REGISTER.unpack_from(general, _RAX_OFFSET)
    (number,) = _REGISTER.unpack_from(general, _ORIG_RAX_OFFSET)
    if result != -_EINTR or number not in RESTARTED_CALLS:
        return False
    changed = bytearray(general)
    _REGISTER.pack_into(changed, _RAX_OFFSET, -_ERESTARTNOHAND)
    return ptrace.write_regset(tid, ptrace.NT_PRSTATUS, bytes(changed))
