"""Frames of the Python interpreter, as read from its memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PythonFrame:
    """One call. ``is_entry``: the C function of the evaluation loop was entered again for it."""

    function: str
    file: str
    line: int
    is_entry: bool


@dataclass(frozen=True)
class PythonThread:
    """``frames``: innermost first. ``holds_gil``: None if unknown."""

    tid: int
    name: str
    frames: tuple[PythonFrame, ...]
    holds_gil: bool | None
