"""Calls that a stop would cut short: they have done a part, and return when they are interrupted.

A write to a full pipe that has written 65,536 of 1,000,000 bytes returns that number after a stop
(signal(7)), which no program expects that blocks. Such a thread is left alone: it stands still anyway.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.procfs.calls import CALLS

_WRITES = frozenset(
    {
        "write", "writev", "sendto", "sendmsg", "sendmmsg", "sendfile", "splice", "tee", "vmsplice",
        "recvmmsg",
    }
)  # fmt: skip
_FLAGS_AT = {"recvfrom": 3, "recvmsg": 2}
"""The argument that may have MSG_WAITALL."""
_WAITALL = 0x100


def is_in_partial_call(pid: int, tid: int) -> bool:
    """It sleeps in one."""
    try:
        with open(f"/proc/{pid}/task/{tid}/syscall", encoding="ascii") as file:
            words = file.read().split()
    except OSError:
        return False
    call = CALLS.get(int(words[0]), "") if len(words) > 6 and words[0].isdecimal() else ""
    if call in _FLAGS_AT:
        return bool(int(words[1 + _FLAGS_AT[call]], 16) & _WAITALL)
    return call in _WRITES
