"""One thread, as /proc shows it at this moment: its state, and the call that it waits in."""

from __future__ import annotations

import sys
from dataclasses import dataclass

assert sys.platform == "linux"

from perimortem.procfs.calls import CALLS
from perimortem.procfs.file import read_record
from perimortem.procfs.slices import read_slices
from perimortem.procfs.stat import read_thread_stat
from perimortem.procfs.threads import list_threads
from perimortem.text import printable

AGENT_THREAD = "perimortem"
"""The agent's own thread, which wakes no thread of the program."""
_NO_CALL = "-1"


@dataclass(frozen=True)
class ThreadFacts:
    """``call``: empty if it is in none, or may not be seen (``is_readable``)."""

    pid: int
    tid: int
    name: str
    state: str
    call: str
    arguments: tuple[int, ...]
    slices: int | None
    """Counted before the call was read; None: not known."""
    is_readable: bool

    def argument(self, index: int) -> int:
        """As an unsigned number; 0 if there is none."""
        return self.arguments[index] if index < len(self.arguments) else 0

    def number(self, index: int) -> int:
        """A descriptor, or another signed number of 32 bits."""
        value = self.argument(index) & 0xFFFFFFFF
        return value - (1 << 32) if value >> 31 else value


def read_threads(pid: int) -> list[ThreadFacts]:
    """All threads but the agent's; empty if the process is gone."""
    read = (_read_thread(pid, tid) for tid in list_threads(pid))
    return [thread for thread in read if thread is not None and not _is_agent(thread)]


def _is_agent(thread: ThreadFacts) -> bool:
    return thread.tid != thread.pid and thread.name == AGENT_THREAD


def _read_thread(pid: int, tid: int) -> ThreadFacts | None:
    facts = read_thread_stat(pid, tid)
    if facts is None or facts.has_ended:
        return None
    slices = read_slices(pid, tid)
    words = [] if facts.state == "R" else read_record(f"/proc/{pid}/task/{tid}/syscall").split()
    first = words[0].decode("ascii", "replace") if words else ""
    call = (CALLS.get(int(first)) or f"call {first}") if first.isdecimal() else ""
    return ThreadFacts(
        pid,
        tid,
        printable(facts.name),
        facts.state,
        call,
        _parse_arguments(words[1:7]) if call else (),
        slices,
        is_readable=bool(call) or first == _NO_CALL,
    )


def _parse_arguments(words: list[bytes]) -> tuple[int, ...]:
    try:
        return tuple(int(word, 16) for word in words)
    except ValueError:
        return ()
