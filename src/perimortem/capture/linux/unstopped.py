"""A process that is not stopped and not traced: what /proc shows of its threads while they run.

For a thread that sleeps in a system call it has stack and instruction pointers and the arguments of
the call; for a running one, nothing (proc_pid_syscall(5)).
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.binary.user_regs import X86_64_REGISTERS
from perimortem.errors import ProcessGone
from perimortem.model.snapshot import Registers
from perimortem.procfs.threads import list_threads

_ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
_ASLEEP_FIELDS = 9
"""Number, six arguments, stack and instruction pointer."""


class NoStop:
    """Like ``PtraceStop``, but nothing is stopped."""

    paused_ns = 0

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.stopped: list[int] = []
        self.running: list[int] = []
        self.soft_errors: list[str] = []

    def __enter__(self) -> NoStop:
        self.running = sorted(list_threads(self._pid))
        if not self.running:
            raise ProcessGone(f"process {self._pid} has ended")
        return self

    def __exit__(self, *_: object) -> None:
        return

    def thaw(self) -> None:
        """There is nothing to release."""

    def read_registers(self) -> dict[int, Registers | None]:
        """For sleeping threads, those that a system call shows; the others are zero."""
        registers = {tid: read_call_registers(self._pid, tid) for tid in self.running}
        asleep = sum(found is not None for found in registers.values())
        self.soft_errors.append(
            "nothing was stopped: memory was read while it may have changed; of "
            f"{asleep} sleeping threads the registers of their system call are there, "
            f"of {len(registers) - asleep} running ones none"
        )
        return registers


def read_call_registers(pid: int, tid: int) -> Registers | None:
    """Of a sleeping thread, those that its system call shows; None if it runs."""
    try:
        with open(f"/proc/{pid}/task/{tid}/syscall", encoding="ascii") as file:
            words = file.read().split()
        values = [int(word, 0) for word in words]
    except (OSError, ValueError):
        return None
    general = dict.fromkeys(X86_64_REGISTERS, 0) | {"cs": 0x33, "ss": 0x2B}
    if len(values) == _ASLEEP_FIELDS:
        general |= dict(zip(_ARGUMENTS, values[1:7], strict=True)) | {"orig_rax": values[0]}
    elif len(values) != 3:  # "-1 SP PC": asleep, but not in a call
        return None
    general |= {"rsp": values[-2], "rip": values[-1]}
    return Registers(general)
