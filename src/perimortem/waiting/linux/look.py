"""What one look reads of the machine: each thing when it is first needed, and once."""

from __future__ import annotations

import ctypes
import os
import sys
from collections import defaultdict
from collections.abc import Iterable
from functools import cache, cached_property

assert sys.platform == "linux"

from perimortem.binary.proc_maps import parse_maps
from perimortem.binary.regions import find_region
from perimortem.model.snapshot import Region
from perimortem.procfs.file import read_file, read_text
from perimortem.procfs.stat import read_stat
from perimortem.procfs.status import read_status
from perimortem.procfs.threads import list_threads
from perimortem.text import printable
from perimortem.waiting.linux.ends import KCMP, Ends
from perimortem.waiting.linux.threads import ThreadFacts, read_threads

_KCMP_VM = 1
_NAMED_MAX = 3


class Look:
    """At the processes ``pids``."""

    def __init__(self, pids: Iterable[int]) -> None:
        found = {pid: read_threads(pid) for pid in dict.fromkeys(pids)}
        self.threads: dict[int, list[ThreadFacts]] = {p: t for p, t in found.items() if t}
        """Of each process that is there."""
        self._tids = {pid: frozenset(t.tid for t in ts) for pid, ts in self.threads.items()}
        self.notes: list[str] = []
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.name = cache(self._read_name)
        self.threads_of = cache(self._find_threads)
        self.children = cache(self._list_children)
        self.space = cache(self._find_space)
        self._regions = cache(self._read_regions)
        self._local_tids = cache(self._read_local_tids)

    @cached_property
    def ends(self) -> Ends:
        """The descriptors of all processes that may be read."""
        return Ends(self.threads)

    def _find_threads(self, pids: tuple[int, ...]) -> tuple[frozenset[int], str]:
        """(tids, what is outside): those that are not looked at may do anything."""
        tids = frozenset[int]().union(*(self._tids.get(pid, ()) for pid in pids))
        foreign = [pid for pid in pids if pid not in self._tids]
        if not foreign:
            return tids, ""
        return tids, f"{self.describe(foreign)}, which is not looked at"

    def describe(self, pids: Iterable[int]) -> str:
        """ "server[4711]", or "server[4711], sh[4712] and 3 more"."""
        names = [f"{self.name(pid)}[{pid}]" for pid in pids]
        more = len(names) - _NAMED_MAX
        return ", ".join(names[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")

    def find_region(self, pid: int, address: int) -> Region | None:
        return find_region(self._regions(pid), address)

    def read_memory(self, pid: int, address: int, size: int) -> bytes:
        """Fewer bytes if it cannot be read."""
        try:
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
                return os.pread(file.fileno(), size, address)
        except (OSError, OverflowError):
            return b""

    def find_tid(self, pid: int, local: int) -> int | None:
        """The thread of this process that calls itself ``local``: in its own pid namespace."""
        return self._local_tids(pid).get(local)

    def is_traced(self, pid: int) -> bool:
        status = read_status(pid)
        return status is not None and status.tracer_pid != 0

    def _read_name(self, pid: int) -> str:
        facts = read_stat(pid)
        return printable(facts.name) if facts else "?"

    def _list_children(self, pid: int) -> list[int]:
        """Of all its threads."""
        found: dict[int, None] = {}
        for tid in list_threads(pid):
            words = read_text(f"/proc/{pid}/task/{tid}/children").split()
            found |= dict.fromkeys(int(word) for word in words if word.isdecimal())
        return list(found)

    def _find_space(self, pid: int) -> tuple[frozenset[int], str]:
        """The threads with the same memory: also those of a vfork child, or of CLONE_VM."""
        sharing = [pid]
        for other in self._by_size.get(read_text(f"/proc/{pid}/statm"), ()):
            if other == pid:
                continue
            compared = -1 if KCMP is None else self._libc.syscall(KCMP, pid, other, _KCMP_VM, 0, 0)
            if compared < 0:
                return self.threads_of((pid,))[
                    0
                ], f"{self.describe([other])}, which may share its memory"
            if compared == 0:
                sharing.append(other)
        return self.threads_of(tuple(sharing))

    @cached_property
    def _by_size(self) -> dict[str, list[int]]:
        """All processes, by the size of their memory: equal if they share it."""
        found: dict[str, list[int]] = defaultdict(list)
        for name in os.listdir("/proc"):
            if name.isdecimal():
                found[read_text(f"/proc/{name}/statm")].append(int(name))
        found.pop("", None)
        return found

    def find_file_system(self, device: int) -> str:
        """Its type; empty if it is not mounted in our namespace."""
        return self._file_systems.get(device, "")

    @cached_property
    def _file_systems(self) -> dict[int, str]:
        found = {}
        for line in read_text("/proc/self/mountinfo").splitlines():
            fields = line.split()
            major, _, minor = fields[2].partition(":")
            kind = fields[fields.index("-") + 1] if "-" in fields[:-1] else ""
            found[os.makedev(int(major), int(minor))] = kind
        return found

    def _read_regions(self, pid: int) -> tuple[Region, ...]:
        return parse_maps(read_file(f"/proc/{pid}/maps"))

    def _read_local_tids(self, pid: int) -> dict[int, int]:
        status = read_status(pid)
        if status is None or len(status.numbers) <= 1:
            return {tid: tid for tid in self._tids.get(pid, ())}
        found = {}
        for tid in self._tids.get(pid, ()):
            numbers = read_status(pid, tid)
            if numbers is not None and numbers.numbers:
                found[numbers.numbers[-1]] = tid
        return found
