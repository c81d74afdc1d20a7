"""Declare functions of a Windows library; one that this Windows lacks is None."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

assert sys.platform == "win32"

Function = Callable[..., Any]


class Library:
    """A DLL of the system."""

    def __init__(self, name: str) -> None:
        self._dll = ctypes.WinDLL(name, use_last_error=True)

    def declare(self, name: str, result: Any, *arguments: Any) -> Function:
        """A function that every supported Windows has. Raises AttributeError."""
        function = getattr(self._dll, name)
        function.restype = result
        function.argtypes = arguments
        return function  # type: ignore[no-any-return]

    def find(self, name: str, result: Any, *arguments: Any) -> Function | None:
        """A function that may be missing."""
        try:
            return self.declare(name, result, *arguments)
        except AttributeError:
            return None


def last_error() -> int:
    """GetLastError of our last call in this thread."""
    return ctypes.get_last_error()


def describe_error(code: int) -> str:
    """ "Access is denied (error 5)"."""
    text = ctypes.FormatError(code).strip().rstrip(".")
    return f"{text} (error {code})" if text else f"error {code}"
