"""How a process ended, as far as known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ExitKind(StrEnum):
    """What ended it, in the kernel's terms."""

    EXITED = "exited"
    SIGNALED = "signaled"
    EXCEPTION = "exception"
    """By an unhandled exception, or a fast-fail; ``code`` is its NTSTATUS (Windows)."""
    TERMINATED = "terminated"
    """By TerminateProcess, its own call or another's: it did not exit by itself (Windows)."""
    NOT_STARTED = "not-started"
    RUNNING = "running"
    UNKNOWN = "unknown"


class ExitSource(StrEnum):
    """The source of the status."""

    WAITID = "waitid"
    PIDFD_INFO = "PIDFD_GET_INFO"
    PROC_CONNECTOR = "proc connector"
    ZOMBIE_STAT = "/proc/PID/stat"
    PROCESS_HANDLE = "GetExitCodeProcess"
    ETW = "ETW ProcessStop"
    EXEC_ERROR = "exec"
    GOODBYE = "goodbye"
    """The status that the process itself announced with its goodbye."""
    NONE = "none"


@dataclass(frozen=True)
class Sender:
    """The process that sent a signal; ``name`` is None if it was already gone."""

    pid: int
    uid: int | None
    name: str | None


@dataclass(frozen=True)
class Exit:
    """The end of one process. ``None`` means unknown."""

    kind: ExitKind
    source: ExitSource
    code: int | None = None
    """0 to 255 on Linux, 32 bits unsigned on Windows."""
    signal: int | None = None
    si_code: int | None = None
    sender: Sender | None = None
    core_dumped: bool | None = None
    raw_status: int | None = None
    subcode: int | None = None
    """Of a fast-fail, if the system's own report has it."""
    error: str | None = None
    """Why it was not started (kind NOT_STARTED), or what the dynamic linker lacked for it."""
