"""The fault behind an end that a signal handler chose. Pure.

Runtimes and crash reporters handle SIGSEGV, say what they know, and call abort().
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from perimortem.analysis.access import decode_instruction, derive_access
from perimortem.analysis.crash_context import CrashContext
from perimortem.analysis.exception_words import SI_KERNEL
from perimortem.analysis.signal_frames import Interruption, list_faults
from perimortem.exits.signals import signal_name
from perimortem.model.snapshot import ExceptionRecord, OperatingSystem

_FPE, _SEGV, _ILL = 8, 11, 4
_DIVISIONS = ("div ", "idiv ")


@dataclass(frozen=True)
class HandledFault:
    """The first fault, as a context in which to explain it."""

    context: CrashContext
    first_frame: int
    """Of the stack with the handler."""
    words: str
    """ "its handler of SIGSEGV, JVM_handle_linux_signal,"."""


def find_handled_fault(context: CrashContext) -> HandledFault | None:
    """The outermost fault that a handler on this stack was called for."""
    exception = context.snapshot.exception
    if exception is None or context.snapshot.system.os is not OperatingSystem.LINUX:
        return None
    for fault in reversed(list(list_faults(context))):
        inner = _enter(context, exception, fault)
        if fault.is_certain or _fits(inner, fault):
            return HandledFault(inner, fault.index + 1, _describe_handler(context, fault))
    return None


def _enter(context: CrashContext, exception: ExceptionRecord, fault: Interruption) -> CrashContext:
    record = ExceptionRecord(exception.tid, fault.signal, fault.code, fault.address)
    return replace(
        context,
        snapshot=replace(context.snapshot, exception=record),
        stack=replace(context.stack, frames=context.stack.frames[fault.index + 1 :]),
        registers=fault.registers,
    )


def _fits(inner: CrashContext, fault: Interruption) -> bool:
    """The interrupted instruction must have raised it: it accesses that very address, or divides."""
    general = inner.registers.general
    pc = general.get("rip", general.get("pc", 0))
    if fault.signal == _SEGV and fault.address == pc:
        return inner.find_region(pc) is None
    instruction = decode_instruction(inner, pc)
    if instruction is None:
        return fault.signal == _ILL and bool(inner.read(pc, 1))
    if fault.signal == _SEGV:
        is_known = fault.code != SI_KERNEL  # a general protection fault has no address
        access = derive_access(inner, instruction, fault.address if is_known else None)
        return access is not None and access.expression is not None
    return fault.signal == _FPE and instruction.text.startswith(_DIVISIONS)


def _describe_handler(context: CrashContext, fault: Interruption) -> str:
    name = context.stack.frames[fault.index - 1].function if fault.index else None
    return f"its handler of {signal_name(fault.signal)}" + (f", {name}," if name else "")
