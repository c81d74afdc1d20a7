"""The process that a made-up dump is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class DumpedMemory:
    """Some bytes of its memory."""

    address: int
    data: bytes


@dataclass(frozen=True)
class DumpedThread:
    """``registers``: by name (rax, eip); what is not named is zero."""

    tid: int
    registers: Mapping[str, int]
    stack: DumpedMemory
    teb: int = 0
    name: str = ""


@dataclass(frozen=True)
class Pdb:
    """What a PE file says of its symbols, as CodeView's PDB70 has it."""

    guid: bytes
    """16 bytes, in the order of the file."""
    age: int
    path: str


@dataclass(frozen=True)
class DumpedModule:
    """``identity``: the build-id of an ELF file, the PDB of a PE file, or none at all."""

    base: int
    size: int
    name: str
    identity: bytes | Pdb | None = None
    timestamp: int = 0
    file_version: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class DumpedException:
    """``code`` and ``flags``: of Windows, or a signal's number and si_code."""

    tid: int
    code: int
    flags: int = 0
    address: int = 0
    parameters: tuple[int, ...] = ()
    registers: Mapping[str, int] | None = None
    """Those at the exception, if the thread itself is elsewhere by now."""


@dataclass(frozen=True)
class DumpedHandle:
    """An object that the process holds."""

    number: int
    type_name: str
    object_name: str
    granted_access: int = 0


@dataclass(frozen=True)
class DumpedRegion:
    """What VirtualQuery says: ``state``, ``protection`` and ``kind`` are its MEM_* and PAGE_*."""

    base: int
    size: int
    state: int
    protection: int
    kind: int


@dataclass(frozen=True)
class DumpedProcess:
    """All that a writer may put into a dump; each takes what it knows."""

    pid: int
    threads: tuple[DumpedThread, ...]
    modules: tuple[DumpedModule, ...]
    memory: tuple[DumpedMemory, ...] = ()
    """Beside the stacks."""
    exception: DumpedException | None = None
    is_64_bit: bool = True
    processor: int | None = None
    """PROCESSOR_ARCHITECTURE_* of a machine whose registers the builders do not know."""
    taken_at_s: int = 1_700_000_000
    created_at_s: int = 1_699_999_000
    os_version: tuple[int, int, int] = (0, 0, 0)
    os_text: str = ""
    """`uname` on Linux, the service pack on Windows."""
    processor_count: int = 4
    handles: tuple[DumpedHandle, ...] = ()
    regions: tuple[DumpedRegion, ...] = ()
    unloaded: tuple[DumpedModule, ...] = ()
