"""How each test program ends: on Windows, and under Wine where that differs.

"windows" is what the documentation of Windows says or what is known of it (the reference beside each
row); it has not been run there. "wine" is what Wine 8 does, which the tests see.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """An exit code and the verdict of it."""

    code: int
    verdict: str


@dataclass(frozen=True)
class End:
    """One row."""

    program: str
    windows: Outcome
    reference: str
    wine: Outcome | None = None
    """None: as on Windows."""
    arguments: tuple[str, ...] = ()


_NTSTATUS = "ntstatus.h; the process ends with the code of the exception that was not handled"

ENDS = (
    End("crash_null", Outcome(0xC0000005, "crash"), _NTSTATUS),
    End("fast_fail", Outcome(0xC0000409, "crash"), "winnt.h: __fastfail; FAST_FAIL_FATAL_APP_EXIT"),
    End("divide", Outcome(0xC0000094, "crash"), _NTSTATUS),
    End("raise_cpp", Outcome(0xE06D7363, "crash"), "vcruntime: the code of a C++ throw"),
    End("raise_breakpoint", Outcome(0x80000003, "crash"), _NTSTATUS),
    End(
        "stack_overflow",
        Outcome(0xC00000FD, "crash"),
        _NTSTATUS,
        wine=Outcome(0, "clean-exit"),  # Wine ends it with 0 when no handler is there
    ),
    End(
        "throw_cpp",
        Outcome(3, "failed-exit"),
        "mingw-w64: terminate() calls abort() of msvcrt.dll, which exits with 3",
    ),
    End("abort_now", Outcome(3, "failed-exit"), "abort() of msvcrt.dll; of ucrt it is a fast-fail"),
    End("abort_beating", Outcome(3, "crash"), "the same, seen by the agent"),
    End("exit_in_library_beating", Outcome(23, "silent-crash"), "ExitProcess in a thread of a DLL"),
    End("terminate_self", Outcome(3, "failed-exit"), "without an agent nothing else can be known"),
    End("terminate_beating", Outcome(3, "killed"), "TerminateProcess notifies no library"),
    End("exit_status", Outcome(0, "clean-exit"), "return from main", arguments=("0",)),
    End("exit_status", Outcome(42, "failed-exit"), "return from main", arguments=("42",)),
    End(
        "exit_status",
        Outcome(0xFFFFFFFF, "failed-exit"),
        "exit(-1): the program's own number",
        arguments=("4294967295",),
    ),
    End(
        "exit_status",
        Outcome(0xC000013A, "stopped"),
        "STATUS_CONTROL_C_EXIT, as the default handler of Ctrl-C exits",
        arguments=("3221225786",),
    ),
    End(
        "exit_beating",
        Outcome(0xC0000005, "failed-exit"),
        "a code that was passed on is no exception: it came to ExitProcess",
        arguments=("0xC0000005",),
    ),
    End(
        "exit_beating",
        Outcome(0xC0000135, "failed-exit"),
        "nor was it never started",
        arguments=("0xC0000135",),
    ),
    End(
        "last_thread", Outcome(12, "failed-exit"), "ExitThread in main: the agent's is not the last"
    ),
    End("beats", Outcome(0, "clean-exit"), "return from main, with an agent"),
    End("beats", Outcome(7, "failed-exit"), "its own decision: a goodbye", arguments=("7",)),
)
