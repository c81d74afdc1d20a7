"""Exceptions of Fuchsia, as Crashpad's dumps have them, and the signals that stand for them elsewhere.

Source: zircon/syscalls/exception.h (zx_excp_type_t).
"""

from __future__ import annotations

GENERAL, PAGE_FAULT, UNDEFINED_INSTRUCTION = 0x008, 0x108, 0x208
SOFTWARE_BREAKPOINT, HARDWARE_BREAKPOINT, UNALIGNED = 0x308, 0x408, 0x508
POLICY_ERROR = 0x8208
TYPES = {
    GENERAL: "ZX_EXCP_GENERAL",
    PAGE_FAULT: "ZX_EXCP_FATAL_PAGE_FAULT",
    UNDEFINED_INSTRUCTION: "ZX_EXCP_UNDEFINED_INSTRUCTION",
    SOFTWARE_BREAKPOINT: "ZX_EXCP_SW_BREAKPOINT",
    HARDWARE_BREAKPOINT: "ZX_EXCP_HW_BREAKPOINT",
    UNALIGNED: "ZX_EXCP_UNALIGNED_ACCESS",
    0x8008: "ZX_EXCP_THREAD_STARTING",
    0x8108: "ZX_EXCP_THREAD_EXITING",
    POLICY_ERROR: "ZX_EXCP_POLICY_ERROR",
    0x8308: "ZX_EXCP_PROCESS_STARTING",
    0x8408: "ZX_EXCP_USER",
}
_SIGILL, _SIGTRAP, _SIGABRT, _SIGBUS, _SIGSEGV, _SIGSYS = 4, 5, 6, 7, 11, 31
_SIGNALS = {
    GENERAL: _SIGSEGV, PAGE_FAULT: _SIGSEGV, UNDEFINED_INSTRUCTION: _SIGILL, UNALIGNED: _SIGBUS,
    SOFTWARE_BREAKPOINT: _SIGTRAP, HARDWARE_BREAKPOINT: _SIGTRAP, POLICY_ERROR: _SIGSYS,
}  # fmt: skip


def describe(kind: int) -> str:
    """ "ZX_EXCP_FATAL_PAGE_FAULT"."""
    return TYPES.get(kind, f"Fuchsia exception {kind:#x}")


def to_signal(kind: int) -> int:
    """0 if none stands for it."""
    return _SIGNALS.get(kind, 0)
