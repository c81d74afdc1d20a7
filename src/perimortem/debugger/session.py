"""What a debugger is opened on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Session:
    """One dump, and where things are."""

    dump: Path
    """As it is."""
    core: Path | None
    """The same as an ELF core, which may be ``dump`` itself; None: it cannot be one."""
    program: Path | None
    """The file of the program, if it was found and is the same."""
    tid: int | None
    """The thread to look at first."""
    thread_number: int
    """Its place in the dump, from 0 on."""
    pc: int | None
    """Where its frame to look at first stands."""
    depth: int
    """How many calls are within that one, counting inlined functions."""
    symbols: tuple[Path, ...] = ()
    sources: tuple[Path, ...] = ()
    root: Path | None = None
    """The root of the system that the process ran on, if that is not this one."""
