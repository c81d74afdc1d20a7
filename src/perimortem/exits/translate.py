"""The signal of Linux that stands for an exception of another system."""

from __future__ import annotations

from perimortem.exits import fuchsia, mach, ntstatus
from perimortem.model.snapshot import ExceptionRecord, OperatingSystem

_SEGV_MAPERR, _SI_KERNEL = 1, 0x80
_SIGSEGV = 11


def to_signal(system: OperatingSystem, exception: ExceptionRecord) -> ExceptionRecord | None:
    """What a Linux kernel would have recorded; None if no signal stands for it."""
    if system is OperatingSystem.LINUX:
        return exception
    number, address = 0, exception.address
    if system is OperatingSystem.WINDOWS:
        number = ntstatus.to_signal(exception.code)
        address = exception.parameters[1] if len(exception.parameters) > 1 else address
    elif system is OperatingSystem.MACOS:
        number = mach.to_signal(exception.code, exception.flags)
    elif system is OperatingSystem.FUCHSIA:
        number = fuchsia.to_signal(exception.code)
    if not number:
        return None
    code = _SEGV_MAPERR if number == _SIGSEGV else _SI_KERNEL
    return ExceptionRecord(exception.tid, number, code, address)
