"""A fault as seen by the crash handler in the dying thread."""

from __future__ import annotations

from dataclasses import dataclass

from perimortem.model.caller import ExitCaller
from perimortem.model.snapshot import Registers


@dataclass(frozen=True)
class Crash:
    """The note of one crash. Addresses are those of the crashed process."""

    code: int
    """Signal number; on Windows the exception code."""
    si_code: int
    tid: int
    """In the process's own pid namespace: may differ from ours."""
    thread_name: str
    address: int
    """The accessed address."""
    program_counter: int
    stack_pointer: int
    monotonic_ns: int
    sender_pid: int | None
    """The sender of the signal; None for a fault."""
    sender_uid: int | None
    nested_code: int | None
    """The fault in the program's own handler while it handled this crash."""
    nested_address: int
    caller: ExitCaller
    module: str | None
    module_offset: int
    parameter: int
    is_fatal: bool
    """False: the program's own handler took it, and has not returned."""
    registers: Registers | None
    """Of the thread at the fault; without fs_base and gs_base."""
    windows_context: bytes = b""
    """The same on Windows: CONTEXT of winnt.h, from the exception."""
    core_notes: str | None = None
    """Path of the notes of its core, if the kernel is writing one: then it must not be traced."""

    @property
    def is_sent(self) -> bool:
        """By kill(2) and such, not by what the thread did."""
        return self.sender_pid is not None
