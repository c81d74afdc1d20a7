"""A wait for the lock of a file: flock(2).

The holders are the processes whose fdinfo has the lock; /proc/locks names who locked it, who may have
ended since, while a forked child still holds it. Of fcntl(2), whose locks have ranges, nothing is
claimed.
"""

from __future__ import annotations

import os
import sys

assert sys.platform == "linux"

from perimortem.model.wait_graph import Wait, WaitsFor
from perimortem.text import printable
from perimortem.waiting.linux.look import Look
from perimortem.waiting.linux.threads import ThreadFacts

_LOCAL = frozenset({"ext4", "ext3", "ext2", "xfs", "btrfs", "tmpfs", "f2fs", "zfs", "overlay"})
"""File systems whose locks only processes of this machine hold."""


def find_file_lock_wait(thread: ThreadFacts, look: Look) -> Wait:
    number = thread.number(0)
    key = (thread.call, number)
    path = f"/proc/{thread.pid}/task/{thread.tid}/fd/{number}"
    try:
        target = os.readlink(path)
        facts = os.stat(path)
    except OSError:
        return Wait(WaitsFor.FILE_LOCK, "the lock of a file", key, outside="one who is not known")
    text = f"the lock of {printable(target)}"
    if look.find_file_system(facts.st_dev) not in _LOCAL:
        return Wait(WaitsFor.FILE_LOCK, text, key, outside="a process of another machine")
    holders = look.ends.list_lockers(facts.st_dev, facts.st_ino)
    wakers, foreign = look.threads_of(tuple(holders))
    unknown = look.ends.find_unknown(by_name=True) if holders else "one who is not known"
    return Wait(
        WaitsFor.FILE_LOCK,
        f"{text}, held by {look.describe(holders)}" if holders else text,
        (*key, *holders),
        wakers,
        outside=foreign or unknown,
        ends_by_death=True,
    )
