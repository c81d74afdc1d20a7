"""Where a process ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Where:
    """A place in code, as far as known."""

    text: str
    """ "_exit called in libgpu_rt.so.12+0x41d0a, thread infer (17)"."""
    module: str | None = None
    """The path of the file that contains the code."""
    module_offset: int | None = None
    thread_name: str | None = None
    tid: int | None = None
