"""A wait for the lock of a file: flock(2), fcntl(2).

The holders are the processes whose fdinfo has the lock; /proc/locks names who locked it, who may have
ended since, while a forked child still holds it.
"""

from __future__ import annotations

import os
import sys

assert sys.platform == "linux"

from perimortem.model.wait_graph import Wait, WaitsFor
from perimortem.text import printable
from perimortem.waiting.linux.look import Look
from perimortem.waiting.linux.threads import ThreadFacts

_F_SETLKW, _F_OFD_SETLKW = 7, 38


def find_file_lock_wait(thread: ThreadFacts, look: Look) -> Wait | None:
    """None if the call waits for no lock."""
    if thread.call == "fcntl" and thread.number(1) not in (_F_SETLKW, _F_OFD_SETLKW):
        return None
    number = thread.number(0)
    key = (thread.call, number)
    try:
        target = os.readlink(f"/proc/{thread.pid}/task/{thread.tid}/fd/{number}")
    except OSError:
        return Wait(WaitsFor.FILE_LOCK, "the lock of a file", key, outside="not known")
    holders = look.ends.list_lockers(target)
    wakers, foreign = look.threads_of(tuple(holders))
    text = f"the lock of {printable(target)}"
    return Wait(
        WaitsFor.FILE_LOCK,
        f"{text}, held by {look.describe(holders)}" if holders else text,
        (*key, *holders),
        wakers,
        outside=foreign or ("" if holders else "its holder is not known"),
        ends_by_death=True,
    )
