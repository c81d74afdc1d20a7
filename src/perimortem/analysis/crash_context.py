"""The input of crash reasons: a snapshot, its stacks with names, and lookup functions. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from perimortem.binary.regions import find_region
from perimortem.model.evidence import Confidence, Evidence
from perimortem.model.reason import Instruction
from perimortem.model.snapshot import Module, ReadMemory, Region, Registers, Snapshot
from perimortem.model.stack import ThreadStack

NULL_MAX = 0x10000
"""Nothing is ever mapped this close to zero; an access there is to a field of a null pointer."""
_NOT_KNOWN = "memory of which the dump says nothing"
Decode = Callable[[bytes, int], Instruction | None]
"""decode(code, address): the first instruction; None without a disassembler, or if it is invalid."""
FindSymbol = Callable[[Module, str], int | None]
"""The address of a symbol of a module, by its name."""
Demangle = Callable[[str], str]
NameData = Callable[[int], str | None]


@dataclass(frozen=True)
class CrashContext:
    """``stack`` and ``registers``: of the crashed thread."""

    snapshot: Snapshot
    stack: ThreadStack
    registers: Registers
    read: ReadMemory
    """Memory of the snapshot, and the parts of its modules that cannot have changed."""
    decode: Decode
    find_symbol: FindSymbol
    demangle: Demangle
    name_data: NameData = lambda _: None
    """The variable at an address, with the offset in it."""
    frame_registers: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    """By the stack pointer of a frame of the crashed thread: its registers, as far as known."""

    def read_word(self, address: int) -> int | None:
        """A pointer, or another value of eight bytes."""
        raw = self.read(address, 8)
        return int.from_bytes(raw, "little") if len(raw) == 8 else None

    @property
    def knows_maps(self) -> bool:
        """Where there is no region, nothing is mapped; else that is not known."""
        return bool(self.snapshot.regions) and self.snapshot.has_all_regions

    def find_region(self, address: int) -> Region | None:
        """None also if the dump does not say what is mapped."""
        return self.find_memory(address) if self.knows_maps else None

    def find_memory(self, address: int) -> Region | None:
        """Likewise, or memory that the dump has, whose rights are not known then."""
        return find_region(self.snapshot.regions, address)

    @property
    def word_bytes(self) -> int:
        """Of an address."""
        return self.snapshot.system.architecture.word_bytes

    @property
    def stack_pointer(self) -> int | None:
        general = self.registers.general
        return general.get("rsp", general.get("sp", general.get("esp")))

    def find_module(self, address: int) -> Module | None:
        return next((m for m in self.snapshot.modules if m.base <= address < m.base + m.size), None)

    def name_unloaded(self, address: int) -> str | None:
        """What was loaded at ``address``, if nothing is there now: "gone.dll", "a.dll or b.dll"."""
        if self.find_memory(address) is not None or self.find_module(address) is not None:
            return None
        gone = [m for m in self.snapshot.unloaded if m.base <= address < m.base + m.size]
        return " or ".join(dict.fromkeys(base_name(module.path) for module in gone)) or None

    def names(self, limit: int = 64) -> list[str]:
        """Functions of the crashed thread, innermost first."""
        return [frame.function for frame in self.stack.frames[:limit] if frame.function]

    def describe_place(self, address: int) -> str:
        """ "the stack of thread 7", "data of libgpu.so", "the heap", "no mapping"."""
        region = self.find_memory(address)
        module = self.find_module(address)
        if region is None:
            if module is not None:
                return f"{base_name(module.path)}"
            return "no mapping" if self.knows_maps else _NOT_KNOWN
        if module is not None and region.path.startswith(("/", "[vdso")):
            what = "code" if region.executable else "data" if region.writable else "constants"
            return f"{what} of {base_name(module.path)}"
        for thread in self.snapshot.threads:
            general = thread.registers.general if thread.registers else {}
            pointer = general.get("rsp", general.get("sp", general.get("esp")))
            if pointer is not None and region.start <= pointer < region.end and region.writable:
                return f"the stack of thread {thread.tid}"
        if not self.knows_maps:
            return base_name(module.path) if module is not None else _NOT_KNOWN
        if region.path == "[heap]":
            return "the heap"
        if region.path:
            return f"a mapping of {region.path}"
        return f"anonymous memory ({_format_rights(region)})"

    def describe_mapping(self, address: int) -> Evidence:
        """The mapping of an address, as evidence."""
        region = self.find_region(address)
        if region is None and not self.knows_maps:
            text = f"the dump does not say what is mapped at {address:#x}"
            return Evidence(text, "maps", Confidence.OBSERVED)
        if region is None:
            return Evidence(f"no mapping holds {address:#x}", "maps", Confidence.OBSERVED)
        name = region.path or "anonymous"
        text = f"{address:#x} lies in {region.start:#x}-{region.end:#x} {_format_rights(region)} {name}"
        return Evidence(text, "maps", Confidence.OBSERVED)


def _format_rights(region: Region) -> str:
    """ "rw-"."""
    rights = zip("rwx", (region.readable, region.writable, region.executable), strict=True)
    return "".join(letter if has else "-" for letter, has in rights)


def base_name(path: str) -> str:
    """For Unix and Windows paths; a Unix name may contain a backslash."""
    path = path if path.startswith("/") else path.replace("\\", "/")
    return path.rsplit("/", 1)[-1]
