"""Windows exit codes and their meanings: NTSTATUS values of ntstatus.h, fast-fail codes of winnt.h."""

from __future__ import annotations

STATUSES = {
    0x40010004: ("DBG_TERMINATE_PROCESS", "the debugger ended it, or the session was closed"),
    0x40010005: ("DBG_CONTROL_C", "Ctrl-C while a debugger was attached"),
    0x40000015: ("STATUS_FATAL_APP_EXIT", "abort() of an older C runtime"),
    0x80000001: ("STATUS_GUARD_PAGE_VIOLATION", "touched a guard page"),
    0x80000002: ("STATUS_DATATYPE_MISALIGNMENT", "misaligned access"),
    0x80000003: ("STATUS_BREAKPOINT", "hit a breakpoint with no debugger attached"),
    0x80000004: ("STATUS_SINGLE_STEP", "single step with no debugger attached"),
    0x80000026: ("STATUS_LONGJUMP", "longjmp to a frame that no longer exists"),
    0x80131623: ("COR_E_FAILFAST", ".NET: Environment.FailFast was called"),
    0x80131506: ("COR_E_EXECUTIONENGINE", ".NET: internal error of the runtime"),
    0xC0000005: ("STATUS_ACCESS_VIOLATION", "access to memory that is not there or not allowed"),
    0xC0000006: ("STATUS_IN_PAGE_ERROR", "a page could not be read back from disk or network"),
    0xC0000008: ("STATUS_INVALID_HANDLE", "an invalid handle was used"),
    0xC000000D: ("STATUS_INVALID_PARAMETER", "an invalid parameter was passed"),
    0xC0000017: ("STATUS_NO_MEMORY", "out of memory"),
    0xC000001D: ("STATUS_ILLEGAL_INSTRUCTION", "illegal instruction"),
    0xC0000025: ("STATUS_NONCONTINUABLE_EXCEPTION", "continued after a noncontinuable exception"),
    0xC0000026: ("STATUS_INVALID_DISPOSITION", "an exception handler returned nonsense"),
    0xC000008C: ("STATUS_ARRAY_BOUNDS_EXCEEDED", "array index out of bounds"),
    0xC000008E: ("STATUS_FLOAT_DIVIDE_BY_ZERO", "floating-point division by zero"),
    0xC0000094: ("STATUS_INTEGER_DIVIDE_BY_ZERO", "integer division by zero"),
    0xC0000095: ("STATUS_INTEGER_OVERFLOW", "integer overflow"),
    0xC0000096: ("STATUS_PRIVILEGED_INSTRUCTION", "privileged instruction"),
    0xC00000FD: ("STATUS_STACK_OVERFLOW", "the stack overflowed"),
    0xC0000135: ("STATUS_DLL_NOT_FOUND", "a DLL it needs was not found"),
    0xC0000138: ("STATUS_ORDINAL_NOT_FOUND", "a DLL lacks an ordinal it needs"),
    0xC0000139: ("STATUS_ENTRYPOINT_NOT_FOUND", "a DLL lacks a function it needs"),
    0xC000013A: ("STATUS_CONTROL_C_EXIT", "Ctrl-C, or its console was closed"),
    0xC0000142: ("STATUS_DLL_INIT_FAILED", "a DLL refused to start"),
    0xC000014B: ("STATUS_PIPE_BROKEN", "a pipe was broken"),
    0xC0000194: ("STATUS_POSSIBLE_DEADLOCK", "a possible deadlock was detected"),
    0xC0000374: ("STATUS_HEAP_CORRUPTION", "the heap was found damaged"),
    0xC0000409: ("STATUS_STACK_BUFFER_OVERRUN", "fast-fail: ended at once by __fastfail"),
    0xC000041D: ("STATUS_FATAL_USER_CALLBACK_EXCEPTION", "exception inside a kernel callback"),
    0xC0000417: ("STATUS_INVALID_CRUNTIME_PARAMETER", "the C runtime was given a bad parameter"),
    0xC0000420: ("STATUS_ASSERTION_FAILURE", "an assertion failed"),
    0xC0000428: ("STATUS_INVALID_IMAGE_HASH", "a file's signature is not accepted"),
    0xC0000602: ("STATUS_FAIL_FAST_EXCEPTION", "RaiseFailFastException was called"),
    0xC000070A: ("STATUS_THREADPOOL_HANDLE_EXCEPTION", "a thread-pool callback misused a handle"),
    0xCFFFFFFF: ("hung application", "ended by Windows because its window did not answer"),
    0x0EEDFADE: ("Delphi exception", "an unhandled exception of Delphi or C++ Builder"),
    0x20474343: ("GCC exception", "an unhandled C++ exception of mingw-w64"),
    0xE24C4A02: ("LuaJIT error", "an unhandled error of LuaJIT"),
    0xE0434352: ("CLR exception", "an unhandled .NET exception"),
    0xE06D7363: ("C++ exception", "an unhandled C++ exception"),
}

_SIGNALS = {
    0x80000001: 11, 0xC0000005: 11, 0xC0000006: 11, 0xC00000FD: 11, 0x80000002: 7,
    0xC000001D: 4, 0xC0000096: 4, 0xC000008C: 11, 0x80000003: 5, 0x80000004: 5, 0xC000013A: 2,
    0xC0000094: 8, 0xC0000095: 8, **dict.fromkeys(range(0xC000008D, 0xC0000094), 8),
}  # fmt: skip
_SIGABRT = 6


def to_signal(status: int) -> int:
    """The signal of Linux that stands for an exception; SIGABRT for all by which a program gives up."""
    return _SIGNALS.get(status, _SIGABRT)


FAST_FAIL_STATUS = 0xC0000409
STOP_REQUESTS = frozenset({0x40010004, 0x40010005, 0xC000013A})
"""Asked to end: Ctrl-C, its console or the session was closed."""
HUNG_WINDOW_KILL = 0xCFFFFFFF
NOT_STARTED = frozenset({0xC0000135, 0xC0000138, 0xC0000139, 0xC0000142})
"""The loader failed before the program's first instruction."""


def is_ntstatus(code: int) -> bool:
    """Whether an exit code is the status of an exception, and not the program's own number.

    Known ones, and any other system error (severity 3, not a customer's, reserved bit clear):
    exit(-1) is 0xFFFFFFFF, which has the customer bit."""
    return code in STATUSES or code >> 28 == 0xC


FAST_FAIL_CODES = {
    0: ("FAST_FAIL_LEGACY_GS_VIOLATION", "stack cookie damaged (old /GS)"),
    1: ("FAST_FAIL_VTGUARD_CHECK_FAILURE", "virtual table guard failed"),
    2: ("FAST_FAIL_STACK_COOKIE_CHECK_FAILURE", "stack cookie damaged: a buffer was overrun"),
    3: ("FAST_FAIL_CORRUPT_LIST_ENTRY", "a linked list was found damaged"),
    4: ("FAST_FAIL_INCORRECT_STACK", "the stack pointer lies outside the stack"),
    5: ("FAST_FAIL_INVALID_ARG", "a function was given an invalid argument"),
    6: ("FAST_FAIL_GS_COOKIE_INIT", "the stack cookie could not be made"),
    7: ("FAST_FAIL_FATAL_APP_EXIT", "abort(): the program ended itself by fast-fail"),
    8: ("FAST_FAIL_RANGE_CHECK_FAILURE", "array index out of range"),
    9: ("FAST_FAIL_UNSAFE_REGISTRY_ACCESS", "unsafe access to the registry"),
    10: ("FAST_FAIL_GUARD_ICALL_CHECK_FAILURE", "control flow guard: a bad call target"),
    11: ("FAST_FAIL_GUARD_WRITE_CHECK_FAILURE", "write guard check failed"),
    12: ("FAST_FAIL_INVALID_FIBER_SWITCH", "invalid fiber switch"),
    13: ("FAST_FAIL_INVALID_SET_OF_CONTEXT", "invalid thread context was set"),
    14: ("FAST_FAIL_INVALID_REFERENCE_COUNT", "invalid reference count"),
    18: ("FAST_FAIL_INVALID_JUMP_BUFFER", "longjmp with a damaged buffer"),
    19: ("FAST_FAIL_MRDATA_MODIFIED", "read-only data was modified"),
    20: ("FAST_FAIL_CERTIFICATION_FAILURE", "certification failed"),
    21: ("FAST_FAIL_INVALID_EXCEPTION_CHAIN", "the chain of exception handlers is damaged"),
    22: ("FAST_FAIL_CRYPTO_LIBRARY", "the crypto library failed"),
    23: ("FAST_FAIL_INVALID_CALL_IN_DLL_CALLOUT", "invalid call from DllMain"),
    24: ("FAST_FAIL_INVALID_IMAGE_BASE", "invalid image base"),
    25: ("FAST_FAIL_DLOAD_PROTECTION_FAILURE", "delay-load protection failed"),
    26: ("FAST_FAIL_UNSAFE_EXTENSION_CALL", "unsafe extension call"),
    29: ("FAST_FAIL_INVALID_BUFFER_ACCESS", "invalid buffer access"),
    32: ("FAST_FAIL_GUARD_SS_FAILURE", "guard stack check failed"),
    38: ("FAST_FAIL_GUARD_JUMPTABLE", "guard jump table check failed"),
    51: ("FAST_FAIL_HEAP_METADATA_CORRUPTION", "heap metadata is damaged"),
    57: ("FAST_FAIL_CONTROL_INVALID_RETURN_ADDRESS", "shadow stack: a bad return address"),
}
