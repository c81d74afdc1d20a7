"""The crash handler's note: whether it is how the process ended, and what it says. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from perimortem.exits import ntstatus
from perimortem.exits.signals import SIGKILL, signal_name
from perimortem.model.crash import Crash
from perimortem.model.exits import Exit, ExitKind
from perimortem.model.process import ProcessInfo
from perimortem.model.recording import ExitNote

_HAS_ADDRESS = frozenset({7, 11})
"""BUS and SEGV: the address is the one accessed; for the others it is the instruction's."""
_PROGRAM_MAX = 200
_TAKEN_NS = 10_000_000_000
"""How long the program's own handler may take until it leaves with the fault as cause. Arbitrary."""


def is_cause(crash: Crash, end: Exit, note: ExitNote | None) -> bool:
    """Whether this end is due to that crash; a process may survive what looked like one.

    If the program's own handler took the fault and then left, it did not handle it: it ended because
    of it.
    """
    if not crash.is_fatal:
        if end.kind in (ExitKind.EXCEPTION, ExitKind.TERMINATED):
            return end.code == crash.code  # another handler ended it with its own code
        return (
            note is not None
            and note.tid == crash.tid
            and 0 <= note.monotonic_ns - crash.monotonic_ns <= _TAKEN_NS
        )
    if end.kind in (ExitKind.RUNNING, ExitKind.UNKNOWN, ExitKind.EXCEPTION, ExitKind.TERMINATED):
        return True
    codes = {crash.code, crash.nested_code}
    if end.kind is ExitKind.SIGNALED:
        # A process that would not wait for the dump: it still crashed.
        return end.signal in codes or end.signal == SIGKILL
    # The first process of a namespace cannot die of its own signal: its handler exits instead.
    return end.code is not None and end.code - 128 in codes


def name_crash(crash: Crash) -> str:
    """ "SIGSEGV", "STATUS_ACCESS_VIOLATION"."""
    if crash.code > 0xFFFF:
        return ntstatus.STATUSES.get(crash.code, (f"{crash.code:#010x}", ""))[0]
    return signal_name(crash.code)


def describe_crash(crash: Crash) -> str:
    """ "SIGSEGV at 0x10 in libgpu_rt.so+0x41d0a, thread render (4711)"."""
    text = name_crash(crash)
    if not crash.is_sent and (crash.code in _HAS_ADDRESS or crash.code > 0xFFFF):
        text += f" at {crash.address:#x}"
    text += f" in {describe_place(crash)}"
    name = f"{crash.thread_name} " if crash.thread_name else ""
    return f"{text}, thread {name}({crash.tid})"


def describe_place(crash: Crash) -> str:
    """ "libgpu_rt.so+0x41d0a"; only an address if there is no module."""
    if crash.module is None:
        return f"no module, at {crash.program_counter:#x}"
    name = crash.module.replace("\\", "/").rsplit("/", 1)[-1]
    return f"{name}+{crash.module_offset:#x}"


_INTERPRETERS = re.compile(
    r"(python|pypy|node|nodejs|java|ruby|perl|php|lua|bash|dash|sh|Rscript|julia|dotnet|mono|wine)"
    r"[0-9.]*(-preloader|64)?(\.exe)?",
)


_MANY_IN_ONE = re.compile(r"busybox|toybox|coreutils")
"""One file of many programs."""
_DELETED = " (deleted)"


def name_program(process: ProcessInfo) -> str:
    """Distinguishes programs under one interpreter: "python train.py", "java -jar app.jar".

    The first argument that is not an option names the program, or that of ``-m``, ``-jar`` or ``-c``."""
    return choose_program_name(process.name, process.executable, process.command_line)


def choose_program_name(name: str, executable: str | None, command_line: Sequence[str]) -> str:
    """The same, from the parts. A process can change its name, and many workers do: its file counts."""
    file_name = executable.replace("\\", "/").rsplit("/", 1)[-1] if executable else ""
    file_name = file_name.removesuffix(_DELETED)
    if not _INTERPRETERS.fullmatch(name) and not _INTERPRETERS.fullmatch(file_name):
        return name if not file_name or _MANY_IN_ONE.fullmatch(file_name) else file_name
    arguments = command_line[1:]
    for at, argument in enumerate(arguments):
        if argument in ("-m", "-jar", "-c") and at + 1 < len(arguments):
            return f"{name} {argument} {arguments[at + 1][:_PROGRAM_MAX]}"
        if not argument.startswith("-"):
            return f"{name} {argument[:_PROGRAM_MAX]}"
    return name


def derive_crash_key(
    process: ProcessInfo, crash: Crash, caller: tuple[str, int] | None = None
) -> str:
    """Equal for crashes of one program that look alike from outside: what, and where.

    ``caller``: (path, offset) of the caller, for library functions that crash for many reasons.
    """
    place = describe_place(crash) if crash.module is not None else "no module"
    by = f", by {caller[0].rsplit('/', 1)[-1]}+{caller[1]:#x}" if caller is not None else ""
    return f"{name_program(process)}: {name_crash(crash)} in {place}{by}"
