"""Linux signal numbers to names and meanings (signal(7), x86-64 and aarch64 numbering)."""

from __future__ import annotations

NAMES = {
    1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS",
    8: "SIGFPE", 9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE",
    14: "SIGALRM", 15: "SIGTERM", 16: "SIGSTKFLT", 17: "SIGCHLD", 18: "SIGCONT", 19: "SIGSTOP",
    20: "SIGTSTP", 21: "SIGTTIN", 22: "SIGTTOU", 23: "SIGURG", 24: "SIGXCPU", 25: "SIGXFSZ",
    26: "SIGVTALRM", 27: "SIGPROF", 28: "SIGWINCH", 29: "SIGIO", 30: "SIGPWR", 31: "SIGSYS",
}  # fmt: skip

MEANINGS = {
    1: "hang-up: the terminal or the session went away",
    2: "interrupt: Ctrl-C, or a polite request to stop",
    3: "quit: Ctrl-\\, or a request to stop and leave a core",
    4: "illegal instruction",
    5: "trace or breakpoint trap, not handled",
    6: "abort: abort(), assert(), an uncaught C++ exception, a failed heap check",
    7: "bus error: misaligned access, or a mapped file that was truncated",
    8: "arithmetic error: integer division by zero or overflow",
    9: "kill: cannot be caught or handled",
    10: "user signal 1, which the program did not handle",
    11: "segmentation fault: access to memory that is not there or not allowed",
    12: "user signal 2, which the program did not handle",
    13: "broken pipe: the reader of its output went away",
    14: "alarm: its own timer ran out",
    15: "terminate: a polite request to stop",
    16: "coprocessor stack fault (unused)",
    24: "CPU time limit exceeded (RLIMIT_CPU)",
    25: "file size limit exceeded (RLIMIT_FSIZE)",
    26: "virtual timer ran out",
    27: "profiling timer ran out",
    29: "input or output is possible, which the program did not handle",
    30: "power failure",
    31: "bad system call: refused by seccomp, or nonexistent",
}

OWN_FAULT = frozenset({4, 5, 6, 7, 8, 11, 31})
"""Raised by what the program itself did: a fault or abort()."""
KERNEL_RAISED = frozenset({13, 14, 16, 24, 25, 26, 27, 29, 30})
"""Raised by the kernel on a program's behalf (pipe, timers, limits)."""
STOP_REQUEST = frozenset({1, 2, 15})
"""Asked to end: HUP, INT, TERM."""
SIGINT = 2
SIGABRT = 6
SIGKILL = 9
SIGTERM = 15
SIGPIPE = 13
SIGXCPU = 24
SIGXFSZ = 25
SIGSYS = 31


def signal_name(number: int) -> str:
    """SIGSEGV for 11; real-time signals as SIGRTMIN+n (glibc's SIGRTMIN is 34)."""
    if number in NAMES:
        return NAMES[number]
    if 34 <= number <= 64:
        return f"SIGRTMIN+{number - 34}"
    return f"signal {number}"


def signal_number(name: str) -> int | None:
    """11 for SIGSEGV, SEGV or sigsegv; None when unknown."""
    wanted = name.upper()
    wanted = wanted if wanted.startswith("SIG") else "SIG" + wanted
    return next((number for number, known in NAMES.items() if known == wanted), None)
