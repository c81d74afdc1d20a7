"""A wait for the end of a child: wait4(2), waitid(2), vfork(2)."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.model.wait_graph import Wait, WaitsFor
from perimortem.procfs.file import read_text
from perimortem.procfs.status import find_field
from perimortem.waiting.linux.look import Look
from perimortem.waiting.linux.threads import ThreadFacts

_P_PID, _P_PIDFD = 1, 3


def find_child_wait(thread: ThreadFacts, look: Look) -> Wait:
    wanted = _find_wanted(thread)
    children = look.children(thread.pid)
    if wanted is not None:
        children = [child for child in children if child == wanted]
    return _wait_for(thread, look, children, "the end of", "a process that it traces")


def find_vfork_wait(thread: ThreadFacts, look: Look) -> Wait:
    """The parent goes on when the child executes a program or ends."""
    return _wait_for(thread, look, look.children(thread.pid), "the exec of", "not known")


def _wait_for(
    thread: ThreadFacts, look: Look, children: list[int], what: str, unknown: str
) -> Wait:
    wakers, foreign = look.threads_of(tuple(children))
    return Wait(
        WaitsFor.CHILD,
        f"{what} child {look.describe(children)}" if children else f"{what} a child",
        (thread.call, *thread.arguments[:2], *children),
        wakers,
        outside=foreign or ("" if children else unknown),
        ends_by_death=True,
    )


def _find_wanted(thread: ThreadFacts) -> int | None:
    """The pid that it waits for; None: any child, or a group of them."""
    if thread.call == "wait4":
        return thread.number(0) if thread.number(0) > 0 else None
    if thread.number(0) == _P_PID:
        return thread.number(1)
    if thread.number(0) == _P_PIDFD:
        raw = read_text(f"/proc/{thread.pid}/task/{thread.tid}/fdinfo/{thread.number(1)}")
        pid = find_field(raw.encode(), "Pid")
        return int(pid) if pid and pid.isdecimal() else None
    return None
