"""The fault behind an end that a signal handler chose. Pure.

Runtimes and crash reporters handle SIGSEGV, say what they know, and call abort().
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from perimortem.analysis.crash_context import CrashContext
from perimortem.analysis.signal_frames import Interruption, list_interruptions
from perimortem.exits.signals import signal_name
from perimortem.model.snapshot import ExceptionRecord, OperatingSystem

_FAULTS = frozenset({4, 5, 7, 8, 11, 31})
"""SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS."""


@dataclass(frozen=True)
class HandledFault:
    """The first fault, as a context in which to explain it."""

    context: CrashContext
    first_frame: int
    """Of the stack with the handler."""
    words: str
    """ "its handler of SIGSEGV, JVM_handle_linux_signal"."""


def find_handled_fault(context: CrashContext) -> HandledFault | None:
    """The outermost fault that the kernel raised and a handler on this stack was called for."""
    exception = context.snapshot.exception
    if exception is None or context.snapshot.system.os is not OperatingSystem.LINUX:
        return None
    faults = [
        found for found in list_interruptions(context) if found.signal in _FAULTS and found.code > 0
    ]
    if not faults:
        return None
    fault = faults[-1]
    record = ExceptionRecord(exception.tid, fault.signal, fault.code, fault.address)
    stack = replace(context.stack, frames=context.stack.frames[fault.index + 1 :])
    inner = replace(
        context,
        snapshot=replace(context.snapshot, exception=record),
        stack=stack,
        registers=fault.registers,
    )
    return HandledFault(inner, fault.index + 1, _describe_handler(context, fault))


def _describe_handler(context: CrashContext, fault: Interruption) -> str:
    name = context.stack.frames[fault.index - 1].function if fault.index else None
    return f"its handler of {signal_name(fault.signal)}" + (f", {name}," if name else "")
