"""How an exception is called by the system that raised it: "SIGSEGV (SEGV_MAPERR) at 0x10". Pure."""

from __future__ import annotations

from perimortem.exits import fuchsia, mach, ntstatus
from perimortem.exits.signals import signal_name
from perimortem.model.snapshot import (
    Architecture,
    ExceptionRecord,
    OperatingSystem,
    Snapshot,
)

SI_KERNEL = 0x80
HAS_ADDRESS = (7, 11)
"""SIGBUS and SIGSEGV."""
_SEGV, _BUS, _FPE, _ILL, _TRAP, _SYS = 11, 7, 8, 4, 5, 31
_CODES = {
    _SEGV: {1: "SEGV_MAPERR", 2: "SEGV_ACCERR", 3: "SEGV_BNDERR", 4: "SEGV_PKUERR"},
    _BUS: {
        1: "BUS_ADRALN",
        2: "BUS_ADRERR",
        3: "BUS_OBJERR",
        4: "BUS_MCEERR_AR",
        5: "BUS_MCEERR_AO",
    },
    _FPE: {
        1: "FPE_INTDIV",
        2: "FPE_INTOVF",
        3: "FPE_FLTDIV",
        4: "FPE_FLTOVF",
        5: "FPE_FLTUND",
        6: "FPE_FLTRES",
        7: "FPE_FLTINV",
        8: "FPE_FLTSUB",
    },
    _ILL: {1: "ILL_ILLOPC", 2: "ILL_ILLOPN", 5: "ILL_PRVOPC"},
    _TRAP: {1: "TRAP_BRKPT", 2: "TRAP_TRACE"},
    _SYS: {1: "SYS_SECCOMP"},
}
_SENT = {0: "SI_USER", 0xFFFFFFFA: "SI_TKILL", 0xFFFFFFFF: "SI_QUEUE", SI_KERNEL: "SI_KERNEL"}
_ARM = (Architecture.AARCH64, Architecture.ARM)


def describe_exception(snapshot: Snapshot, exception: ExceptionRecord) -> str:
    """In the words of the system of the snapshot."""
    if snapshot.system.os is OperatingSystem.WINDOWS:
        return _describe_windows(exception)
    if snapshot.system.os is OperatingSystem.MACOS:
        text = mach.describe(
            exception.code, exception.flags, is_arm=snapshot.system.architecture in _ARM
        )
        has_address = exception.code == mach.BAD_ACCESS
        is_known = exception.flags != mach.GENERAL_PROTECTION
        return text + (f" at {exception.address:#x}" if has_address and is_known else "")
    if snapshot.system.os is OperatingSystem.FUCHSIA:
        text = fuchsia.describe(exception.code)
        is_fault = exception.code == fuchsia.PAGE_FAULT
        return text + (f" at {exception.address:#x}" if is_fault else "")
    if snapshot.system.os is OperatingSystem.LINUX:
        return _describe_signal(exception)
    return f"exception {exception.code:#x} of a system whose exceptions are not known here"


def _describe_signal(exception: ExceptionRecord) -> str:
    code = exception.flags & 0xFFFFFFFF
    word = _CODES.get(exception.code, {}).get(code)
    if word is None and (code or exception.has_flags):
        word = _SENT.get(code)
    if not code and exception.code in HAS_ADDRESS:
        word = None  # SI_USER, or a writer that does not record it
    text = signal_name(exception.code) + (f" ({word})" if word else "")
    is_fault = exception.code in HAS_ADDRESS and 0 < code < SI_KERNEL
    return text + (f" at {exception.address:#x}" if is_fault else "")


def _describe_windows(exception: ExceptionRecord) -> str:
    name, _ = ntstatus.STATUSES.get(exception.code, ("exception", ""))
    text = f"{name} ({exception.code:#010X})".replace("0X", "0x")
    if exception.code == ntstatus.FAST_FAIL_STATUS and exception.parameters:
        word, _ = ntstatus.FAST_FAIL_CODES.get(exception.parameters[0], ("", ""))
        text += f", subcode {exception.parameters[0]}" + (f" {word}" if word else "")
    return text
