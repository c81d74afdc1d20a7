"""What knows how to leave a function, other than the compiler's tables in an ELF image."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

ReadWord = Callable[[int], int]
"""The word at an address; raises LookupError when it cannot be read."""


class Step(NamedTuple):
    """The way to the caller of a function."""

    registers: dict[int, int]
    """Of the caller, by DWARF numbers."""
    pc: int
    """The return address; 0 if there is no caller."""
    is_sure: bool = True
    """False: the place of the return address was computed from sizes that need not be complete."""


class FrameData(Protocol):
    """The functions of one module."""

    def unwind(self, address: int, registers: dict[int, int], read_word: ReadWord) -> Step:
        """``address``: inside the current instruction, relative to the module's base.

        Raises LookupError for an unknown function, register or memory, and MalformedInput.
        """
        ...
