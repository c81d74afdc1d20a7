"""A fault as the crash handler in the dying thread saw it."""

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
    """As the process itself counts: in a pid namespace another number than ours."""
    thread_name: str
    address: int
    """Where the access went."""
    program_counter: int
    stack_pointer: int
    monotonic_ns: int
    sender_pid: int | None
    """Who sent the signal; None for a fault."""
    sender_uid: int | None
    nested_code: int | None
    """What the program's own handler met while it was at this crash."""
    nested_address: int
    caller: ExitCaller
    module: str | None
    module_offset: int
    parameter: int
    is_fatal: bool
    """False: a handler of the program's own took it, and has not come back."""
    registers: Registers | None
    """Of the thread at the fault; fs_base and gs_base are not told."""
    windows_context: bytes = b""
    """The same on Windows: CONTEXT of winnt.h, as the exception had it."""
    core_notes: str | None = None
    """Where the notes of its core lie, when the kernel is writing one: then it must not be traced."""

    @property
    def is_sent(self) -> bool:
        """By kill(2) and its like, not by what the thread did."""
        return self.sender_pid is not None
