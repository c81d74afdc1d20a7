"""Frames of the Python interpreter, as a reader of its memory tells them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PythonFrame:
    """One call. ``is_entry``: the C function of the evaluation loop was entered for it anew."""

    function: str
    file: str
    line: int
    is_entry: bool


@dataclass(frozen=True)
class PythonThread:
    """``frames``: the innermost first. ``holds_gil``: None where it is not known."""

    tid: int
    name: str
    frames: tuple[PythonFrame, ...]
    holds_gil: bool | None
