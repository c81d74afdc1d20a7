"""Exceptions of Mach, as dumps of macOS and iOS have them: types, codes, and the signals they stand for.

Source: mach/exception_types.h, mach/i386/exception.h, mach/arm/exception.h, mach/kern_return.h;
ux_exception.c of xnu for the signals. Breakpad and Crashpad write the type as the exception's code, and
its first code as the flags.
"""

from __future__ import annotations

BAD_ACCESS, BAD_INSTRUCTION, ARITHMETIC, EMULATION, SOFTWARE, BREAKPOINT = range(1, 7)
CRASH, RESOURCE, GUARD = 10, 11, 12
TYPES = {
    BAD_ACCESS: "EXC_BAD_ACCESS",
    BAD_INSTRUCTION: "EXC_BAD_INSTRUCTION",
    ARITHMETIC: "EXC_ARITHMETIC",
    EMULATION: "EXC_EMULATION",
    SOFTWARE: "EXC_SOFTWARE",
    BREAKPOINT: "EXC_BREAKPOINT",
    7: "EXC_SYSCALL",
    8: "EXC_MACH_SYSCALL",
    9: "EXC_RPC_ALERT",
    CRASH: "EXC_CRASH",
    RESOURCE: "EXC_RESOURCE",
    GUARD: "EXC_GUARD",
    13: "EXC_CORPSE_NOTIFY",
}
INVALID_ADDRESS, GENERAL_PROTECTION, MISALIGNED = 1, 13, 0x101
DIVISION = 1
SOFT_SIGNAL, UNCAUGHT_NSEXCEPTION = 0x10003, 0xDEADC0DE
_ACCESS = {
    INVALID_ADDRESS: "KERN_INVALID_ADDRESS",
    2: "KERN_PROTECTION_FAILURE",
    8: "KERN_NO_ACCESS",
    9: "KERN_MEMORY_FAILURE",
    10: "KERN_MEMORY_ERROR",
    50: "KERN_CODESIGN_ERROR",
    GENERAL_PROTECTION: "EXC_I386_GPFLT",
    MISALIGNED: "EXC_ARM_DA_ALIGN",
    0x102: "EXC_ARM_DA_DEBUG",
}
_X86 = {
    BAD_INSTRUCTION: {
        1: "EXC_I386_INVOP", 10: "EXC_I386_INVTSSFLT", 11: "EXC_I386_SEGNPFLT",
        12: "EXC_I386_STKFLT", 13: "EXC_I386_GPFLT", 17: "EXC_I386_ALIGNFLT",
    },
    ARITHMETIC: {
        DIVISION: "EXC_I386_DIV", 2: "EXC_I386_INTO", 3: "EXC_I386_NOEXT", 4: "EXC_I386_EXTOVR",
        5: "EXC_I386_EXTERR", 6: "EXC_I386_EMERR", 7: "EXC_I386_BOUND", 8: "EXC_I386_SSEEXTERR",
    },
    BREAKPOINT: {1: "EXC_I386_SGL", 2: "EXC_I386_BPT"},
}  # fmt: skip
_ARM = {
    BAD_INSTRUCTION: {1: "EXC_ARM_UNDEFINED"},
    ARITHMETIC: {
        0: "EXC_ARM_FP_UNDEFINED", 1: "EXC_ARM_FP_IO", 2: "EXC_ARM_FP_DZ", 3: "EXC_ARM_FP_OF",
        4: "EXC_ARM_FP_UF", 5: "EXC_ARM_FP_IX", 6: "EXC_ARM_FP_ID",
    },
    BREAKPOINT: {1: "EXC_ARM_BREAKPOINT"},
}  # fmt: skip
_SOFTWARE = {
    0x10000: "EXC_UNIX_BAD_SYSCALL",
    0x10001: "EXC_UNIX_BAD_PIPE",
    0x10002: "EXC_UNIX_ABORT",
    SOFT_SIGNAL: "EXC_SOFT_SIGNAL",
    UNCAUGHT_NSEXCEPTION: "an uncaught NSException",
}
_SIGILL, _SIGTRAP, _SIGABRT, _SIGFPE, _SIGKILL, _SIGBUS, _SIGSEGV, _SIGSYS = (
    4,
    5,
    6,
    8,
    9,
    7,
    11,
    31,
)
"""As Linux numbers them, which is what they are used for."""
_SIGNALS = {
    BAD_INSTRUCTION: _SIGILL, ARITHMETIC: _SIGFPE, EMULATION: _SIGILL, BREAKPOINT: _SIGTRAP,
    SOFTWARE: _SIGABRT, 7: _SIGSYS, 8: _SIGSYS, RESOURCE: _SIGKILL, GUARD: _SIGKILL,
}  # fmt: skip
_OF_DARWIN = {7: 0, 10: _SIGBUS, 12: _SIGSYS}
"""Signals that have other numbers there: SIGEMT (which Linux lacks), SIGBUS, SIGSYS."""


def describe(kind: int, code: int, *, is_arm: bool) -> str:
    """ "EXC_BAD_ACCESS (KERN_INVALID_ADDRESS)"."""
    tables = {BAD_ACCESS: _ACCESS, SOFTWARE: _SOFTWARE, **(_ARM if is_arm else _X86)}
    name = TYPES.get(kind, f"Mach exception {kind:#x}")
    word = tables.get(kind, {}).get(code)
    if kind == CRASH:
        word = f"signal {code >> 24 & 0xFF} of macOS" if code >> 24 & 0xFF else None
    if word is None and code:
        word = f"code {code:#x}"
    return name + (f" ({word})" if word else "")


def to_signal(kind: int, code: int) -> int:
    """What the kernel makes of it for a process that has no handler; 0 if that is not known."""
    if kind == BAD_ACCESS:
        return _SIGSEGV if code in (INVALID_ADDRESS, GENERAL_PROTECTION) else _SIGBUS
    if kind == CRASH:
        number = code >> 24 & 0xFF
        return _OF_DARWIN.get(number, number)
    return _SIGNALS.get(kind, 0)
