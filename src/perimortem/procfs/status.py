"""/proc/PID/status, and other files of /proc that have a name and a value in each line.

Nothing is parsed before it is asked for: a crashed thread is found by the status of every thread.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

assert sys.platform == "linux"

from perimortem.procfs.file import read_file


@dataclass(frozen=True)
class ProcessStatus:
    """A status as the kernel gave it (proc_pid_status(5)); a line that is missing is empty or 0."""

    raw: bytes

    @property
    def uids(self) -> tuple[int, ...]:
        """Real, effective, saved, of the file system."""
        return self._numbers("Uid")

    @property
    def numbers(self) -> tuple[int, ...]:
        """Its ids: ours, then those in the pid namespaces below, the innermost last."""
        return self._numbers("NSpid")

    @property
    def tracer_pid(self) -> int:
        return sum(self._numbers("TracerPid"))

    @property
    def is_dumping_core(self) -> bool:
        """The kernel writes its core, or waits for the process that collects it."""
        return find_field(self.raw, "CoreDumping") == "1"

    @property
    def has_seccomp(self) -> bool:
        return find_field(self.raw, "Seccomp") not in (None, "0")

    @property
    def effective_capabilities(self) -> int:
        """One bit each (capabilities(7))."""
        return int(find_field(self.raw, "CapEff") or "0", 16)

    @property
    def held_bytes(self) -> int:
        """In memory and in swap; mapped memory that was never touched is in neither."""
        return sum_kib(self.raw, ("VmRSS", "VmSwap"))

    def _numbers(self, name: str) -> tuple[int, ...]:
        words = (find_field(self.raw, name) or "").split()
        return tuple(int(word) for word in words if word.isdecimal())


def read_status(pid: int | str, tid: int | None = None) -> ProcessStatus | None:
    """Of a process ("self": ours), or of one thread; None if it is gone."""
    raw = read_file(f"/proc/{pid}/status" if tid is None else f"/proc/{pid}/task/{tid}/status")
    return ProcessStatus(raw) if raw else None


def find_field(raw: bytes, name: str) -> str | None:
    """The value in the first line ``NAME: value``. The kernel escapes newlines in values."""
    head = f"\n{name}:".encode()
    _, found, rest = (b"\n" + raw).partition(head)
    return rest.partition(b"\n")[0].strip().decode("ascii", "replace") if found else None


def sum_kib(raw: bytes, names: Iterable[str]) -> int:
    """Bytes, from values such as "1316 kB"."""
    words = ((find_field(raw, name) or "").partition(" ")[0] for name in names)
    return sum(int(word) << 10 for word in words if word.isdecimal())
