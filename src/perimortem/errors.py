"""The project's errors. Each says what could not be done, why, and what the reader can do.

An error is raised for "cannot do what you asked". "Did less than you asked" is a soft error: a
string kept in the result, in the dump and in the report.
"""

from __future__ import annotations


class PerimortemError(Exception):
    """Base of every error that a user may see. ``str(error)`` is one clear line."""

    exit_status = 1

    def __init__(self, what: str, *, why: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        line = self.what
        if self.why:
            line += f": {self.why}"
        if self.remedy:
            line += f" ({self.remedy})"
        return line


class UsageError(PerimortemError):
    """The call itself is wrong: a bad option, a bad number."""

    exit_status = 2


class MalformedInput(PerimortemError):
    """A file or message is not what it claims to be: truncated, empty, noise."""


class ProcessGone(PerimortemError):
    """The process ended, or its pid now belongs to another one."""


class AccessDenied(PerimortemError):
    """A right is missing; ``why`` names it and ``remedy`` says how to get it."""


class CaptureFailed(PerimortemError):
    """No dump could be written."""


class LaunchFailed(PerimortemError):
    """The program could not be started; 126 cannot execute, 127 not found (as shells do)."""

    def __init__(self, what: str, *, why: str, remedy: str = "", exit_status: int = 126) -> None:
        super().__init__(what, why=why, remedy=remedy)
        self.exit_status = exit_status


class CannotWatch(PerimortemError):
    """The monitor cannot work at all; nothing was started."""


class StoreError(PerimortemError):
    """The incident store cannot be opened or written."""
