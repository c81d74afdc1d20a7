"""Exit codes and wait statuses decoded. Pure; used by every report and by ``explain``."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from perimortem.errors import UsageError
from perimortem.exits import ntstatus
from perimortem.exits.signals import MEANINGS, NAMES, signal_name, signal_number
from perimortem.model.exits import Exit, ExitKind, ExitSource

# Exit codes with a meaning by convention: POSIX shells, coreutils, sysexits.h.
CONVENTIONS = {
    0: "success",
    1: "general failure",
    2: "in shells and many tools misuse of the command; in Go a panic",
    64: "EX_USAGE: wrong usage",
    65: "EX_DATAERR: wrong input data",
    66: "EX_NOINPUT: cannot open the input",
    67: "EX_NOUSER: no such user",
    68: "EX_NOHOST: no such host",
    69: "EX_UNAVAILABLE: a service is not available",
    70: "EX_SOFTWARE: internal software error",
    71: "EX_OSERR: system error",
    72: "EX_OSFILE: a system file is missing",
    73: "EX_CANTCREAT: cannot create the output",
    74: "EX_IOERR: input or output error",
    75: "EX_TEMPFAIL: try again later",
    76: "EX_PROTOCOL: protocol error",
    77: "EX_NOPERM: no permission",
    78: "EX_CONFIG: configuration error",
    124: "timed out (timeout and similar)",
    125: "the wrapper itself failed (env, timeout, docker, perimortem)",
    126: "the command was found but cannot be executed",
    127: "in shells: the command was not found; also: a library that it needs was not",
    255: "exit(-1), or a status out of range",
}


_CONVENTIONS_OF_WINDOWS = {
    3: "also the status of the C runtime's abort()",
    124: "timed out (perimortem and similar)",
}
_WINDOWS_SOURCES = (ExitSource.PROCESS_HANDLE, ExitSource.ETW)
_OWN_CODE = "the program's own code; see its manual"


@dataclass(frozen=True)
class Explanation:
    """The meaning of a code. ``detail`` is one more line, or empty."""

    code: int
    name: str
    meaning: str
    detail: str = ""
    signal: int | None = None
    advice: tuple[str, ...] = ()
    """Usual causes, and where to look; one line each."""


def decode_wait_status(raw: int, source: ExitSource) -> Exit:
    """A status as wait(2) gives it (termination signal in bits 0-6, core in 7, code in 8-15)."""
    number = raw & 0x7F
    if number == 0:
        return Exit(ExitKind.EXITED, source, code=(raw >> 8) & 0xFF, raw_status=raw)
    return Exit(
        ExitKind.SIGNALED,
        source,
        signal=number,
        core_dumped=bool(raw & 0x80),
        raw_status=raw,
    )


def decode_exit_code(code: int, source: ExitSource) -> Exit:
    """The 32 bits of GetExitCodeProcess."""
    kind = ExitKind.EXCEPTION if ntstatus.is_ntstatus(code) else ExitKind.EXITED
    return Exit(kind, source, code=code, raw_status=code)


def describe_exit(end: Exit) -> str:
    """One phrase: "exited with status 3", "killed by SIGSEGV (segmentation fault ...)"."""
    if end.kind is ExitKind.EXITED and end.code is not None:
        phrase = f"exited with status {_show_code(end.code)}"
        if end.error is not None:
            return f"{phrase}: {end.error}"
        is_of_linux = end.source not in _WINDOWS_SOURCES
        meaning = (CONVENTIONS if is_of_linux else _CONVENTIONS_OF_WINDOWS).get(end.code)
        if is_of_linux and end.code > 128 and end.code - 128 in NAMES:
            meaning = f"as shells report {signal_name(end.code - 128)} of a child"
        return f"{phrase} ({meaning})" if meaning and end.code not in (0, 1) else phrase
    if end.kind is ExitKind.SIGNALED and end.signal is not None:
        meaning = MEANINGS.get(end.signal, "")
        core = ", core dumped" if end.core_dumped else ""
        return f"ended by {signal_name(end.signal)}{core}" + (f" ({meaning})" if meaning else "")
    if end.kind is ExitKind.EXCEPTION and end.code is not None:
        explained = _explain_ntstatus(end.code, end.subcode)
        detail = f"; {explained.detail}" if end.subcode is not None else ""
        return f"ended by {explained.name}, {end.code:#010x} ({explained.meaning}{detail})"
    if end.kind is ExitKind.TERMINATED and end.code is not None:
        return f"ended by TerminateProcess with code {_show_code(end.code)}"
    if end.kind is ExitKind.NOT_STARTED:
        return f"was not started: {end.error}"
    if end.kind is ExitKind.RUNNING:
        return "still running"
    return "ended; exit status unknown"


def describe_exit_shortly(end: Exit) -> str:
    """ "exited 1", "ended by SIGTERM": short, for counting."""
    if end.kind is ExitKind.EXITED and end.code is not None:
        return f"exited {_show_code(end.code)}"
    if end.kind is ExitKind.EXCEPTION and end.code is not None:
        return f"ended by {_explain_ntstatus(end.code, None).name}"
    if end.kind is ExitKind.TERMINATED:
        return "ended by TerminateProcess"
    if end.kind is ExitKind.SIGNALED and end.signal is not None:
        return f"ended by {signal_name(end.signal)}"
    return "ended"


def _show_code(code: int) -> str:
    """Large ones in hex, with the usual signed form: 0xffffffff (-1)."""
    if code <= 0xFFFF:
        return str(code)
    return f"{code:#010x}" + (f" ({code - (1 << 32)})" if code >= 1 << 31 else "")


def explain_code(text: str, subcode: str | None = None) -> Explanation:
    """Explain an exit code in any common form: 139, -11, 0xC0000409, -1073740791, SIGSEGV.

    ``subcode`` is the fast-fail code of 0xC0000409. Raises :class:`UsageError` for anything else.
    """
    number = signal_number(text)
    if number is not None:
        return _explain_signal(number, number, "")
    value = _parse_number(text)
    sub = _parse_number(subcode) if subcode is not None else None
    if value > 0xFFFF or value < -64:
        return _explain_ntstatus(value & 0xFFFFFFFF, sub)
    if sub is not None:
        raise UsageError(f"{text} takes no subcode", why="only 0xC0000409 (fast-fail) has subcodes")
    if value < 0 and sys.platform == "win32":
        return _explain_ntstatus(value & 0xFFFFFFFF, None)
    if value < 0:
        return _explain_signal(value, -value, "Python's subprocess reports signals so")
    if value > 255:
        code, rest = divmod(value, 256)
        name = (
            f"raw wait status of exit code {code}" if rest == 0 else f"exit code {value} of Windows"
        )
        return Explanation(
            value, name, CONVENTIONS.get(code, _OWN_CODE) if rest == 0 else _OWN_CODE
        )
    if value > 128 and value - 128 <= 64:
        return _explain_signal(
            value, value - 128, "128+n: as shells and perimortem report a death by signal n"
        )
    return Explanation(
        value,
        f"exit code {value}",
        CONVENTIONS.get(value, _OWN_CODE),
    )


_ADVICE: dict[int, tuple[str, ...]] = {
    6: (
        "usually sent by: the program itself (abort, assert, an exception that was not caught)",
        "see: its last lines on stderr; perimortem run dumps it and shows the caller",
    ),
    9: (
        "usually sent by: the out-of-memory killer, a container's or job's memory limit, kill -9, a "
        "supervisor whose stop timed out",
        "see: dmesg | grep -i 'killed process'; OOMKilled in `docker inspect` and "
        "`kubectl describe pod`; memory.events of its cgroup; perimortem run as root names the sender",
    ),
    11: (
        "usually caused by: a null or dangling pointer, or a stack overflow",
        "see: perimortem run -- COMMAND, which dumps it and says why",
    ),
    15: (
        "usually sent by: a service manager, a container's stop, a job scheduler, kill, timeout",
        "see: the log of what started it; perimortem run names the sender",
    ),
    31: (
        "usually caused by: a seccomp filter (of a container, a sandbox, systemd)",
        "see: dmesg or the audit log for type=1326, which has the system call's number",
    ),
}
"""By signal number."""


def _explain_signal(code: int, number: int, detail: str) -> Explanation:
    meaning = MEANINGS.get(number, "a signal without a fixed meaning")
    advice = _ADVICE.get(number, ())
    return Explanation(code, signal_name(number), meaning, detail, number, advice)


def _explain_ntstatus(value: int, subcode: int | None) -> Explanation:
    unknown = ("unknown NTSTATUS", "not in the table of known codes")
    if not ntstatus.is_ntstatus(value):
        signed = value - (1 << 32) if value >= 1 << 31 else value
        unknown = (f"exit code {signed} of Windows", _OWN_CODE)
    name, meaning = ntstatus.STATUSES.get(value, unknown)
    detail = ""
    if subcode is not None:
        if value != ntstatus.FAST_FAIL_STATUS:
            raise UsageError(
                f"{value:#010x} takes no subcode", why="only 0xC0000409 (fast-fail) has subcodes"
            )
        sub_name, sub_meaning = ntstatus.FAST_FAIL_CODES.get(
            subcode, ("unknown fast-fail code", "not in winnt.h as known here")
        )
        detail = f"subcode {subcode}: {sub_name}: {sub_meaning}"
    elif value == ntstatus.FAST_FAIL_STATUS:
        detail = "the first exception parameter is the subcode: explain 0xC0000409 SUBCODE"
    return Explanation(value, name, meaning, detail)


def _parse_number(text: str) -> int:
    if not re.fullmatch(r"[+-]?(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}|[0-9a-fA-F]{8})", text):
        raise UsageError(
            f"'{text[:40]}' is not an exit code",
            remedy="examples: 139, -11, SIGSEGV, 0xC0000409",
        )
    base = 16 if "x" in text.lower() or re.search(r"[a-fA-F]", text) else 10
    value = int(text, base)
    if not -(1 << 31) <= value < 1 << 32:
        raise UsageError(f"{text} does not fit in 32 bits", why="exit codes do")
    return value
