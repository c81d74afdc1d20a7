"""A name that one process of the machine holds at a time, until it releases it or ends in any way."""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.winapi import kernel32
from perimortem.winapi.library import describe_error, last_error


class NameTaken(OSError):
    """Another process holds it."""


def claim_name(name: str) -> int:
    """A handle to be closed. Raises :class:`NameTaken`; PermissionError where another user holds it, or
    one with more rights; OSError."""
    claim = kernel32.CreateMutexW(None, False, f"Global\\{name}")
    error = last_error()
    if not claim:
        kind = PermissionError if error == kernel32.ERROR_ACCESS_DENIED else OSError
        raise kind(describe_error(error))
    if error == kernel32.ERROR_ALREADY_EXISTS:
        kernel32.CloseHandle(claim)
        raise NameTaken(f"another process holds {name}")
    return int(claim)
