"""The owner of the code at an address."""

from __future__ import annotations

from enum import StrEnum


class ExitCaller(StrEnum):
    """Whose code called it."""

    UNKNOWN = "unknown code"
    PROGRAM = "the program"
    RUNTIME = "its language runtime"
    LIBRARY = "a library"
    VIRTUAL_MACHINE = "its virtual machine"
