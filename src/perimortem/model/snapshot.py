"""A process at one instant: a live process, a minidump and a core all give the same snapshot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perimortem.model.memory import Memory


class Architecture(StrEnum):
    """The machine code of a process."""

    X86_64 = "x86-64"
    AARCH64 = "aarch64"
    X86 = "x86"
    ARM = "32-bit ARM"
    MIPS = "MIPS"
    MIPS64 = "64-bit MIPS"
    PPC = "PowerPC"
    PPC64 = "64-bit PowerPC"
    RISCV = "32-bit RISC-V"
    RISCV64 = "64-bit RISC-V"
    S390X = "s390x"
    SPARC = "SPARC"
    IA64 = "Itanium"
    UNKNOWN = "unknown"

    @property
    def word_bytes(self) -> int:
        """Of an address; 8 where that is not known."""
        return 4 if self in _OF_32_BITS else 8


_OF_32_BITS = frozenset(
    {
        Architecture.X86,
        Architecture.ARM,
        Architecture.MIPS,
        Architecture.PPC,
        Architecture.RISCV,
        Architecture.SPARC,
    }
)


class OperatingSystem(StrEnum):
    """The system that defines the exception codes and the libraries."""

    LINUX = "linux"
    WINDOWS = "windows"
    MACOS = "macos"
    """And iOS: exceptions of Mach."""
    FUCHSIA = "fuchsia"
    OTHER = "other"
    """One whose exceptions are not known here, or that is not named."""


@dataclass(frozen=True)
class Registers:
    """Registers of a thread by name; ``extended`` is the raw XSAVE/FXSAVE area, if any."""

    general: dict[str, int]
    floating_point: bytes | None = None
    extended: bytes | None = None


@dataclass(frozen=True)
class Thread:
    """One thread. ``registers`` is None if it could not be stopped in time (see the soft errors).

    Times are in 100 ns units, as minidumps hold them.
    """

    tid: int
    name: str
    registers: Registers | None
    state: str | None = None
    user_time_100ns: int = 0
    kernel_time_100ns: int = 0
    start_time_100ns: int = 0
    affinity: int = 0
    priority: int = 0
    start_address: int = 0
    """The function that it was started with, if the C library recorded it."""


@dataclass(frozen=True)
class Region:
    """One mapping of the address space (a line of /proc/PID/maps)."""

    start: int
    end: int
    readable: bool
    writable: bool
    executable: bool
    shared: bool
    file_offset: int
    inode: int
    path: str
    vm_flags: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Module:
    """An executable file in memory: all mappings of it, from its offset-0 mapping on."""

    base: int
    size: int
    path: str
    build_id: bytes | None
    """For an ELF file."""
    version: tuple[int, int, int, int] = (0, 0, 0, 0)
    timestamp: int = 0
    """For a PE file, which is identified by this together with its size."""
    debug_id: str | None = None
    """Shared with its debug information: a GUID and an age, in hex."""
    debug_file: str = ""
    """The path of that, on the machine that linked it, if the module names it."""


@dataclass(frozen=True)
class Handle:
    """An open descriptor: number, type and descriptive name."""

    number: int
    type_name: str
    object_name: str
    flags: int = 0
    """From open(2)."""
    details: dict[str, str | int] = field(default_factory=dict)
    """Details from fdinfo and the kernel's socket tables: position, inode, peer, partner ..."""


@dataclass(frozen=True)
class MemoryRange:
    """A range of memory that belongs in the dump."""

    address: int
    size: int


@dataclass(frozen=True)
class ExceptionRecord:
    """Why the dump was made, in the terms of its system: the signal and the crashing thread."""

    tid: int
    code: int
    """A signal (Linux), an NTSTATUS (Windows), the type of a Mach exception (macOS) or of Fuchsia's."""
    flags: int = 0
    """Linux: si_code; macOS: the first code of the exception."""
    address: int = 0
    """For a fault: the accessed address. On Windows: the instruction."""
    parameters: tuple[int, ...] = ()
    """On Windows: for an access violation the access (0 read, 1 write, 8 execute) and its address."""
    has_flags: bool = True
    """Linux: False if the writer may not have recorded si_code: then it is not known."""


ORIGINAL_EXCEPTION = "original_exception"
"""In the record of a dump that was converted to that of another system: its exception as it was."""


@dataclass(frozen=True)
class SystemFacts:
    """The machine, as SystemInfoStream describes it."""

    architecture: Architecture
    os_release: str
    os_version: tuple[int, int, int]
    processor_count: int
    cpu_vendor: str = ""
    cpu_family: int = 0
    cpu_model: int = 0
    cpu_stepping: int = 0
    os: OperatingSystem = OperatingSystem.LINUX


ReadMemory = Callable[[int, int], bytes]
"""read(address, size): the bytes there, fewer if part of it is unreadable, b"" if all is."""


@dataclass(frozen=True)
class Snapshot:
    """The complete contents of a dump. ``files`` are raw texts of /proc (maps, status, auxv ...)."""

    pid: int
    taken_at_s: int
    process_create_time_s: int
    user_time_s: int
    kernel_time_s: int
    system: SystemFacts
    threads: tuple[Thread, ...]
    modules: tuple[Module, ...]
    regions: tuple[Region, ...]
    memory: tuple[MemoryRange, ...]
    handles: tuple[Handle, ...] | None
    """None: not requested."""
    files: dict[str, bytes]
    content: Memory
    exception: ExceptionRecord | None = None
    dso_debug: DsoDebug | None = None
    soft_errors: list[str] = field(default_factory=list)
    is_alive: Callable[[], bool] = lambda: True
    """Whether a process still backs ``content``."""
    token: dict[str, Any] | None = None
    """The process's identity in the kernel: user and group ids, capabilities. None: not requested."""
    record: dict[str, Any] | None = None
    """The contents of the flight recorder: heartbeats, last events."""
    has_all_regions: bool = True
    """False: ``regions`` are only those of the memory that it has, and their rights are not known."""
    unloaded: tuple[Module, ...] = ()
    """Modules that are gone, as far as the system keeps a list (Windows: the last 64)."""
    exception_lost: bool = False
    """It has an exception that cannot be read: why it was made is not known."""


@dataclass(frozen=True)
class LinkMapEntry:
    """One object in the dynamic linker's list (struct link_map)."""

    base: int
    name: str
    dynamic: int


@dataclass(frozen=True)
class DsoDebug:
    """The dynamic linker's r_debug, from which debuggers find every library."""

    version: int
    loader_base: int
    dynamic: int
    dynamic_bytes: bytes
    objects: tuple[LinkMapEntry, ...]
